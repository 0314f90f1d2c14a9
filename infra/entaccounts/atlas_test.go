package entaccounts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql/schema"
	"entgo.io/ent/schema/field"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/internal/atlastest"
	"github.com/softbee/accounts/infra/internal/journeytest"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// application is a directory with an application's migrations.
type application struct {
	directory, program, dialect string
	url                         string // of a database that is not migrated
}

func onBoth(t *testing.T, test func(t *testing.T, app application, open func(url string) *infra.Store)) {
	t.Helper()
	program := atlastest.Program(t)
	t.Run("sqlite", func(t *testing.T) {
		app := application{t.TempDir(), program, dialect.SQLite, "sqlite://" + filepath.Join(t.TempDir(), "app.db") + "?_fk=1"}
		test(t, app, func(url string) *infra.Store {
			path, _, _ := strings.Cut(strings.TrimPrefix(url, "sqlite://"), "?")
			store, err := sqlite.Open(t.Context(), path)
			return opened(t, store, err)
		})
	})
	t.Run("postgres", func(t *testing.T) {
		app := application{t.TempDir(), atlastest.OnPostgres(t, storetest.PostgresServer(t)), dialect.Postgres, storetest.EmptyPostgresURL(t) + "&search_path=public"}
		test(t, app, func(url string) *infra.Store {
			store, err := postgres.Open(t.Context(), url)
			return opened(t, store, err)
		})
	})
}

func opened(t *testing.T, store *infra.Store, err error) *infra.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func (a application) atlas(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(a.program, arguments...)
	// Atlas locks a file among the temporary ones, the same for every database of SQLite.
	cmd.Dir, cmd.Env = a.directory, append(append(os.Environ(), "TMPDIR="+a.directory), atlastest.Environment...)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func (a application) mustAtlas(t *testing.T, arguments ...string) string {
	t.Helper()
	output, err := a.atlas(t, arguments...)
	if err != nil {
		t.Fatalf("atlas %q: %v\n%s", arguments, err, output)
	}
	return output
}

// dev returns the URL of an empty database.
func (a application) dev(t *testing.T) string {
	t.Helper()
	if a.dialect == dialect.SQLite {
		return "sqlite://dev?mode=memory&_fk=1"
	}
	return storetest.EmptyPostgresURL(t) + "&search_path=public"
}

func (a application) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(a.directory, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// diff runs atlas migrate diff for the tables of the application, and returns the text of the new file, if there is one.
func (a application) diff(t *testing.T, name string, tables []*schema.Table) string {
	t.Helper()
	text, err := entaccounts.DesiredState(t.Context(), a.dialect, "14", tables)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "schema.sql", text)
	for { // a directory gets one version a second
		taken, err := filepath.Glob(filepath.Join(a.directory, "migrations", time.Now().UTC().Format("20060102150405")+"_*.sql"))
		if err != nil {
			t.Fatal(err)
		}
		if len(taken) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.mustAtlas(t, "migrate", "diff", name, "--dir", "file://migrations", "--to", "file://schema.sql", "--dev-url", a.dev(t))
	files, err := filepath.Glob(filepath.Join(a.directory, "migrations", "*_"+name+".sql"))
	if err != nil || len(files) > 1 {
		t.Fatal(files, err)
	}
	if len(files) == 0 {
		return ""
	}
	file, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

// TestVersionedDirectory has Atlas plan and apply the application's migrations beside 1,000 accounts.
func TestVersionedDirectory(t *testing.T) {
	onBoth(t, func(t *testing.T, app application, open func(string) *infra.Store) {
		ctx := t.Context()
		first, err := entaccounts.FirstFile(app.dialect)
		if err != nil {
			t.Fatal(err)
		}
		app.write(t, "migrations/00000000000000_accounts.sql", first)
		app.mustAtlas(t, "migrate", "hash", "--dir", "file://migrations")
		if file := app.diff(t, "blog", blogTables(t)); !strings.Contains(file, "posts") || !strings.Contains(file, "REFERENCES") || definesAccounts(file) {
			t.Errorf("the first migration is\n%s", file)
		}
		if file := app.diff(t, "nothing", blogTables(t)); file != "" {
			t.Errorf("without a change:\n%s", file)
		}

		apply := []string{"migrate", "apply", "--dir", "file://migrations", "--url", app.url}
		if output, err := app.atlas(t, append(apply, "--allow-dirty")...); err == nil || !strings.Contains(output, "the accounts must be migrated first") {
			t.Errorf("before the accounts are: %v, %s", err, output)
		}
		store := open(app.url)
		if err := store.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		fill(t, store)
		before := bytes(t, store)
		app.mustAtlas(t, append(apply, "--allow-dirty")...)

		changed := blogTables(t)
		for _, table := range changed { // in the mirror it means nothing
			table.Columns = append(table.Columns, &schema.Column{Name: "note", Type: field.TypeString, Nullable: true})
		}
		if file := app.diff(t, "notes", changed); strings.Count(file, "ADD COLUMN") != 3 || definesAccounts(file) {
			t.Errorf("the change is\n%s", file)
		}
		app.mustAtlas(t, apply...)
		if bytes(t, store) != before {
			t.Error("the accounts have changed")
		}
		refers(t, store)

		compare := []string{"schema", "diff", "--from", app.url, "--to", "file://schema.sql", "--dev-url", app.dev(t)}
		if output := app.mustAtlas(t, compare...); !strings.Contains(output, "DROP") {
			t.Errorf("without the list atlas proposes\n%s", output)
		}
		for _, pattern := range append(entaccounts.Exclude(), "atlas_schema_revisions") {
			compare = append(compare, "--exclude", pattern)
		}
		// v0.13.1 forgets the list after the first of the two.
		if output := stub.ReplaceAllString(app.mustAtlas(t, compare...), ""); strings.Contains(output, ";") {
			t.Errorf("with it\n%s", output)
		}
		record(t, app.dialect, "managed: the application's own directory", journeytest.Atlas(t, app.program), "done, with `--allow-dirty` the first time")
	})
}

// stub is the statement that makes the stub.
var stub = regexp.MustCompile("CREATE TABLE [`\"]users[`\"] \\([`\"]id[`\"] uuid NOT NULL, PRIMARY KEY \\([`\"]id[`\"]\\)\\);")

// TestDocumentedCommands runs the commands of docs/embedding.md for managed accounts on PostgreSQL, as they are typed.
func TestDocumentedCommands(t *testing.T) {
	program := atlastest.OnPostgres(t, storetest.PostgresServer(t))
	document, err := os.ReadFile("../../docs/embedding.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	_, managed, _ := strings.Cut(string(document), "\n## Managed\n")
	managed, _, _ = strings.Cut(managed, "\n## Composed\n")
	script := "set -eu\natlas() { '" + program + "' \"$@\"; }\naccounts() { (cd '" + root + "' && go run ./cmd/accounts \"$@\"); }\n"
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(managed, -1)
	for _, block := range blocks {
		script += block[1]
	}
	app := application{directory: t.TempDir(), dialect: dialect.Postgres, url: storetest.EmptyPostgresURL(t) + "&search_path=public"}
	tables := blogTables(t)
	t.Chdir(app.directory)
	if err := writeFiles(tables); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = app.directory
	cmd.Env = append(os.Environ(), "DATABASE_URL="+app.url, "DEV_URL="+app.dev(t))
	output, err := cmd.CombinedOutput()
	if err != nil || len(blocks) != 2 || !strings.Contains(string(output), "Migration Status: OK") {
		t.Fatalf("%d blocks: %v\n%s", len(blocks), err, output)
	}
	_, inspected, _ := strings.Cut(string(output), "Migration Status: OK")
	if !strings.Contains(inspected, `CREATE TABLE "posts"`) || definesAccounts(inspected) {
		t.Errorf("atlas sees\n%s", inspected)
	}
	store, err := postgres.Open(t.Context(), app.url)
	refers(t, opened(t, store, err))
}

func definesAccounts(file string) bool {
	for _, table := range entaccounts.Tables {
		for _, quote := range []string{`"`, "`"} {
			if strings.Contains(file, "TABLE "+quote+table+quote) || strings.Contains(file, "ON "+quote+table+quote) {
				return true
			}
		}
	}
	return false
}

// TestExcludeInDatabase compares a whole database of PostgreSQL with the application's tables.
func TestExcludeInDatabase(t *testing.T) {
	url := storetest.EmptyPostgresURL(t)
	program := atlastest.OnPostgres(t, url)
	for _, schema := range []string{"public", "auth"} {
		store, err := postgres.Open(t.Context(), url, infra.WithSchema(schema))
		if err := opened(t, store, err).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	app := application{directory: t.TempDir(), program: program}
	inspect := []string{"schema", "inspect", "--url", url}
	if output := app.mustAtlas(t, inspect...); !strings.Contains(output, "users") {
		t.Errorf("atlas sees\n%s", output)
	}
	for _, pattern := range entaccounts.ExcludeInDatabase() {
		inspect = append(inspect, "--exclude", pattern)
	}
	if output := app.mustAtlas(t, inspect...); strings.Contains(output, "table") || strings.Contains(output, "accounts") {
		t.Errorf("atlas sees\n%s", output)
	}
}
