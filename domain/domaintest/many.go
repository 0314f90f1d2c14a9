package domaintest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
)

// changeMany are the methods that change many accounts, and the ones that do the same to one.
var changeMany = map[string]struct {
	many func(*contractTest, []domain.ID) ([]domain.ID, error)
	one  func(*contractTest, domain.ID) (*domain.User, error)
}{
	"ActivateMany": {
		func(r *contractTest, ids []domain.ID) ([]domain.ID, error) { return r.ActivateMany(r.Context(), ids) },
		func(r *contractTest, id domain.ID) (*domain.User, error) { return r.Activate(r.Context(), id) },
	},
	"DeactivateMany": {
		func(r *contractTest, ids []domain.ID) ([]domain.ID, error) { return r.DeactivateMany(r.Context(), ids) },
		func(r *contractTest, id domain.ID) (*domain.User, error) { return r.Deactivate(r.Context(), id) },
	},
	"RevokeMany": {
		func(r *contractTest, ids []domain.ID) ([]domain.ID, error) { return r.RevokeMany(r.Context(), ids) },
		func(r *contractTest, id domain.ID) (*domain.User, error) { return r.RevokeSessions(r.Context(), id) },
	},
}

// sorts stores accounts of which each of changeMany changes some: active and not, with sessions and without.
func (r *contractTest) sorts(prefix string) (ids []domain.ID) {
	r.Helper()
	for i := range 8 {
		s, _ := r.full(fmt.Sprintf("%s%d", prefix, i))
		s.Phone = domain.Phone{}
		if i%2 == 0 {
			s.Active = false
			s.PendingEmail, s.ResetToken, s.VerificationToken = domain.Email{}, domain.TokenDigest{}, domain.TokenDigest{}
			s.ResetTokenExpiry, s.VerificationTokenExpiry = time.Time{}, time.Time{}
			s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = domain.TokenDigest{}, time.Time{}, 0
		}
		if i%4 < 2 {
			s.Sessions = nil
		}
		ids = append(ids, r.create(s).ID)
	}
	return ids
}

// unverified stores n accounts that were never verified, and are made some microseconds apart.
func (r *contractTest) unverified(name string, n int) (ids []domain.ID) {
	r.Helper()
	for i := range n {
		s := r.newAccount(fmt.Sprintf("%s%d", name, i))
		s.CreatedAt = s.CreatedAt.Add(time.Duration(i) * time.Microsecond)
		ids = append(ids, r.create(s).ID)
	}
	return ids
}

// abandoned is what purges of unverified accounts ask for.
func (r *contractTest) abandoned(limit int) domain.ListQuery {
	return domain.ListQuery{Filter: domain.Filter{UnverifiedSince: r.clock.Now().Add(-time.Hour)}, Limit: limit}
}

// purge takes steps to the end, and returns what was deleted by each.
func (r *contractTest) purge(query domain.ListQuery) (steps [][]domain.ID) {
	r.Helper()
	for {
		purged := must(r.Purge(r.Context(), query))(r)
		if len(purged.IDs) > query.Limit || len(purged.Referenced) > 0 {
			r.Fatalf("a step of %d deleted %d, and %d are referred to", query.Limit, len(purged.IDs), len(purged.Referenced))
		}
		steps = append(steps, purged.IDs)
		if query.After = purged.Next; purged.Done {
			return steps
		}
	}
}

var many = []behaviour{
	{"ActivateMany, DeactivateMany and RevokeMany do to each what their likes do to one, and tell which they changed", func(r *contractTest) {
		for name, method := range changeMany {
			asked, compared := r.sorts("a-"+name), r.sorts("b-"+name)
			bystander := r.create(r.newAccount("c-" + name))
			r.clock.Advance(time.Minute)
			slices.Reverse(asked)
			slices.Reverse(compared)
			var want []domain.ID
			for i, id := range compared {
				before := r.state(id)
				after := must(method.one(r, id))(r).State()
				if !same(before, after) {
					want = append(want, asked[i])
				}
			}
			if len(want) == 0 || len(want) == len(asked) {
				r.Fatalf("%s changes %d of %d", name, len(want), len(asked))
			}
			ids := slices.Concat([]domain.ID{domain.NewID(), {}}, asked, []domain.ID{asked[3]})
			if changed := must(method.many(r, ids))(r); !slices.Equal(changed, want) {
				r.Errorf("%s changed %v, want %v", name, changed, want)
			}
			for i, id := range asked {
				got, want := r.state(id), r.state(compared[i])
				if got.Active != want.Active || len(got.Sessions) != len(want.Sessions) || got.PendingEmail.IsZero() != want.PendingEmail.IsZero() ||
					got.ResetToken.IsZero() != want.ResetToken.IsZero() || got.VerificationToken.IsZero() != want.VerificationToken.IsZero() ||
					got.Version != want.Version || !got.UpdatedAt.Equal(want.UpdatedAt) {
					r.Errorf("%s made %+v, want %+v", name, got, want)
				}
			}
			r.equal("bystander", r.state(bystander.ID), bystander)
			if changed := must(method.many(r, ids))(r); len(changed) > 0 {
				r.Errorf("%s changed %v again", name, changed)
			}
		}
	}},
	{"ActivateMany, DeactivateMany and RevokeMany take up to 10,000 IDs, and none", func(r *contractTest) {
		for name, method := range changeMany {
			ids := r.sorts(name)
			for len(ids) < domain.MaxBatch {
				ids = append(ids, domain.NewID())
			}
			r.changesNothing(name, domain.ErrInvalid, "id", func() error { _, err := method.many(r, append(ids, domain.NewID())); return err })
			if changed := must(method.many(r, ids))(r); len(changed) == 0 {
				r.Errorf("%s changed none", name)
			}
			if changed := must(method.many(r, nil))(r); len(changed) > 0 {
				r.Errorf("%s of none changed %v", name, changed)
			}
		}
	}},
	{"DeactivateMany and RevokeMany of the same accounts by many at once change each once", func(r *contractTest) {
		random := rand.New(rand.NewPCG(seed(r), 0))
		for range r.rounds(3, 1000) {
			ids := r.sorts("name")
			orders := make([][]domain.ID, 8)
			for i := range orders {
				orders[i] = slices.Clone(ids)
				random.Shuffle(len(ids), func(a, b int) { orders[i][a], orders[i][b] = orders[i][b], orders[i][a] })
			}
			var mu sync.Mutex
			deactivated := make(map[domain.ID]int)
			r.noErrors("at once", concurrently(len(orders), func(i int) error {
				if i%2 == 1 {
					_, err := r.RevokeMany(r.Context(), orders[i])
					return err
				}
				changed, err := r.DeactivateMany(r.Context(), orders[i])
				mu.Lock()
				defer mu.Unlock()
				for _, id := range changed {
					deactivated[id]++
				}
				return err
			}))
			for i, id := range ids {
				s := r.state(id)
				if s.Active || len(s.Sessions) > 0 || deactivated[id] > 1 || i%2 == 1 && deactivated[id] != 1 {
					r.Errorf("account %d is %+v, deactivated %d times", i, s, deactivated[id])
				}
				if err := r.Delete(r.Context(), id); err != nil {
					r.Fatal(err)
				}
			}
		}
	}},
	{"Purge deletes what matches with all that is stored of it, in bounded steps, and nothing else", func(r *contractTest) {
		old := r.unverified("old", 7)
		must(r.LinkIdentity(r.Context(), old[2], r.identity("linked")))(r)
		verified := r.unverified("verified", 3)
		for _, id := range verified {
			must(r.Verify(r.Context(), id))(r)
		}
		r.clock.Advance(2 * time.Hour)
		young := r.unverified("young", 2)
		kept := r.accounts()
		for _, id := range old {
			delete(kept, id)
		}
		steps := r.purge(r.abandoned(3))
		var sizes []int
		for _, step := range steps {
			sizes = append(sizes, len(step))
		}
		if !slices.Equal(sizes, []int{3, 3, 1}) || !slices.ContainsFunc(steps[0], func(id domain.ID) bool { return id == old[0] }) {
			r.Errorf("steps of %v", steps)
		}
		deleted := slices.Concat(steps...)
		slices.SortFunc(deleted, compareIDs)
		slices.SortFunc(old, compareIDs)
		if !slices.Equal(deleted, old) {
			r.Errorf("deleted %v, want %v", deleted, old)
		}
		r.equalAll("kept", r.accounts(), kept)
		_, err := r.FindByIdentity(r.Context(), r.identity("linked"))
		r.refused("the identity", err, domain.ErrNotFound, "")
		must(r.LinkIdentity(r.Context(), young[0], r.identity("linked")))(r)
		if steps := r.purge(r.abandoned(3)); len(steps) != 1 || len(steps[0]) > 0 {
			r.Errorf("once more: %v", steps)
		}
	}},
	{"Purge goes by any filter and order", func(r *contractTest) {
		all := r.population(30)
		for _, query := range orders {
			query.Filter = domain.Filter{CreatedBefore: r.clock.Now().Add(20 * time.Microsecond), WithPhone: new(true), Active: new(true)}
			query.Limit = 1
			match := func(s domain.UserState) bool {
				return s.CreatedAt.Before(storedTime(query.Filter.CreatedBefore)) && s.Active && !s.Phone.IsZero()
			}
			want := sorted(all, query, match)
			if len(want) == 0 {
				return
			}
			purged := must(r.Purge(r.Context(), query))(r)
			if len(purged.IDs) != 1 || purged.IDs[0] != want[0].ID {
				r.Errorf("%s: deleted %v, want %s", titled(query), purged.IDs, want[0].ID)
			}
			delete(all, want[0].ID)
			r.equalAll(titled(query), r.accounts(), all)
		}
	}},
	{"Purge refuses a filter without an age, and what List refuses", func(r *contractTest) {
		r.unverified("old", 3)
		r.clock.Advance(2 * time.Hour)
		long := r.clock.Now()
		for _, test := range []struct {
			field string
			query domain.ListQuery
		}{
			{"filter", domain.ListQuery{}},
			{"filter", domain.ListQuery{Filter: domain.Filter{Verified: new(false), CreatedFrom: long}}},
			{"limit", domain.ListQuery{Filter: domain.Filter{CreatedBefore: long}, Limit: domain.MaxPageSize + 1}},
			{"limit", domain.ListQuery{Filter: domain.Filter{CreatedBefore: long}, Limit: -1}},
			{"order", domain.ListQuery{Filter: domain.Filter{CreatedBefore: long}, Order: "age"}},
		} {
			r.changesNothing(fmt.Sprintf("%+v", test.query), domain.ErrInvalid, test.field, func() error { _, err := r.Purge(r.Context(), test.query); return err })
		}
	}},
	{"Purge of what has long been unverified spares an account whose address was replaced, until that is as long ago", func(r *contractTest) {
		ids := r.unverified("old", 2)
		must(r.Verify(r.Context(), ids[0]))(r)
		r.clock.Advance(2 * time.Hour)
		must(r.SetEmail(r.Context(), ids[0], r.email("other@example.org")))(r)
		if got := slices.Concat(r.purge(r.abandoned(10))...); !slices.Equal(got, ids[1:]) {
			r.Errorf("deleted %v, want %v", got, ids[1:])
		}
		r.clock.Advance(2 * time.Hour)
		if got := slices.Concat(r.purge(r.abandoned(10))...); !slices.Equal(got, ids[:1]) {
			r.Errorf("later deleted %v, want %v", got, ids[:1])
		}
	}},
	{"Purge by 4 at once deletes each account once, and none that is verified meanwhile", func(r *contractTest) {
		random := rand.New(rand.NewPCG(seed(r), 0))
		for range r.rounds(2, 1000) {
			ids := r.unverified("old", 40)
			r.clock.Advance(2 * time.Hour)
			var mu sync.Mutex
			purged := make(map[domain.ID]int)
			verified := make(map[domain.ID]bool)
			shuffled := slices.Clone(ids)
			random.Shuffle(len(ids), func(a, b int) { shuffled[a], shuffled[b] = shuffled[b], shuffled[a] })
			query := r.abandoned(3)
			r.noErrors("at once", concurrently(20, func(i int) error {
				for i < 4 {
					step, err := r.Purge(r.Context(), query)
					if err != nil {
						return err
					}
					mu.Lock()
					for _, id := range step.IDs {
						purged[id]++
					}
					mu.Unlock()
					if step.Done {
						return nil
					}
				}
				for at := i - 4; at < len(shuffled); at += 16 {
					_, err := r.Verify(r.Context(), shuffled[at])
					switch {
					case err == nil:
						mu.Lock()
						verified[shuffled[at]] = true
						mu.Unlock()
					case !errors.Is(err, domain.ErrNotFound):
						return err
					}
				}
				return nil
			}))
			for _, id := range ids {
				_, err := r.FindByID(r.Context(), id)
				if there := err == nil; there != verified[id] || purged[id] > 1 || (purged[id] == 1) == there {
					r.Errorf("account %s: verified %t, purged %d times, and then found: %v", id, verified[id], purged[id], err)
				}
				if err := r.Delete(r.Context(), id); err != nil && !errors.Is(err, domain.ErrNotFound) {
					r.Fatal(err)
				}
			}
		}
	}},
}
