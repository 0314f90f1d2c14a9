// Package pgx opens a store in a PostgreSQL database, by jackc/pgx, or puts one on a pool of the application.
package pgx

import (
	"context"
	stdsql "database/sql"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/copytext"
	"github.com/softbee/accounts/infra/migration"
)

// Open opens the database at a URL, postgres://user:password@host:port/database?parameters, with the parameters that pgxpool has.
// Without pool_max_conns the pool has 4 connections for each processor, and at least 8. Nothing is migrated: call
// [infra.Store.Migrate], or run `accounts migrate up` before, and [infra.Store.CheckMigrations] here.
//
// With several hosts, host1:port1,host2:port2, connections lead to the one that takes writes, unless the URL has a target_session_attrs. A server
// that has become read-only or silent loses all connections of the pool. connect_timeout, 10 s by default and at most, bounds an attempt to
// connect; the first ones are ended after 2 s.
//
// Behind PgBouncer in transaction mode, set max_prepared_statements there (1.21 or later), or default_query_exec_mode=exec here.
//
// It returns [domain.ErrInvalid] on the field "database" for a URL that is not one, and [domain.ErrUnavailable] when the server does not
// answer or refuses.
func Open(ctx context.Context, databaseURL string, options ...infra.Option) (*infra.Store, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	f := follow(config, !strings.Contains(databaseURL, "prefer-standby"))
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, infra.ConnectFailure(ctx, err)
	}
	f.pool.Store(pool)
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, infra.ConnectFailure(ctx, err)
	}
	store, err := newStore(ctx, pool, infra.Database{Handle: pooled{pool}, Confirmed: confirmed}, func() error { pool.Close(); return nil }, options)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return store, nil
}

func parse(databaseURL string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil { // err would quote the URL
		return nil, invalidURL("is not a postgres:// URL with valid parameters")
	}
	if !strings.Contains(databaseURL, "pool_max_conns") {
		config.MaxConns = int32(max(8, 4*runtime.GOMAXPROCS(0)))
	}
	return config, nil
}

func invalidURL(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: reason}
}

// WithReplicas has the store read from replicas, as infra/postgres has it, each with a pool of its own: finds (but those by token and by identity), lists, counts
// and exports, outside transactions. Each URL leads to one server, and not through a pooler. See docs/operate.md.
func WithReplicas(databaseURLs ...string) infra.Option {
	return infra.WithReplicas(openReplica, databaseURLs...)
}

func openReplica(databaseURL string, admit func(string) error) (infra.ReplicaPool, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return infra.ReplicaPool{}, err
	}
	f := follow(config, false)
	if slices.ContainsFunc(f.hosts, func(h pgconn.FallbackConfig) bool { return !sameHost(h, f.hosts[0]) }) {
		return infra.ReplicaPool{}, invalidURL("has several hosts; give each replica a URL of its own")
	}
	f.admit = admit
	pool, err := pgxpool.NewWithConfig(context.Background(), config) // connects when it is used
	if err != nil {
		return infra.ReplicaPool{}, infra.ConnectFailure(context.Background(), err)
	}
	f.pool.Store(pool)
	reset := func() {
		f.generation.Add(1)
		pool.Reset()
	}
	return infra.ReplicaPool{Handle: pooled{pool}, Reset: reset, Close: func() error { pool.Close(); return nil }}, nil
}

// New returns a store on a pool of the application, whatever its settings. Close leaves the pool open. It returns [domain.ErrInvalid] on
// the field "database" for a nil pool, and [domain.ErrUnavailable] when no connection can be made.
func New(pool *pgxpool.Pool, options ...infra.Option) (*infra.Store, error) {
	if pool == nil {
		return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: "is required"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return newStore(ctx, pool, infra.Database{Handle: handle{pool}}, nil, options)
}

func newStore(ctx context.Context, pool *pgxpool.Pool, database infra.Database, closePool func() error, options []infra.Option) (*infra.Store, error) {
	db := stdlib.OpenDBFromPool(pool)
	database.Dialect, database.DB, database.Copy = migration.Postgres, db, copyRows
	database.Close = func() error {
		err := db.Close() // gives back the connections, all of which are the pool's
		if closePool != nil {
			err = errors.Join(err, closePool())
		}
		return err
	}
	return infra.New(ctx, database, options...)
}

// WithTx returns a store inside a transaction of the application: the same methods, while committing and rolling back are the
// application's. The transaction must be on the store's database. The Tx of a nil transaction returns [domain.ErrInvalid] from each
// method.
func WithTx(store *infra.Store, tx pgx.Tx) *infra.Tx {
	if tx == nil {
		return store.WithTx(nil)
	}
	return infra.Bind(store, handle{tx})
}

// handle is a pool or a transaction of pgx.
type handle struct {
	executor interface {
		Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
		Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
	}
}

// Query implements [infra.Handle].
func (h handle) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	found, err := h.executor.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return rows{found}, nil
}

// Exec implements [infra.Handle].
func (h handle) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := h.executor.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

// pooled executes statements on the store's own pool.
type pooled struct{ pool *pgxpool.Pool }

// Query implements [infra.Handle]. The connection is in use until the rows are closed.
func (p pooled) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, notSentError{err}
	}
	found, err := conn.Query(ctx, query, args...)
	if err != nil {
		conn.Release()
		return nil, err
	}
	return &pooledRows{rows{found}, conn}, nil
}

// Exec implements [infra.Handle].
func (p pooled) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return 0, notSentError{err}
	}
	defer conn.Release()
	tag, err := conn.Exec(ctx, query, args...)
	if err == nil {
		err = linkOf(conn.Conn()).confirmed()
	}
	return tag.RowsAffected(), err
}

type pooledRows struct {
	rows
	conn *pgxpool.Conn
}

// Close gives the connection back. It returns an error if the statement changed what no standby has confirmed.
func (r *pooledRows) Close() error {
	r.Rows.Close()
	if r.conn == nil {
		return nil
	}
	err := linkOf(r.conn.Conn()).confirmed()
	r.conn.Release()
	r.conn = nil
	return err
}

// notSentError is an error before anything of the statement was sent.
type notSentError struct{ error }

func (e notSentError) Unwrap() error { return e.error }

// SafeToRetry tells that the statement was not executed, as errors of pgx tell it.
func (notSentError) SafeToRetry() bool { return true }

// copyRows writes rows into a table by COPY. table is quoted already.
func copyRows(ctx context.Context, conn *stdsql.Conn, _ *stdsql.Tx, table string, columns []string, rows iter.Seq2[[]any, error]) error {
	return conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return errors.New("pgx: the connection is not one of pgx")
		}
		lines, stop := copytext.Reader(rows)
		defer stop()
		_, err := c.Conn().PgConn().CopyFrom(ctx, lines, "COPY "+table+" ("+strings.Join(columns, ", ")+") FROM STDIN")
		return err
	})
}
