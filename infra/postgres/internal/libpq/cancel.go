package libpq

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/softbee/accounts/infra"
)

// For a context that can end, database/sql and lib/pq each start a goroutine with every statement, only to wait for that
// end. In small reads the two are half of the time that an operation takes: docs/performance.md has the figures. Here a
// goroutine is started when a context does end:
//
//   - A connection is taken from the pool under the caller's context, and runs the statement under one without an end.
//   - Meanwhile the caller's context knows what to call when it ends (context.AfterFunc).
//   - That has lib/pq cancel the statement, which alone knows the server's key for it. lib/pq does so when the context of
//     a query ends whose rows are open. So each connection has such a query, an empty one, as long as it lives.
//
// In a transaction statements run as database/sql and lib/pq have it.

// cancelTimeout is how long a statement whose context has ended may take to say so. After it the connection is given up,
// so that no caller waits for a network that has gone silent.
const cancelTimeout = 2 * time.Second

// Handle executes statements outside transactions on a pool of a connector that [NewConnector] returned.
func Handle(db *stdsql.DB) infra.Handle { return pool{db} }

type pool struct{ db *stdsql.DB }

// Query implements [infra.Handle]. The connection is in use until the rows are closed.
func (p pool) Query(ctx context.Context, query string, args ...any) (found infra.Rows, err error) {
	err = p.run(ctx, func(ctx context.Context, conn *watchedConn) error {
		rows, err := conn.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
		if err != nil {
			conn.release()
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
		defer conn.release()
		result, err := conn.ExecContext(ctx, query, args...)
		if err == nil {
			n, err = result.RowsAffected()
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
			return err
		}
		watched := &watchedConn{Conn: conn}
		if err := conn.Raw(func(driverConn any) error {
			watched.watcher = driverConn.(interface{ watchedBy() *watcher }).watchedBy()
			return nil
		}); err != nil {
			return errors.Join(err, conn.Close())
		}
		watched.stop = context.AfterFunc(ctx, watched.watcher.abort)
		err = execute(context.WithoutCancel(ctx), watched)
		if attempt == attempts || !errors.Is(err, driver.ErrBadConn) {
			return err
		}
	}
}

// watchedConn is a connection of the pool, in use for one statement.
type watchedConn struct {
	*stdsql.Conn
	watcher *watcher
	stop    func() bool
}

// release gives the connection back, once.
func (c *watchedConn) release() {
	if c.stop == nil {
		return
	}
	if !c.stop() {
		c.watcher.spent = true // even where the statement was faster: what comes next must not be cancelled
	}
	c.stop = nil
	_ = c.Close() // fails only where the pool has taken it back already
}

// watchedRows release their connection when they are closed.
type watchedRows struct {
	*stdsql.Rows
	conn *watchedConn
}

func (r watchedRows) Close() error {
	defer r.conn.release()
	return r.Rows.Close()
}

// watcher has lib/pq cancel what a connection executes.
type watcher struct {
	rows  driver.Rows // open as long as lib/pq shall watch
	abort func()      // has it cancel, after which the connection cannot be used
	spent bool        // abort was called, or is about to be
}

// newWatcher has lib/pq watch a new connection.
func newWatcher(ctx context.Context, conn driver.QueryerContext, s *socket) (*watcher, error) {
	watched, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	rows, err := conn.QueryContext(watched, ";", nil)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &watcher{rows: rows, abort: func() {
		_ = s.SetDeadline(time.Now().Add(cancelTimeout))
		cancel()
	}}, nil
}
