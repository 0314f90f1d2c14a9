package migration_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// extended returns the desired state of a copy of the schema with a column, enums, checks, indexes, storage parameters and
// entities that accounts are joined to; ent/generate writes it.
func (d testDatabase) extended(t testing.TB) string {
	t.Helper()
	return readFile(t, filepath.Join("..", "..", "ent", "generate", "testdata", "shop."+d.name+".sql"))
}

var makesRoutine = regexp.MustCompile(`^CREATE (OR REPLACE FUNCTION|TRIGGER) `)

func TestExtendedSchema(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	onEach(t, func(t *testing.T, d testDatabase) {
		dir := onDisk(t, d.embedded(t))
		db := d.open(t, d.url(t))
		mustUp(t, d.runner(t, db, os.DirFS(dir)))
		mustExec(t, db, "INSERT INTO users (email, username, hashed_password) VALUES ('a@example.org', 'ann', '-')")
		before, err := d.runner(t, db, os.DirFS(dir)).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		options := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.extended(t), Name: "extend", Dev: d.dev(t)}
		path, err := plan.Diff(t.Context(), options)
		if err != nil || path == "" {
			t.Fatal(path, err)
		}
		if path, err := plan.Diff(t.Context(), options); err != nil || path != "" {
			t.Errorf("a second diff makes %q, %v", path, err)
		}
		runner := d.runner(t, db, os.DirFS(dir))
		mustUp(t, runner)
		if err := plan.Verify(t.Context(), runner, options.Desired, d.dev(t)); err != nil {
			t.Error(err)
		}
		// The declared schema alone makes the same, but for triggers and functions, which it cannot say.
		bare := d.open(t, d.url(t))
		mustExec(t, bare, options.Desired)
		var drift *plan.DriftError
		if err := plan.Verify(t.Context(), d.runner(t, bare, os.DirFS(dir)), options.Desired, d.dev(t)); err != nil && (!errors.As(err, &drift) ||
			slices.ContainsFunc(drift.Statements, func(s string) bool { return !makesRoutine.MatchString(s) })) {
			t.Errorf("the file of the declared schema: %v, %+v", err, drift)
		}

		for _, refused := range []string{
			"UPDATE users SET plan = 'gold'", "UPDATE users SET trial_nickname = 'x'",
			"INSERT INTO teams (id, name, kind) VALUES ('00000000-0000-4000-8000-000000000001', 'a', 'hidden')",
			"INSERT INTO user_teams VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001')",
		} {
			if _, err := db.Exec(refused); err == nil {
				t.Errorf("accepted: %s", refused)
			}
		}
		mustExec(t, db, "UPDATE users SET plan = 'it''s', trial_nickname = 'Al'",
			"INSERT INTO teams (id, name, kind) VALUES ('00000000-0000-4000-8000-000000000001', 'a', 'open')",
			"INSERT INTO user_teams SELECT id, '00000000-0000-4000-8000-000000000001' FROM users",
			"INSERT INTO devices (id, user_id) SELECT id, id FROM users")

		down := plan.DownOptions{To: before.Current, Dev: d.dev(t)}
		way, err := plan.Down(t.Context(), runner, down)
		if !errors.Is(err, domain.ErrInvalid) || !strings.Contains(strings.Join(way.Destructive, ","), "drops table teams") {
			t.Errorf("down without being allowed: %v, %q", err, way.Destructive)
		}
		down.AllowDestructive = true
		if _, err := plan.Down(t.Context(), runner, down); err != nil {
			t.Fatal(err)
		}
		if err := plan.Verify(t.Context(), runner, d.desired(t), d.dev(t)); err != nil {
			t.Error(err)
		}
		mustUp(t, runner)
	})
}

// A check whose text PostgreSQL prints differently each time is no drift, and is not planned again and again.
func TestChecksConverge(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	d := onPostgres
	dir := onDisk(t, d.embedded(t))
	desired := strings.Replace(d.desired(t), `CHECK (failed_login_attempts >= 0)`,
		`CHECK (failed_login_attempts >= 0), CONSTRAINT "users_role_check" CHECK (first_name IN ('a', 'b') OR last_name NOT IN ('c') OR (phone BETWEEN '1' AND '2'))`, 1)
	options := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: desired, Name: "check_it", Dev: d.dev(t)}
	if path, err := plan.Diff(t.Context(), options); err != nil || path == "" {
		t.Fatal(path, err)
	}
	if path, err := plan.Diff(t.Context(), options); err != nil || path != "" {
		t.Errorf("a second diff makes %q, %v", path, err)
	}
	db, bare := d.open(t, d.url(t)), d.open(t, d.url(t))
	runner := d.runner(t, db, os.DirFS(dir))
	mustUp(t, runner)
	mustExec(t, bare, desired)
	for _, statement := range runner.Statements() {
		if makesRoutine.MatchString(statement) {
			mustExec(t, bare, statement)
		}
	}
	for name, runner := range map[string]*migration.Runner{"migrated": runner, "from the file": d.runner(t, bare, os.DirFS(dir))} {
		for place, dev := range d.places(t) {
			if err := plan.Verify(t.Context(), runner, desired, dev); err != nil {
				t.Errorf("%s, %s: %v", name, place, err)
			}
		}
	}
	changed := strings.Replace(desired, "IN ('a', 'b')", "IN ('a', 'x')", 1)
	if err := plan.Verify(t.Context(), runner, changed, nil); !errors.Is(err, domain.ErrDrift) {
		t.Errorf("another list: %v; want drift", err)
	}
}

func TestExtendedSchemaByAtlas(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		p := newProject(t)
		if err := os.WriteFile(p.desiredPath(d), []byte(d.extended(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		ours := onDisk(t, os.DirFS(p.dir(d)))
		path, err := plan.Diff(t.Context(), plan.DiffOptions{Dialect: d.dialect, Dir: ours, Desired: d.extended(t), Name: "extend", Dev: d.dev(t)})
		if err != nil {
			t.Fatal(err)
		}
		p.mustAtlas(t, d, "", "diff", "extend")
		theirs, err := filepath.Glob(filepath.Join(p.dir(d), "*_extend.sql"))
		if err != nil || len(theirs) != 1 {
			t.Fatal(theirs, err)
		}
		a, b := readFile(t, path), readFile(t, theirs[0])
		if v := "(lower(hex(randomblob(4))"; d.dialect == migration.SQLite && !strings.Contains(b, v) {
			// v0.13.1 loses the parentheses of this default where it makes a table of SQLite again, see TestDiffWhereAtlasFails.
			a = strings.NewReplacer(v, v[1:], "hex(randomblob(6))))", "hex(randomblob(6)))", "(CURRENT_TIMESTAMP)", "CURRENT_TIMESTAMP").Replace(a)
		}
		// Atlas does not see storage parameters.
		a = strings.Replace(a, "-- set storage parameters\nALTER TABLE \"teams\" SET (fillfactor=90);\n", "", 1)
		// v0.13.1 orders tables that refer to each other in another way each time.
		if !slices.Equal(slices.Sorted(strings.Lines(a)), slices.Sorted(strings.Lines(b))) {
			t.Errorf("ours is\n%s\nAtlas's is\n%s", a, b)
		}
	})
}
