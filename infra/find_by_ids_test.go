package infra_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

func TestFindByIDs(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		users := make([]*domain.User, 50)
		for i := range users {
			users[i] = storetest.NewUser(t, fmt.Sprintf("user%d", i))
		}
		if refused, err := store.CreateMany(t.Context(), users); errors.Join(append(refused, err)...) != nil {
			t.Fatal(refused, err)
		}
		ids := []domain.ID{users[7].ID(), domain.NewID(), users[3].ID(), {}, users[7].ID()}
		found, err := store.FindByIDs(t.Context(), ids)
		if err != nil || len(found) != len(ids) {
			t.Fatalf("%d accounts, %v", len(found), err)
		}
		for i, want := range []*domain.User{users[7], nil, users[3], nil, users[7]} {
			if (found[i] == nil) != (want == nil) || want != nil && found[i].ID() != want.ID() {
				t.Errorf("at %d: %v; want %v", i, found[i], want)
			}
		}
		if found[0].State().PasswordHash != users[7].State().PasswordHash {
			t.Error("the hash is another one than FindByID returns")
		}
		many := make([]domain.ID, 10_000)
		for i := range many {
			many[i] = users[i%50].ID()
		}
		if found, err := store.FindByIDs(t.Context(), many); err != nil || found[9_999].ID() != users[49].ID() {
			t.Errorf("10,000 at once: %v", err)
		}
		if _, err := store.FindByIDs(t.Context(), append(many, domain.NewID())); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("too many: %v", err)
		}
		if none, err := store.FindByIDs(t.Context(), nil); err != nil || len(none) != 0 {
			t.Errorf("none: %v, %v", none, err)
		}
	})
}
