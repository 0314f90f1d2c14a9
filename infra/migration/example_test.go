package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
	"github.com/softbee/accounts/infra/storetest"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// memory returns a pool on a new SQLite database in memory.
func memory() *sql.DB {
	db, err := sql.Open("sqlite", "file::memory:?_pragma=foreign_keys(1)")
	check(err)
	db.SetMaxOpenConns(1) // each connection has a database of its own
	return db
}

// applications are the migrations of an application, as its program embeds them.
func applications() fstest.MapFS {
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	files := fstest.MapFS{
		"20260101000000_orders.sql":  {Data: []byte("CREATE TABLE orders (id integer PRIMARY KEY);\n")},
		"20260102000000_amounts.sql": {Data: []byte("ALTER TABLE orders ADD COLUMN amount integer;\n")},
	}
	for name, file := range files {
		check(os.WriteFile(filepath.Join(dir, name), file.Data, 0o600))
	}
	check(plan.Hash(dir))
	sum, err := os.ReadFile(filepath.Join(dir, "atlas.sum"))
	check(err)
	files["atlas.sum"] = &fstest.MapFile{Data: sum}
	return files
}

func ExampleNew() {
	ctx := context.Background()
	db := memory()
	runner, err := migration.New(db, migration.SQLite, sqlite.Files, migration.Schema{}) // what Migrations of a store returns
	check(err)
	fmt.Println(errors.Is(runner.Check(ctx), domain.ErrPendingMigrations))
	applied, err := runner.Up(ctx, migration.UpOptions{})
	check(err)
	fmt.Println(len(applied) > 0, runner.Check(ctx))
	// Output:
	// true
	// true <nil>
}

func ExampleWithHistory() {
	// The migrations of an application, beside those of the accounts in the same database.
	ctx := context.Background()
	runner, err := migration.New(memory(), migration.SQLite, applications(), migration.Schema{}, migration.WithHistory("shop_migrations"))
	check(err)
	applied, err := runner.Up(ctx, migration.UpOptions{})
	check(err)
	for _, file := range applied {
		fmt.Println(file.Name)
	}
	// Output:
	// 20260101000000_orders.sql
	// 20260102000000_amounts.sql
}

func ExampleRunner_Up() {
	ctx := context.Background()
	runner, err := migration.New(memory(), migration.SQLite, applications(), migration.Schema{}, migration.WithHistory("shop_migrations"))
	check(err)
	planned, err := runner.Up(ctx, migration.UpOptions{DryRun: true})
	check(err)
	fmt.Println(len(planned), "files would be applied")
	_, err = runner.Up(ctx, migration.UpOptions{To: "20260101000000", Progress: func(s migration.Step) {
		fmt.Println(s.File.Version, s.Statement, "of", s.Statements)
	}})
	check(err)
	status, err := runner.Status(ctx)
	check(err)
	fmt.Println(status.Current, status.Pending)
	// Output:
	// 2 files would be applied
	// 20260101000000 1 of 1
	// 20260101000000 [20260102000000]
}

// timing prints the operations that are over.
type timing struct{}

func (timing) Begin(ctx context.Context, _ string) context.Context { return ctx }

func (timing) End(_ context.Context, o domain.Observation) { fmt.Println(o.Operation, o.Err) }

func ExampleRunner_Observe() {
	runner, err := migration.New(memory(), migration.SQLite, applications(), migration.Schema{})
	check(err)
	runner.Observe(timing{})
	_, err = runner.Up(context.Background(), migration.UpOptions{})
	check(err)
	// Output:
	// apply migration <nil>
	// apply migration <nil>
	// migrate <nil>
}

func ExampleRunner_BeginAt() {
	// A database whose tables were made otherwise stands where the directory does.
	ctx := context.Background()
	db := memory()
	_, err := db.Exec("CREATE TABLE orders (id integer PRIMARY KEY)")
	check(err)
	runner, err := migration.New(db, migration.SQLite, applications(), migration.Schema{}, migration.WithHistory("shop_migrations"))
	check(err)
	check(runner.BeginAt(ctx, "20260101000000"))
	applied, err := runner.Up(ctx, migration.UpOptions{})
	check(err)
	fmt.Println(applied[0].Name)
	// Output: 20260102000000_amounts.sql
}

func ExampleRunner_Lock() {
	// For a program that makes the tables by itself, and keeps all other runs away meanwhile.
	ctx := context.Background()
	db := memory()
	runner, err := migration.New(db, migration.SQLite, applications(), migration.Schema{}, migration.WithHistory("shop_migrations"))
	check(err)
	conn, err := db.Conn(ctx)
	check(err)
	unlock, err := runner.Lock(ctx, conn)
	check(err)
	_, err = conn.ExecContext(ctx, "CREATE TABLE orders (id integer PRIMARY KEY, amount integer)")
	check(err)
	check(runner.Baseline(ctx, conn))
	check(unlock())
	check(conn.Close())
	fmt.Println(runner.Check(ctx))
	// Output: <nil>
}

func ExampleRunner_Accept() {
	// A file that was applied, and edited since, is refused until that is accepted.
	ctx := context.Background()
	db, files := memory(), applications()
	runner, err := migration.New(db, migration.SQLite, files, migration.Schema{})
	check(err)
	_, err = runner.Up(ctx, migration.UpOptions{})
	check(err)
	_, err = db.Exec("UPDATE accounts_migrations SET hash = 'of an earlier text' WHERE version = '20260102000000'")
	check(err)
	fmt.Println(errors.Is(runner.Check(ctx), domain.ErrChecksum))
	check(runner.Accept(ctx, "20260102000000"))
	fmt.Println(runner.Check(ctx))
	// Output:
	// true
	// <nil>
}

func ExampleRunner_Inspect() {
	ctx := context.Background()
	runner, err := migration.New(memory(), migration.SQLite, applications(), migration.Schema{}, migration.WithHistory("shop_migrations"))
	check(err)
	_, err = runner.Up(ctx, migration.UpOptions{})
	check(err)
	err = runner.Inspect(ctx, func(s *migration.Connection) error {
		_, table := s.History()
		var n int
		err := s.Conn().QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n)
		fmt.Println(n, "in", table)
		return err
	})
	check(err)
	// Output: 2 in shop_migrations
}

func ExampleRunner_Rewind() {
	// What plan.Down does, with statements of one's own.
	ctx := context.Background()
	runner, err := migration.New(memory(), migration.SQLite, applications(), migration.Schema{})
	check(err)
	_, err = runner.Up(ctx, migration.UpOptions{})
	check(err)
	err = runner.Rewind(ctx, migration.RewindOptions{To: "20260101000000"}, func(_ context.Context, _ *migration.Connection, back migration.Rewind) ([]string, error) {
		fmt.Println(back.Versions)
		return []string{"ALTER TABLE orders DROP COLUMN amount"}, nil
	})
	check(err)
	status, err := runner.Status(ctx)
	check(err)
	fmt.Println(status.Current)
	// Output:
	// [20260102000000]
	// 20260101000000
}

func ExampleHistorySchema() {
	fmt.Println(migration.HistorySchema("public"), migration.HistorySchema("auth"))
	// Output: accounts_migrations accounts_migrations_auth
}

func ExamplePartsOfTable() {
	fmt.Printf("%q\n", migration.PartsOfTable("CREATE TABLE orders (id integer PRIMARY KEY, amount integer, CHECK (amount > 0))"))
	// Output: ["CHECK (amount > 0)" "amount integer" "id integer PRIMARY KEY"]
}

func ExampleCarry() {
	ctx := context.Background()
	conn, err := memory().Conn(ctx)
	check(err)
	_, err = conn.ExecContext(ctx, "CREATE TABLE orders (id integer); CREATE INDEX theirs ON orders (id)")
	check(err)
	again := []string{
		"CREATE TABLE new_orders (id integer, amount integer)", "INSERT INTO new_orders (id) SELECT id FROM orders",
		"DROP TABLE orders", "ALTER TABLE new_orders RENAME TO orders",
	}
	_, after, err := migration.Carry(ctx, conn, again, []string{"CREATE TABLE orders (id integer)"})
	check(err)
	fmt.Println(after[0]) // the index of somebody else, which is made again
	// Output: CREATE INDEX theirs ON orders (id)
}

// databaseURL is that of the application. TestExamplesOnPostgres puts the one of a server for tests here.
var databaseURL = "postgres://app@localhost/app"

func ExampleCurrentSchema() {
	ctx := context.Background()
	db, err := sql.Open("postgres", databaseURL)
	check(err)
	defer db.Close()
	found, err := migration.CurrentSchema(ctx, db)
	check(err)
	runner, err := migration.New(db, migration.Postgres, applications(), found, migration.WithHistory("shop_migrations"))
	check(err)
	name, err := runner.Schema(ctx)
	check(err)
	fmt.Println(name == found.Name)
}

// TestExamplesOnPostgres runs the example on a server, which an Example cannot be skipped without.
func TestExamplesOnPostgres(t *testing.T) {
	databaseURL = storetest.PostgresURL(t)
	ExampleCurrentSchema()
}
