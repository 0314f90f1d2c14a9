package infra_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/rowtest"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

// TestOneRowHidesNoOther stores rows that another program may write, whatever the checks of the database let pass, and demands that each
// is in every list and in the export, once, as an account or as malformed. With ACCOUNTS_TEST_LONG there are 200,000 rows.
func TestOneRowHidesNoOther(t *testing.T) {
	n := 160
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		n = 200_000
	}
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		generator := &rowtest.Generator{Random: rand.New(rand.NewPCG(seed, 1)), SQLite: store.Schema() == ""}
		indexLastLogin(t, store)
		stored, linked := 0, 0
		for stored < n { // in transactions, which SQLite writes to the disk once
			err := store.InTx(t.Context(), func(tx *infra.Tx) error {
				users, identities, err := generator.Fill(t.Context(), tx.SQL(), min(2000, n-stored))
				stored, linked = stored+users, linked+identities
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for tries := 0; !generator.Insert(t.Context(), store.DB(), "users", map[string]any{"hashed_password": "cœur"}); tries++ { // and one that is malformed
			if tries == 1000 {
				t.Fatal("the database accepts no row with such a hash")
			}
		}
		stored++
		fast := password.Fast()
		hash, err := fast.Hash(t.Context(), "correct horse battery")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 { // and some that are as they should be
			proper := storetest.NewUser(t, fmt.Sprintf("proper%d", i))
			if err := store.Create(t.Context(), proper); err != nil {
				t.Fatal(err)
			}
			if _, err := store.SetPassword(t.Context(), proper.ID(), domain.PasswordHash{}, hash, domain.SessionID{}); err != nil {
				t.Fatal(err)
			}
			stored++
		}
		for _, order := range domain.Orders {
			for _, limit := range []int{3, -7, 1000, -1000} { // below zero: in the other direction
				if n > 1000 && max(limit, -limit) < 1000 {
					continue
				}
				seen(t, stored, fmt.Sprintf("list by %s, %d at a time", order, limit), func(add func(domain.ID, error)) {
					query := domain.ListQuery{Order: order, Descending: limit < 0, Limit: max(limit, -limit)}
					for page := 0; page == 0 || !query.After.IsZero(); page++ {
						listed, err := store.List(t.Context(), query)
						if err != nil || page > 2*stored {
							t.Fatalf("%s, %d at a time: page %d, %v", order, limit, page, err)
						}
						for _, u := range listed.Users {
							add(u.ID(), nil)
						}
						for _, m := range listed.Malformed {
							add(m.ID, m)
						}
						query.After = listed.Next
					}
				})
			}
		}
		var malformed []*domain.Malformed
		var users []*domain.User
		seen(t, stored, "export", func(add func(domain.ID, error)) {
			for u, err := range store.ExportWithHashes(t.Context()) {
				var m *domain.Malformed
				switch {
				case err == nil:
					add(u.ID(), nil)
					users = append(users, u)
				case errors.As(err, &m):
					add(m.ID, m)
					if !m.ID.IsZero() {
						malformed = append(malformed, m)
					}
				default:
					t.Fatal(err)
				}
			}
		})
		if len(malformed) == 0 {
			t.Fatal("no row is malformed")
		}
		t.Logf("%d rows and %d identities; %d rows malformed", stored, linked, len(malformed))
		for _, one := range sampled(malformed) {
			_, err := store.FindByID(t.Context(), one.ID)
			var m *domain.Malformed
			isOf := errors.As(err, &m) && m.ID == one.ID && // of several columns the first is named; lists leave out the tokens
				(*m == *one || slices.Contains([]string{"reset_token", "verification_token", "phone_code"}, m.Column))
			if !isOf || domain.KindOf(err) != domain.ErrInvalid || !strings.Contains(err.Error(), one.ID.String()) {
				t.Errorf("by ID: %v; want %v", err, one)
			}
		}
		authenticator, err := domain.NewAuthenticator(store, fast, domain.AuthenticationPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := authenticator.Authenticate(t.Context(), fmt.Sprintf("proper%d", i), "correct horse battery"); err != nil {
				t.Errorf("sign-in: %v", err)
			}
		}
		for _, u := range sampled(users) {
			use(t, store, authenticator, u)
		}
		found := 0
		for batch := range slices.Chunk(users, 500) {
			links, left, err := store.ExportIdentities(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			found += len(left)
			for _, of := range links {
				found += len(of)
			}
		}
		ofMalformed := 0
		owned := identitiesOf(t, store)
		for _, m := range malformed {
			ofMalformed += owned[m.ID.String()]
		}
		if found+ofMalformed != linked {
			t.Errorf("%d identities, and %d of malformed accounts; want %d", found, ofMalformed, linked)
		}
		visitAll(t, store, stored)
	})
}

// indexLastLogin makes the index of the order of the last sign-in (docs/lists.md), without which each of its pages reads the whole table.
func indexLastLogin(t *testing.T, store *infra.Store) {
	t.Helper()
	key := "coalesce(last_login, '0001-01-01 00:00:00+00'), id"
	if store.Schema() == "" {
		key = "coalesce(last_login, '0001-01-01 00:00:00') || ' ' || id"
	}
	if _, err := store.DB().ExecContext(t.Context(), "CREATE INDEX users_last_login ON users ("+key+")"); err != nil {
		t.Fatal(err)
	}
	dropped(t, store, "INDEX users_last_login")
}

// identitiesOf returns how many identities each account has, by its ID.
func identitiesOf(t *testing.T, store *infra.Store) map[string]int {
	t.Helper()
	rows, err := store.DB().QueryContext(t.Context(), "SELECT user_id, count(*) FROM identities GROUP BY user_id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	owned := make(map[string]int)
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		owned[id] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return owned
}

// visitAll runs what goes over all accounts, and at last deletes them.
func visitAll(t *testing.T, store *infra.Store, stored int) {
	t.Helper()
	if _, err := store.CountSessions(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := store.Count(t.Context(), domain.Filter{}); err != nil || n != stored {
		t.Errorf("counted %d, %v; want %d", n, err, stored)
	}
	for what, sweep := range map[string]func(context.Context, domain.ID, int) (domain.Sweep, error){
		"sweep": store.SweepSessions, "revoke everybody": store.RevokeEverybody,
	} {
		var step domain.Sweep
		for visited := 0; !step.Done; visited += step.Visited {
			var err error
			if step, err = sweep(t.Context(), step.Next, 1000); err != nil || visited > stored {
				t.Fatalf("%s: %d visited, %v", what, visited, err)
			}
		}
	}
	var purged domain.Purged
	deleted := 0
	for steps := 0; !purged.Done; steps++ {
		var err error
		query := domain.ListQuery{Filter: domain.Filter{CreatedBefore: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)}, After: purged.Next, Limit: 1000}
		if purged, err = store.Purge(t.Context(), query); err != nil || steps > stored {
			t.Fatalf("purge: step %d, %v", steps, err)
		}
		deleted += len(purged.IDs)
	}
	if left, err := store.Count(t.Context(), domain.Filter{}); err != nil || deleted+left != stored {
		t.Errorf("%d purged, %d left, %v; want %d", deleted, left, err, stored)
	} else {
		t.Logf("%d purged, %d left", deleted, left)
	}
}

// sampled returns some elements of many.
func sampled[E any](all []E) []E {
	const most = 300
	step := 1 + len(all)/most
	var some []E
	for i := 0; i < len(all); i += step {
		some = append(some, all[i])
	}
	return some
}

// use reads, signs in and changes an account that could be exported. Only a token of its own, which exports leave out, may be malformed.
func use(t *testing.T, store *infra.Store, authenticator *domain.Authenticator, u *domain.User) {
	t.Helper()
	var own *domain.Malformed
	if found, err := store.FindByID(t.Context(), u.ID()); err != nil && !errors.As(err, &own) || err == nil && found.Email() != u.Email() {
		t.Errorf("show %s: %v", u.ID(), err)
	}
	_, err := authenticator.Authenticate(t.Context(), u.Email().String(), "no such password")
	switch domain.KindOf(err) {
	case domain.ErrBadCredentials, domain.ErrLocked, domain.ErrInactive, domain.ErrInvalid:
	default:
		t.Errorf("sign-in of %s: %v", u.ID(), err)
	}
	_, err = store.Update(t.Context(), u.ID(), func(u *domain.User) error { return u.Rename("Other", "") })
	if err != nil && own == nil {
		t.Errorf("update %s: %v", u.ID(), err)
	}
}

// seen demands that all stored rows are seen once.
func seen(t *testing.T, stored int, what string, list func(add func(domain.ID, error))) {
	t.Helper()
	users, malformed, unreadable := make(map[domain.ID]int), 0, 0
	list(func(id domain.ID, err error) {
		if err != nil {
			malformed++
		}
		if id.IsZero() {
			unreadable++
			return
		}
		if users[id]++; users[id] > 1 {
			t.Errorf("%s: %s is there %d times (%v)", what, id, users[id], err)
		}
	})
	if got := len(users) + unreadable; got != stored {
		t.Errorf("%s: %d rows, %d of them malformed; want %d", what, got, malformed, stored)
	}
}

// FuzzSQLiteRow and FuzzPostgresRow store one row with a value of the fuzzer's in one column, and any in others, and demand that an account that is as it
// should be is in lists and in the export, and can be read, signed in and changed, whatever the database has accepted.
func FuzzSQLiteRow(f *testing.F) {
	fuzzRow(f, storetest.OpenSQLite(f, filepath.Join(f.TempDir(), "accounts.db")))
}

func FuzzPostgresRow(f *testing.F) { fuzzRow(f, storetest.OpenPostgres(f, storetest.PostgresURL(f))) }

func fuzzRow(f *testing.F, store *infra.Store) {
	ctx := context.Background()
	fast := password.Fast()
	hash, err := fast.Hash(ctx, "correct horse battery")
	if err != nil {
		f.Fatal(err)
	}
	proper := storetest.NewUser(f, "proper")
	if err := store.Create(ctx, proper); err != nil {
		f.Fatal(err)
	}
	if _, err := store.SetPassword(ctx, proper.ID(), domain.PasswordHash{}, hash, domain.SessionID{}); err != nil {
		f.Fatal(err)
	}
	authenticator, err := domain.NewAuthenticator(store, fast, domain.AuthenticationPolicy{})
	if err != nil {
		f.Fatal(err)
	}
	columns := rowtest.Columns("users")
	isSQLite := store.Schema() == ""
	for i, value := range []string{"", "infinity", "[1]", "@", "yes", "7.5", "\xff", "00000000-0000-0000-0000-000000000000"} {
		for column := range columns {
			f.Add(uint64(i), uint8(column), value, uint8(i%4))
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64, column uint8, text string, form uint8) {
		ctx := t.Context()
		generator := &rowtest.Generator{Random: rand.New(rand.NewPCG(seed, 1)), SQLite: isSQLite}
		var value any = text
		if isSQLite {
			number, _ := strconv.ParseFloat(text, 64)
			value = []any{text, []byte(text), number, int64(number)}[form%4]
		}
		if !generator.Insert(ctx, store.DB(), "users", map[string]any{columns[int(column)%len(columns)].Name: value}) {
			return
		}
		for _, order := range domain.Orders {
			page, err := store.List(ctx, domain.ListQuery{Order: order})
			if err != nil || len(page.Users)+len(page.Malformed) != 2 {
				t.Fatalf("list by %s: %d, %v, %v", order, len(page.Users), page.Malformed, err)
			}
		}
		rows, found := 0, false
		var other *domain.User
		for u, err := range store.ExportWithHashes(ctx) {
			var m *domain.Malformed
			if err != nil && !errors.As(err, &m) {
				t.Fatal(err)
			}
			rows++
			if u != nil && u.ID() == proper.ID() {
				found = true
			} else {
				other = u
			}
		}
		if rows != 2 || !found {
			t.Fatalf("the export has %d rows", rows)
		}
		if other != nil {
			use(t, store, authenticator, other)
		}
		if _, err := authenticator.Authenticate(ctx, "proper", "correct horse battery"); err != nil {
			t.Fatal(err)
		}
		if _, err := store.DB().ExecContext(ctx, "DELETE FROM users WHERE username <> 'proper'"); err != nil {
			t.Fatal(err)
		}
	})
}
