// Package postgres opens a store in a PostgreSQL database, by lib/pq.
package postgres

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"time"

	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// Pool bounds the connections of a store. Zero fields mean the defaults, which suit a server with a few instances of an
// application; the sum over all instances must stay below the server's max_connections.
type Pool struct {
	MaxOpen     int           // default 4 for each processor, at least 8
	MaxIdle     int           // default MaxOpen: a connection that is kept keeps its prepared statements
	MaxIdleTime time.Duration // default 5 minutes
	MaxLifetime time.Duration // default 1 hour, so that connections move when a server behind the same name does
}

func (p Pool) withDefaults() Pool {
	if p.MaxOpen == 0 {
		p.MaxOpen = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if p.MaxIdle == 0 {
		p.MaxIdle = p.MaxOpen
	}
	if p.MaxIdleTime == 0 {
		p.MaxIdleTime = 5 * time.Minute
	}
	if p.MaxLifetime == 0 {
		p.MaxLifetime = time.Hour
	}
	return p
}

// defaultStatements is more than the store has different statements.
const defaultStatements = 128

// connectTimeout bounds the making of a connection, in seconds, unless the URL has a connect_timeout.
const connectTimeout = 10

// Open is OpenPool with the default Pool.
func Open(ctx context.Context, databaseURL string, options ...infra.Option) (*infra.Store, error) {
	return OpenPool(ctx, databaseURL, Pool{}, options...)
}

// OpenPool opens the database at a URL, postgres://user:password@host:port/database?parameters, with the parameters that
// lib/pq has. Nothing is migrated: call [infra.Store.Migrate], or run `accounts migrate up` before, and
// [infra.Store.CheckMigrations] here.
//
// Every statement is prepared once on each connection and then takes one round trip. The URL's parameter statement_cache is the
// number of prepared statements that a connection keeps, 128 by default; statement_cache=0 prepares none, for poolers
// that give each transaction another connection.
//
// When the context of a call ends, its statement is cancelled on the server and the connection replaced; outside
// [infra.Store.InTx] the call ends at most 2 s later, also when nothing comes back from the network.
//
// It returns [domain.ErrInvalid] on the field "database" for a URL that is not one, and [domain.ErrUnavailable] when the
// server does not answer or refuses.
func OpenPool(ctx context.Context, databaseURL string, pool Pool, options ...infra.Option) (*infra.Store, error) {
	connector, err := newConnector(databaseURL)
	if err != nil {
		return nil, err
	}
	db := stdsql.OpenDB(connector)
	pool = pool.withDefaults()
	db.SetMaxOpenConns(pool.MaxOpen)
	db.SetMaxIdleConns(pool.MaxIdle)
	db.SetConnMaxIdleTime(pool.MaxIdleTime)
	db.SetConnMaxLifetime(pool.MaxLifetime)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(unavailable(err), db.Close())
	}
	return infra.New(infra.Database{
		DB:       db,
		Driver:   newPool(db),
		Diagnose: diagnose,
		Copy:     copyRows,
	}, options...), nil
}

func newConnector(databaseURL string) (driver.Connector, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, invalidURL("is not a postgres:// URL") // err would quote the URL with its password
	}
	parameters := u.Query()
	size := defaultStatements
	if text := parameters.Get("statement_cache"); text != "" {
		if size, err = strconv.Atoi(text); err != nil || size < 0 {
			return nil, invalidURL("has a statement_cache that is not a number")
		}
	}
	parameters.Del("statement_cache")
	if !parameters.Has("connect_timeout") {
		parameters.Set("connect_timeout", strconv.Itoa(connectTimeout))
	}
	if size == 0 {
		// Without prepared statements one round trip takes that the arguments go with the statement.
		parameters.Set("binary_parameters", "yes")
	}
	u.RawQuery = parameters.Encode()
	connector, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, invalidURL("has a parameter that is not valid")
	}
	if size == 0 {
		return newUncachedConnector(connector), nil
	}
	return newCachingConnector(connector, size), nil
}

func invalidURL(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: reason}
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	reason := "cannot be reached"
	if d := diagnose(err); d.Code != "" && d.Code != "connection" {
		reason = "refuses the connection (SQLSTATE " + d.Code + ")"
	}
	return &domain.Error{Kind: domain.ErrUnavailable, Field: "database", Reason: reason}
}

// diagnose tells errors by SQLSTATE (PostgreSQL's manual, appendix A) and by the constraint's name.
func diagnose(err error) infra.Diagnosis {
	var e *pq.Error
	if errors.As(err, &e) {
		return infra.Diagnosis{Fault: faultOf(e), Constraint: e.Constraint, Code: string(e.Code)}
	}
	var network net.Error
	var operation *net.OpError
	if errors.As(err, &network) || errors.As(err, &operation) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, stdsql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isClosed(err) {
		return infra.Diagnosis{Fault: infra.UnavailableFault, Code: "connection"}
	}
	return infra.Diagnosis{}
}

func faultOf(e *pq.Error) infra.Fault {
	const (
		uniqueViolation = "23505"
		checkViolation  = "23514"
		undefinedTable  = "42P01"
		undefinedColumn = "42703"
		readOnly        = "25006"
	)
	switch e.Code {
	case uniqueViolation:
		return infra.UniqueFault
	case checkViolation:
		return infra.CheckFault
	case undefinedTable, undefinedColumn:
		return infra.SchemaFault
	case readOnly:
		return infra.UnavailableFault
	}
	switch e.Code.Class() {
	case "22": // data exceptions: too long, not of the encoding, out of range
		return infra.CheckFault
	case "08", // connection exceptions
		"28", "3D", // refused: authorisation, no such database
		"53", // insufficient resources: disk, memory, connections
		"55", // objects not in the needed state, locks not available
		"57", // operator intervention: shutdown, and cancellation that was not ours
		"58": // system errors
		return infra.UnavailableFault
	}
	return infra.OtherFault
}

// isClosed tells whether the pool was closed, for which database/sql has no value to compare with.
func isClosed(err error) bool { return err != nil && err.Error() == "sql: database is closed" }
