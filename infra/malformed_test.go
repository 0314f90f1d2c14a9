package infra_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

// odd are SQL expressions that may be what a column holds, of which a database refuses some: those that can be read, and those that cannot.
var odd = map[string][]string{
	"id":                        {"'not-a-uuid'", "'00000000-0000-0000-0000-000000000000'", "7", "''", "'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'"},
	"email":                     {"'@'", "'a@'", "'@b'", "''", "'no-at-%d'", "'a%d@b@c'", "' a%d@b'", "'a%d@b.c' || char(10)", "'a%d@b.c' || chr(10)", "'Ä%d@b.c'", "%d", "x'40%d'"},
	"pending_email":             {"'@'", "'a@@b'", "''", "'x'", "5"},
	"username":                  {"''", "'u%d u'", "'x'", "'u@%d'", "'u%d' || char(0)", "'Ñ%d'", "%d", "x'%d'"},
	"hashed_password":           {"''", "'!'", "'plain'", "'$2b$'", "'$argon2id$'", "9", "x'00'"},
	"first_name":                {"''", "char(10)", "chr(10)", "7", "x'ff'"},
	"last_name":                 {"''", "char(8238)", "chr(8238)", "x'ff'"},
	"phone":                     {"''", "'abc%d'", "'3001112%d'", "%d"},
	"is_active":                 {"'yes'", "2", "0", "false", "-1", "''", "0.5"},
	"is_verified":               {"'t'", "'no'", "7", "true"},
	"last_login":                {"'infinity'", "'-infinity'", "'0044-03-15 BC'", "'10000-01-01'", "0", "1700000000", "''", "'today'", "'2026-01-01T00:00:00Z'", "2460000.5"},
	"refresh_tokens":            {"'[1]'", "'{}'", "'null'", "'[null]'", "'[[]]'", "'[\"x\"]'", "'[]'", "'[\"x\",{}]'", "''", "'['", "x'5b5d'"},
	"failed_login_attempts":     {"2147483647", "2147483648", "-1", "'many'", "1.5", "9223372036854775807"},
	"locked_until":              {"'infinity'", "'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00'", "5", "'2026-01-01 00:00:00.5000'", "'2026-01-01 00:00:00.123456789'"},
	"reset_token":               {"'zz%d'", "''", "%d"},
	"reset_token_expiry":        {"'infinity'", "'2026-01-01 00:00:00 '"},
	"verification_token":        {"'zz%d'", "''"},
	"verification_token_expiry": {"'-infinity'", "'2026-13-01 00:00:00'"},
	"phone_code":                {"'zz%d'", "''"},
	"phone_code_expiry":         {"'infinity'", "'2026-13-01 00:00:00'"},
	"phone_code_attempts":       {"2147483647", "2147483648", "-1", "'many'", "1.5"},
	"phone_verified_at":         {"'-infinity'", "'2026-01-01 00:00:00 '"},
	"version":                   {"0", "1", "9223372036854775807", "'v'", "1.5"},
	"created_at":                {"'infinity'", "'-infinity'", "'2026-01-01 00:00:00'", "'2026-01-01 00:00:00.500'", "'2026-01-01 00:00:00.5000'", "'2026-01-01 00:00:00.123456789'", "5", "''"},
	"updated_at":                {"'infinity'", "'2026-01-01 00:00:00+05'", "7.5"},
}

// TestOneRowHidesNoOther stores rows that another program may write, whatever the checks of the database let pass, and demands that each
// is in every list and in the export, once, as an account or as malformed. With ACCOUNTS_TEST_LONG there are 200,000 rows.
func TestOneRowHidesNoOther(t *testing.T) {
	n := 400
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		n = 200_000
	}
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		stored := 0
		for i := range n {
			if insertOdd(t, store, random, i) {
				stored++
			}
		}
		for i := range 20 { // and some that are as they should be
			if err := store.Create(t.Context(), storetest.NewUser(t, fmt.Sprintf("proper%d", i))); err != nil {
				t.Fatal(err)
			}
			stored++
		}
		if stored < n/4 {
			t.Fatalf("the database accepts %d rows of %d", stored, n)
		}
		for _, order := range domain.Orders {
			for _, limit := range []int{1, 3, -3, 1000} { // below zero: in the other direction
				if n > 1000 && limit < 1000 {
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
		var one *domain.Malformed
		seen(t, stored, "export", func(add func(domain.ID, error)) {
			for u, err := range store.Export(t.Context(), true) {
				var m *domain.Malformed
				switch {
				case err == nil:
					add(u.ID(), nil)
				case errors.As(err, &m):
					add(m.ID, m)
					if !m.ID.IsZero() {
						one = m
					}
				default:
					t.Fatal(err)
				}
			}
		})
		if one == nil {
			t.Fatal("no row is malformed")
		}
		_, err := store.FindByID(t.Context(), one.ID)
		var m *domain.Malformed
		if !errors.As(err, &m) || *m != *one || domain.KindOf(err) != domain.ErrInvalid || !strings.Contains(err.Error(), one.ID.String()) {
			t.Errorf("by ID: %v; want %v", err, one)
		}
		if _, err := store.CountSessions(t.Context()); err != nil {
			t.Error(err)
		}
	})
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

// insertOdd inserts a row with some odd values, and tells whether the database accepted it.
func insertOdd(t *testing.T, store *infra.Store, random *rand.Rand, i int) bool {
	t.Helper()
	id, err := uuid.NewRandomFromReader(randomBytes{random})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"id": "'" + id.String() + "'", "email": fmt.Sprintf("'user%d@example.org'", i), "username": fmt.Sprintf("'user%d'", i), "hashed_password": "'!'",
		"created_at": fmt.Sprintf("'2026-01-01 00:00:%02d'", i%60),
	}
	names := slices.Sorted(maps.Keys(odd))
	for range 1 + random.IntN(2) {
		name := names[random.IntN(len(names))]
		value := odd[name][random.IntN(len(odd[name]))]
		values[name] = strings.ReplaceAll(value, "%d", fmt.Sprintf("%06d", i))
	}
	names = slices.Sorted(maps.Keys(values))
	expressions := make([]string, len(names))
	for j, name := range names {
		expressions[j] = values[name]
	}
	_, err = store.DB().ExecContext(t.Context(), "INSERT INTO users ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(expressions, ", ")+")")
	return err == nil
}

type randomBytes struct{ *rand.Rand }

func (r randomBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}
