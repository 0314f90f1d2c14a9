package infra_test

import (
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/sqlite"
)

func TestHealth(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		h, err := store.Health(t.Context())
		if err != nil || !h.Reachable || !h.Writable || !h.Migrated || h.Server == "" || h.Lag != 0 || len(h.Schema.Pending) > 0 || h.Schema.Current == "" {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

func TestHealthOfWhatIsNotWell(t *testing.T) {
	for _, database := range databases {
		store := openEmpty(t, database)
		h, err := store.Health(t.Context())
		if !errors.Is(err, domain.ErrPendingMigrations) || !h.Reachable || h.Migrated || len(h.Schema.Pending) == 0 {
			t.Errorf("%s, empty: %+v, %v", database, h, err)
		}
		if err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if database == "postgres" {
			if _, err := store.DB().Exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$"); err != nil {
				t.Fatal(err)
			}
			store.DB().SetMaxIdleConns(0) // which closes the connections that were made before
			if h, err := store.Health(t.Context()); !errors.Is(err, domain.ErrUnavailable) || !h.Migrated || h.Writable {
				t.Errorf("%s, read-only: %+v, %v", database, h, err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if h, err := store.Health(t.Context()); !errors.Is(err, domain.ErrUnavailable) || h.Reachable {
			t.Errorf("%s, closed: %+v, %v", database, h, err)
		}
	}
}

// TestHealthOfAReadOnlyFile opens a file in such a way that it may only be read.
func TestHealthOfAReadOnlyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	store, err := sqlite.Open(t.Context(), path)
	if err == nil {
		err = errors.Join(store.Migrate(t.Context()), store.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()+"?mode=ro&_pragma=foreign_keys(1)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	reading, err := sqlite.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := reading.Health(t.Context()); !errors.Is(err, domain.ErrUnavailable) || !h.Reachable || h.Writable || !h.Migrated {
		t.Errorf("%+v, %v", h, err)
	}
}
