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
	"path/filepath"
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

// OpenSQLite returns a migrated store in a file, new or not, which is closed when the test ends.
func OpenSQLite(t testing.TB, path string, options ...infra.Option) *infra.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), path, options...)
	return migrated(t, store, err)
}

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

// PostgresURL returns a URL that leads to a new schema with all migrations applied: the only one in its search_path. It is
// dropped when the test ends. A test that looks at what a database has once uses [PostgresDatabaseURL].
func PostgresURL(t testing.TB) string {
	t.Helper()
	url := postgrestest.Schema(t)
	if err := migrate(url); err != nil {
		t.Fatalf("migrate a test schema: %v", err)
	}
	return url
}

// ReusedPostgresURL is [PostgresURL] for tests that change nothing but rows, one after the other: the schema is emptied when the
// test ends, and given to the next one.
func ReusedPostgresURL(t testing.TB) string {
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
