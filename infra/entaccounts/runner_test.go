package entaccounts_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql/schema"
	"entgo.io/ent/schema/field"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/internal/journeytest"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// ownDirectory is an application's directory of migrations, planned by infra/migration/plan.
type ownDirectory struct {
	path, dialect string
	dev           plan.Dev
}

func newOwnDirectory(t *testing.T, name string) ownDirectory {
	t.Helper()
	d := ownDirectory{filepath.Join(t.TempDir(), "migrations"), name, plan.DevSQLite(func(context.Context) (*sql.DB, error) {
		db, err := sql.Open("sqlite", ":memory:?_pragma=foreign_keys(1)")
		if err == nil {
			db.SetMaxOpenConns(1)
		}
		return db, err
	})}
	if name == dialect.Postgres {
		d.dev = func(context.Context) (*sql.DB, func() error, error) { // a tenth of what those of plan.DevPostgres cost
			url, giveBack := postgrestest.Borrow(t)
			db, err := sql.Open("postgres", url)
			return db, func() error {
				defer giveBack()
				return db.Close()
			}, err
		}
	}
	first, err := entaccounts.FirstFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(d.path, 0o700), os.WriteFile(filepath.Join(d.path, "00000000000000_accounts.sql"), []byte(first), 0o600), plan.Hash(d.path)); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d ownDirectory) diff(t *testing.T, name string, tables []*schema.Table) {
	t.Helper()
	desired, err := entaccounts.DesiredState(t.Context(), d.dialect, "14", tables)
	if err != nil {
		t.Fatal(err)
	}
	path, err := plan.Diff(t.Context(), plan.DiffOptions{Dialect: d.dialect, Dir: d.path, Desired: desired, Name: name, Dev: d.dev})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || definesAccounts(string(text)) {
		t.Errorf("%v: the migration is\n%s", err, text)
	}
}

// blogMigrations runs the directory beside ours.
func blogMigrations(store *infra.Store, directory string) (*migration.Runner, error) {
	return migration.New(store.DB(), databaseName(store), os.DirFS(directory), migration.Schema{Name: store.Schema()},
		migration.WithHistory("blog_migrations"))
}

// TestOwnDirectoryByOurRunner has our runner apply the application's migrations beside 1,000 accounts, go back, and forth again.
func TestOwnDirectoryByOurRunner(t *testing.T) {
	t.Parallel()
	unmigrated(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		d := newOwnDirectory(t, databaseName(store))
		d.diff(t, "blog", blogTables(t))
		mustRunner := func() *migration.Runner {
			runner, err := blogMigrations(store, d.path)
			if err != nil {
				t.Fatal(err)
			}
			return runner
		}
		if _, err := mustRunner().Up(ctx, migration.UpOptions{}); err == nil || !strings.Contains(err.Error(), "the accounts must be migrated first") {
			t.Errorf("before the accounts are: %v", err)
		}
		if err := store.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		fill(t, store)
		before := bytes(t, store)
		if err := mustRunner().Check(ctx); !errors.Is(err, domain.ErrPendingMigrations) || strings.Contains(err.Error(), "accounts migrate") {
			t.Errorf("check: %v; want pending, without a command that knows nothing of them", err)
		}
		if _, err := mustRunner().Up(ctx, migration.UpOptions{}); err != nil {
			t.Fatal(err)
		}
		changed := blogTables(t)
		for _, table := range changed { // in the mirror it means nothing
			table.Columns = append(table.Columns, &schema.Column{Name: "note", Type: field.TypeString, Nullable: true})
		}
		d.diff(t, "notes", changed)
		runner := mustRunner()
		applied, err := runner.Up(ctx, migration.UpOptions{})
		if err != nil || len(applied) != 1 {
			t.Fatal(applied, err)
		}
		ours, err := store.Migrations()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := runner.Status(ctx)
		if err != nil || theirs.Applied != 3 || len(theirs.Unknown) > 0 {
			t.Errorf("the application's history: %+v, %v", theirs, err)
		}
		if status, err := ours.Status(ctx); err != nil || len(status.Unknown) > 0 || len(status.Pending) > 0 {
			t.Errorf("our history: %+v, %v", status, err)
		}
		if bytes(t, store) != before {
			t.Error("the accounts have changed")
		}

		for _, to := range []string{"00000000000000", "0"} {
			way, err := plan.Down(ctx, runner, plan.DownOptions{To: to, AllowDestructive: true, Dev: d.dev, Exclude: entaccounts.Tables})
			if err != nil || strings.Contains(strings.Join(way.Destructive, ","), "users") {
				t.Fatalf("down to %s: %v, %q", to, err, way.Destructive)
			}
			if bytes(t, store) != before {
				t.Errorf("down to %s: the accounts have changed", to)
			}
		}
		if _, err := runner.Up(ctx, migration.UpOptions{}); err != nil {
			t.Fatal(err)
		}
		refers(t, store)
		record(t, databaseName(store), "managed: the application's own directory", journeytest.Ours, "done, by our runner with `WithHistory`")
	})
}

func TestNamesOfHistories(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Blog", "accounts_migrations", "accounts_migrations_auth", "pg_blog", "sqlite_blog", "a b", strings.Repeat("x", 41)} {
		_, err := migration.New(nil, migration.SQLite, os.DirFS(t.TempDir()), migration.Schema{}, migration.WithHistory(name))
		if refusal := new(domain.Error); !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != "history" {
			t.Errorf("%q: %v", name, err)
		}
	}
}
