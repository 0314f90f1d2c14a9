package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/storetest"
)

// onBoth runs a test on a store that keeps a trail, in each database.
func onBoth(t *testing.T, options audit.Options, test func(t *testing.T, store *infra.Store)) {
	t.Helper()
	trail := audit.WithTrail(options)
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, storetest.OpenSQLite(t, t.TempDir()+"/accounts.db", trail))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, storetest.OpenPostgres(t, storetest.PostgresURL(t), trail))
	})
}

func create(t testing.TB, ctx context.Context, store *infra.Store, name string) *domain.User {
	t.Helper()
	u := storetest.NewUser(t, name)
	if err := store.Create(ctx, u); err != nil {
		t.Fatal(err)
	}
	return u
}

func list(t testing.TB, store *infra.Store, query audit.Query) []audit.Entry {
	t.Helper()
	entries, err := audit.List(t.Context(), store, query)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func words(entries []audit.Entry) (kinds []string) {
	for _, e := range entries {
		kinds = append(kinds, string(e.Kind))
	}
	return kinds
}

func TestTrail(t *testing.T) {
	t.Parallel()
	onBoth(t, audit.Options{}, func(t *testing.T, store *infra.Store) {
		long := strings.Repeat("é", 300) + "\x00\xff"
		ctx := domain.WithOrigin(t.Context(), domain.Origin{RequestID: long, Client: netip.MustParseAddr("192.0.2.77"), Actor: "\x00" + long})
		begun := time.Now().Add(-time.Millisecond)
		u := create(t, ctx, store, "ana")
		other := create(t, t.Context(), store, "bob")
		for range 2 {
			if _, err := store.Deactivate(t.Context(), u.ID()); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Delete(t.Context(), u.ID()); err != nil {
			t.Fatal(err)
		}
		entries := list(t, store, audit.Query{UserID: u.ID()})
		if got := words(entries); !slices.Equal(got, []string{"registered", "deactivated", "deleted"}) {
			t.Fatalf("the trail is %q", got)
		}
		first := entries[0]
		if first.UserID != u.ID() || first.Client != "192.0.2.0/24" || first.RequestID != strings.Repeat("é", 100) || first.Actor != "\uFFFD"+strings.Repeat("é", 254) ||
			first.At.Before(begun) || first.At.After(time.Now()) {
			t.Errorf("%+v", first)
		}
		if entries[1].Client != "" || entries[1].RequestID != "" || entries[1].Actor != "" {
			t.Errorf("%+v", entries[1])
		}
		if got := words(list(t, store, audit.Query{UserID: u.ID(), After: first.ID, Limit: 1})); !slices.Equal(got, []string{"deactivated"}) {
			t.Errorf("after the first: %q", got)
		}
		if got := words(list(t, store, audit.Query{UserID: u.ID(), Kind: domain.EventDeleted})); !slices.Equal(got, []string{"deleted"}) {
			t.Errorf("of one kind: %q", got)
		}
		if got := words(list(t, store, audit.Query{UserID: other.ID()})); !slices.Equal(got, []string{"registered"}) {
			t.Errorf("of the other: %q", got)
		}
		for field, query := range map[string]audit.Query{"id": {}, "limit": {UserID: u.ID(), Limit: 1001}} {
			var refused *domain.Error
			if _, err := audit.List(t.Context(), store, query); !errors.As(err, &refused) || refused.Kind != domain.ErrInvalid || refused.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		address string
		full    bool
		want    string
	}{
		{"192.0.2.77", false, "192.0.2.0/24"},
		{"192.0.2.77", true, "192.0.2.77"},
		{"::ffff:192.0.2.77", false, "192.0.2.0/24"},
		{"2001:db8:1:2:3::4", false, "2001:db8:1::/48"},
		{"2001:db8:1:2:3::4", true, "2001:db8:1:2:3::4"},
		{"fe80::1%eth0", true, "fe80::1"},
	} {
		store := storetest.OpenSQLite(t, ":memory:", audit.WithTrail(audit.Options{FullAddress: test.full}))
		u := create(t, domain.WithOrigin(t.Context(), domain.Origin{Client: netip.MustParseAddr(test.address)}), store, "ana")
		if got := list(t, store, audit.Query{UserID: u.ID()})[0].Client; got != test.want {
			t.Errorf("%s, in full %t: %q; want %q", test.address, test.full, got, test.want)
		}
	}
}

// TestTrailIsAppendOnly tries to change and to delete entries, on PostgreSQL as a superuser.
func TestTrailIsAppendOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, audit.Options{}, func(t *testing.T, store *infra.Store) {
		u := create(t, t.Context(), store, "ana")
		first := list(t, store, audit.Query{UserID: u.ID()})[0]
		statements := []string{
			"UPDATE account_events SET kind = 'x'", "UPDATE account_events SET actor = NULL", "DELETE FROM account_events",
			"DELETE FROM account_events WHERE kind = 'registered'",
		}
		if store.Schema() == "" {
			row := fmt.Sprintf("(%d, '%s', 'x')", first.ID, u.ID())
			statements = append(statements, "INSERT OR REPLACE INTO account_events (id, account_id, kind) VALUES "+row,
				"REPLACE INTO account_events (id, account_id, kind) VALUES "+row, "UPDATE OR REPLACE account_events SET id = 7",
				"INSERT INTO account_events (id, account_id, kind) VALUES "+row+" ON CONFLICT DO UPDATE SET kind = 'x'")
		} else {
			statements = append(statements, "TRUNCATE account_events", "TRUNCATE account_events, users CASCADE")
		}
		for _, statement := range statements {
			if _, err := store.DB().Exec(statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
		if got := list(t, store, audit.Query{UserID: u.ID()}); len(got) != 1 || got[0] != first {
			t.Errorf("the trail is %v", got)
		}
	})
}

func TestPrune(t *testing.T) {
	t.Parallel()
	onBoth(t, audit.Options{}, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		u := create(t, ctx, store, "ana")
		for range 11 {
			if _, err := store.RecordSignIn(ctx, u.ID()); err != nil {
				t.Fatal(err)
			}
		}
		entries := list(t, store, audit.Query{UserID: u.ID()})
		before := entries[8].At
		var steps []int
		for {
			n, err := audit.Prune(ctx, store, before, 3)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, n)
			if n == 0 {
				break
			}
		}
		old := slices.IndexFunc(entries, func(e audit.Entry) bool { return !e.At.Before(before) })
		left := list(t, store, audit.Query{UserID: u.ID()})
		if total := len(entries) - len(left); total != old || left[0].ID != entries[old].ID || slices.Max(steps) > 3 {
			t.Errorf("deleted %d in steps of %v; want %d", total, steps, old)
		}
		if _, err := store.DB().Exec("DELETE FROM account_events"); err == nil {
			t.Error("entries can be deleted after a retention")
		}
		for _, limit := range []int{0, 100_001} {
			if _, err := audit.Prune(ctx, store, before, limit); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("limit %d: %v", limit, err)
			}
		}
	})
}

// TestTrailOfADriversTransaction: the trail is kept on pgx, and in a transaction that pgx began.
func TestTrailOfADriversTransaction(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store, err := pgx.New(pool, audit.WithTrail(audit.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	u := create(t, t.Context(), store, "ana")
	for _, end := range []func(driver.Tx) error{
		func(tx driver.Tx) error { return tx.Rollback(t.Context()) },
		func(tx driver.Tx) error { return tx.Commit(t.Context()) },
	} {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pgx.WithTx(store, tx).Deactivate(t.Context(), u.ID()); err != nil {
			t.Fatal(err)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	if got := words(list(t, store, audit.Query{UserID: u.ID()})); !slices.Equal(got, []string{"registered", "deactivated"}) {
		t.Errorf("the trail is %q", got)
	}
}

// TestTrailWithoutItsTable: a change that cannot be recorded is not made.
func TestTrailWithoutItsTable(t *testing.T) {
	t.Parallel()
	onBoth(t, audit.Options{}, func(t *testing.T, store *infra.Store) {
		u := create(t, t.Context(), store, "ana")
		if _, err := store.DB().Exec("ALTER TABLE account_events RENAME TO gone"); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Deactivate(t.Context(), u.ID()); !errors.Is(err, domain.ErrPendingMigrations) {
			t.Errorf("%v; want pending migrations", err)
		}
		if found, err := store.FindByID(t.Context(), u.ID()); err != nil || !found.IsActive() {
			t.Errorf("%v, %v", found, err)
		}
	})
}

// stateOfEntry keeps, with each entry, what the account was when it was entered: in a trigger, whose statements see what the transaction has changed.
var stateOfEntry = map[string][]string{
	"sqlite3": {
		"CREATE TABLE states (entry integer PRIMARY KEY, version integer, active boolean, failed integer, sessions integer)",
		`CREATE TRIGGER note_state AFTER INSERT ON account_events BEGIN INSERT INTO states
			SELECT NEW.id, version, is_active, failed_login_attempts, json_array_length(refresh_tokens) FROM users WHERE id = NEW.account_id; END`,
	},
	"postgres": {
		"CREATE TABLE states (entry bigint PRIMARY KEY, version bigint, active boolean, failed integer, sessions integer)",
		`CREATE FUNCTION note_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO states
			SELECT NEW.id, version, is_active, failed_login_attempts, jsonb_array_length(refresh_tokens) FROM users WHERE id = NEW.account_id;
			RETURN NULL; END $$`,
		"CREATE TRIGGER note_state AFTER INSERT ON account_events FOR EACH ROW EXECUTE FUNCTION note_state()",
	},
}

// TestEntriesOfOneAccountAreInTheOrderOfItsChanges has 64 goroutines change one account, by changes whose entry is in their statement and by others. The
// entries tell, in their order, how the account became what it was at each of them.
func TestEntriesOfOneAccountAreInTheOrderOfItsChanges(t *testing.T) {
	t.Parallel()
	trail := audit.WithTrail(audit.Options{})
	race := func(t *testing.T, store *infra.Store, dialect string) {
		ctx := t.Context()
		for _, statement := range stateOfEntry[dialect] {
			if _, err := store.DB().Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		u := create(t, ctx, store, "ana")
		hash := u.State().PasswordHash
		const goroutines, changes = 64, 6
		var all sync.WaitGroup
		for g := range goroutines {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(g), 0))
				for i := range changes {
					var err error
					switch random.IntN(7) {
					case 0:
						_, err = store.Deactivate(ctx, u.ID())
					case 1:
						_, err = store.Activate(ctx, u.ID())
					case 2:
						name, parseErr := domain.ParseUsername(fmt.Sprintf("ana-%d-%d", g, i))
						if parseErr == nil {
							_, err = store.SetUsername(ctx, u.ID(), name)
						}
					case 3:
						_, err = store.RecordFailure(ctx, u.ID(), domain.LockPolicy{Attempts: domain.NoLock})
					case 4:
						_, err = store.Unlock(ctx, u.ID())
					case 5:
						_, err = store.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
					case 6:
						_, err = store.SetPassword(ctx, u.ID(), domain.PasswordHash{}, hash, domain.SessionID{})
					}
					if err != nil && !errors.Is(err, domain.ErrInactive) {
						t.Errorf("%v", err)
					}
				}
			})
		}
		all.Wait()
		type state struct {
			version          int64
			active           bool
			failed, sessions int
		}
		now := state{version: 1, active: true}
		for _, e := range list(t, store, audit.Query{UserID: u.ID(), Limit: 1000}) {
			before := now
			row := store.DB().QueryRow(fmt.Sprintf("SELECT version, active, failed, sessions FROM states WHERE entry = %d", e.ID))
			if err := row.Scan(&now.version, &now.active, &now.failed, &now.sessions); err != nil {
				t.Fatal(err)
			}
			want := before
			switch e.Kind {
			case domain.EventRegistered:
			case domain.EventActivated:
				want.active, want.version = true, before.version+1
			case domain.EventDeactivated:
				want.active, want.version, want.sessions = false, before.version+1, 0
			case domain.EventUsernameChanged:
				want.version++
			case domain.EventSignInFailed:
				want.failed++
			case domain.EventUnlocked:
				want.failed = 0
			case domain.EventSessionStarted:
				want.sessions = min(before.sessions+1, domain.DefaultSessionCap)
			case domain.EventPasswordChanged:
				want.version, want.failed, want.sessions = before.version+1, 0, 0
			}
			if now != want || (e.Kind == domain.EventActivated) && before.active || (e.Kind == domain.EventDeactivated) && !before.active {
				t.Fatalf("entry %d, %s: from %+v to %+v; want %+v", e.ID, e.Kind, before, now, want)
			}
		}
		last, err := store.FindByID(ctx, u.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got := (state{last.Version(), last.IsActive(), last.FailedLoginAttempts(), len(last.Sessions(time.Now()))}); got != now {
			t.Errorf("the account is %+v, and by the trail %+v", got, now)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		race(t, storetest.OpenSQLite(t, t.TempDir()+"/accounts.db", trail), "sqlite3")
	})
	t.Run("lib-pq", func(t *testing.T) {
		t.Parallel()
		race(t, storetest.OpenPostgres(t, storetest.PostgresURL(t), trail), "postgres")
	})
	t.Run("lib-pq, beside a hook", func(t *testing.T) {
		t.Parallel()
		idle := infra.WithHook(func(context.Context, *infra.Tx, domain.Event) error { return nil })
		race(t, storetest.OpenPostgres(t, storetest.PostgresURL(t), trail, idle), "postgres")
	})
	t.Run("pgx", func(t *testing.T) {
		t.Parallel()
		store, err := pgx.Open(t.Context(), storetest.PostgresURL(t), trail)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		race(t, store, "postgres")
	})
}
