package entaccounts_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	entgo "entgo.io/ent"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"

	"github.com/softbee/accounts/ent"
	"github.com/softbee/accounts/ent/migrate"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/sqlite"
)

// Example makes the tables of an application by ent, once the accounts are migrated. The client stands for that of the application.
func Example() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	client := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.SQLite, store.DB())))
	err = client.Schema.Create(ctx, entaccounts.After(store.Migrate))
	check(err)
	fmt.Println(store.CheckMigrations(ctx))

	// Where the accounts have been migrated already:
	err = client.Schema.Create(ctx, schema.WithDiffHook(entaccounts.DiffHook))
	check(err)
	// Output: <nil>
}

func ExampleDriver() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	check(store.Migrate(ctx))
	err = store.InTx(ctx, func(tx *infra.Tx) error {
		// The client stands for that of the application. What it writes is committed with what the store writes.
		client := ent.NewClient(ent.Driver(entaccounts.Driver(dialect.SQLite, tx.SQL())))
		n, err := client.User.Query().Count(ctx)
		fmt.Println(n)
		return err
	})
	check(err)
	// Output: 0
}

// writeFiles is the part of a generator that writes what Atlas reads. tables stand for those of the application's generated client.
func writeFiles(tables []*schema.Table) error {
	migrate := struct{ Tables []*schema.Table }{tables}
	desired, err := entaccounts.DesiredState(context.Background(), dialect.Postgres, "14", migrate.Tables)
	if err != nil {
		return err
	}
	first, err := entaccounts.FirstFile(dialect.Postgres)
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll("migrations", 0o755),
		os.WriteFile("migrations/00000000000000_accounts.sql", []byte(first), 0o644),
		os.WriteFile("schema.sql", []byte(desired), 0o644),
	)
}

func ExampleDesiredState() {
	tables := migrate.Tables // of the application's generated client, for which ours stands
	desired, err := entaccounts.DesiredState(context.Background(), dialect.SQLite, "", tables)
	check(err)
	fmt.Println(strings.Contains(desired, "CREATE TABLE `users`"), strings.Contains(desired, "email")) // a stub stands for the accounts
	// Output: true false
}

func ExampleFirstFile() {
	first, err := entaccounts.FirstFile(dialect.SQLite) // of the application's directory, before those that refer to accounts
	check(err)
	fmt.Println(strings.SplitN(first, "\n", 2)[0])
	// Output: -- The accounts, to which later files refer. They have migrations of their own; in a development database a stub stands for them.
}

func ExampleExclude() {
	fmt.Println(slices.Contains(entaccounts.Exclude(), "users"))             // for "exclude" in atlas.hcl
	fmt.Println(slices.Contains(entaccounts.ExcludeInDatabase(), "*.users")) // the same for a URL of the whole database
	// Output:
	// true
	// true
}

func ExampleDiffHook() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	check(store.Migrate(ctx))
	client := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.SQLite, store.DB()))) // stands for that of the application
	check(client.Schema.Create(ctx, schema.WithDiffHook(entaccounts.DiffHook)))
	fmt.Println(store.CheckMigrations(ctx)) // ent has left our tables alone
	// Output: <nil>
}

// Account stands for the accounts in the application's own ent schema.
type Account struct{ entgo.Schema }

func (Account) Mixin() []entgo.Mixin { return []entgo.Mixin{entaccounts.Mirror{}} }

func ExampleMirror() {
	for _, field := range (Account{}).Mixin()[0].Fields() {
		fmt.Println(field.Descriptor().Name)
	}
	// Output: id
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
