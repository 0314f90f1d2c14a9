package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver of a pool of the application

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
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
	store, err := postgres.Open(ctx, databaseURL)
	check(err)
	defer store.Close()
	check(store.CheckMigrations(ctx)) // or store.Migrate(ctx), where the program may change tables
	n, err := store.Count(ctx, domain.Filter{})
	check(err)
	fmt.Println(n, "accounts")
}

func ExampleOpenWithPool() {
	ctx := context.Background()
	store, err := postgres.OpenWithPool(ctx, databaseURL, postgres.Pool{MaxOpen: 20, MaxLifetime: 30 * time.Minute})
	check(err)
	defer store.Close()
	fmt.Println(store.DB().Stats().MaxOpenConnections)
}

func ExampleNew() {
	ctx := context.Background()
	db, err := sql.Open("postgres", databaseURL) // the pool of the application, with its driver, settings and instruments
	check(err)
	defer db.Close()
	store, err := postgres.New(db)
	check(err)

	// A transaction of the application, or of any other pool on this database.
	tx, err := db.BeginTx(ctx, nil)
	check(err)
	defer tx.Rollback()
	check(store.WithTx(tx).Create(ctx, newUser("ana")))
	_, err = tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS posts (author uuid REFERENCES users)")
	check(err)
	check(tx.Commit())
}

func ExampleNew_inTx() {
	ctx := context.Background()
	db, err := sql.Open("postgres", databaseURL)
	check(err)
	defer db.Close()
	store, err := postgres.New(db)
	check(err)
	err = store.InTx(ctx, func(tx *infra.Tx) error {
		bob := newUser("bob")
		if err := tx.Create(ctx, bob); err != nil {
			return err
		}
		_, err := tx.SQL().ExecContext(ctx, "SELECT set_config('app.user', $1, true)", bob.ID())
		return err
	}, infra.Isolation(sql.LevelSerializable), infra.Retry(5))
	check(err)
}

func ExampleWithReplicas() {
	ctx := context.Background()
	replicaURL := databaseURL // of a standby; what is no standby gets no reads
	store, err := postgres.Open(ctx, databaseURL, postgres.WithReplicas(replicaURL))
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
	store := storetest.OpenPostgres(t, databaseURL)
	ExampleNew()
	ExampleNew_inTx()
	ExampleOpen()
	ExampleOpenWithPool()
	ExampleWithReplicas()
	if n, err := store.Count(t.Context(), domain.Filter{}); n != 2 || err != nil {
		t.Errorf("%d accounts, %v; want 2", n, err)
	}
}
