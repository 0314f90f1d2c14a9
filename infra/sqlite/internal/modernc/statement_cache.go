package modernc

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// StatementCache keeps the compiled statements of one connection that were executed with arguments, the size last used ones. SQLite compiles
// one again by itself when the schema has changed. Statements without arguments are passed on: they may be several in one string, or a PRAGMA, which
// can take effect while it is compiled.
//
// It has no lock: database/sql calls a connection, its transactions and its rows from one goroutine at a time.
type StatementCache struct {
	conn       Conn
	size       int
	statements map[string]*list.Element // of recent, by their query
	recent     list.List                // of *cached, the last used first
}

// Conn is the part of the driver's connections that executes statements.
type Conn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type cached struct {
	query string
	statement
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// NewStatementCache returns the cache of a connection.
func NewStatementCache(conn Conn, size int) *StatementCache {
	return &StatementCache{conn: conn, size: size, statements: make(map[string]*list.Element)}
}

// Close closes the statements. The cache takes no more of them.
func (c *StatementCache) Close() error {
	c.size = 0
	return c.shrink()
}

// ExecContext implements [driver.ExecerContext].
func (c *StatementCache) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		return c.conn.ExecContext(ctx, query, args)
	}
	statement, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := statement.ExecContext(ctx, args)
	if err != nil {
		_ = statement.Close()
		return nil, err
	}
	return result, c.give(statement)
}

// QueryContext implements [driver.QueryerContext].
func (c *StatementCache) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if len(args) == 0 {
		return c.conn.QueryContext(ctx, query, args)
	}
	statement, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	read, err := statement.QueryContext(ctx, args)
	if err != nil {
		_ = statement.Close()
		return nil, err
	}
	all, ok := read.(driverRows)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T lacks a method of the driver's rows", read), read.Close(), statement.Close())
	}
	return &rows{all, c, statement}, nil
}

// take returns a statement that no other call uses until it is given back: the rows of one may be open while the same query is executed again.
func (c *StatementCache) take(ctx context.Context, query string) (*cached, error) {
	if element, ok := c.statements[query]; ok {
		return c.remove(element), nil
	}
	prepared, err := c.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	whole, ok := prepared.(statement)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T lacks a method of the driver's statements", prepared), prepared.Close())
	}
	return &cached{query, whole}, nil
}

// give keeps a statement that has done its work.
func (c *StatementCache) give(statement *cached) error {
	if _, ok := c.statements[statement.query]; ok {
		return statement.Close()
	}
	c.statements[statement.query] = c.recent.PushFront(statement)
	return c.shrink()
}

func (c *StatementCache) shrink() (err error) {
	for c.recent.Len() > c.size {
		err = errors.Join(err, c.remove(c.recent.Back()).Close())
	}
	return err
}

func (c *StatementCache) remove(element *list.Element) *cached {
	statement := c.recent.Remove(element).(*cached)
	delete(c.statements, statement.query)
	return statement
}

// driverRows is what rows of the driver can do.
type driverRows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

// rows give their statement back when they are closed, or close it if it failed.
type rows struct {
	driverRows
	cache     *StatementCache
	statement *cached // nil when they are closed
}

// Close implements [driver.Rows].
func (r *rows) Close() error {
	if r.statement == nil {
		return nil
	}
	statement := r.statement
	r.statement = nil
	if err := r.driverRows.Close(); err != nil { // also where Next failed
		_ = statement.Close()
		return err
	}
	return r.cache.give(statement)
}
