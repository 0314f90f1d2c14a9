package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	atlas "ariga.io/atlas/sql/migrate"
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/ent/migrate/postgres"
	"github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// testDatabase is a kind of database to test on.
type testDatabase struct {
	dialect, name string // name is that of its directory and of its environment in atlas.hcl
	url           func(testing.TB) string
	dev           func(testing.TB) plan.Dev
}

var databases = []testDatabase{
	{migration.Postgres, "postgres", postgrestest.Database, devPostgres},
	{migration.SQLite, "sqlite", func(t testing.TB) string { return filepath.Join(t.TempDir(), "accounts.db") }, devSQLite},
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, test func(*testing.T, testDatabase)) {
	t.Helper()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

// openURL opens a database as the stores do: SQLite with one connection, foreign keys and a write-ahead log.
func openURL(d testDatabase, url string) (*sql.DB, error) {
	if d.dialect == migration.Postgres {
		return sql.Open("postgres", url)
	}
	db, err := sql.Open("sqlite", "file:"+url+"?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func (d testDatabase) open(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := openURL(d, url)
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

// devPostgres has databases that are emptied and used again, each with the connection that was made for it. Those of [plan.DevPostgres] take
// ten times as long, and on a new connection all that PostgreSQL knows of its catalogs is read again.
func devPostgres(t testing.TB) plan.Dev {
	postgrestest.Server(t) // without one, this test is skipped, not one within it
	return func(ctx context.Context) (*sql.DB, func() error, error) {
		db, err := developments.take(t)
		if err != nil {
			return nil, nil, err
		}
		// A file may have left a transaction, and settings of the session.
		for _, statement := range []string{"ROLLBACK", "DISCARD ALL", postgrestest.EmptyDatabase} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return nil, nil, errors.Join(err, db.Close())
			}
		}
		return db, func() error { developments.give(db); return nil }, nil
	}
}

// developments are databases that no test uses. They are dropped at the end of the process.
var developments developmentPool

type developmentPool struct {
	mu   sync.Mutex
	free []*sql.DB
}

func (p *developmentPool) take(t testing.TB) (*sql.DB, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		db := p.free[n-1]
		p.free = p.free[:n-1]
		return db, nil
	}
	url, _ := postgrestest.Borrow(t)
	db, err := sql.Open("postgres", url)
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func (p *developmentPool) give(db *sql.DB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, db)
}

func devSQLite(testing.TB) plan.Dev {
	return plan.DevSQLite(func(context.Context) (*sql.DB, error) {
		db, err := sql.Open("sqlite", ":memory:?_pragma=foreign_keys(1)")
		if err == nil {
			db.SetMaxOpenConns(1)
		}
		return db, err
	})
}

// runner returns a runner of a directory on a database, failing the test if there is none.
func (d testDatabase) runner(t testing.TB, db *sql.DB, dir fs.FS) *migration.Runner {
	t.Helper()
	runner, err := migration.New(db, d.dialect, dir, migration.Schema{})
	if err != nil {
		t.Fatal(err)
	}
	return runner
}

// embedded returns the project's own migrations.
func (d testDatabase) embedded(t testing.TB) fs.FS {
	t.Helper()
	if d.dialect == migration.SQLite {
		return sqlite.Files
	}
	return postgres.Files
}

// desired returns the project's own desired state.
func (d testDatabase) desired(t testing.TB) string {
	t.Helper()
	if d.dialect == migration.SQLite {
		return desired.SQLite
	}
	return desired.Postgres
}

// directory returns files as a directory of migrations with its atlas.sum.
func directory(t testing.TB, files map[string]string) fstest.MapFS {
	t.Helper()
	dir := new(atlas.MemDir)
	made := fstest.MapFS{}
	for name, text := range files {
		if err := dir.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		made[name] = &fstest.MapFile{Data: []byte(text)}
	}
	sum, err := dir.Checksum()
	if err != nil {
		t.Fatal(err)
	}
	text, err := sum.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	made[atlas.HashFileName] = &fstest.MapFile{Data: text}
	return made
}

// and returns the directory with more files and a new atlas.sum.
func and(t testing.TB, dir fs.FS, files map[string]string) fstest.MapFS {
	t.Helper()
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	for name, text := range files {
		all[name] = text
	}
	return directory(t, all)
}

// onDisk copies a directory to the disk and returns its path.
func onDisk(t testing.TB, dir fs.FS) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "migrations")
	if err := os.CopyFS(path, dir); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustUp(t testing.TB, runner *migration.Runner) {
	t.Helper()
	if _, err := runner.Up(t.Context(), migration.UpOptions{}); err != nil {
		t.Fatal(err)
	}
}

func mustExec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func queryString(t testing.TB, db *sql.DB, query string) string {
	t.Helper()
	var value string
	if err := db.QueryRowContext(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// lines makes a test's SQL readable as part of the test.
func lines(text ...string) string { return strings.Join(text, "\n") + "\n" }

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
