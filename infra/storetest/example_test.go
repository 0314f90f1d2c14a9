package storetest_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

var t *testing.T // that of the test

func ExampleOnBoth() {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) { // on SQLite and, where there is a server, on PostgreSQL
		if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
			t.Error(err)
		}
	})
}

func ExampleNewUser() {
	store := storetest.OpenSQLite(t, ":memory:")
	if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
		t.Error(err)
	}
}

func ExampleOpenSQLite() {
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), infra.WithClock(time.Now))
	t.Log(store.CheckMigrations(t.Context()))
}

func ExampleOpenPostgres() {
	store := storetest.OpenPostgres(t, storetest.PostgresURL(t)) // a schema for this test alone while it runs
	t.Log(store.Schema())
}

func ExampleInTurn() {
	domaintest.Run(t, storetest.InTurn(t, func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t), infra.WithClock(clock))
	}))
}

func ExamplePostgresURL() {
	t.Log(storetest.PostgresURL(t))         // a schema with the tables and no rows: the quickest
	t.Log(storetest.PostgresDatabaseURL(t)) // a database of its own with the tables
	t.Log(storetest.EmptyPostgresURL(t))    // one without any
}

func ExamplePostgresServer() {
	t.Log(storetest.PostgresServer(t)) // the server; the test is skipped where there is none
}
