// Package postgres opens a store in a PostgreSQL database, by lib/pq, or puts one on a pool of the application.
package postgres

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"time"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/postgres/internal/libpq"
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

func (p Pool) open(connector driver.Connector) *stdsql.DB {
	p = p.withDefaults()
	db := stdsql.OpenDB(connector)
	db.SetMaxOpenConns(p.MaxOpen)
	db.SetMaxIdleConns(p.MaxIdle)
	db.SetConnMaxIdleTime(p.MaxIdleTime)
	db.SetConnMaxLifetime(p.MaxLifetime)
	return db
}

// WithReplicas has the store read from replicas, each with a pool of the default size: finds (but those by token and by identity), lists, counts and exports,
// outside transactions. A read sees all that this store has written, and what its context's [infra.Position] says; a replica that has not replayed that much gets
// no read, and neither does one that is lost, 10 s behind, or not known to follow the present primary. What others have written may be missing for as long as
// a replica is behind. A read under [domain.ReadCurrent] goes to the primary, as all of a [domain.Authenticator] do. See docs/operate.md.
//
// Each URL leads to one server, and not through a pooler. No replica needs to be there when the store is opened, and those of a cluster may all be listed, the
// primary too: a server gets reads while it is a replica. A URL that cannot be one is [domain.ErrInvalid] on the field "database" when the store is opened.
func WithReplicas(databaseURLs ...string) infra.Option {
	return infra.WithReplicas(openReplica, databaseURLs...)
}

func openReplica(databaseURL string, admit func(string) error) (infra.ReplicaPool, error) {
	connector, reset, err := libpq.NewReplica(databaseURL, admit)
	if err != nil {
		return infra.ReplicaPool{}, err
	}
	db := Pool{}.open(connector)
	return infra.ReplicaPool{Handle: libpq.Handle(db), Reset: reset, Close: db.Close}, nil
}

// Open is OpenWithPool with the default Pool.
func Open(ctx context.Context, databaseURL string, options ...infra.Option) (*infra.Store, error) {
	return OpenWithPool(ctx, databaseURL, Pool{}, options...)
}

// OpenWithPool opens the database at a URL, postgres://user:password@host:port/database?parameters, or in libpq's other form, "host=… user=… dbname=…", with the
// parameters that lib/pq has. Nothing is migrated: call [infra.Store.Migrate], or run `accounts migrate up` before, and
// [infra.Store.CheckMigrations] here.
//
// Every statement is prepared once on each connection and then takes one round trip. The URL's parameter statement_cache is the
// number of prepared statements that a connection keeps, 128 by default; statement_cache=0 prepares none, for poolers
// that give each transaction another connection. PgBouncer 1.21 and later needs that only without max_prepared_statements.
//
// A URL may have several hosts, host1:port1,host2:port2. Connections lead to the one that takes writes, unless the URL has a
// target_session_attrs, and a server that has become read-only or silent loses all connections of the pool. connect_timeout, 10 s
// by default, bounds the making of a connection over all hosts.
//
// When the context of a call ends, its statement is cancelled on the server and the connection replaced; the call ends at most 1 s later,
// also when nothing comes back from the network, and in transactions too. See docs/faults.md.
//
// It returns [domain.ErrInvalid] on the field "database" for what is neither, and [domain.ErrUnavailable] when the
// server does not answer or refuses.
func OpenWithPool(ctx context.Context, databaseURL string, pool Pool, options ...infra.Option) (*infra.Store, error) {
	connector, err := libpq.NewConnector(databaseURL)
	if err != nil {
		return nil, err
	}
	db := pool.open(connector)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(infra.ConnectFailure(ctx, err), db.Close())
	}
	store, err := infra.New(ctx, infra.Database{
		Dialect: migration.Postgres, DB: db, Handle: libpq.Handle(db), Copy: libpq.Copy, Close: db.Close,
	}, options...)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return store, nil
}

// newTimeout bounds the query by which New asks for the schema.
const newTimeout = 10 * time.Second

// New returns a store on a pool of the application, whatever driver and settings it has: lib/pq's, that of pgx for database/sql, or
// one that wraps them. The store changes no setting of the pool and keeps no state in its sessions, so that a pooler may be in between.
// Close leaves the pool open.
//
// Unlike the pool of [Open], this one prepares each statement as its driver does, which with lib/pq takes a second round trip, and
// ends a call as its driver does when the context ends. It returns [domain.ErrInvalid] on the field "database" for a nil pool, and
// [domain.ErrUnavailable] when no connection can be made.
func New(db *stdsql.DB, options ...infra.Option) (*infra.Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), newTimeout)
	defer cancel()
	return infra.New(ctx, infra.Database{Dialect: migration.Postgres, DB: db}, options...)
}
