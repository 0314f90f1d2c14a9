// Package infra stores accounts: it implements [domain.Repository] over ent's generated client, on PostgreSQL and on
// SQLite. Nothing of ent or of a database driver leaves it. Open a store with infra/postgres or infra/sqlite.
package infra

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"entgo.io/ent/dialect"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
)

// Store keeps accounts in one database. It is safe for concurrent use. Every method is atomic, and all but a few are one
// statement: docs/performance.md has the table.
type Store struct {
	driver   dialect.Driver
	client   *ent.Client
	texts    statements
	database Database
	now      func() time.Time
	staged   *atomic.Int32 // of the next calls of CreateMany, how many expect collisions
}

var _ domain.Repository = (*Store)(nil)

// Database is what a package that opens one tells the store about it.
type Database struct {
	DB     *stdsql.DB
	Driver dialect.Driver // over DB

	// Diagnose explains an error of the driver. It returns the zero Diagnosis for an error that is not the driver's.
	Diagnose func(error) Diagnosis

	// Copy writes rows into a table in the database's fastest way, within tx, a transaction of Driver. Each row is valid until
	// the next, and Copy's own until then.
	Copy func(ctx context.Context, tx dialect.ExecQuerier, table string, columns []string, rows iter.Seq2[[]any, error]) error
}

// Option changes how a store works.
type Option func(*Store)

// WithClock makes the store take the time from now instead of time.Now.
func WithClock(now func() time.Time) Option {
	return func(s *Store) { s.now = now }
}

// New returns a store on an open database. It is for the packages that open databases.
func New(database Database, options ...Option) *Store {
	s := &Store{
		driver:   database.Driver,
		client:   ent.NewClient(ent.Driver(database.Driver)),
		texts:    newStatements(database.Driver.Dialect()),
		database: database,
		now:      time.Now,
		staged:   new(atomic.Int32),
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// DB returns the store's connection pool, for statements on the application's own tables in the same database. It is
// closed with the store.
func (s *Store) DB() *stdsql.DB { return s.database.DB }

// Close closes the connections. Methods that run meanwhile fail with [domain.ErrUnavailable].
func (s *Store) Close() error {
	if err := s.driver.Close(); err != nil {
		return s.failure(context.Background(), "close", err)
	}
	return nil
}

// InTx calls fn with a store whose methods all belong to one transaction, which is committed if fn returns nil and rolled
// back otherwise. The inner store must not be used after fn has returned, nor by several goroutines at once. While fn runs
// on SQLite, where a store has one connection, the outer store waits: do not call it in fn.
//
// On PostgreSQL a statement that failed aborts the transaction: return its error.
func (s *Store) InTx(ctx context.Context, fn func(tx *Store) error) (err error) {
	const op = "transaction"
	tx, err := s.driver.Tx(ctx)
	if err != nil {
		return s.failure(ctx, op, err)
	}
	defer func() {
		if p := recover(); p != nil {
			_ = tx.Rollback() // the panic matters more
			panic(p)
		}
	}()
	driver := txDriver{tx, s.driver.Dialect()}
	inner := *s
	inner.driver, inner.client = driver, ent.NewClient(ent.Driver(driver))
	if err := fn(&inner); err != nil {
		if rollback := tx.Rollback(); rollback != nil && ctx.Err() == nil {
			return errors.Join(err, s.failure(ctx, "roll back", rollback))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return s.failure(ctx, "commit", err)
	}
	return nil
}

// txDriver makes ent's client work inside a transaction.
type txDriver struct {
	dialect.ExecQuerier
	database string
}

func (d txDriver) Dialect() string { return d.database }

func (d txDriver) Close() error { return nil }

func (d txDriver) Tx(context.Context) (dialect.Tx, error) {
	return nil, errors.New("a transaction is open already")
}

// present returns the time as the database keeps it.
func (s *Store) present() time.Time { return domain.StoredTime(s.now()) }

func (s *Store) onSQLite() bool { return s.driver.Dialect() == dialect.SQLite }

func notFound() error { return &domain.Error{Kind: domain.ErrNotFound, Reason: "no such account"} }

func wrap(op string, err error) error { return fmt.Errorf("%s: %w", op, err) }
