package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	atlas "ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// A checkpoint stands for the files before it in an empty database, and for nothing in one that has them.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	onEach(t, func(t *testing.T, d testDatabase) {
		p := newProject(t)
		dir := p.dir(d)
		old := d.open(t, d.url(t))
		mustUp(t, d.runner(t, old, os.DirFS(dir)))
		options := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.extended(t), Name: "squashed", Dev: d.dev(t)}
		path, err := plan.Checkpoint(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(readFile(t, path), "\n\n")
		if want := map[string]string{"postgres": "-- atlas:checkpoint", "sqlite": "-- atlas:delimiter ;\\n\\n\n-- atlas:checkpoint"}[d.name]; head != want {
			t.Errorf("the file is\n%s", readFile(t, path))
		}
		checkpoint, _, _ := strings.Cut(filepath.Base(path), "_")
		p.write(t, d, map[string]string{"29990101000000_last.sql": unbound})

		onOld := d.runner(t, old, os.DirFS(dir))
		status, err := onOld.Status(t.Context())
		if err != nil || len(status.Pending) != 1 || len(status.OutOfOrder)+len(status.Unknown) != 0 || status.Edited != "" {
			t.Errorf("where the files were applied: %+v, %v", status, err)
		}
		mustUp(t, onOld)

		fresh := d.open(t, d.url(t))
		onFresh := d.runner(t, fresh, os.DirFS(dir))
		applied, err := onFresh.Up(t.Context(), migration.UpOptions{})
		if err != nil || len(applied) != 2 || applied[0].Version != checkpoint {
			t.Errorf("applied %+v, %v; want the checkpoint and the last", applied, err)
		}
		for name, runner := range map[string]*migration.Runner{"old": onOld, "fresh": onFresh} {
			if err := errors.Join(runner.Check(t.Context()), plan.Verify(t.Context(), runner, d.desired(t), d.dev(t))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Atlas, in its library (v0.13.1 of the command line does not know checkpoints), sees the same.
		local, err := atlas.NewLocalDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		files, err := atlas.FilesFromLastCheckpoint(local)
		if err != nil || len(files) != 2 || files[0].Version() != checkpoint {
			t.Errorf("atlas would apply %v, %v", files, err)
		}

		// What comes before the beginning of a history is no place to go back to, nor to stop at.
		first := firstVersion(t)
		if _, err := plan.Down(t.Context(), onFresh, plan.DownOptions{To: first, Dev: d.dev(t), AllowDestructive: true}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("down before the checkpoint: %v", err)
		}
		if _, err := plan.Down(t.Context(), onFresh, plan.DownOptions{To: checkpoint, Dev: d.dev(t), AllowDestructive: true}); err != nil {
			t.Errorf("down to the checkpoint: %v", err)
		}
		if err := plan.Verify(t.Context(), onFresh, d.desired(t), d.dev(t)); err != nil {
			t.Error(err)
		}
		if _, err := d.runner(t, d.open(t, d.url(t)), os.DirFS(dir)).Up(t.Context(), migration.UpOptions{To: first}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("up to a version before the checkpoint: %v", err)
		}
		// The planner goes on from there.
		if path, err := plan.Diff(t.Context(), plan.DiffOptions{Dialect: d.dialect, Dir: onDisk(t, without(t, os.DirFS(dir), "29990101000000_last.sql")), Desired: d.desired(t), Name: "x", Dev: d.dev(t)}); err != nil || path != "" {
			t.Errorf("diff after a checkpoint: %q, %v", path, err)
		}
	})
}

// A file that failed half way, was repaired, and was finished by an Atlas that keeps the sum of the first attempt, counts as edited
// until somebody says that it is right.
func TestAccept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, directory(t, map[string]string{third + "_last.sql": unbound}))
		mustUp(t, runner)
		if err := runner.Accept(t.Context(), third); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("accept of a file that is as it was: %v", err)
		}
		table := "accounts_migrations"
		if d.dialect == migration.Postgres {
			table = "accounts_migrations.atlas_schema_revisions"
		}
		mustExec(t, db, "UPDATE "+table+" SET hash = 'of the first attempt', partial_hashes = NULL, total = total + 1, applied = applied + 1")
		err := runner.Check(t.Context())
		if !errors.Is(err, domain.ErrChecksum) || !strings.Contains(err.Error(), "accounts migrate accept "+third) {
			t.Errorf("check: %v; want edited, with what to do", err)
		}
		for _, version := range []string{"", first} {
			if err := runner.Accept(t.Context(), version); !errors.Is(err, domain.ErrConflict) {
				t.Errorf("accept %q: %v", version, err)
			}
		}
		if err := errors.Join(runner.Accept(t.Context(), third), runner.Check(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// A file that came in before others says nothing of those.
func TestOutOfOrderLeavesOthersInnocent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		mustUp(t, d.runner(t, db, directory(t, map[string]string{
			first + "_a.sql": "CREATE TABLE a (id integer);\n", third + "_c.sql": "CREATE TABLE c (id integer);\n",
		})))
		wantStatus(t, d.runner(t, db, directory(t, map[string]string{
			first + "_a.sql": "CREATE TABLE a (id integer);\n", second + "_b.sql": "CREATE TABLE b (id integer);\n", third + "_c.sql": "CREATE TABLE c (id integer);\n",
		})), migration.Status{Current: third, Pending: []string{}, Applied: 2, OutOfOrder: []string{second}})
	})
}

// What ends the transaction of its file would leave half of it applied, and say that it was rolled back.
func TestFileThatEndsItsTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		for _, statement := range []string{"COMMIT;", "begin;", "ROLLBACK;", "END ;"} {
			text := lines("CREATE TABLE a (id integer);", statement, "CREATE TABLE b (id integer);")
			runner := d.runner(t, db, directory(t, map[string]string{first + "_a.sql": text}))
			_, err := runner.Up(t.Context(), migration.UpOptions{})
			if !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "line 2") {
				t.Errorf("%s: %v; want invalid on line 2", statement, err)
			}
			if _, err := db.Exec("SELECT * FROM a"); err == nil {
				t.Errorf("%s: what stands before it was applied", statement)
			}
		}
	})
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	dos := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	_, err := migration.New(nil, migration.Postgres, directory(t, map[string]string{first + "_a.sql": dos(unbound)}), migration.Schema{})
	if !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "CR LF") {
		t.Errorf("%v; want a refusal of CR LF", err)
	}
	if _, err := migration.New(nil, migration.Postgres, directory(t, map[string]string{first + "_a.sql": dos("CREATE TABLE a (\nid integer);\n")}), migration.Schema{}); err != nil {
		t.Error(err)
	}
}

// Who may not create databases plans in a schema of the one that is given, which is left as it was.
func TestPlanningWithoutTheRightToCreateDatabases(t *testing.T) {
	t.Parallel()
	d := onPostgres
	address := d.url(t)
	admin := d.open(t, address)
	role := "planner_" + strings.ToLower(queryString(t, admin, "SELECT current_database()"))
	mustExec(t, admin, "CREATE ROLE "+role+" LOGIN PASSWORD 'x'", `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO `+role+`', current_database()); END $$`,
		"CREATE TABLE users (theirs text)")
	t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY " + role, "DROP ROLE " + role} {
			if _, err := admin.Exec(statement); err != nil {
				t.Error(err)
			}
		}
	})
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "x")
	dev := plan.DevPostgres(u.String(), func(_ context.Context, address string) (*sql.DB, error) { return sql.Open("postgres", address) })
	dir := onDisk(t, d.embedded(t))
	options := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.extended(t), Name: "x", Dev: dev}
	if path, err := plan.Diff(t.Context(), options); err != nil || path == "" {
		t.Fatal(path, err)
	}
	if findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: os.DirFS(dir), Dev: dev}); err != nil {
		t.Error(findings, err)
	}
	if n := queryString(t, admin, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'accounts_dev%'"); n != "0" {
		t.Errorf("%s schemas are left", n)
	}
}
