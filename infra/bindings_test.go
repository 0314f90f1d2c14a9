package infra_test

import (
	"bytes"
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // pgx as a driver of database/sql

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// similar are bindings of which another one is much the same. They are tried if ACCOUNTS_TEST_LONG is set.
var similar = []string{
	"pgx by database-sql on a pool of the application", "pgx on a pool of the application", "in a transaction of pgx's by database-sql",
	"repeatable read by default", "pgx, serializable by default", "lib-pq with an audit trail",
}

// bindings are the ways to a store beside those that the packages of the drivers test themselves. Each returns one that is migrated.
var bindings = []struct {
	name string
	open func(t testing.TB, clock func() time.Time) *infra.Store
}{
	{"lib-pq on a pool of the application", func(t testing.TB, clock func() time.Time) *infra.Store {
		return onPool(t, "postgres", storetest.PostgresURL(t), clock)
	}},
	{"pgx by database-sql on a pool of the application", func(t testing.TB, clock func() time.Time) *infra.Store {
		return onPool(t, "pgx", storetest.PostgresURL(t), clock)
	}},
	{"pgx by database-sql in simple protocol", func(t testing.TB, clock func() time.Time) *infra.Store {
		return onPool(t, "pgx", storetest.PostgresURL(t)+"&default_query_exec_mode=simple_protocol", clock)
	}},
	{"pgx", func(t testing.TB, clock func() time.Time) *infra.Store {
		return openPGX(t, storetest.PostgresURL(t), infra.WithClock(clock))
	}},
	{"pgx as behind a pooler", func(t testing.TB, clock func() time.Time) *infra.Store {
		return openPGX(t, storetest.PostgresURL(t)+"&default_query_exec_mode=exec", infra.WithClock(clock))
	}},
	{"pgx on a pool of the application", func(t testing.TB, clock func() time.Time) *infra.Store {
		pool, err := pgxpool.New(t.Context(), storetest.PostgresURL(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		store, err := pgx.New(pool, infra.WithClock(clock))
		if err != nil {
			t.Fatal(err)
		}
		return store
	}},
	{"sqlite on a pool of the application", func(t testing.TB, clock func() time.Time) *infra.Store {
		db := applicationSQLite(t)
		db.SetMaxOpenConns(4)
		store, err := sqlite.New(db, infra.WithClock(clock))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return store
	}},
	{"in a transaction of lib-pq's", func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t), infra.WithClock(clock))
	}},
	{"in a transaction of pgx's by database-sql", func(t testing.TB, clock func() time.Time) *infra.Store {
		return openPGX(t, storetest.PostgresURL(t), infra.WithClock(clock))
	}},
	{"in a transaction on sqlite", func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), infra.WithClock(clock))
	}},
	{"repeatable read by default", func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t)+"&default_transaction_isolation=repeatable%20read", infra.WithClock(clock))
	}},
	{"serializable by default", func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t)+"&default_transaction_isolation=serializable", infra.WithClock(clock))
	}},
	{"pgx, serializable by default", func(t testing.TB, clock func() time.Time) *infra.Store {
		return openPGX(t, storetest.PostgresURL(t)+"&default_transaction_isolation=serializable", infra.WithClock(clock))
	}},
	{"lib-pq with an audit trail", func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t), infra.WithClock(clock), audit.WithTrail(audit.Options{}))
	}},
	{"pgx with an audit trail", func(t testing.TB, clock func() time.Time) *infra.Store {
		return openPGX(t, storetest.PostgresURL(t), infra.WithClock(clock), audit.WithTrail(audit.Options{}))
	}},
	{"sqlite with an audit trail", func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), infra.WithClock(clock), audit.WithTrail(audit.Options{}))
	}},
	{"in the schema My App beside another table users", func(t testing.TB, clock func() time.Time) *infra.Store {
		address := postgrestest.Clone(t, "foreign users", func(url string) error {
			db, err := stdsql.Open("postgres", url)
			if err == nil {
				_, err = db.Exec("CREATE TABLE public.users (id int PRIMARY KEY, email int UNIQUE)")
				_ = db.Close()
			}
			if err != nil {
				return err
			}
			store, err := postgres.Open(context.Background(), url, infra.WithSchema("My App"))
			if err != nil {
				return err
			}
			return errors.Join(store.Migrate(context.Background()), store.Close())
		})
		return storetest.OpenPostgres(t, address, infra.WithClock(clock), infra.WithSchema("My App"))
	}},
}

// TestContractOnEachBinding runs what can differ between the ways to a store, or the whole contract if ACCOUNTS_TEST_LONG is set.
func TestContractOnEachBinding(t *testing.T) {
	t.Parallel()
	run, long := domaintest.RunEveryMethod, os.Getenv("ACCOUNTS_TEST_LONG") != ""
	if long {
		run = domaintest.RunBriefly
	}
	for _, binding := range bindings {
		if !long && slices.Contains(similar, binding.name) {
			continue
		}
		t.Run(binding.name, func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			open := storetest.InTurn(t, binding.open)
			if strings.HasPrefix(binding.name, "in a transaction") {
				run(t, func(t *testing.T, clock func() time.Time) domain.Repository {
					return inRolledBack(t, open(t, clock).(*infra.Store))
				})
			} else {
				run(t, open)
			}
		})
	}
}

func openPGX(t testing.TB, url string, options ...infra.Option) *infra.Store {
	t.Helper()
	store, err := pgx.Open(t.Context(), url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// onPool returns a store on a pool that it did not make.
func onPool(t testing.TB, driver, url string, clock func() time.Time) *infra.Store {
	t.Helper()
	db, err := stdsql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(16) // other cases run at the same time, and the server has 200
	t.Cleanup(func() { _ = db.Close() })
	store, err := postgres.New(db, infra.WithClock(clock))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// applicationDSN is that of a new file of SQLite.
func applicationDSN(t testing.TB) string {
	path := (&url.URL{Path: filepath.ToSlash(filepath.Join(t.TempDir(), "application.db"))}).EscapedPath()
	return "file:" + path + "?_txlock=immediate&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
}

func applicationSQLite(t testing.TB) *stdsql.DB {
	t.Helper()
	db, err := stdsql.Open("sqlite", applicationDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// inRolledBack returns the store inside a transaction of the application, which is rolled back when the test ends. Then nothing may
// be left. The transaction serves several goroutines, and outlives statements that fail, by a savepoint for each; drivers end it with a
// statement that they cancel, so that a statement which has begun goes on when its context ends.
func inRolledBack(t *testing.T, store *infra.Store) domain.Repository {
	t.Helper()
	tx, err := store.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		if n, err := store.Count(context.Background(), domain.Filter{}); n != 0 || err != nil {
			t.Errorf("%d accounts are left by a transaction that was rolled back, %v", n, err)
		}
	})
	return infra.Bind(store, &savepoints{tx: tx})
}

type savepoints struct {
	turn
	tx *stdsql.Tx
}

// turn is a lock that its goroutine can take again. A transaction serves one goroutine at a time, so a method that makes a savepoint has it until
// its savepoint is released.
type turn struct {
	mu    sync.Mutex
	owner atomic.Value // the name of a goroutine
	times int
}

func (t *turn) take() {
	me := goroutine()
	if t.owner.Load() != me {
		t.mu.Lock()
		t.owner.Store(me)
	}
	t.times++
}

func (t *turn) give() {
	if t.times--; t.times == 0 {
		t.owner.Store("")
		t.mu.Unlock()
	}
}

// goroutine returns the first line of the goroutine's stack up to its state: "goroutine 18".
func goroutine() string {
	line := make([]byte, 64)
	line = line[:runtime.Stack(line, false)]
	name, _, _ := bytes.Cut(line, []byte(" ["))
	return string(name)
}

func (s *savepoints) exec(statement string) {
	if _, err := s.tx.Exec(statement); err != nil {
		panic(fmt.Sprintf("%s: %v", statement, err))
	}
}

// end ends the savepoint of a statement, and lets the next one begin.
func (s *savepoints) end(err error) {
	if err != nil {
		s.exec("ROLLBACK TO SAVEPOINT statement")
	}
	s.exec("RELEASE SAVEPOINT statement")
	s.give()
}

func (s *savepoints) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	release := strings.HasPrefix(query, "RELEASE SAVEPOINT ")
	if err := ctx.Err(); err != nil && !release {
		return 0, err
	}
	s.take()
	switch {
	case release:
		defer s.give()
		defer s.give() // that of the savepoint
		s.exec(query)
		return 0, ctx.Err()
	case strings.HasPrefix(query, "SAVEPOINT "):
		s.exec(query)
		return 0, nil
	case strings.HasPrefix(query, "ROLLBACK TO SAVEPOINT "):
		defer s.give()
		s.exec(query)
		return 0, nil
	}
	ctx = context.WithoutCancel(ctx)
	s.exec("SAVEPOINT statement")
	defer func() { s.end(err) }()
	result, err := s.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (s *savepoints) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	s.take()
	s.exec("SAVEPOINT statement")
	rows, err := s.tx.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
	if err != nil {
		s.end(err)
		return nil, err
	}
	return &savepointRows{rows, s, false}, nil
}

type savepointRows struct {
	*stdsql.Rows
	of     *savepoints
	closed bool
}

func (r *savepointRows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	failed := r.Err()
	err := r.Rows.Close()
	r.of.end(failed)
	return err
}
