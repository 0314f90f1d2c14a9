package entaccounts_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"

	"github.com/softbee/accounts/ent"
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

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
