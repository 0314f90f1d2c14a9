package domain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
)

// TestSessionsOfAnAuthenticator begins and refreshes sessions by the policy that the authenticator was made with.
func TestSessionsOfAnAuthenticator(t *testing.T) {
	ctx := t.Context()
	clock := domaintest.NewClock()
	repository := domaintest.NewRepository(clock.Now)
	var seen operations
	policy := domain.SessionPolicy{Cap: 1, Idle: time.Hour, Absolute: 90 * time.Minute, Grace: domain.NoGrace}
	authenticator, err := domain.NewAuthenticator(repository, &hasher{}, domain.AuthenticationPolicy{Session: policy, Observers: []domain.Observer{&seen}})
	if err != nil {
		t.Fatal(err)
	}
	u := newUser(t)
	if err := repository.Create(ctx, u); err != nil {
		t.Fatal(err)
	}
	first, err := authenticator.StartSession(ctx, u.ID(), "Firefox on Linux")
	if err != nil || first.Session.Label != "Firefox on Linux" || first.Session.ExpiresAt.Sub(clock.Now()).Round(time.Second) != policy.Idle {
		t.Fatalf("%+v, %v", first.Session, err)
	}
	second, err := authenticator.StartSession(ctx, u.ID(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authenticator.RefreshSession(ctx, first.Token); !errors.Is(err, domain.ErrTokenInvalid) {
		t.Errorf("at the cap of one session the first one goes on: %v", err)
	}
	clock.Advance(45 * time.Minute)
	third, err := authenticator.RefreshSession(ctx, second.Token)
	if err != nil || third.Token == second.Token || third.Session.ExpiresAt.Sub(clock.Now()).Round(time.Second) != policy.Absolute-45*time.Minute {
		t.Errorf("%+v, %v", third.Session, err)
	}
	if _, err := authenticator.RefreshSession(ctx, second.Token); !errors.Is(err, domain.ErrTokenReused) {
		t.Errorf("a retired token without grace: %v; want reused", err)
	}
	if want := "start session, start session, refresh session, refresh session, refresh session"; seen.list != want {
		t.Errorf("observed %s; want %s", seen.list, want)
	}
	for field, policy := range map[string]domain.SessionPolicy{"cap": {Cap: -1}, "idle": {Idle: -1}, "label": {Label: "all"}} {
		_, err := domain.NewAuthenticator(repository, &hasher{}, domain.AuthenticationPolicy{Session: policy})
		if refused := new(domain.Error); !errors.As(err, &refused) || refused.Kind != domain.ErrInvalid || refused.Field != field {
			t.Errorf("%+v: %v; want invalid on the field %s", policy, err, field)
		}
	}
}

func newUser(t *testing.T) *domain.User {
	t.Helper()
	email, err := domain.ParseEmail("ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	username, err := domain.ParseUsername("ann")
	if err != nil {
		t.Fatal(err)
	}
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// operations is an observer that lists the names of what it sees.
type operations struct{ list string }

func (o *operations) Begin(ctx context.Context, _ string) context.Context { return ctx }

func (o *operations) End(_ context.Context, seen domain.Observation) {
	if o.list != "" {
		o.list += ", "
	}
	o.list += seen.Operation
}
