package migration_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

var (
	downBase = map[string]string{
		first + "_thing.sql": "CREATE TABLE thing (id integer NOT NULL, name varchar(50) NULL, note text NULL, PRIMARY KEY (id));\n",
	}
	downLater = map[string]string{
		second + "_more.sql": lines(
			"ALTER TABLE thing ADD COLUMN extra text NULL;",
			"CREATE INDEX thing_name ON thing (name);",
			"UPDATE thing SET extra = name;",
		),
		third + "_other.sql": "-- atlas:txmode none\n\nCREATE TABLE other (id integer NOT NULL, PRIMARY KEY (id));\n",
	}
)

func TestDown(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		for place, dev := range d.places(t) {
			t.Run(place, func(t *testing.T) {
				db := d.open(t, d.url(t))
				base := d.runner(t, db, directory(t, downBase))
				mustUp(t, base)
				mustExec(t, db, "INSERT INTO thing VALUES (1, 'one', 'n')", "CREATE TABLE orders (id integer PRIMARY KEY)")
				runner := d.runner(t, db, and(t, directory(t, downBase), downLater))
				mustUp(t, runner)

				options := plan.DownOptions{To: first, Dev: dev, DryRun: true}
				way, err := plan.Down(t.Context(), runner, options)
				if err != nil {
					t.Fatal(err)
				}
				losses := []string{"drops column extra of thing", "drops table other"}
				slices.Sort(way.Destructive)
				if !slices.Equal(way.Destructive, losses) || !slices.Equal(way.Versions, []string{third, second}) {
					t.Errorf("%+v", way)
				}
				if text := strings.Join(way.Statements, "\n"); strings.Contains(text, "orders") || strings.Contains(text, "revisions") {
					t.Errorf("the plan touches what is not ours:\n%s", text)
				}

				options.DryRun = false
				if _, err := plan.Down(t.Context(), runner, options); !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), losses[0]) {
					t.Errorf("%v; want a refusal", err)
				}
				wantStatus(t, runner, migration.Status{Current: third, Pending: []string{}, Applied: 3})

				options.AllowDestructive = true
				announced := 0
				options.Progress = func(migration.Step) { announced++ }
				way, err = plan.Down(t.Context(), runner, options)
				if err != nil {
					t.Fatal(err)
				}
				if announced != len(way.Statements) {
					t.Errorf("%d statements announced; want %d", announced, len(way.Statements))
				}
				wantStatus(t, runner, migration.Status{Current: first, Pending: []string{second, third}, Applied: 1})
				if err := base.Check(t.Context()); err != nil {
					t.Error(err)
				}
				if err := plan.Verify(t.Context(), base, strings.Join(slices.Collect(values(downBase)), ""), dev); err != nil {
					var drift *plan.DriftError
					_ = errors.As(err, &drift)
					t.Error(err, drift)
				}
				if got := queryString(t, db, "SELECT id || name || note FROM thing"); got != "1onen" {
					t.Errorf("the row is %q", got)
				}
				mustUp(t, runner)
				if got := queryString(t, db, "SELECT extra FROM thing"); got != "one" {
					t.Errorf("after going on again: %q", got)
				}
			})
		}
	})
}

func values(files map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, text := range files {
			if !yield(text) {
				return
			}
		}
	}
}

func TestDownWithoutLosses(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		dir := and(t, directory(t, downBase), map[string]string{
			second + "_x.sql": "CREATE INDEX thing_name ON thing (name);\n",
			third + "_y.sql":  "-- atlas:txmode none\n\nINSERT INTO thing VALUES (2, 'two', NULL);\nSELECT * FROM nowhere;\n",
		})
		runner := d.runner(t, db, dir)
		if _, err := runner.Up(t.Context(), migration.UpOptions{}); err == nil {
			t.Fatal("the last file did not fail")
		}
		// A half applied file is in the way, until it is taken back with what was before it.
		if _, err := plan.Down(t.Context(), runner, plan.DownOptions{To: third, Dev: d.dev(t)}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("to the end of a half applied file: %v", err)
		}
		way, err := plan.Down(t.Context(), runner, plan.DownOptions{To: first, Dev: d.dev(t)})
		if err != nil || len(way.Statements) != 1 || len(way.Destructive) != 0 {
			t.Errorf("%+v, %v", way, err)
		}
		wantStatus(t, runner, migration.Status{Current: first, Pending: []string{second, third}, Applied: 1})

		for to, want := range map[string]error{first: nil, second: domain.ErrInvalid, "2": domain.ErrInvalid, "": domain.ErrInvalid} {
			way, err := plan.Down(t.Context(), runner, plan.DownOptions{To: to, Dev: d.dev(t)})
			if !errors.Is(err, want) || len(way.Statements) != 0 {
				t.Errorf("to %q: %+v, %v", to, way, err)
			}
		}
	})
}

// Functions, triggers and views that the later files made go, so that the files can be applied again; those of an application, and of
// earlier files, stay.
func TestDownDropsWhatAtlasDoesNotSee(t *testing.T) {
	t.Parallel()
	files := map[string][2]string{
		"postgres": {
			lines("CREATE FUNCTION early() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;",
				"CREATE TRIGGER early BEFORE UPDATE ON thing FOR EACH ROW EXECUTE FUNCTION early();"),
			lines("ALTER TABLE thing ADD COLUMN extra text NULL;",
				"CREATE FUNCTION late(a integer, b text) RETURNS integer LANGUAGE sql AS 'SELECT 1';",
				"CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.extra := 'x'; RETURN NEW; END $$;",
				"CREATE TRIGGER late BEFORE UPDATE ON thing FOR EACH ROW EXECUTE FUNCTION touch();",
				"CREATE VIEW late_view AS SELECT extra FROM thing;"),
		},
		"sqlite": {
			lines("-- atlas:delimiter //", "", "CREATE TRIGGER early AFTER UPDATE ON thing BEGIN SELECT 1; END //"),
			lines("-- atlas:delimiter //", "", "ALTER TABLE thing ADD COLUMN extra text NULL //",
				"CREATE TRIGGER late AFTER UPDATE OF name ON thing BEGIN UPDATE thing SET extra = 'x'; END //",
				"CREATE VIEW late_view AS SELECT extra FROM thing //"),
		},
	}
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, and(t, directory(t, downBase), map[string]string{second + "_early.sql": files[d.name][0], third + "_late.sql": files[d.name][1]}))
		mustUp(t, runner)
		if d.dialect == migration.Postgres {
			mustExec(t, db, "CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
				"CREATE TRIGGER app BEFORE UPDATE ON thing FOR EACH ROW EXECUTE FUNCTION app()")
		} else {
			mustExec(t, db, "CREATE TRIGGER app AFTER UPDATE ON thing BEGIN SELECT 1; END")
		}
		mustExec(t, db, "CREATE VIEW app_view AS SELECT name FROM thing")
		present := "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY name)"
		if d.dialect == migration.Postgres {
			present = `SELECT string_agg(name, ' ' ORDER BY name) FROM (SELECT tgname AS name FROM pg_trigger WHERE NOT tgisinternal
				UNION ALL SELECT viewname FROM pg_views WHERE schemaname = 'public' UNION ALL SELECT proname || '()' FROM pg_proc WHERE pronamespace = 'public'::regnamespace) x`
		}
		all := queryString(t, db, present)
		want := map[string]string{"postgres": "app app_view app() early early()", "sqlite": "app app_view early"}[d.name]
		for range 2 {
			if _, err := plan.Down(t.Context(), runner, plan.DownOptions{To: second, Dev: d.dev(t), AllowDestructive: true}); err != nil {
				t.Fatal(err)
			}
			if got := queryString(t, db, present); strings.Join(slices.Sorted(slices.Values(strings.Fields(got))), " ") !=
				strings.Join(slices.Sorted(slices.Values(strings.Fields(want))), " ") {
				t.Errorf("after going back there are %s; want %s", got, want)
			}
			mustUp(t, runner)
			if got := queryString(t, db, present); got != all {
				t.Errorf("after going on there are %s; want %s", got, all)
			}
		}
	})
}

// A narrower type loses values as a dropped column does, and a plan that fails changes nothing.
func TestDownToANarrowerType(t *testing.T) {
	t.Parallel()
	d := databases[0]
	db := d.open(t, d.url(t))
	runner := d.runner(t, db, and(t, directory(t, downBase), map[string]string{
		second + "_x.sql": "ALTER TABLE thing ALTER COLUMN name TYPE text, ALTER COLUMN note TYPE varchar(10), ALTER COLUMN id TYPE bigint;\n",
	}))
	mustUp(t, runner)
	mustExec(t, db, "INSERT INTO thing VALUES (1, repeat('x', 60), 'n')")
	way, err := plan.Down(t.Context(), runner, plan.DownOptions{To: first})
	want := []string{
		"narrows column id of thing from bigint to integer",
		"narrows column name of thing from text to character varying(50)",
	}
	slices.Sort(way.Destructive)
	if !errors.Is(err, domain.ErrInvalid) || !slices.Equal(way.Destructive, want) {
		t.Errorf("%q, %v; want %q", way.Destructive, err, want)
	}
	_, err = plan.Down(t.Context(), runner, plan.DownOptions{To: first, AllowDestructive: true})
	var failed *migration.StatementError
	if !errors.As(err, &failed) || !failed.RolledBack || strings.Contains(err.Error(), "xxx") {
		t.Errorf("%v; want a StatementError without the value", err)
	}
	if err := runner.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := queryString(t, db, "SELECT length(name)::text FROM thing"); got != "60" {
		t.Errorf("the name has %s characters; want 60", got)
	}
	if n := queryString(t, db, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%scratch%'"); n != "0" {
		t.Errorf("%s schemas are left", n)
	}
}
