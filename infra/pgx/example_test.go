package pgx_test

import (
	"context"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/storetest"
)

// databaseURL is that of the application. TestExamples puts the one of a server for tests here.
var databaseURL = "postgres://app@localhost/app"

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleOpen() {
	ctx := context.Background()
	store, err := pgx.Open(ctx, databaseURL+"&pool_max_conns=20")
	check(err)
	defer store.Close()
	check(store.CheckMigrations(ctx)) // or store.Migrate(ctx), where the program may change tables
	n, err := store.Count(ctx, domain.Filter{})
	check(err)
	fmt.Println(n, "accounts")
}

func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, databaseURL) // the pool of the application, with its settings and tracers
	check(err)
	defer pool.Close()
	store, err := pgx.New(pool)
	check(err)
	defer store.Close() // which leaves the pool open
	err = store.InTx(ctx, func(tx *infra.Tx) error { return tx.Create(ctx, newUser("ana")) })
	check(err)
}

func ExampleWithTx() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, databaseURL)
	check(err)
	defer pool.Close()
	store, err := pgx.New(pool)
	check(err)
	defer store.Close()

	tx, err := pool.Begin(ctx)
	check(err)
	defer tx.Rollback(ctx)
	bob := newUser("bob")
	check(pgx.WithTx(store, tx).Create(ctx, bob))
	_, err = tx.Exec(ctx, "SELECT set_config('app.user', $1, true)", bob.ID().String()) // the application's own statements
	check(err)
	check(tx.Commit(ctx))
}

func ExampleWithReplicas() {
	ctx := context.Background()
	replicaURL := databaseURL // of a standby; what is no standby gets no reads
	store, err := pgx.Open(ctx, databaseURL, pgx.WithReplicas(replicaURL))
	check(err)
	defer store.Close()
	page, err := store.List(ctx, domain.ListQuery{}) // from a replica that has replayed what this store has written
	check(err)
	fmt.Println(len(page.Users), "accounts")
}

func newUser(name string) *domain.User {
	email, err := domain.ParseEmail(name + "@example.org")
	check(err)
	username, err := domain.ParseUsername(name)
	check(err)
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	check(err)
	return u
}

// TestExamples runs the examples on a server, which an Example cannot be skipped without.
func TestExamples(t *testing.T) {
	databaseURL = storetest.PostgresURL(t)
	ExampleNew()
	ExampleWithTx()
	ExampleOpen()
	ExampleWithReplicas()
	store := open(t, databaseURL)
	if n, err := store.Count(t.Context(), domain.Filter{}); n != 2 || err != nil {
		t.Errorf("%d accounts, %v; want 2", n, err)
	}
}
