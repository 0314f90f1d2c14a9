package migration_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
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

				options := migration.DownOptions{To: first, Dev: dev, DryRun: true}
				plan, err := runner.Down(t.Context(), options)
				if err != nil {
					t.Fatal(err)
				}
				losses := []string{"drops column extra of thing", "drops table other"}
				slices.Sort(plan.Destructive)
				if !slices.Equal(plan.Destructive, losses) || !slices.Equal(plan.Versions, []string{third, second}) {
					t.Errorf("%+v", plan)
				}
				if text := strings.Join(plan.Statements, "\n"); strings.Contains(text, "orders") || strings.Contains(text, "revisions") {
					t.Errorf("the plan touches what is not ours:\n%s", text)
				}

				options.DryRun = false
				if _, err := runner.Down(t.Context(), options); !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), losses[0]) {
					t.Errorf("%v; want a refusal", err)
				}
				wantStatus(t, runner, migration.Status{Current: third, Pending: []string{}, Applied: 3})

				options.AllowDestructive = true
				announced := 0
				options.Progress = func(migration.Step) { announced++ }
				plan, err = runner.Down(t.Context(), options)
				if err != nil {
					t.Fatal(err)
				}
				if announced != len(plan.Statements) {
					t.Errorf("%d statements announced; want %d", announced, len(plan.Statements))
				}
				wantStatus(t, runner, migration.Status{Current: first, Pending: []string{second, third}, Applied: 1})
				if err := base.Check(t.Context()); err != nil {
					t.Error(err)
				}
				if err := base.Verify(t.Context(), strings.Join(slices.Collect(values(downBase)), ""), dev); err != nil {
					var drift *migration.DriftError
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
		if _, err := runner.Down(t.Context(), migration.DownOptions{To: third, Dev: d.dev(t)}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("to the end of a half applied file: %v", err)
		}
		plan, err := runner.Down(t.Context(), migration.DownOptions{To: first, Dev: d.dev(t)})
		if err != nil || len(plan.Statements) != 1 || len(plan.Destructive) != 0 {
			t.Errorf("%+v, %v", plan, err)
		}
		wantStatus(t, runner, migration.Status{Current: first, Pending: []string{second, third}, Applied: 1})

		for to, want := range map[string]error{first: nil, second: domain.ErrInvalid, "2": domain.ErrInvalid, "": domain.ErrInvalid} {
			plan, err := runner.Down(t.Context(), migration.DownOptions{To: to, Dev: d.dev(t)})
			if !errors.Is(err, want) || len(plan.Statements) != 0 {
				t.Errorf("to %q: %+v, %v", to, plan, err)
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
	plan, err := runner.Down(t.Context(), migration.DownOptions{To: first})
	want := []string{
		"narrows column id of thing from bigint to integer",
		"narrows column name of thing from text to character varying(50)",
	}
	slices.Sort(plan.Destructive)
	if !errors.Is(err, domain.ErrInvalid) || !slices.Equal(plan.Destructive, want) {
		t.Errorf("%q, %v; want %q", plan.Destructive, err, want)
	}
	_, err = runner.Down(t.Context(), migration.DownOptions{To: first, AllowDestructive: true})
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
