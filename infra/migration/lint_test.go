package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// lintBase is what the files of the tests find: a table in use.
var lintBase = map[string]string{first + "_thing.sql": lines(
	"CREATE TABLE thing (",
	"  id integer PRIMARY KEY, name varchar(50), note text, n integer, at timestamp, twin text,",
	"  CONSTRAINT thing_note CHECK (note IS NOT NULL), CONSTRAINT thing_n CHECK (n > 0)",
	");",
	"CREATE INDEX thing_name ON thing (name);",
	"CREATE TABLE other (id integer PRIMARY KEY);",
)}

const (
	timeout = "SET LOCAL lock_timeout = '5s';"
	none    = "-- atlas:txmode none"
)

// lintTest is a file and what is to be found: lines and codes.
type lintTest struct {
	name  string
	lines []string
	want  string
}

var lintPostgres = []lintTest{
	// Good ones.
	{"nullable column", []string{timeout, "ALTER TABLE thing ADD COLUMN x text;"}, ""},
	{"constant default", []string{timeout, "ALTER TABLE thing ADD COLUMN x text NOT NULL DEFAULT 'free';"}, ""},
	{"default of now", []string{timeout, "ALTER TABLE thing ADD COLUMN x timestamptz NOT NULL DEFAULT now();"}, ""},
	{"longer text", []string{timeout, "ALTER TABLE thing ALTER COLUMN name TYPE varchar(60);"}, ""},
	{"text without limit", []string{timeout, "ALTER TABLE thing ALTER COLUMN name TYPE text;"}, ""},
	{"new table", []string{
		"CREATE TABLE fresh (id integer PRIMARY KEY, name text, n integer DEFAULT 1);",
		"CREATE INDEX fresh_name ON fresh (name);",
		"ALTER TABLE fresh ALTER COLUMN n SET NOT NULL, ALTER COLUMN n TYPE bigint;",
		"ALTER TABLE fresh ADD CONSTRAINT fresh_n CHECK (n > 0);",
		"UPDATE fresh SET n = 2;",
	}, ""},
	{"index concurrently", []string{none, "", "CREATE INDEX CONCURRENTLY thing_at ON thing (at);"}, ""},
	{"index dropped concurrently", []string{none, "", "DROP INDEX CONCURRENTLY IF EXISTS thing_name;"}, ""},
	{"not null by a check", []string{
		none, "", "SET lock_timeout = '5s';",
		"ALTER TABLE thing DROP CONSTRAINT IF EXISTS thing_name, ADD CONSTRAINT thing_name CHECK (name IS NOT NULL) NOT VALID;",
		"ALTER TABLE thing VALIDATE CONSTRAINT thing_name;",
		"ALTER TABLE thing ALTER COLUMN name SET NOT NULL;",
		"ALTER TABLE thing DROP CONSTRAINT IF EXISTS thing_name;",
	}, ""},
	{"not null by an old check", []string{timeout, "ALTER TABLE thing ALTER COLUMN note SET NOT NULL;"}, ""},
	{"batches", []string{
		none, "", "DO $$ BEGIN", "LOOP", "  UPDATE thing SET twin = name WHERE id IN (SELECT id FROM thing WHERE twin IS NULL LIMIT 1000);",
		"  EXIT WHEN NOT FOUND;", "  COMMIT;", "END LOOP; END $$;",
	}, ""},
	{"foreign key in two steps", []string{
		none, "", "SET lock_timeout = '5s';",
		"ALTER TABLE thing DROP CONSTRAINT IF EXISTS thing_other, ADD CONSTRAINT thing_other FOREIGN KEY (id) REFERENCES other NOT VALID;",
		"ALTER TABLE thing VALIDATE CONSTRAINT thing_other;",
	}, ""},

	// Locks.
	{"lock_timeout off", []string{timeout, "SET LOCAL lock_timeout = 0;", "ALTER TABLE thing ADD COLUMN x text;"}, "3 AC101"},
	{"lock_timeout of no transaction", []string{none, "", timeout, "ALTER TABLE thing ADD COLUMN IF NOT EXISTS x text;"}, "4 AC101"},
	{"lock table", []string{"LOCK TABLE thing IN SHARE ROW EXCLUSIVE MODE;"}, "1 AC101, 1 AC107"},
	{"weak lock", []string{"LOCK TABLE thing IN ROW EXCLUSIVE MODE;", "COMMENT ON TABLE thing IS 'x';"}, ""},
	{"lock in a block", []string{"DO $$ BEGIN", "  EXECUTE 'ALTER TABLE thing ADD COLUMN x text';", "END $$;"}, "1 AC101"},
	{"validating under a lock", []string{
		timeout, "ALTER TABLE thing ADD CONSTRAINT c CHECK (id > 0) NOT VALID;", "ALTER TABLE thing VALIDATE CONSTRAINT c;",
	}, "3 AC103"},

	// Long work under a lock.
	{"index on a new column", []string{timeout, "ALTER TABLE thing ADD COLUMN x text UNIQUE;"}, "2 PG101"},
	{"primary key", []string{timeout, "ALTER TABLE thing DROP CONSTRAINT thing_pkey;", "ALTER TABLE thing ADD PRIMARY KEY (id, n);"},
		"2 BC106, 3 PG104, 3 PG303"},
	{"type", []string{timeout, "ALTER TABLE thing ALTER COLUMN n TYPE bigint;"}, "2 PG301"},
	{"time zone", []string{timeout, "ALTER TABLE thing ALTER COLUMN at TYPE timestamptz;"}, "2 PG301"},
	{"shorter text", []string{timeout, "ALTER TABLE thing ALTER COLUMN name TYPE varchar(40);"}, "2 PG301"},
	{"collation", []string{timeout, `ALTER TABLE thing ALTER COLUMN name TYPE varchar(50) COLLATE "C";`}, "2 PG301"},
	{"not null by a check that is not valid", []string{
		none, "", "SET lock_timeout = '5s';",
		"ALTER TABLE thing DROP CONSTRAINT IF EXISTS c, ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID;",
		"ALTER TABLE thing ALTER COLUMN name SET NOT NULL;",
	}, "5 PG303"},
	{"not null by the check of another column", []string{timeout, "ALTER TABLE thing ALTER COLUMN n SET NOT NULL;"}, "2 PG303"},

	// What breaks data or programs.
	{"unique index", []string{none, "", "CREATE UNIQUE INDEX CONCURRENTLY thing_at ON thing (at);"}, "3 MF101"},
	{"new name in disguise", []string{timeout, "ALTER TABLE thing DROP COLUMN note, ADD COLUMN remark text;"}, "2 AC102, 2 DS103"},
	{"new name in disguise, in two statements", []string{
		timeout, "ALTER TABLE thing ADD COLUMN remark text;", "ALTER TABLE thing DROP COLUMN note;",
	}, "3 AC102, 3 DS103"},
	{"another column", []string{timeout, "ALTER TABLE thing DROP COLUMN note, ADD COLUMN remark integer;"}, "2 DS103"},
	{"split in different ways", []string{"SELECT 1;", "SELECT 'C:\\'; SELECT ';';"}, "1 AC104"},

	// Silenced.
	{"file", []string{"-- atlas:nolint", "", "DROP TABLE thing;"}, ""},
	{"file, a code", []string{"-- atlas:nolint DS102", "", "DROP TABLE thing;"}, "3 AC101"},
	{"file, two codes", []string{"-- atlas:nolint DS102 AC101", "", "DROP TABLE thing;"}, ""},
	{"file, an analyzer", []string{"-- atlas:nolint destructive", "", timeout, "DROP TABLE thing;"}, ""},
	{"statement", []string{timeout, "-- atlas:nolint", "DROP TABLE thing;", "DROP TABLE other;"}, "4 AC110, 4 DS102"},
	{"statement, not the next one on its line", []string{timeout, "-- atlas:nolint", "DROP TABLE thing; DROP TABLE other;"}, "3 AC110, 3 DS102"},
	{"statement, a code", []string{"-- atlas:nolint DS102", "DROP TABLE thing;"}, "2 AC101"},

	// What the session had prepared is gone.
	{"DISCARD", []string{none, "", "DISCARD ALL;", "ALTER TABLE thing ADD COLUMN IF NOT EXISTS x text;"}, "4 AC101"},
	{"DEALLOCATE", []string{timeout, "COMMENT ON TABLE thing IS 'x';", "DEALLOCATE ALL;", "ALTER TABLE thing ALTER COLUMN n TYPE bigint;"}, "4 PG301"},

	{"own delimiter", []string{"-- atlas:delimiter \\n\\n", timeout, "", "", "CREATE INDEX thing_at ON thing (at)", "", ""}, "5 PG101"},
}

var lintSQLite = []lintTest{
	{"nullable column", []string{"ALTER TABLE thing ADD COLUMN x text;"}, ""},
	{"index", []string{"CREATE INDEX thing_at ON thing (at);"}, ""},
	{"dropped table", []string{"DROP TABLE thing;"}, "1 DS102"},
	{"dropped column", []string{"ALTER TABLE thing DROP COLUMN twin;"}, "1 DS103"},
	{"unique index", []string{"CREATE UNIQUE INDEX thing_at ON thing (at);"}, "1 MF101"},
	{"new name of a column", []string{"ALTER TABLE thing RENAME COLUMN twin TO remark;"}, "1 BC102"},
	{"new name of a table", []string{"ALTER TABLE thing RENAME TO item;"}, "1 BC101"},
	{"new name in disguise", []string{"ALTER TABLE thing ADD COLUMN remark text;", "ALTER TABLE thing DROP COLUMN twin;"}, "2 AC102, 2 DS103"},
	{"table made again", rebuild("name varchar(50), note text, n integer, at timestamp, twin text, x text", "name, note, n, at, twin"), ""},
	{"table made again, with a new name", rebuild("name varchar(50), note text, n integer, at timestamp, pair text", "name, note, n, at"),
		"3 AC102, 3 DS103"},
	{"table made again, not null", rebuild("name varchar(50), note text, n integer, at timestamp, twin text NOT NULL", "name, note, n, at, twin"),
		"3 LT101"},
	{"trigger", []string{"CREATE TRIGGER t AFTER INSERT ON thing BEGIN UPDATE other SET id = 1; UPDATE other SET id = 2; END;"}, "1 AC104"},
	{"statement", []string{"-- atlas:nolint DS102", "DROP TABLE thing;", "DROP TABLE other;"}, "3 DS102"},
	{"no transaction", []string{none, "", "VACUUM;", "CREATE TABLE x (id integer);", "CREATE TABLE IF NOT EXISTS y (id integer);"}, "4 AC109"},
}

// rebuild returns the statements that Atlas plans where SQLite cannot alter a table in place.
func rebuild(columns, kept string) []string {
	return []string{
		"CREATE TABLE `new_thing` (`id` integer PRIMARY KEY, " + columns + ", CONSTRAINT thing_note CHECK (note IS NOT NULL), CONSTRAINT thing_n CHECK (n > 0));",
		"INSERT INTO `new_thing` (`id`, " + kept + ") SELECT `id`, " + kept + " FROM `thing`;",
		"DROP TABLE `thing`;",
		"ALTER TABLE `new_thing` RENAME TO `thing`;",
		"CREATE INDEX thing_name ON thing (name);",
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	onEach(t, func(t *testing.T, d testDatabase) {
		tests, place := lintSQLite, d.dev(t)
		if d.dialect == migration.Postgres {
			tests = lintPostgres
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				dir := and(t, directory(t, lintBase), map[string]string{second + "_x.sql": lines(test.lines...)})
				findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: dir, Latest: 1, Dev: place})
				if err != nil {
					t.Fatal(err)
				}
				got := []string{}
				for _, f := range findings {
					got = append(got, fmt.Sprint(f.Line, " ", f.Code))
					if f.File != second+"_x.sql" || f.Reason == "" || f.Safer == "" {
						t.Errorf("%+v", f)
					}
				}
				slices.Sort(got)
				if strings.Join(got, ", ") != test.want {
					t.Errorf("found %q; want %q\n%+v", got, test.want, findings)
				}
			})
		}
	})
}

// The project's own files pass, and those that go before are not looked at.
func TestLintOfTheEmbeddedMigrations(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: d.embedded(t), Dev: d.dev(t)})
		if err != nil || len(findings) != 0 {
			t.Errorf("%+v, %v", findings, err)
		}
		dir := and(t, directory(t, lintBase), map[string]string{
			second + "_x.sql": "DROP TABLE other;\n", third + "_y.sql": "CREATE TABLE y (id integer);\n",
		})
		for latest, want := range map[int]int{1: 0, 2: 1, 0: 1, 9: 1} {
			findings, err := plan.Lint(t.Context(), plan.LintOptions{
				Dialect: d.dialect, Dir: dir, Latest: latest, Dev: d.dev(t),
			})
			if n := len(slices.DeleteFunc(findings, func(f plan.Finding) bool { return f.Code != "DS102" })); err != nil || n != want {
				t.Errorf("latest %d: %d findings, %v; want %d", latest, n, err, want)
			}
		}
	})
}

func TestLintOfFilesThatCannotBeExecuted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		dir := and(t, directory(t, lintBase), map[string]string{second + "_x.sql": "SELECT 1;\nSELECT * FROM nowhere;\n"})
		_, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: dir, Latest: 1, Dev: d.dev(t)})
		if err == nil || !strings.Contains(err.Error(), second+"_x.sql, line 2") {
			t.Errorf("%v; want the file and the line", err)
		}
		dir[second+"_x.sql"].Data = []byte("SELECT 2;\n")
		_, err = plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: dir, Latest: 1, Dev: d.dev(t)})
		if !errors.Is(err, domain.ErrChecksum) {
			t.Errorf("%v; want a checksum error", err)
		}
	})
}

// Without counts of scans lint would not see which tables a statement reads, and find nothing.
func TestLintNeedsCounts(t *testing.T) {
	t.Parallel()
	dev := func(ctx context.Context) (*sql.DB, func() error, error) {
		db := databases[0].open(t, postgrestest.Database(t))
		_, err := db.ExecContext(ctx, "SET track_counts = off")
		db.SetMaxOpenConns(1)
		return db, func() error { return nil }, err
	}
	_, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: plan.Postgres, Dir: directory(t, lintBase), Dev: dev})
	if !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "track_counts") {
		t.Errorf("%v; want one that names track_counts", err)
	}
}

// TestDocumentedNolint lints the file of docs/migrations.md that says that a finding is meant, and one that does not.
func TestDocumentedNolint(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(readFile(t, "../../docs/migrations.md"), "\n## What lint finds\n")
	_, file, _ := strings.Cut(section, "```sql\n")
	file, _, found := strings.Cut(file, "```")
	if !found {
		t.Fatal("docs/migrations.md has no such file")
	}
	const begin = "SET LOCAL lock_timeout = '5s';\n"
	d := databases[0]
	for text, want := range map[string]int{file: 0, strings.Replace(file, "-- atlas:nolint DS103\n", "", 1): 1} {
		dir := and(t, d.embedded(t), map[string]string{
			"29990101000000_fax.sql":    begin + `ALTER TABLE "users" ADD COLUMN "fax" text;` + "\n",
			"29990102000000_no_fax.sql": begin + text,
		})
		findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: dir, Latest: 1, Dev: d.dev(t)})
		if err != nil || len(findings) != want || want > 0 && findings[0].Code != "DS103" {
			t.Errorf("%q: %+v, %v", text, findings, err)
		}
	}
}
