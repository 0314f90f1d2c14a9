package postgres

import (
	"context"
	"database/sql"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/postgres/internal/libpq"
)

// TestRoundTripsWithHooks: a change that a hook wants to know of takes BEGIN, its statement, what the hook does, and COMMIT; any other one takes what
// it does without hooks. In a transaction of the caller a savepoint takes the place of BEGIN and COMMIT. The trail costs no round trip where its entry is in
// the statement of the change.
func TestRoundTripsWithHooks(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, migrated(t))
	connector, err := libpq.NewConnector(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	open := func(options ...infra.Option) *infra.Store {
		t.Helper()
		store, err := infra.New(t.Context(), infra.Database{Dialect: migration.Postgres, DB: db, Handle: libpq.Handle(db)}, options...)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	idle := func(context.Context, *infra.Tx, domain.Event) error { return nil }
	one := func(ctx context.Context, tx *infra.Tx, _ domain.Event) error {
		_, err := tx.Exec(ctx, "note", "SELECT 1")
		return err
	}
	plain := open()
	inTx := func(a *account) error {
		return a.store.InTx(a.ctx, func(tx *infra.Tx) error {
			_, err := tx.RecordSignIn(a.ctx, a.ID())
			return err
		})
	}
	for _, test := range []struct {
		name  string
		store *infra.Store
		run   func(*account) error
		trips int64
	}{
		{"without", plain, recordSuccess, 1},
		{"for another kind", open(infra.WithHook(idle, domain.EventPurged)), recordSuccess, 1},
		{"a change without an event", open(infra.WithHook(one)), rotateToken, 1},
		{"a hook that does nothing", open(infra.WithHook(idle)), recordSuccess, 3},
		{"a hook with a statement", open(infra.WithHook(one)), recordSuccess, 4},
		{"two hooks with a statement", open(infra.WithHook(one), infra.WithHook(one)), recordSuccess, 5},
		{"a change that compares", open(infra.WithHook(one)), deactivate, 5},
		{"in a transaction without hooks", plain, inTx, 3},
		{"in a transaction", open(infra.WithHook(one)), inTx, 6},
		{"the trail", open(audit.WithTrail(audit.Options{})), recordSuccess, 1},
		{"the trail, of other kinds", open(audit.WithTrail(audit.Options{}, domain.EventPurged)), recordSuccess, 1},
		{"the trail, a change that compares", open(audit.WithTrail(audit.Options{})), deactivate, 5},
		{"the trail in a transaction", open(audit.WithTrail(audit.Options{})), inTx, 3},
		{"the trail beside a hook", open(audit.WithTrail(audit.Options{}), infra.WithHook(one)), recordSuccess, 5},
		{"the trail beside a hook for another kind", open(audit.WithTrail(audit.Options{}), infra.WithHook(one, domain.EventPurged)), recordSuccess, 1},
	} {
		var trips int64
		for range 2 { // the first one prepares what the second one uses
			a := newAccount(t, plain)
			a.store = test.store
			before := proxy.Trips.Load()
			if err := test.run(a); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			trips = proxy.Trips.Load() - before
		}
		if trips != test.trips {
			t.Errorf("%s: %d round trips; want %d", test.name, trips, test.trips)
		}
	}
}
