package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

func TestContract(t *testing.T) { contract(t, domaintest.Run, "") }

// TestContractOnANewerSchema is as this release will run where the next one was already: on a schema that has got more columns
// meanwhile. It runs what can differ there, or the whole contract if ACCOUNTS_TEST_LONG is set.
func TestContractOnANewerSchema(t *testing.T) {
	t.Parallel()
	run := domaintest.RunEveryMethod
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		run = domaintest.RunBriefly
	}
	contract(t, run, "ALTER TABLE users ADD COLUMN next_release_text text; ALTER TABLE users ADD COLUMN next_release_number integer NOT NULL DEFAULT 0")
}

func contract(t *testing.T, run func(*testing.T, func(*testing.T, func() time.Time) domain.Repository), change string) {
	run(t, storetest.InTurn(t, func(t testing.TB, clock func() time.Time) *infra.Store {
		store := open(t, infra.WithClock(clock))
		if _, err := store.DB().Exec(change); err != nil {
			t.Fatal(err)
		}
		// The suite makes thousands of commits, and none of them has to outlive a loss of power.
		if _, err := store.DB().Exec("PRAGMA synchronous = OFF"); err != nil {
			t.Fatal(err)
		}
		return store
	}))
}

// open returns a migrated store in a new file.
func open(t testing.TB, options ...infra.Option) *infra.Store {
	t.Helper()
	return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), options...)
}
