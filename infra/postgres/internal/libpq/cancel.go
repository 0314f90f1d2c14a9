package libpq

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/infra"
)

// For a context that can end, lib/pq starts a goroutine with every statement, only to wait for that end, and database/sql another one.
// In small reads the two are half of the time that an operation takes: docs/performance.md has the figures. And lib/pq waits for the
// server whether or not it answers. So no context that can end reaches lib/pq. Instead:
//
//   - While a connection is in use, the caller's context knows what to call when it ends (context.AfterFunc): the connection's abort.
//   - That has lib/pq cancel the statement, which alone knows the server's key for it. lib/pq does so when the context of
//     a query ends whose rows are open. So each connection has such a query, an empty one, as long as it lives.
//   - It sets a deadline to the socket, too, after which nothing on the connection waits for the server.
//
// A transaction is watched as a whole, from its beginning on, with its commit and its rollback. Outside transactions [Handle] takes a
// connection from the pool under the caller's context and executes under one without an end, so that database/sql starts no goroutine
// either.

// cancelTimeout is how long a statement whose context has ended may take to say so. After it the connection is given up,
// so that no caller waits for a network that has gone silent.
const cancelTimeout = time.Second

// Handle executes statements outside transactions on a pool of a connector that [NewConnector] returned.
func Handle(db *stdsql.DB) infra.Handle { return pool{db} }

type pool struct{ db *stdsql.DB }

// Query implements [infra.Handle]. The connection is in use until the rows are closed.
func (p pool) Query(ctx context.Context, query string, args ...any) (found infra.Rows, err error) {
	err = p.run(ctx, func(ctx context.Context, conn *watchedConn) error {
		rows, err := conn.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
		if err != nil {
			_ = conn.release()
			return err
		}
		found = watchedRows{rows, conn}
		return nil
	})
	return found, err
}

// Exec implements [infra.Handle].
func (p pool) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = p.run(ctx, func(ctx context.Context, conn *watchedConn) error {
		result, err := conn.ExecContext(ctx, query, args...)
		if err == nil {
			n, err = result.RowsAffected()
		}
		if ended := conn.release(); err == nil {
			err = ended
		}
		return err
	})
	return n, err
}

// run calls execute with a connection and a context without an end, and again if that one turns out to be lost before anything
// was executed. Execute releases the connection.
func (p pool) run(ctx context.Context, execute func(context.Context, *watchedConn) error) error {
	const attempts = 3 // as database/sql has it
	for attempt := 1; ; attempt++ {
		conn, err := p.db.Conn(ctx)
		if err != nil {
			return notSentError{err}
		}
		watched := &watchedConn{Conn: conn}
		if err := conn.Raw(func(driverConn any) error {
			watched.watcher = driverConn.(interface{ watchedBy() *watcher }).watchedBy()
			return nil
		}); err != nil {
			return errors.Join(err, conn.Close())
		}
		watched.stop = watched.watcher.watch(ctx)
		err = execute(context.WithoutCancel(ctx), watched)
		if attempt == attempts || !errors.Is(err, driver.ErrBadConn) {
			return err
		}
	}
}

// notSentError is an error before anything of the statement was sent.
type notSentError struct{ error }

func (e notSentError) Unwrap() error { return e.error }

// SafeToRetry tells that the statement was not executed, as errors of pgx tell it.
func (notSentError) SafeToRetry() bool { return true }

// watchedConn is a connection of the pool, in use for one statement.
type watchedConn struct {
	*stdsql.Conn
	watcher *watcher
	stop    func() error
}

// release gives the connection back, once. It returns the error of the context if that ended before: a result that came with it
// may not last, because a server that waits for a standby stops waiting when the statement is cancelled, and reports success.
func (c *watchedConn) release() error {
	if c.stop == nil {
		return nil
	}
	ended := c.stop()
	c.stop = nil
	_ = c.Close() // fails only where the pool has taken it back already
	return ended
}

// watchedRows release their connection when they are closed.
type watchedRows struct {
	*stdsql.Rows
	conn *watchedConn
}

func (r watchedRows) Close() error {
	err := r.Rows.Close()
	if ended := r.conn.release(); err == nil {
		err = ended
	}
	return err
}

// watcher ends what a connection executes.
type watcher struct {
	rows   driver.Rows // open as long as lib/pq shall watch
	socket *socket
	cancel func()      // has lib/pq cancel
	spent  atomic.Bool // abort was called, or is about to be: what comes next would be cancelled
}

// newWatcher has lib/pq watch a new connection.
func newWatcher(conn driver.QueryerContext, s *socket) (*watcher, error) {
	watched, cancel := context.WithCancel(context.Background())
	rows, err := conn.QueryContext(watched, ";", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	return &watcher{rows: rows, socket: s, cancel: cancel}, nil
}

// watch ends what the connection executes when ctx ends, until stop is called. Stop returns the error of ctx if that was too late; then
// the connection cannot be used any more.
func (w *watcher) watch(ctx context.Context) (stop func() error) {
	if ctx.Done() == nil {
		return func() error { return nil }
	}
	stopped := context.AfterFunc(ctx, w.abort)
	return func() error {
		if stopped() {
			return nil
		}
		w.spent.Store(true) // even where the statement was faster
		return ctx.Err()
	}
}

func (w *watcher) abort() {
	w.spent.Store(true)
	_ = w.socket.SetDeadline(time.Now().Add(cancelTimeout))
	w.cancel()
}
