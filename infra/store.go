// Package infra stores accounts: it implements [domain.Repository] by SQL on PostgreSQL and on SQLite, over any pool and in any
// transaction. It names no driver. Open a store with infra/postgres, infra/pgx or infra/sqlite.
package infra

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

// Store keeps accounts in one database. It is safe for concurrent use. Every method is atomic, and all but a few are one
// statement: docs/performance/round-trips.md has the table.
//
// A statement that fails with a serialization failure or a deadlock had no effect and is executed again, so that methods work the same
// under every isolation level that the server or the pool defaults to.
type Store struct {
	repository
	database Database
	replicas *replicas        // nil without any
	searched migration.Schema // that of repository, with how it was found
}

var (
	_ domain.Repository = (*Store)(nil)
	_ domain.Repository = (*Tx)(nil)
)

// Option changes how a store works.
type Option func(*settings)

type settings struct {
	now       func() time.Time
	schema    string
	observers []domain.Observer
	hooks     []chosenHook
	trails    []*trail
	replicas  []openPool
}

// WithClock makes the store take the time from now instead of time.Now.
func WithClock(now func() time.Time) Option {
	return func(s *settings) { s.now = now }
}

// WithSchema puts the tables, and the history of their migrations, into a schema of PostgreSQL. [Store.Migrate] creates it where it is
// missing. Without this option the store uses the one to which the search_path of the pool leads, as
// [migration.CurrentSchema] finds it; it looks once, when the store is opened. On SQLite, which has no schemas, it is refused.
func WithSchema(name string) Option {
	return func(s *settings) { s.schema = name }
}

// New returns a store on a database. It is for the packages of the drivers; applications call their Open or New.
//
// It returns [domain.ErrInvalid] for a missing pool, an unknown dialect, or a schema that cannot be one, and the errors of a query
// when it has to ask for the schema.
func New(ctx context.Context, database Database, options ...Option) (*Store, error) {
	const op = "open store"
	d := dialects[database.Dialect]
	switch {
	case database.DB == nil:
		return nil, wrap(op, required("database"))
	case d == nil:
		return nil, wrap(op, invalid("dialect", fmt.Sprintf("is %q, not postgres or sqlite3", database.Dialect)))
	}
	chosen := settings{now: time.Now}
	for _, option := range options {
		if option == nil {
			return nil, wrap(op, required("option"))
		}
		option(&chosen)
	}
	switch {
	case chosen.now == nil:
		return nil, wrap(op, required("clock"))
	case slices.Contains(chosen.observers, nil):
		return nil, wrap(op, required("observer"))
	case slices.ContainsFunc(chosen.hooks, func(h chosenHook) bool { return h.hook == nil }):
		return nil, wrap(op, required("hook"))
	case len(chosen.trails) > 1:
		return nil, wrap(op, invalid("trail", "is given twice"))
	case len(chosen.trails) > 0 && chosen.trails[0].origin == nil:
		return nil, wrap(op, required("trail"))
	case slices.ContainsFunc(chosen.replicas, func(r openPool) bool { return r == nil }):
		return nil, wrap(op, required("replica"))
	case len(chosen.replicas) > 0 && d.replica == "":
		return nil, wrap(op, invalid("replica", "is of PostgreSQL; the database is "+d.name))
	}
	if database.Handle == nil {
		database.Handle = sqlHandle{database.DB}
	}
	s := &Store{database: database, repository: repository{
		handle:    database.Handle,
		lost:      database.Lost,
		dialect:   d,
		name:      database.Name,
		now:       chosen.now,
		staged:    new(atomic.Int32),
		observers: chosen.observers,
		hooks:     chosen.hooks,
	}}
	s.nested = func(ctx context.Context, fn func(*Tx) error) error { return s.InTx(ctx, fn, Retry(maxRetries)) }
	if len(chosen.trails) > 0 {
		s.trail = chosen.trails[0]
	}
	var err error
	if s.searched, err = s.resolveSchema(ctx, chosen.schema); err != nil {
		return nil, wrap(op, err)
	}
	s.schema = s.searched.Name
	s.texts = newStatements(d, s.schema)
	if len(chosen.replicas) == 0 {
		return s, nil
	}
	if s.replicas, err = openReplicas(d, database.Handle, chosen.replicas); err != nil { //nolint:contextcheck // they live as long as the store
		return nil, wrap(op, err)
	}
	s.handle = watched{database.Handle, s.replicas.changed}
	reads := s.repository
	reads.from = s.replicas
	s.reads = &reads
	return s, nil
}

// resolveSchema returns the schema of PostgreSQL that the store's statements name.
func (s *Store) resolveSchema(ctx context.Context, chosen string) (migration.Schema, error) {
	schema := migration.Schema{Name: chosen}
	if s.dialect.schemas && chosen == "" {
		return migration.CurrentSchema(ctx, s.database.DB)
	}
	_, err := migration.New(s.database.DB, s.dialect.name, s.dialect.migrations, schema) // which checks the name
	return schema, err
}

// DB returns the pool, for the application's own statements outside transactions. In [Store.InTx] use [Tx.SQL]: statements on the pool are
// not part of the transaction there.
func (s *Store) DB() *stdsql.DB { return s.database.DB }

// Schema returns the schema of PostgreSQL in which the tables are; "" on SQLite.
func (s *Store) Schema() string { return s.schema }

// Close closes the connections that the store opened, and none of a pool of the application. Methods that run meanwhile fail with
// [domain.ErrUnavailable].
func (s *Store) Close() error {
	var err error
	if s.replicas != nil {
		err = s.replicas.close()
	}
	if s.database.Close != nil {
		err = errors.Join(err, s.database.Close())
	}
	if err != nil {
		return s.failure(context.Background(), "close", err)
	}
	return nil
}

func notFound() error { return &domain.Error{Kind: domain.ErrNotFound, Reason: "no such account"} }

func required(field string) error { return invalid(field, "is required") }

func invalid(field, reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: reason}
}

func conflict() error {
	return &domain.Error{Kind: domain.ErrConflict, Field: "version", Reason: "the account was changed meanwhile"}
}

func wrap(op string, err error) error { return fmt.Errorf("%s: %w", op, err) }
