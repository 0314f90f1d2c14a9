package libpq

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// lib/pq reports driver.ErrBadConn when a connection ends where a reply should come, and database/sql takes that for
// "nothing was executed" and executes the statement again on another connection. But the server may have executed it and
// only the reply was lost: n = n + 1 then adds two. Here a statement that was sent is never executed a second time:
//
//   - If anything of it was written, ErrBadConn becomes errReplyLost.
//   - So that this does not happen each time a server restarts, a connection that comes out of the pool is looked at
//     before anything is written: if the server has closed it, the pool gets ErrBadConn and takes another one.

// errReplyLost means that a statement may or may not have been executed.
var errReplyLost = fmt.Errorf("postgres: the connection was lost before the reply came: %w", io.ErrUnexpectedEOF)

// errUnconfirmed means that a change was made and that no standby has it: somebody has ended the wait for synchronous replication, by
// pg_cancel_backend, statement_timeout or otherwise. PostgreSQL reports success and a warning then.
var errUnconfirmed = fmt.Errorf("postgres: the wait for the synchronous standby was ended before it confirmed the change: %w", io.ErrUnexpectedEOF)

// connOnce executes a statement at most once. No context that can end goes on to lib/pq: see cancel.go.
type connOnce struct {
	pqConn
	socket      *socket
	watcher     *watcher
	made        int64 // the generation of the pool in which it was made
	pool        *generations
	readOnly    bool // the transaction, as its caller wants it
	copying     bool // a COPY is not at its end
	unconfirmed bool // by a synchronous standby
}

// generations counts how often the connections of a pool have become useless all at once.
type generations struct{ atomic.Int64 }

func (c *connOnce) watchedBy() *watcher { return c.watcher }

func (c *connOnce) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(ctx, func(ctx context.Context) (driver.Rows, error) { return c.pqConn.QueryContext(ctx, query, args) })
}

func (c *connOnce) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.execute(ctx, func(ctx context.Context) (driver.Result, error) { return c.pqConn.ExecContext(ctx, query, args) })
}

func (c *connOnce) query(ctx context.Context, run func(context.Context) (driver.Rows, error)) (driver.Rows, error) {
	stop := c.begin(ctx)
	rows, err := run(context.WithoutCancel(ctx))
	if err != nil {
		return nil, c.end(stop, err)
	}
	found, ok := rows.(pqRows)
	if !ok {
		return nil, errors.Join(errNotPQ, rows.Close(), stop())
	}
	return &rowsOnce{found, c, stop}, nil
}

func (c *connOnce) execute(ctx context.Context, run func(context.Context) (driver.Result, error)) (driver.Result, error) {
	stop := c.begin(ctx)
	result, err := run(context.WithoutCancel(ctx))
	if err := c.end(stop, err); err != nil {
		return nil, err
	}
	return result, nil
}

// begin is called before something is executed that must not be executed twice.
func (c *connOnce) begin(ctx context.Context) (stop func() error) {
	c.socket.wrote, c.unconfirmed = false, false
	return c.watcher.watch(ctx)
}

// end is called after it, and returns what became of it.
func (c *connOnce) end(stop func() error, err error) error {
	if err != nil && c.socket.wrote && errors.Is(err, driver.ErrBadConn) {
		err = errReplyLost
	}
	return c.ended(stop, err)
}

// ended is end for what may be executed twice.
func (c *connOnce) ended(stop func() error, err error) error {
	late := stop()
	switch {
	case err != nil:
		return c.failed(err)
	case late != nil:
		return late
	case c.unconfirmed:
		return errUnconfirmed
	}
	return nil
}

// failed looks whether an error concerns the other connections of the pool. They are made again, each when it is wanted, after a server has
// become read-only, as a primary that was demoted, and after it said nothing for so long that the statement was given up.
func (c *connOnce) failed(err error) error {
	readOnly := pq.As(err, pqerror.ReadOnlySQLTransaction) != nil && !c.readOnly
	if readOnly || errors.Is(err, os.ErrDeadlineExceeded) {
		c.watcher.spent.Store(true)
		c.pool.CompareAndSwap(c.made, c.made+1)
	}
	return err
}

// notice is called for what the server tells besides.
func (c *connOnce) notice(notice *pq.Error) {
	c.unconfirmed = c.unconfirmed || notice.Routine == "SyncRepWaitForLSN" // the text is translated
}

// BeginTx watches the transaction up to its end. Beginning one may be repeated.
func (c *connOnce) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	stop := c.begin(ctx)
	tx, err := c.pqConn.BeginTx(context.WithoutCancel(ctx), options)
	if err != nil {
		return nil, c.ended(stop, err)
	}
	c.readOnly, c.copying = options.ReadOnly, false
	return &txOnce{tx, c, stop}, nil
}

type txOnce struct {
	driver.Tx
	conn *connOnce
	stop func() error
}

// Commit returns an error if the context of the transaction ended before the server's reply.
func (t *txOnce) Commit() error {
	t.conn.socket.wrote, t.conn.unconfirmed = false, false
	err := t.conn.end(t.stop, t.Tx.Commit())
	t.conn.readOnly = false
	return err
}

// Rollback says nothing to the server on a connection whose context has ended, or that is in a COPY: lib/pq reads the replies of that in a
// goroutine of its own, and one of the two would take the other's. The server rolls back when the connection ends.
func (t *txOnce) Rollback() error {
	if t.conn.copying || t.conn.watcher.spent.Load() {
		t.conn.watcher.spent.Store(true)
		_ = t.stop()
		_ = t.conn.socket.SetDeadline(time.Now())
		return driver.ErrBadConn
	}
	err := t.conn.ended(t.stop, t.Tx.Rollback())
	t.conn.readOnly = false
	return err
}

// Ping may be repeated.
func (c *connOnce) Ping(ctx context.Context) error {
	stop := c.begin(ctx)
	return c.ended(stop, c.pqConn.Ping(context.WithoutCancel(ctx)))
}

// PrepareContext prepares a statement that is executed at most once each time. Preparing changes nothing and may be repeated.
func (c *connOnce) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stop := c.begin(ctx)
	statement, err := c.pqConn.PrepareContext(context.WithoutCancel(ctx), query)
	if err := c.ended(stop, err); err != nil {
		return nil, err
	}
	switch statement := statement.(type) {
	case preparedStatement:
		return statementOnce{statement, c}, nil
	case copyIn:
		c.copying = true
		return copyStatement{statement, c}, nil
	}
	return statement, nil
}

type statementOnce struct {
	preparedStatement
	conn *connOnce
}

func (s statementOnce) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(ctx, func(ctx context.Context) (driver.Rows, error) { return s.preparedStatement.QueryContext(ctx, args) })
}

func (s statementOnce) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.execute(ctx, func(ctx context.Context) (driver.Result, error) { return s.preparedStatement.ExecContext(ctx, args) })
}

// rowsOnce are watched until they are closed.
type rowsOnce struct {
	pqRows
	conn *connOnce
	stop func() error
}

func (r *rowsOnce) Next(row []driver.Value) error {
	err := r.pqRows.Next(row)
	switch {
	case errors.Is(err, io.EOF):
		if r.conn.unconfirmed {
			return errUnconfirmed
		}
	case errors.Is(err, driver.ErrBadConn):
		return errReplyLost
	case err != nil:
		return r.conn.failed(err)
	}
	return err
}

func (r *rowsOnce) Close() error { return r.conn.end(r.stop, r.pqRows.Close()) }

// ResetSession is called when the connection comes out of the pool.
func (c *connOnce) ResetSession(ctx context.Context) error {
	if err := c.pqConn.ResetSession(ctx); err != nil {
		return err
	}
	if !c.IsValid() || !c.socket.quiet() {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid is called when the connection goes back to the pool.
func (c *connOnce) IsValid() bool {
	return !c.watcher.spent.Load() && c.made == c.pool.Load() && c.pqConn.IsValid()
}

// Close ends the watching, too.
func (c *connOnce) Close() error {
	_ = c.socket.SetDeadline(time.Now().Add(cancelTimeout)) // of saying goodbye, and of a COPY
	_ = c.watcher.rows.Close()
	return c.pqConn.Close()
}

// socket is a network connection that remembers whether something was written. One goroutine at a time writes.
type socket struct {
	net.Conn
	wrote   bool
	known   bool            // as PostgreSQL's
	raw     syscall.RawConn // for quiet, which makes it
	readErr error           // of quiet
}

// errNotPostgres is reported instead of what another protocol says, which lib/pq would take for the length of a message: for that of
// a web server it asks for 1.4 GB.
var errNotPostgres = fmt.Errorf("postgres: the server does not speak PostgreSQL's protocol: %w", io.ErrUnexpectedEOF)

// Read looks at the first message: an authentication request, an error, a notice, a negotiation of the protocol's version, or TLS. Before it may
// come a byte alone, the answer whether there is TLS.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if !s.known && n > 0 && len(b) > 1 {
		if !bytes.ContainsRune([]byte("RENv\x15\x16"), rune(b[0])) {
			return 0, errNotPostgres
		}
		s.known = true
	}
	return n, err
}

func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.wrote = s.wrote || n > 0
	return n, err
}
