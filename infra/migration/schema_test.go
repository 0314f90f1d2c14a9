package migration_test

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/atlastest"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// onPostgres is the database for what SQLite does not have.
var onPostgres = databases[0]

// in returns a runner of the project's migrations in a schema.
func in(t testing.TB, db *sql.DB, schema migration.Schema) *migration.Runner {
	t.Helper()
	runner, err := migration.New(db, migration.Postgres, onPostgres.embedded(t), schema)
	if err != nil {
		t.Fatal(err)
	}
	return runner
}

// Several stores live in one database, whatever their schemas are called, beside an application's own table users.
func TestSchemasAreIndependent(t *testing.T) {
	t.Parallel()
	d := onPostgres
	db := d.open(t, d.url(t))
	mustExec(t, db, "CREATE TABLE public.users (theirs text)", "CREATE SCHEMA app", "CREATE TABLE app.atlas_schema_revisions (theirs text)")
	names := []string{"app", `My "a.b`, "pg", "accounts_migrations"}
	runners := map[string]*migration.Runner{}
	for _, name := range names {
		runners[name] = in(t, db, migration.Schema{Name: name})
		mustUp(t, runners[name])
	}
	first := firstVersion(t)
	for _, name := range names {
		runner := runners[name]
		if err := errors.Join(runner.Check(t.Context()), plan.Verify(t.Context(), runner, d.desired(t), nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustExec(t, db, `INSERT INTO "`+strings.ReplaceAll(name, `"`, `""`)+`".users (email, username, hashed_password) VALUES ('a@example.org', 'ann', '-')`)
	}
	if _, err := plan.Down(t.Context(), runners[names[1]], plan.DownOptions{To: first, AllowDestructive: true}); err != nil {
		t.Errorf("down: %v", err)
	}
	if _, err := plan.Down(t.Context(), runners[names[1]], plan.DownOptions{To: "0"}); !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "drops table users") {
		t.Errorf("down to nothing: %v", err)
	}
	for _, name := range names[1:] {
		if _, err := plan.Down(t.Context(), runners[name], plan.DownOptions{To: "0", AllowDestructive: true}); err != nil {
			t.Errorf("down to nothing in %s: %v", name, err)
		}
		if got := queryString(t, db, "SELECT count(*) FROM pg_tables WHERE schemaname = '"+name+"'"); got != "0" && name != "accounts_migrations" {
			t.Errorf("%s tables are left in %s", got, name)
		}
	}
	if err := errors.Join(runners["app"].Check(t.Context()), plan.Verify(t.Context(), runners["app"], d.desired(t), nil)); err != nil {
		t.Errorf("after the others went: %v", err)
	}
	if got := queryString(t, db, "SELECT count(*) FROM app.users"); got != "1" {
		t.Errorf("%s accounts; want 1", got)
	}
	mustExec(t, db, "INSERT INTO public.users (theirs) VALUES ('x')")
	mustUp(t, runners[names[1]])
}

func firstVersion(t *testing.T) string {
	t.Helper()
	entries, err := onPostgres.embedded(t).(interface {
		ReadDir(string) ([]os.DirEntry, error)
	}).ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if version, _, ok := strings.Cut(entry.Name(), "_"); ok && strings.HasSuffix(entry.Name(), ".sql") {
			return version
		}
	}
	t.Fatal("no migration")
	return ""
}

func TestSearchPath(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	d := onPostgres
	t.Run("names the schema", func(t *testing.T) {
		address := d.url(t)
		db := d.open(t, address)
		mustExec(t, db, "CREATE SCHEMA auth", "CREATE SCHEMA other")
		there := in(t, d.open(t, withParameter(t, address, "search_path", "auth, public")), migration.Schema{})
		mustUp(t, there)
		if got := queryString(t, db, "SELECT to_regclass('auth.users')::text || ' ' || to_regclass('accounts_migrations_auth.atlas_schema_revisions')"); got == "" {
			t.Error("the tables are not where they should be")
		}
		// A program that forgets it learns where the accounts are, and begins nothing.
		forgetful := in(t, db, migration.Schema{})
		if err := forgetful.Check(t.Context()); !errors.Is(err, domain.ErrPendingMigrations) || !strings.Contains(err.Error(), `"auth"`) {
			t.Errorf("check: %v; want a hint at auth", err)
		}
		for _, dryRun := range []bool{true, false} {
			if _, err := forgetful.Up(t.Context(), migration.UpOptions{DryRun: dryRun}); !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), `"auth"`) {
				t.Errorf("up: %v; want a refusal that names auth", err)
			}
		}
		status, err := forgetful.Status(t.Context())
		if err != nil || len(status.Elsewhere) != 1 || status.Elsewhere[0] != "auth" {
			t.Errorf("status: %+v, %v", status, err)
		}
		// One who means it says so.
		mustUp(t, in(t, db, migration.Schema{Name: "public"}))
		mustUp(t, in(t, d.open(t, withParameter(t, address, "search_path", "other")), migration.Schema{}))
		mustUp(t, in(t, db, migration.Schema{}))
		if err := there.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("leads nowhere", func(t *testing.T) {
		db := d.open(t, withParameter(t, d.url(t), "search_path", "nowhere"))
		runner := in(t, db, migration.Schema{})
		_, up := runner.Up(t.Context(), migration.UpOptions{})
		for _, err := range []error{runner.Check(t.Context()), up} {
			var invalid *domain.Error
			if !errors.As(err, &invalid) || invalid.Field != "schema" || !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("%v; want invalid on schema", err)
			}
		}
	})
	t.Run("gets a schema of the role", func(t *testing.T) {
		address := d.url(t)
		db := d.open(t, address)
		mustUp(t, in(t, db, migration.Schema{}))
		mustExec(t, db, `DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_user); END $$`)
		for _, runner := range []*migration.Runner{in(t, db, migration.Schema{}), in(t, d.open(t, address), migration.Schema{})} {
			if err := errors.Join(runner.Check(t.Context()), plan.Verify(t.Context(), runner, d.desired(t), nil)); err != nil {
				t.Error(err)
			}
			if _, err := plan.Down(t.Context(), runner, plan.DownOptions{To: firstVersion(t), AllowDestructive: true}); err != nil {
				t.Error(err)
			}
			mustUp(t, runner)
		}
		if got := queryString(t, db, "SELECT string_agg(schemaname, ',') FROM pg_tables WHERE tablename = 'users'"); got != "public" {
			t.Errorf("tables users are in %s; want public", got)
		}
		// In a new database the role's own schema is the first of the path.
		fresh := d.open(t, d.url(t))
		mustExec(t, fresh, `DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_user); END $$`)
		runner := in(t, fresh, migration.Schema{})
		mustUp(t, runner)
		if schema, err := runner.Schema(t.Context()); err != nil || schema == "public" {
			t.Errorf("%q, %v; want the role's", schema, err)
		}
	})
}

func TestSchemaNamesAreChecked(t *testing.T) {
	t.Parallel()
	long := migration.Schema{Name: strings.Repeat("x", 44)}
	for dialect, schema := range map[string]migration.Schema{migration.Postgres: long, migration.SQLite: {Name: "main"}} {
		_, err := migration.New(nil, dialect, directory(t, twoFiles), schema)
		var invalid *domain.Error
		if !errors.As(err, &invalid) || invalid.Field != "schema" {
			t.Errorf("%s, %q: %v; want invalid on schema", dialect, schema.Name, err)
		}
	}
	if _, err := migration.New(nil, migration.Postgres, directory(t, twoFiles), migration.Schema{Name: strings.Repeat("x", 43)}); err != nil {
		t.Error(err)
	}
}

// A role that owns the two schemas and nothing else migrates, verifies and goes back. One that may only use the tables checks.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	d := onPostgres
	address := d.url(t)
	admin := d.open(t, address)
	suffix := strings.ToLower(queryString(t, admin, "SELECT current_database()"))
	owner, app := "owner_"+suffix, "app_"+suffix
	mustExec(t, admin,
		"CREATE ROLE "+owner+" LOGIN PASSWORD 'x'", "CREATE ROLE "+app+" LOGIN PASSWORD 'x'",
		`DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
			EXECUTE format('GRANT CONNECT ON DATABASE %I TO `+owner+`, `+app+`', current_database()); END $$`,
		"REVOKE ALL ON SCHEMA public FROM PUBLIC",
		"CREATE SCHEMA auth AUTHORIZATION "+owner, "CREATE SCHEMA accounts_migrations_auth AUTHORIZATION "+owner)
	t.Cleanup(func() { // the context of the test is over
		for _, role := range []string{owner, app} {
			if _, err := admin.Exec("DROP OWNED BY " + role + " CASCADE"); err != nil {
				t.Error(err)
			}
			if _, err := admin.Exec("DROP ROLE " + role); err != nil {
				t.Error(err)
			}
		}
	})
	as := func(role string) *sql.DB {
		u, err := url.Parse(withParameter(t, address, "search_path", "auth"))
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "x")
		return d.open(t, u.String())
	}
	runner := in(t, as(owner), migration.Schema{})
	mustUp(t, runner)
	if err := plan.Verify(t.Context(), runner, d.desired(t), nil); err != nil {
		t.Error(err)
	}
	if _, err := plan.Down(t.Context(), runner, plan.DownOptions{To: "0", AllowDestructive: true}); err != nil {
		t.Error(err)
	}
	mustUp(t, runner)

	mustExec(t, admin, "GRANT USAGE ON SCHEMA auth, accounts_migrations_auth TO "+app,
		"GRANT SELECT ON accounts_migrations_auth.atlas_schema_revisions TO "+app,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON auth.users TO "+app)
	if err := in(t, as(app), migration.Schema{}).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// On SQLite an application's Atlas keeps its own history, whichever comes first.
func TestAtlasOfTheApplication(t *testing.T) {
	t.Parallel()
	d := databases[1]
	for _, first := range []string{"ours", "theirs"} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			app := newProject(t)
			if err := os.RemoveAll(app.dir(d)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(app.dir(d), directory(t, map[string]string{"20200101000000_app.sql": "CREATE TABLE orders (id integer NOT NULL, PRIMARY KEY (id));\n"})); err != nil {
				t.Fatal(err)
			}
			path := d.url(t)
			db := d.open(t, path)
			runner := d.runner(t, db, d.embedded(t))
			if first == "ours" {
				mustUp(t, runner)
				app.mustAtlas(t, d, path, "apply", "--allow-dirty")
			} else {
				app.mustAtlas(t, d, path, "apply")
				mustUp(t, runner)
			}
			if err := runner.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if s := app.status(t, d, path); s.Status != "OK" || len(s.Applied) != 1 {
				t.Errorf("atlas says %+v", s)
			}
			app.write(t, d, map[string]string{"29990101000000_more.sql": "CREATE TABLE items (id integer NOT NULL, PRIMARY KEY (id));\n"})
			app.mustAtlas(t, d, path, "apply")
			if err := runner.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if got := queryString(t, db, "SELECT count(*) FROM items"); got != "0" {
				t.Errorf("%s items", got)
			}
		})
	}
}

// TestDocumentedAtlas runs the command of docs/migrations.md for another schema than public.
func TestDocumentedAtlas(t *testing.T) {
	t.Parallel()
	program := atlastest.OnPostgres(t, postgrestest.Server(t))
	_, section, _ := strings.Cut(readFile(t, "../../docs/migrations.md"), "\n## Which Atlas\n")
	_, command, _ := strings.Cut(section, "```sh\n")
	command, _, found := strings.Cut(command, "```")
	if !found {
		t.Fatal("docs/migrations.md has no such command")
	}
	d := onPostgres
	address := d.url(t)
	mustExec(t, d.open(t, address), "CREATE SCHEMA auth")
	address = withParameter(t, address, "search_path", "auth")
	cmd := exec.Command("sh", "-euc", "atlas() { '"+program+"' \"$@\"; }\n"+strings.Replace(command, "'postgres://localhost/app?search_path=auth'", `"$URL"`, 1))
	cmd.Dir, cmd.Env = "../..", append(append(os.Environ(), "URL="+address), atlastest.Environment...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := d.runner(t, d.open(t, address), d.embedded(t)).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAtlasInAnotherSchema(t *testing.T) {
	t.Parallel()
	d := onPostgres
	p := newProject(t)
	address := d.url(t)
	db := d.open(t, address)
	mustExec(t, db, "CREATE SCHEMA auth")
	address = withParameter(t, address, "search_path", "auth")
	arguments := []string{"--url", address, "--revisions-schema", "accounts_migrations_auth"}
	p.mustAtlas(t, d, address, append([]string{"apply"}, arguments...)...)
	runner := d.runner(t, d.open(t, address), os.DirFS(p.dir(d)))
	if err := runner.Check(t.Context()); err != nil {
		t.Error(err)
	}
	p.write(t, d, map[string]string{"29990101000000_last.sql": unbound})
	runner = d.runner(t, d.open(t, address), os.DirFS(p.dir(d)))
	mustUp(t, runner)
	if out := p.mustAtlas(t, d, address, append([]string{"status"}, arguments...)...); !strings.Contains(out, "Migration Status: OK") {
		t.Error(out)
	}
}
