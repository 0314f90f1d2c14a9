package domain_test

import (
	"context"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra/password"
)

// All sessions of a program have one policy, which is checked when the program starts.
func ExampleAuthenticator_StartSession() {
	ctx := context.Background()
	repository := domaintest.NewRepository(nil)
	authenticator, err := domain.NewAuthenticator(repository, password.Fast(), domain.AuthenticationPolicy{
		Session: domain.SessionPolicy{Idle: time.Hour, Absolute: 24 * time.Hour},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	email, _ := domain.ParseEmail("ann@example.org")
	username, _ := domain.ParseUsername("ann")
	ann, _ := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	_ = repository.Create(ctx, ann)

	grant, err := authenticator.StartSession(ctx, ann.ID(), "Firefox on Linux")
	fmt.Println(grant.Session.Label, err)
	next, err := authenticator.RefreshSession(ctx, grant.Token)
	fmt.Println(next.Token != grant.Token, next.Session.ID == grant.Session.ID, err)
	// Output:
	// Firefox on Linux <nil>
	// true true <nil>
}
