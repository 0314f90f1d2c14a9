package libpq

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// pqConn is what a connection of lib/pq can do; the connections here add to it and leave out nothing.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// pqRows is what rows of lib/pq can do.
type pqRows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
	driver.RowsNextResultSet
}

// preparedStatement is what a prepared statement of lib/pq can do, other than that of a COPY.
type preparedStatement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

var (
	errNotPQ    = errors.New("postgres: the connection is not one of lib/pq")
	errRowsOpen = errors.New("postgres: the rows of an earlier query on this connection are still open")
)

// newCachingConnector returns a connector whose connections keep the statements they execute with arguments prepared on
// the server, so that executing one again takes a single round trip (lib/pq by itself takes two) and no parsing. Each
// connection keeps the size (at least 1) last used ones. Statements without arguments, which may be several in one
// string, are passed on.
//
// The settings are without binary_parameters. Behind a pooler in transaction mode use [newUncachedConnector]:
// such a pooler gives a connection's statements to different sessions of the server, where lib/pq's names for them, which
// are numbers, can mean another client's statement.
func newCachingConnector(config pq.Config, size int) *connector {
	return newConnector(config, func(conn *connOnce) driver.Conn {
		return &cachingConn{connOnce: conn, size: size, statements: make(map[string]*list.Element)}
	})
}

// cachingConn has no lock: database/sql calls a connection, its transactions and its rows from one goroutine at a time.
type cachingConn struct {
	*connOnce
	size       int
	statements map[string]*list.Element // of recent, by their query
	recent     list.List                // of *cachedStatement, the last used first
	reading    *trackedRows             // not closed yet
}

type cachedStatement struct {
	query string
	preparedStatement
}

func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.reading != nil {
		return nil, errRowsOpen
	}
	var rows driver.Rows
	var err error
	if len(args) == 0 {
		rows, err = c.connOnce.QueryContext(ctx, query, args)
	} else {
		rows, err = executePrepared(ctx, c, query, args, preparedStatement.QueryContext)
	}
	if err != nil {
		return nil, err
	}
	tracked, ok := rows.(pqRows)
	if !ok {
		return nil, errors.Join(errNotPQ, rows.Close())
	}
	c.reading = &trackedRows{tracked, c}
	return c.reading, nil
}

func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.reading != nil {
		return nil, errRowsOpen
	}
	if len(args) == 0 {
		return c.connOnce.ExecContext(ctx, query, args)
	}
	return executePrepared(ctx, c, query, args, preparedStatement.ExecContext)
}

// executePrepared runs query as a prepared statement. If one that was prepared earlier does not fit the database any more
// it prepares the query again and runs that, which inside a transaction cannot succeed: the failure has aborted it.
func executePrepared[T any](
	ctx context.Context, c *cachingConn, query string, args []driver.NamedValue,
	run func(preparedStatement, context.Context, []driver.NamedValue) (T, error),
) (T, error) {
	statement, cached, err := c.prepared(ctx, query)
	if err != nil {
		var none T
		return none, err
	}
	result, err := run(statement, ctx, args)
	if err == nil || !cached || !c.forgetStale(query, err) {
		return result, err
	}

	statement, _, prepareErr := c.prepared(ctx, query)
	switch {
	case prepareErr == nil:
		return run(statement, ctx, args)
	case pq.As(prepareErr, pqerror.InFailedSQLTransaction) != nil:
		return result, err
	default:
		return result, prepareErr
	}
}

// prepared returns query's prepared statement, and whether that was in the cache.
func (c *cachingConn) prepared(ctx context.Context, query string) (preparedStatement, bool, error) {
	if element, ok := c.statements[query]; ok {
		c.recent.MoveToFront(element)
		return element.Value.(*cachedStatement).preparedStatement, true, nil
	}

	statement, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, false, err
	}
	prepared, ok := statement.(preparedStatement)
	if !ok {
		return nil, false, errors.Join(errors.New("postgres: COPY takes no arguments"), statement.Close())
	}
	c.statements[query] = c.recent.PushFront(&cachedStatement{query, prepared})
	if c.recent.Len() > c.size {
		if err := c.forget(c.recent.Back()); err != nil {
			return nil, false, err
		}
	}
	return prepared, false, nil
}

// forgetStale forgets query's statement, and all others that can be stale for the same reason, if err may come from its
// having been prepared when the database was another. It reports whether it did.
func (c *cachingConn) forgetStale(query string, err error) bool {
	e := pq.As(err)
	switch {
	case e == nil:
		return false
	// Somebody has run DEALLOCATE ALL or DISCARD ALL, or else a table has changed so that the statement's columns would.
	// The latter error shares its code with others; the text is translated, the place in the server's source is not.
	case e.Code == pqerror.InvalidSQLStatementName,
		e.Code == pqerror.FeatureNotSupported && e.Routine == "RevalidateCachedQuery":
		for c.recent.Len() > 0 {
			_ = c.forget(c.recent.Front())
		}
		return true
	// The types of the parameters were chosen when the statement was prepared: a new type of a column can make them
	// reject an argument or fail to compare. Most often, the caller is at fault and will get the same error again.
	case strings.HasPrefix(string(e.Code), string(pqerror.ClassDataException)),
		strings.HasPrefix(string(e.Code), string(pqerror.ClassSyntaxErrorOrAccessRuleViolation)):
		_ = c.forget(c.statements[query])
		return true
	default:
		return false
	}
}

// forget takes a statement out of the cache and closes it on the server. That is possible in a failed transaction, and
// no error if the server does not know the statement. No rows can be open here that are still to come from it.
func (c *cachingConn) forget(element *list.Element) error {
	statement := c.recent.Remove(element).(*cachedStatement)
	delete(c.statements, statement.query)
	return statement.Close()
}

// trackedRows tell their connection when they are closed. Inside a transaction (or a [database/sql.Conn]), a caller can
// ask for the next statement before that; lib/pq would then take the remaining rows for the answer to it and give up
// the connection.
type trackedRows struct {
	pqRows
	conn *cachingConn
}

func (r *trackedRows) Close() error {
	if r.conn.reading == r {
		r.conn.reading = nil
	}
	return r.pqRows.Close()
}

// newUncachedConnector returns a connector whose connections leave nothing behind on the server between transactions,
// for poolers in transaction mode. The settings have binary_parameters: then a statement is parsed and
// executed in one round trip. In that mode lib/pq sends a []byte in the binary format of the parameter's type; here it
// is sent as text, which is what a JSON document needs (and bytea is not stored).
func newUncachedConnector(config pq.Config) *connector {
	return newConnector(config, func(conn *connOnce) driver.Conn { return uncachedConn{conn} })
}

type uncachedConn struct{ *connOnce }

func (c uncachedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	args, err := asText(args)
	if err != nil {
		return nil, err
	}
	return c.connOnce.QueryContext(ctx, query, args)
}

func (c uncachedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	args, err := asText(args)
	if err != nil {
		return nil, err
	}
	return c.connOnce.ExecContext(ctx, query, args)
}

// asText returns args with strings for byte slices.
func asText(args []driver.NamedValue) ([]driver.NamedValue, error) {
	// The protocol counts parameters in 16 bits. In binary mode lib/pq notices too late to use the connection again.
	if len(args) > 65535 {
		return nil, fmt.Errorf("postgres: %d arguments, more than 65535", len(args))
	}
	isBytes := func(arg driver.NamedValue) bool {
		_, ok := arg.Value.([]byte)
		return ok
	}
	if !slices.ContainsFunc(args, isBytes) {
		return args, nil
	}
	args = slices.Clone(args)
	for i := range args {
		if b, ok := args[i].Value.([]byte); ok && b == nil {
			args[i].Value = nil
		} else if ok {
			args[i].Value = string(b)
		}
	}
	return args, nil
}
