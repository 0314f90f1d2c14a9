package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

func TestContract(t *testing.T) { contract(t, "") }

// TestContractOnANewerSchema runs the suite as this release will run where the next one was already: on a schema that has got
// more columns meanwhile.
func TestContractOnANewerSchema(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite runs once in short mode")
	}
	contract(t, "ALTER TABLE users ADD COLUMN nickname text; ALTER TABLE users ADD COLUMN points integer NOT NULL DEFAULT 0")
}

func contract(t *testing.T, change string) {
	domaintest.Run(t, func(t *testing.T, clock func() time.Time) domain.Repository {
		store := open(t, infra.WithClock(clock))
		if _, err := store.DB().Exec(change); err != nil {
			t.Fatal(err)
		}
		// The suite makes thousands of commits, and none of them has to outlive a loss of power.
		if _, err := store.DB().Exec("PRAGMA synchronous = OFF"); err != nil {
			t.Fatal(err)
		}
		return store
	})
}

// open returns a migrated store in a new file.
func open(t *testing.T, options ...infra.Option) *infra.Store {
	t.Helper()
	return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), options...)
}
