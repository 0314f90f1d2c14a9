// Package storetest opens stores for tests, of an application too.
//
// PostgreSQL is the server at the URL in ACCOUNTS_TEST_POSTGRES, whose role must be allowed to create databases, or, where that
// is not set, a throw-away server started from the binaries installed on the machine: one per test process, on first use.
// Without either, a test that asks for it is skipped with a line that says what to install; with ACCOUNTS_REQUIRE_POSTGRES
// set, it fails. Nothing is left behind, however the test process ends.
package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

// OnBoth runs a test on a new store in each database.
func OnBoth(t *testing.T, test func(t *testing.T, store *infra.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, OpenPostgres(t, PostgresURL(t)))
	})
}

// OpenSQLite returns a migrated store in a file, new or not, which is closed when the test ends. A new file is a copy of one that is migrated
// once.
func OpenSQLite(t testing.TB, path string, options ...infra.Option) *infra.Store {
	t.Helper()
	if path != ":memory:" {
		content, err := migratedFile()
		if err != nil {
			t.Fatalf("migrate a file of SQLite: %v", err)
		}
		if file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil { // otherwise Open says what is wrong with the path
			_, err = file.Write(content)
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	store, err := sqlite.Open(t.Context(), path, options...)
	return migrated(t, store, err)
}

// migratedFile returns the content of a new file after the migrations.
var migratedFile = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "accounts-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "accounts.db")
	store, err := sqlite.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(store.Migrate(context.Background()), store.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// OpenPostgres returns a migrated store in a database, new or not, which is closed when the test ends.
func OpenPostgres(t testing.TB, url string, options ...infra.Option) *infra.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), url, options...)
	return migrated(t, store, err)
}

func migrated(t testing.TB, store *infra.Store, err error) *infra.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// PostgresURL returns a URL that leads to a schema with all migrations applied and no rows: the only one in its search_path. When the test
// ends, it is emptied for another one if nothing but rows was changed, and dropped otherwise. A test that looks at what a database has once
// uses [PostgresDatabaseURL].
func PostgresURL(t testing.TB) string {
	t.Helper()
	return postgrestest.Reused(t, "migrated", migrate)
}

// PostgresDatabaseURL returns the URL of a new database with all migrations applied: a copy of one that is migrated once. It
// is dropped when the test ends. [PostgresURL] is quicker.
func PostgresDatabaseURL(t testing.TB) string {
	t.Helper()
	return postgrestest.Clone(t, "migrated", migrate)
}

// EmptyPostgresURL returns the URL of a new, empty database. It is dropped when the test ends.
func EmptyPostgresURL(t testing.TB) string {
	t.Helper()
	return postgrestest.Database(t)
}

// PostgresServer returns the URL of the maintenance database of the server for tests, and skips the test if there is none.
func PostgresServer(t testing.TB) string {
	t.Helper()
	return postgrestest.Server(t)
}

func migrate(url string) error {
	store, err := postgres.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return errors.Join(store.Migrate(context.Background()), store.Close())
}

// InTurn returns a function that opens stores for the cases of a contract: at most as many as there are processors, each of which is given to the next
// case with its connections and with the clock of that case, without its accounts; entries of an audit trail stay. They are closed when the test ends. A case waits for a
// store that is free. open returns a new one; what it says fails or skips the case, and what it cleans up or puts into a temporary directory lasts
// until the test ends. A store of which a case fails is not used again.
func InTurn(t *testing.T, open func(t testing.TB, clock func() time.Time) *infra.Store) func(*testing.T, func() time.Time) domain.Repository {
	t.Helper()
	type turn struct {
		store *infra.Store
		clock atomic.Pointer[func() time.Time]
	}
	opened, unopened := make(chan *turn, runtime.GOMAXPROCS(0)), make(chan *turn, runtime.GOMAXPROCS(0))
	for range cap(unopened) {
		unopened <- new(turn)
	}
	return func(c *testing.T, clock func() time.Time) domain.Repository {
		var one *turn
		select {
		case one = <-opened:
		default:
			select {
			case one = <-opened:
			case one = <-unopened:
			}
		}
		c.Cleanup(func() {
			if c.Failed() || one.store == nil || deleteRows(one.store) != nil {
				unopened <- new(turn)
			} else {
				opened <- one
			}
		})
		one.clock.Store(&clock)
		if one.store == nil {
			one.store = open(opener{c, t}, func() time.Time { return (*one.clock.Load())() })
		}
		return one.store
	}
}

// opener is a case that opens something which lasts as long as its test.
type opener struct {
	testing.TB
	test *testing.T
}

func (o opener) Cleanup(f func())         { o.test.Cleanup(f) }
func (o opener) Context() context.Context { return o.test.Context() }
func (o opener) TempDir() string          { return o.test.TempDir() }

// deleteRows deletes all accounts, and waits for what is still written.
func deleteRows(store *infra.Store) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return store.InTx(ctx, func(tx *infra.Tx) error {
		users := "users"
		if schema := store.Schema(); schema != "" {
			users = `"` + schema + `".users`
			if _, err := tx.SQL().ExecContext(ctx, "LOCK TABLE "+users+" IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
		}
		_, err := tx.SQL().ExecContext(ctx, "DELETE FROM "+users)
		return err
	})
}

// NewUser returns an account that is not stored: NAME with the address NAME@example.org, and nothing that may be absent. No
// password fits its hash, which is as long as those of the default policy.
func NewUser(t testing.TB, name string) *domain.User {
	t.Helper()
	email, err := domain.ParseEmail(name + "@example.org")
	if err != nil {
		t.Fatal(err)
	}
	username, err := domain.ParseUsername(name)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return u
}
