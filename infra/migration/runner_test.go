package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/postgres/postgrestest"
)

// databases are where each test runs.
var databases = []struct {
	dialect, dir string
	open         func(testing.TB) *sql.DB
}{
	{migration.Postgres, "postgres", func(t testing.TB) *sql.DB { return openURL(t, "postgres", postgrestest.Database(t)) }},
	{migration.SQLite, "sqlite", func(t testing.TB) *sql.DB {
		return openURL(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+
			"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	}},
}

func openURL(t testing.TB, driver, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func embedded(t testing.TB, name string) fs.FS {
	t.Helper()
	dir, err := fs.Sub(migrate.Files, name)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUpAppliesTheEmbeddedMigrations(t *testing.T) {
	for _, d := range databases {
		t.Run(d.dir, func(t *testing.T) {
			ctx := context.Background()
			db := d.open(t)
			runner, err := migration.New(db, d.dialect, embedded(t, d.dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := runner.Check(ctx); !errors.Is(err, domain.ErrPendingMigrations) {
				t.Errorf("check of an empty database: %v", err)
			}
			applied, err := runner.Up(ctx, migration.UpOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(applied) == 0 {
				t.Error("nothing was applied")
			}
			if err := runner.Check(ctx); err != nil {
				t.Error(err)
			}
			if applied, err := runner.Up(ctx, migration.UpOptions{}); err != nil || len(applied) != 0 {
				t.Errorf("again: %v, %v", applied, err)
			}
			status, err := runner.Status(ctx)
			t.Logf("%+v %v", status, err)
			if _, err := db.Exec("INSERT INTO users (email, username, hashed_password) VALUES ('a', 'b', 'c')"); err != nil {
				t.Error(err)
			}
		})
	}
}
