package plan_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
	"github.com/softbee/accounts/infra/storetest"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func openSQLite(context.Context) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file::memory:?_pragma=foreign_keys(1)")
	if err == nil {
		db.SetMaxOpenConns(1) // each connection has a database of its own
	}
	return db, err
}

// dev is where files are tried out.
var dev = plan.DevSQLite(openSQLite)

// What an application declares, as its generator writes it: now, and after a change.
const (
	orders  = "CREATE TABLE `orders` (`id` integer NOT NULL, PRIMARY KEY (`id`));\n"
	amounts = "CREATE TABLE `orders` (`id` integer NOT NULL, `amount` integer NULL, PRIMARY KEY (`id`));\n"
)

// planned returns a directory with the migrations that lead to each of the declared states.
func planned(states ...string) string {
	dir, err := os.MkdirTemp("", "")
	check(err)
	check(plan.Hash(dir))
	for _, desired := range states {
		_, err := plan.Diff(context.Background(), plan.DiffOptions{Dialect: plan.SQLite, Dir: dir, Desired: desired, Name: "change", Dev: dev})
		check(err)
	}
	return dir
}

// migrated returns a runner of a directory that has been run.
func migrated(dir string) (*migration.Runner, *sql.DB) {
	ctx := context.Background()
	db, err := openSQLite(ctx)
	check(err)
	runner, err := migration.New(db, migration.SQLite, os.DirFS(dir), migration.Schema{})
	check(err)
	_, err = runner.Up(ctx, migration.UpOptions{})
	check(err)
	return runner, db
}

func ExampleDiff() {
	dir := planned(orders)
	defer func() { check(os.RemoveAll(dir)) }()
	file, err := plan.Diff(context.Background(), plan.DiffOptions{Dialect: plan.SQLite, Dir: dir, Desired: amounts, Name: "add_amount", Dev: dev})
	check(err)
	text, err := os.ReadFile(file)
	check(err)
	fmt.Print(string(text))
	// Output:
	// -- Add column "amount" to table: "orders"
	// ALTER TABLE `orders` ADD COLUMN `amount` integer NULL;
}

func ExampleDevSQLite() {
	db, closeDB, err := plan.DevSQLite(openSQLite)(context.Background()) // a new database each time that files are tried out
	check(err)
	_, err = db.Exec(orders)
	check(err)
	fmt.Println(closeDB())
	// Output: <nil>
}

func ExampleNew() {
	dir := planned(orders)
	defer func() { check(os.RemoveAll(dir)) }()
	file, err := plan.New(plan.DiffOptions{Dialect: plan.SQLite, Dir: dir, Name: "fill"}) // to be written by hand
	check(err)
	check(os.WriteFile(file, []byte("UPDATE orders SET id = id;\n"), 0o600))
	fmt.Println(plan.Hash(dir)) // atlas.sum again
	// Output: <nil>
}

func ExampleHash() {
	dir, err := os.MkdirTemp("", "") // of an application that begins
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	check(plan.Hash(dir))
	_, err = os.Stat(filepath.Join(dir, "atlas.sum"))
	fmt.Println(err)
	// Output: <nil>
}

func ExampleCheckpoint() {
	dir := planned(orders, amounts)
	defer func() { check(os.RemoveAll(dir)) }()
	_, err := plan.Checkpoint(context.Background(), plan.DiffOptions{Dialect: plan.SQLite, Dir: dir, Name: "squashed", Dev: dev})
	check(err)
	runner, _ := migrated(dir) // of an empty database
	status, err := runner.Status(context.Background())
	check(err)
	fmt.Println(status.Applied)
	// Output: 1
}

func ExampleLint() {
	dir := planned(amounts, orders) // the second file drops a column
	defer func() { check(os.RemoveAll(dir)) }()
	findings, err := plan.Lint(context.Background(), plan.LintOptions{Dialect: plan.SQLite, Dir: os.DirFS(dir), Latest: 1, Dev: dev})
	check(err)
	for _, f := range findings {
		fmt.Println(f.Code)
	}
	// Output: DS103
}

func ExampleVerify() {
	ctx := context.Background()
	dir := planned(orders)
	defer func() { check(os.RemoveAll(dir)) }()
	runner, db := migrated(dir)
	fmt.Println(plan.Verify(ctx, runner, orders, dev))

	_, err := db.Exec("DROP TABLE orders")
	check(err)
	err = plan.Verify(ctx, runner, orders, dev)
	drift := new(plan.DriftError)
	if errors.Is(err, domain.ErrDrift) && errors.As(err, &drift) {
		fmt.Println(len(drift.Statements), "statement leads back")
	}
	// Output:
	// <nil>
	// 1 statement leads back
}

func ExampleCompare() {
	ctx := context.Background()
	dir := planned(orders)
	defer func() { check(os.RemoveAll(dir)) }()
	runner, db := migrated(dir)
	_, err := db.Exec("CREATE INDEX theirs ON orders (id)") // by somebody else: no difference
	check(err)
	found, err := plan.Compare(ctx, runner, orders, dev)
	check(err)
	fmt.Println(len(found.Difference), len(found.Additional))
	// Output: 0 1
}

func ExampleDown() {
	ctx := context.Background()
	dir := planned(orders, amounts)
	defer func() { check(os.RemoveAll(dir)) }()
	runner, _ := migrated(dir)
	status, err := runner.Status(ctx)
	check(err)
	back, err := plan.Down(ctx, runner, plan.DownOptions{To: "0", AllowDestructive: true, Dev: dev})
	check(err)
	fmt.Println(status.Applied, "files,", len(back.Versions), "taken back;", back.Destructive)
	// Output: 2 files, 2 taken back; [drops table orders]
}

// serverURL is that of a server for development. TestExamplesOnPostgres puts the one of a server for tests here.
var serverURL = "postgres://localhost/postgres"

func ExampleDevPostgres() {
	dev := plan.DevPostgres(serverURL, func(_ context.Context, url string) (*sql.DB, error) { return sql.Open("postgres", url) })
	db, dispose, err := dev(context.Background()) // a temporary database, or schema, for each time
	check(err)
	var n int
	check(db.QueryRow("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&n))
	fmt.Println(n, dispose())
}

// TestExamplesOnPostgres runs the example on a server, which an Example cannot be skipped without.
func TestExamplesOnPostgres(t *testing.T) {
	serverURL = storetest.PostgresServer(t)
	ExampleDevPostgres()
}
