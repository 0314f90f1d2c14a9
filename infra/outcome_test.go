package infra_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/storetest"
)

// A caller can tell what was certainly not done from what may have been done.
func TestOutcomeIsKnownOrNot(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, storetest.PostgresURL(t))
	store := storetest.OpenPostgres(t, proxy.URL)
	ctx := t.Context()
	u := storetest.NewUser(t, "first")
	if err := store.Create(ctx, u); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, unknown bool, err error) {
		t.Helper()
		if !errors.Is(err, domain.ErrUnavailable) || domain.OutcomeUnknown(err) != unknown {
			t.Errorf("%s: %v, outcome unknown %v; want %v", what, err, domain.OutcomeUnknown(err), unknown)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	expect("a context that had ended", false, store.Create(ended, u))
	expect("a context that had ended, in a transaction", false, store.InTx(ended, func(*infra.Tx) error { return nil }))

	second := storetest.NewUser(t, "second")
	proxy.Cut.Store(true)
	expect("a reply that was lost", true, store.Create(ctx, second))
	var refused *domain.Error
	if err := store.Create(ctx, second); !errors.As(err, &refused) || refused.Kind != domain.ErrConflict || refused.Field != "id" {
		t.Errorf("the same account once more, which is stored: %v; want a conflict on the id", err)
	}
	if _, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{}); err != nil { // prepares the statement, which may be repeated
		t.Fatal(err)
	}
	proxy.Cut.Store(true)
	grant, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
	expect("a session whose reply was lost", true, err)
	if found, session, err := store.FindByToken(ctx, grant.Token); err != nil || found.ID() != u.ID() || session.ID != grant.Session.ID {
		t.Errorf("its token: %v; want that it was stored", err)
	}
	if grant, err := store.IssueToken(ended, u.ID(), domain.SessionPolicy{}); err == nil || !grant.Token.IsZero() {
		t.Errorf("a session that was certainly not stored: %v, with a token %v", err, !grant.Token.IsZero())
	}
	expect("a statement of a transaction whose reply was lost", false, store.InTx(ctx, func(tx *infra.Tx) error {
		proxy.Cut.Store(true)
		return tx.Create(ctx, storetest.NewUser(t, "third"))
	}))
	expect("a commit whose reply was lost", true, store.InTx(ctx, func(tx *infra.Tx) error {
		err := tx.Create(ctx, storetest.NewUser(t, "fourth"))
		proxy.Cut.Store(true)
		return err
	}))
	late, cancel := context.WithCancel(ctx)
	defer cancel()
	expect("a context that ends at the commit", true, store.InTx(late, func(tx *infra.Tx) error {
		err := tx.Create(ctx, storetest.NewUser(t, "fifth"))
		proxy.Silent.Store(true)
		time.AfterFunc(200*time.Millisecond, cancel)
		return err
	}))
	proxy.Silent.Store(false)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	expect("a store that is closed", false, store.Create(ctx, u))
}

// CreateMany ends when its context does, at any time, and leaves no connection behind.
func TestCreateManyEndsAtAnyTime(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	store := storetest.OpenPostgres(t, storetest.PostgresURL(t))
	rounds := 10
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		rounds = 100
	}
	users := make([]*domain.User, 1500)
	for i := range users {
		users[i] = storetest.NewUser(t, fmt.Sprintf("many-%d", i))
	}
	for i := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Millisecond/time.Duration(rounds))
		ended := make(chan error, 1)
		go func() {
			_, err := store.CreateMany(ctx, users)
			ended <- err
		}()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("try %d: %v", i, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("try %d goes on", i)
		}
		cancel()
	}
	if n := store.DB().Stats().InUse; n != 0 {
		t.Errorf("%d connections are in use", n)
	}
}
