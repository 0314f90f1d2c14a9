package libpq

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/lib/pq"
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

// newConnectorOnce returns a connector that wraps the connections of lib/pq's, whose dialer it replaces.
func newConnectorOnce(base *pq.Connector, wrap func(*connOnce) driver.Conn) driver.Connector {
	base.Dialer(socketDialer{})
	return connectorOnce{base, wrap}
}

type connectorOnce struct {
	*pq.Connector
	wrap func(*connOnce) driver.Conn
}

func (c connectorOnce) Connect(ctx context.Context) (driver.Conn, error) {
	var last *socket // of the hosts and TLS modes that lib/pq tries, the last one serves
	conn, err := c.Connector.Connect(context.WithValue(ctx, socketKey{}, &last))
	if err != nil {
		return nil, err
	}
	wrapped, ok := conn.(pqConn)
	if !ok || last == nil {
		return nil, errors.Join(errNotPQ, conn.Close())
	}
	watcher, err := newWatcher(ctx, wrapped, last)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c.wrap(&connOnce{wrapped, last, watcher}), nil
}

// connOnce executes a statement at most once.
type connOnce struct {
	pqConn
	socket  *socket
	watcher *watcher
}

func (c *connOnce) watchedBy() *watcher { return c.watcher }

func (c *connOnce) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return once(c.socket, func() (driver.Rows, error) { return c.pqConn.QueryContext(ctx, query, args) })
}

func (c *connOnce) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return once(c.socket, func() (driver.Result, error) { return c.pqConn.ExecContext(ctx, query, args) })
}

// PrepareContext prepares a statement that is executed at most once each time. Preparing changes nothing and may be repeated.
func (c *connOnce) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	statement, err := c.pqConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	switch statement := statement.(type) {
	case preparedStatement:
		return statementOnce{statement, c.socket}, nil
	case copyIn:
		return copyStatement{statement, c.pqConn}, nil
	}
	return statement, nil
}

type statementOnce struct {
	preparedStatement
	socket *socket
}

func (s statementOnce) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return once(s.socket, func() (driver.Rows, error) { return s.preparedStatement.QueryContext(ctx, args) })
}

func (s statementOnce) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return once(s.socket, func() (driver.Result, error) { return s.preparedStatement.ExecContext(ctx, args) })
}

// ResetSession is called when the connection comes out of the pool.
func (c *connOnce) ResetSession(ctx context.Context) error {
	if err := c.pqConn.ResetSession(ctx); err != nil {
		return err
	}
	if c.watcher.spent || !c.socket.quiet() {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid is called when the connection goes back to the pool.
func (c *connOnce) IsValid() bool { return !c.watcher.spent && c.pqConn.IsValid() }

// Close ends the watching, too.
func (c *connOnce) Close() error {
	_ = c.watcher.rows.Close()
	return c.pqConn.Close()
}

// once calls execute, and keeps database/sql from calling it again if it wrote something.
func once[T any](s *socket, execute func() (T, error)) (T, error) {
	s.wrote = false
	result, err := execute()
	if s.wrote && errors.Is(err, driver.ErrBadConn) {
		err = errReplyLost
	}
	return result, err
}

// socket is a network connection that remembers whether something was written. One goroutine at a time writes.
type socket struct {
	net.Conn
	wrote   bool
	raw     syscall.RawConn // for quiet, which makes it
	readErr error           // of quiet
}

func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.wrote = s.wrote || n > 0
	return n, err
}

// socketKey finds, in the context of a dialer, where to put the socket.
type socketKey struct{}

type socketDialer struct{ dialer net.Dialer }

func (d socketDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: conn}
	if last, ok := ctx.Value(socketKey{}).(**socket); ok { // not so where lib/pq cancels a query
		*last = s
	}
	return s, nil
}

// Dial and DialTimeout complete [pq.Dialer]; lib/pq prefers DialContext.
func (d socketDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d socketDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.dialer.Timeout = timeout
	return d.Dial(network, address)
}
