package bulk_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/postgres/postgrestest"
	"github.com/softbee/accounts/infra/sqlite"
)

const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// onBoth runs a test on a fresh store in each database.
func onBoth(t *testing.T, test func(t *testing.T, store *infra.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, openSQLite(t, filepath.Join(t.TempDir(), "accounts.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, openPostgres(t, migratedPostgres(t)))
	})
}

func openSQLite(t testing.TB, path string) *infra.Store {
	t.Helper()
	store, err := sqlite.Open(context.Background(), path)
	return migrated(t, store, err)
}

func openPostgres(t testing.TB, url string) *infra.Store {
	t.Helper()
	store, err := postgres.Open(context.Background(), url)
	return migrated(t, store, err)
}

func migrated(t testing.TB, store *infra.Store, err error) *infra.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return store
}

func migratedPostgres(t testing.TB) string {
	t.Helper()
	return postgrestest.Clone(t, "migrated", func(url string) error {
		store, err := postgres.Open(context.Background(), url)
		if err != nil {
			return err
		}
		return errors.Join(store.Migrate(context.Background()), store.Close())
	})
}

func count(t testing.TB, store *infra.Store) int {
	t.Helper()
	n, err := store.Count(context.Background(), domain.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
