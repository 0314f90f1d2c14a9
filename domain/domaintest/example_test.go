package domaintest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra/password"
)

// A test of an application, without a database and without waiting for hashes. The clock is moved by hand.
func ExampleNewRepository() {
	ctx := context.Background()
	clock := domaintest.NewClock()
	repository := domaintest.NewRepository(clock.Now)
	authenticator, err := domain.NewAuthenticator(repository, password.Fast(), domain.AuthenticationPolicy{
		Lock: domain.LockPolicy{Attempts: 2, Duration: time.Hour},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	email, _ := domain.ParseEmail("ann@example.org")
	username, _ := domain.ParseUsername("ann")
	hash, _ := authenticator.HashPassword(ctx, "correct horse battery")
	ann, _ := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, clock.Now())
	fmt.Println("created:", repository.Create(ctx, ann))

	for range 2 {
		_, err = authenticator.Authenticate(ctx, "ann", "a guess")
		fmt.Println("guessed:", err)
	}
	_, err = authenticator.Authenticate(ctx, "ann", "correct horse battery")
	fmt.Println("locked:", errors.Is(err, domain.ErrLocked))
	clock.Advance(time.Hour)
	user, err := authenticator.Authenticate(ctx, "ann", "correct horse battery")
	fmt.Println("signed in:", user.Username(), err)
	// Output:
	// created: <nil>
	// guessed: no such account, or a wrong password
	// guessed: no such account, or a wrong password
	// locked: true
	// signed in: ann <nil>
}
