package infra_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

// edited returns an account like storetest.NewUser's with another state.
func edited(t testing.TB, name string, edit func(*domain.UserState)) *domain.User {
	t.Helper()
	state := storetest.NewUser(t, name).State()
	edit(&state)
	u, err := domain.RestoreUser(state)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func createMany(t testing.TB, store *infra.Store, users ...*domain.User) []error {
	t.Helper()
	refusals, err := store.CreateMany(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	return refusals
}

func count(t testing.TB, store *infra.Store) int {
	t.Helper()
	n, err := store.Count(context.Background(), domain.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCreateManyStoresWhatCreateStores(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		phone, _ := domain.ParsePhone("+573001112233")
		at := domain.StoredTime(time.Date(1999, 12, 31, 23, 59, 59, 123_456_789, time.FixedZone("", 5*3600)))
		full := edited(t, "full", func(s *domain.UserState) {
			s.FirstName, s.LastName, s.Phone = "tab\\t \\N \"'", "Ω\\.\t\r\n", phone
			s.Active, s.Verified, s.FailedLoginAttempts, s.Version = false, true, 3, 7
			s.LastLogin, s.LockedUntil, s.ResetTokenExpiry, s.VerificationTokenExpiry = at, at, at, at
			s.ResetToken, s.VerificationToken = domain.NewOneTimeToken().Digest(), domain.NewOneTimeToken().Digest()
			s.Sessions = domain.SessionList{"a", `b"\`}
			s.CreatedAt, s.UpdatedAt = at, at.Add(time.Hour)
		})
		bare := storetest.NewUser(t, "bare")
		for i, err := range createMany(t, store, full, bare) {
			if err != nil {
				t.Errorf("user %d: %v", i, err)
			}
		}
		for _, u := range []*domain.User{full, bare} {
			found, err := store.FindByID(t.Context(), u.ID())
			if err != nil {
				t.Fatal(err)
			}
			got, want := found.State(), u.State()
			if len(got.Sessions) == 0 {
				got.Sessions = want.Sessions
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("stored %#v\nfound  %#v", want, got)
			}
		}
	})
}

// TestCreateManyRefusesAsCreateDoes compares one call with as many of Create, on every kind of collision, with stored accounts
// and with each other.
func TestCreateManyRefusesAsCreateDoes(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		phone, _ := domain.ParsePhone("+573001112233")
		reset, verification := domain.NewOneTimeToken().Digest(), domain.NewOneTimeToken().Digest()
		stored := edited(t, "stored", func(s *domain.UserState) {
			s.Phone, s.ResetToken, s.VerificationToken = phone, reset, verification
		})
		if err := store.Create(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		first := storetest.NewUser(t, "first")
		zoe := storetest.NewUser(t, "zoe")
		free := edited(t, "free", func(s *domain.UserState) { s.Username = stored.Username() }) // is refused, so its address is free
		taker := edited(t, "taker", func(s *domain.UserState) { s.Email = stored.Email() })
		users := []*domain.User{
			first,
			// the first one wins, whatever the order of their addresses
			zoe,
			edited(t, "abe", func(s *domain.UserState) { s.Username = zoe.Username() }),
			edited(t, "other1", func(s *domain.UserState) { s.ID = stored.ID() }),
			edited(t, "other2", func(s *domain.UserState) { s.ID = first.ID() }),
			taker,
			edited(t, "taken-id", func(s *domain.UserState) { s.ID = taker.ID() }), // its namesake was refused
			edited(t, "again", func(s *domain.UserState) { s.ID = taker.ID() }),
			edited(t, "other3", func(s *domain.UserState) { s.Email = first.Email() }),
			edited(t, "other4", func(s *domain.UserState) { s.Username = stored.Username() }),
			free,
			edited(t, "heir", func(s *domain.UserState) { s.Email = free.Email() }),
			edited(t, "other5", func(s *domain.UserState) { s.Phone = phone }),
			edited(t, "other6", func(s *domain.UserState) { s.ResetToken = reset }),
			edited(t, "other7", func(s *domain.UserState) { s.VerificationToken = verification }),
			edited(t, "other8", func(s *domain.UserState) { s.FailedLoginAttempts = -1 }),
			storetest.NewUser(t, "last"),
		}
		var want []string
		for _, u := range users {
			err := store.Create(t.Context(), u)
			want = append(want, kindAndField(err))
		}
		for _, u := range users {
			if err := store.Delete(t.Context(), u.ID()); err != nil && !errors.Is(err, domain.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if err := store.Create(t.Context(), stored); err != nil { // it was deleted with users[1], who has its ID
			t.Fatal(err)
		}
		var got []string
		for _, err := range createMany(t, store, users...) {
			got = append(got, kindAndField(err))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("CreateMany: %q\n  Create: %q", got, want)
		}
		if n := count(t, store); n != 6 {
			t.Errorf("%d accounts; want 6", n)
		}
		for i, err := range createMany(t, store, users...) {
			if err == nil {
				t.Errorf("user %d is stored twice", i)
			}
		}
	})
}

// kindAndField returns the kind and the field of an error.
func kindAndField(err error) string {
	var detail *domain.Error
	if !errors.As(err, &detail) {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%s %s", detail.Kind, detail.Field)
}

func TestCreateManyOfNoneAndOfMany(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		createMany(t, store)
		var users []*domain.User
		for i := range 203 {
			u := storetest.NewUser(t, fmt.Sprintf("user%d", i))
			if i%80 == 7 { // what the checks refuse, in places that halves part
				u = edited(t, fmt.Sprintf("user%d", i), func(s *domain.UserState) { s.Version = 0 })
			}
			users = append(users, u)
		}
		for i, err := range createMany(t, store, users...) {
			if refused := i%80 == 7; refused != errors.Is(err, domain.ErrInvalid) || refused != (err != nil) {
				t.Errorf("user %d: %v", i, err)
			}
		}
		if n := count(t, store); n != 200 {
			t.Errorf("%d accounts; want 200", n)
		}
	})
}

func TestCreateManyInATransaction(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		boom := errors.New("boom")
		err := store.InTx(t.Context(), func(tx *infra.Tx) error {
			for _, name := range []string{"one", "two"} { // twice: the staging table must not be in the way
				if refusals, err := tx.CreateMany(t.Context(), []*domain.User{storetest.NewUser(t, name)}); err != nil || refusals[0] != nil {
					return errors.Join(err, refusals[0])
				}
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if n := count(t, store); n != 0 {
			t.Errorf("%d accounts were left by a transaction that was rolled back", n)
		}
	})
}

func TestCreateManyEndsWithItsContext(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.CreateMany(ctx, []*domain.User{storetest.NewUser(t, "ana")}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if refusals := createMany(t, store, storetest.NewUser(t, "ana")); refusals[0] != nil {
			t.Error(refusals[0])
		}
	})
}

// TestCreateManyAtOnce lets several callers store the same accounts: each is stored by one of them.
func TestCreateManyAtOnce(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		const callers, accounts = 4, 300
		var users []*domain.User
		for i := range accounts {
			users = append(users, storetest.NewUser(t, fmt.Sprintf("user%d", i)))
		}
		var stored [callers]int
		var wait sync.WaitGroup
		for caller := range callers {
			wait.Go(func() {
				refusals, err := store.CreateMany(t.Context(), users)
				if err != nil {
					t.Error(err)
				}
				for _, err := range refusals {
					if err == nil {
						stored[caller]++
					} else if kindAndField(err) != "conflict id" {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if sum := stored[0] + stored[1] + stored[2] + stored[3]; sum != accounts || count(t, store) != accounts {
			t.Errorf("stored %v, %d in all", stored, count(t, store))
		}
	})
}

// TestCreateManyInOppositeOrders stores accounts of the same addresses in two calls at once, whose orders are opposite: straight away, and by way of
// the staging table after a collision. One call waits for the other, and no deadlock ends it.
func TestCreateManyInOppositeOrders(t *testing.T) {
	repeated := new(repetitions)
	store := storetest.OpenPostgres(t, storetest.PostgresURL(t), infra.WithObserver(repeated))
	const accounts = 500
	for round := range 2 {
		var wait sync.WaitGroup
		begin := make(chan struct{})
		for call := range 2 {
			users := make([]*domain.User, accounts)
			for i := range users {
				users[i] = storetest.NewUser(t, fmt.Sprintf("user%d-%d", round, i))
			}
			if call == 1 {
				slices.Reverse(users)
			}
			wait.Go(func() {
				<-begin
				if _, err := store.CreateMany(t.Context(), users); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		wait.Wait()
		if n := count(t, store); n != (round+1)*accounts {
			t.Errorf("round %d: %d accounts", round, n)
		}
	}
	if n := repeated.Load(); n != 0 {
		t.Errorf("%d transactions were repeated", n)
	}
}

// repetitions counts the operations that were repeated.
type repetitions struct{ atomic.Int64 }

func (r *repetitions) Begin(ctx context.Context, _ string) context.Context { return ctx }

func (r *repetitions) End(_ context.Context, seen domain.Observation) {
	if seen.Attempts > 1 {
		r.Add(1)
	}
}

func TestCreateManyWithoutPreparedStatements(t *testing.T) {
	store := storetest.OpenPostgres(t, storetest.PostgresURL(t)+"&statement_cache=0")
	var got []string
	for _, err := range createMany(t, store, storetest.NewUser(t, "ana"), storetest.NewUser(t, "ana"), edited(t, "bob", func(s *domain.UserState) { s.Version = -1 })) {
		got = append(got, kindAndField(err))
	}
	if want := []string{"<nil>", "taken email", "invalid version"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if n := count(t, store); n != 1 {
		t.Errorf("%d accounts; want 1", n)
	}
}

func TestExport(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		at := domain.StoredTime(time.Now())
		var users []*domain.User
		for i := range 2050 { // three pages, in which some accounts are of one time
			users = append(users, edited(t, fmt.Sprintf("user%d", i), func(s *domain.UserState) {
				s.CreatedAt = at.Add(time.Duration(i/3) * time.Microsecond)
				s.ResetToken = domain.NewOneTimeToken().Digest()
			}))
		}
		createMany(t, store, users...)
		for withHashes, export := range map[bool]func(context.Context) iter.Seq2[*domain.User, error]{false: store.Export, true: store.ExportWithHashes} {
			var last time.Time
			seen := make(map[domain.ID]bool)
			for u, err := range export(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				state := u.State()
				if seen[state.ID] || state.CreatedAt.Before(last) {
					t.Fatalf("%s comes twice or out of order", state.ID)
				}
				seen[state.ID], last = true, state.CreatedAt
				if state.PasswordHash.IsZero() == withHashes || state.ResetToken != (domain.TokenDigest{}) {
					t.Fatalf("with hashes %v: has a hash %v", withHashes, !state.PasswordHash.IsZero())
				}
			}
			if len(seen) != len(users) {
				t.Errorf("%d accounts; want %d", len(seen), len(users))
			}
		}
		for _, err := range store.Export(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			break // leaves nothing open
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range store.Export(ctx) {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if _, err := store.DB().Exec("UPDATE users SET email = 'user5@example@' WHERE username = 'user5'"); err != nil {
			t.Fatal(err)
		}
		var malformed *domain.Malformed
		exported := 0
		for _, err := range store.ExportWithHashes(t.Context()) {
			switch {
			case err == nil:
				exported++
			case malformed != nil || !errors.As(err, &malformed) || malformed.Column != "email":
				t.Errorf("an unreadable row: %v", err)
			}
		}
		if malformed == nil || exported != len(users)-1 {
			t.Errorf("%d accounts beside an unreadable row, %v; want %d", exported, malformed, len(users)-1)
		}
	})
}
