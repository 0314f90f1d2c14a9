package infra_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

var ctx = context.Background()

// blog returns a migrated store beside the application's table of posts, and an account that is not stored.
func blog() (store *infra.Store, ana *domain.User) {
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	check(store.Migrate(ctx))
	_, err = store.DB().Exec("CREATE TABLE posts (author text NOT NULL REFERENCES users (id), title text NOT NULL)")
	check(err)
	email, err := domain.ParseEmail("ana@example.org")
	check(err)
	username, err := domain.ParseUsername("ana")
	check(err)
	ana, err = domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	check(err)
	return store, ana
}

func titles(store *infra.Store) (text string) {
	check(store.DB().QueryRow("SELECT u.username || ': ' || p.title FROM posts AS p JOIN users AS u ON u.id = p.author").Scan(&text))
	return text
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleStore_InTx() {
	store, ana := blog()
	err := store.InTx(ctx, func(tx *infra.Tx) error {
		if err := tx.Create(ctx, ana); err != nil {
			return err
		}
		_, err := tx.SQL().ExecContext(ctx, "INSERT INTO posts (author, title) VALUES ($1, $2)", ana.ID(), "Hello")
		return err
	})
	check(err)
	fmt.Println(titles(store))
	// Output: ana: Hello
}

func ExampleStore_WithTx() {
	store, ana := blog()
	db := store.DB() // or any other pool on the same database
	tx, err := db.BeginTx(ctx, nil)
	check(err)
	defer tx.Rollback()
	check(store.WithTx(tx).Create(ctx, ana))
	_, err = tx.ExecContext(ctx, "INSERT INTO posts (author, title) VALUES ($1, $2)", ana.ID(), "Hello")
	check(err)
	check(tx.Commit())
	fmt.Println(titles(store))
	// Output: ana: Hello
}

func ExampleStore_CheckSchema() {
	store, _ := blog()
	fmt.Println(store.CheckSchema(ctx))
	_, err := store.DB().Exec("DROP INDEX users_email_key")
	check(err)
	fmt.Println(store.CheckSchema(ctx))
	// Output:
	// <nil>
	// check schema: unique index users_email_key of users is missing: (email)
}

func ExampleStore_Delete() {
	store, ana := blog()
	check(store.Create(ctx, ana))
	_, err := store.DB().Exec("INSERT INTO posts (author, title) VALUES ($1, $2)", ana.ID(), "Hello")
	check(err)
	if err := store.Delete(ctx, ana.ID()); errors.Is(err, domain.ErrReferenced) {
		_, err := store.Deactivate(ctx, ana.ID())
		check(err)
	}
	found, err := store.FindByID(ctx, ana.ID())
	check(err)
	fmt.Println(found.IsActive())
	// Output: false
}

func Example_errors() {
	store, ana := blog()
	check(store.Create(ctx, ana))
	err := store.Create(ctx, ana)
	var refused *domain.Error
	switch {
	case errors.Is(err, domain.ErrTaken) && errors.As(err, &refused):
		// refused.Field is "email", "username" or "phone"
	case errors.Is(err, domain.ErrLocked) && errors.As(err, &refused):
		// refused.Until says until when
	}
	fmt.Println(refused.Kind)
	// Output: taken
}

func ExampleWithSchema() {
	store, err := postgres.Open(ctx, "postgres://localhost/app?search_path=public,auth", infra.WithSchema("auth"))
	check(err)
	check(store.Migrate(ctx)) // makes the schemas auth and accounts_migrations_auth
}

// TestPosts is how an application tests with accounts.
func TestPosts(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ana := storetest.NewUser(t, "ana")
		if err := store.Create(t.Context(), ana); err != nil {
			t.Fatal(err)
		}
		withPosts(t, store) // the application's tables
		if err := post(t.Context(), store.DB(), "Hello", ana.ID()); err != nil {
			t.Error(err)
		}
	})
}
