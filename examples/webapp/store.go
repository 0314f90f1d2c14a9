package main

import (
	"cmp"
	"context"
	"embed"
	"io/fs"
	"strings"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/examples/webapp/ent"
	"github.com/softbee/accounts/examples/webapp/ent/user"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

// openStore opens a database, and has every change of an account recorded.
func openStore(ctx context.Context, database string, options ...infra.Option) (*infra.Store, error) {
	options = append(options, audit.WithTrail(audit.Options{}))
	if strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://") {
		return postgres.Open(ctx, database, options...)
	}
	return sqlite.Open(ctx, database, options...)
}

// The tables are the application's own, with the accounts among them (docs/embedding.md, "Composed"). Atlas has planned these files.
//
//go:embed migrations
var migrations embed.FS

// migrateStore brings the database to the newest migration, and checks that the store finds all that it needs.
func migrateStore(ctx context.Context, store *infra.Store) error {
	directory, err := fs.Sub(migrations, "migrations/"+dialectOf(store))
	if err != nil {
		return err
	}
	runner, err := migration.New(store.DB(), dialectOf(store), directory, migration.Schema{Name: store.Schema()}, migration.WithHistory("webapp_migrations"))
	if err != nil {
		return err
	}
	if _, err := runner.Up(ctx, migration.UpOptions{}); err != nil {
		return err
	}
	return store.CheckSchema(ctx)
}

// entClient returns the application's ent client on the pool of the store or, with tx.SQL(), in a transaction of it.
func entClient(store *infra.Store, executor entsql.ExecQuerier) *ent.Client {
	return ent.NewClient(ent.Driver(entaccounts.Driver(dialectOf(store), executor)))
}

func dialectOf(store *infra.Store) string {
	if store.Schema() == "" {
		return dialect.SQLite
	}
	return dialect.Postgres
}

// promote makes an account an administrator.
func promote(ctx context.Context, store *infra.Store, name string) error {
	username, err := domain.LookupUsername(name)
	if err != nil {
		return err
	}
	n, err := entClient(store, store.DB()).User.Update().Where(user.Username(username.String())).SetIsAdmin(true).Save(ctx)
	if err != nil || n == 0 {
		return cmp.Or(err, error(domain.ErrNotFound))
	}
	return nil
}
