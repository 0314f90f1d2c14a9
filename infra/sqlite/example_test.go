package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/sqlite"
)

func Example() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, ":memory:") // or postgres.Open(ctx, "postgres://…")
	check(err)
	check(store.Migrate(ctx))
	hasher, err := password.New(password.Policy{})
	check(err)
	auth, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{})
	check(err)
	email, err := domain.ParseEmail("Ana@Example.org")
	check(err)
	username, err := domain.ParseUsername("ana")
	check(err)
	hash, err := auth.HashPassword(ctx, "correct horse battery staple")
	check(err)
	ana, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, time.Now())
	check(err)
	check(store.Create(ctx, ana))
	ana, err = auth.Authenticate(ctx, "ana@example.org", "correct horse battery staple")
	check(err)
	grant, err := store.IssueToken(ctx, ana.ID(), domain.SessionPolicy{Label: "Firefox on Linux"}) // grant.Token goes to the client
	check(err)
	ana, session, err := store.FindByToken(ctx, grant.Token)
	check(err)
	fmt.Println(ana.Email(), ana.IsVerified(), session.Label)
	// Output: ana@example.org false Firefox on Linux
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
