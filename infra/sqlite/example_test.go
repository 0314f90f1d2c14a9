package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
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
	grant, err := signUp(ctx, store, auth)
	check(err)
	ana, session, err := store.FindByToken(ctx, grant.Token)
	check(err)
	fmt.Println(ana.Email(), ana.IsVerified(), session.Label)
	// Output: ana@example.org false Firefox on Linux
}

// signUp registers an account and signs it in.
func signUp(ctx context.Context, store *infra.Store, auth *domain.Authenticator) (grant domain.Grant, err error) {
	email, err1 := domain.ParseEmail("Ana@Example.org")
	username, err2 := domain.ParseUsername("ana")
	hash, err3 := auth.HashPassword(ctx, "correct horse battery staple")
	ana, err4 := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, store.Now())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return grant, err // says which field breaks which rule
	}
	if err := store.Create(ctx, ana); err != nil {
		return grant, err // such as domain.ErrTaken
	}
	if _, err := auth.Authenticate(ctx, "ana@example.org", "correct horse battery staple"); err != nil {
		return grant, err // such as domain.ErrBadCredentials or domain.ErrLocked
	}
	return store.IssueToken(ctx, ana.ID(), domain.SessionPolicy{Label: "Firefox on Linux"}) // grant.Token goes to the client
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	store, err := sqlite.Open(ctx, filepath.Join(dir, "accounts.db")) // which is made, for its owner alone
	check(err)
	defer store.Close()
	check(store.Migrate(ctx))
	n, err := store.Count(ctx, domain.Filter{})
	check(err)
	fmt.Println(n)
	// Output: 0
}

func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	// The pool of the application, with its driver and settings. These the store needs, or asks for.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_txlock=immediate")
	check(err)
	defer db.Close()
	store, err := sqlite.New(db)
	check(err)
	check(store.Migrate(ctx))

	tx, err := db.BeginTx(ctx, nil)
	check(err)
	defer tx.Rollback()
	n, err := store.WithTx(tx).Count(ctx, domain.Filter{})
	check(err)
	fmt.Println(n)
	// Output: 0
}

func ExampleNewConnector() {
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "app.db")
	// The application's pool. Its statements may have times as arguments, which are stored in the form of the accounts' own.
	connector, err := sqlite.NewConnector("file:" + path + "?_txlock=immediate&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)")
	check(err)
	db := sql.OpenDB(connector)
	defer db.Close()
	store, err := sqlite.New(db)
	check(err)
	check(store.Migrate(context.Background()))

	var stored string
	check(db.QueryRow("SELECT ?", time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)).Scan(&stored))
	fmt.Println(stored)
	// Output: 2026-01-02 03:04:05.000006
}
