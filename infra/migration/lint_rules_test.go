package migration_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration/plan"
)

var update = flag.Bool("update", false, "write the tables of docs/lint.md")

const rulesDoc = "../../docs/lint.md"

// example is a file with a pattern that another linter has a rule for, or that people write, and what is found in it.
type example struct {
	rule    string // or what the pattern shows
	file    []string
	codes   string // found, in order; "" means nothing, "refused" that the file cannot be executed
	because string // it is not looked for; then file and codes are empty
}

// ruleBase is what the patterns find. Several schemas, for lint looks at all of them.
var ruleBase = map[string]string{first + "_base.sql": ruleObjects("")}

// ruleObjects returns the tables, and what else there is by a name that a pattern has.
func ruleObjects(pattern string) string {
	text := lines(
		"CREATE TABLE thing (id integer PRIMARY KEY, name varchar(50) DEFAULT 'x', note text NOT NULL, n integer, at timestamp, twin text,",
		"  CONSTRAINT thing_n CHECK (n > 0), CONSTRAINT thing_at UNIQUE (at));",
		"CREATE INDEX thing_name ON thing (name);",
		"CREATE UNIQUE INDEX thing_twin ON thing (twin);",
		"CREATE TABLE other (id integer PRIMARY KEY REFERENCES thing, words text, room int, during int4range);",
		"CREATE TABLE log (line text);",
	)
	for _, object := range []struct{ name, statements string }{
		{"mood", "CREATE TYPE mood AS ENUM ('good', 'bad');"},
		{"age", "CREATE DOMAIN age AS integer;"},
		{"names", "CREATE VIEW names AS SELECT name FROM thing;"},
		{"counts", "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM thing;"},
		{"fill", "CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS 'UPDATE thing SET n = 1';"},
		{"stamp", lines("CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';",
			"CREATE TRIGGER stamped BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION stamp();")},
		{"own", "CREATE POLICY own ON thing USING (n = 1);"},
		{"SELECT ON", "GRANT SELECT ON thing TO PUBLIC;"},
		{"part", lines("CREATE TABLE parts (id integer NOT NULL, k integer) PARTITION BY RANGE (id);",
			"CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10);",
			"CREATE TABLE part2 (id integer NOT NULL, k integer);")},
		{"Old Stock", lines(`CREATE SCHEMA "Old Stock";`,
			`CREATE TABLE "Old Stock"."Item" (id integer PRIMARY KEY, n integer, word text);`,
			`CREATE INDEX item_n ON "Old Stock"."Item" (n);`)},
	} {
		if pattern == "" || strings.Contains(pattern, object.name) {
			text += object.statements + "\n"
		}
	}
	return text
}

// within returns statements in a transaction, with a lock_timeout.
func within(statements ...string) []string { return append([]string{timeout}, statements...) }

// outside returns statements without a transaction.
func outside(statements ...string) []string {
	return append([]string{none, "", "SET lock_timeout = '5s';"}, statements...)
}

const (
	styleOfTypes = "types are chosen in the ent schema"
	mysql        = "there is no MySQL here"
)

// https://squawkhq.com/docs/rules, version 2.63.0.
var squawk = []example{
	{"adding-field-with-default", within("ALTER TABLE thing ADD COLUMN x uuid DEFAULT gen_random_uuid();"), "PG302", ""},
	{"adding-foreign-key-constraint", within("ALTER TABLE thing ADD FOREIGN KEY (id) REFERENCES other;"), "PG306", ""},
	{"adding-not-nullable-field", within("ALTER TABLE thing ALTER COLUMN n SET NOT NULL;"), "PG303", ""},
	{"adding-primary-key-constraint", within("ALTER TABLE log ADD PRIMARY KEY (line);"), "MF101 PG104 PG303", ""},
	{"adding-required-field", within("ALTER TABLE thing ADD COLUMN x text NOT NULL;"), "MF103", ""},
	{"adding-serial-primary-key-field", within("ALTER TABLE log ADD COLUMN id serial PRIMARY KEY;"), "PG104 PG302", ""},
	{"ban-alter-domain-with-add-constraint", within("ALTER DOMAIN age ADD CONSTRAINT positive CHECK (VALUE > 0);"), "PG305", ""},
	{"ban-char-field", nil, "", styleOfTypes},
	{"ban-concurrent-index-creation-in-transaction", within("CREATE INDEX CONCURRENTLY x ON thing (n);"), "PG103", ""},
	{"ban-create-domain-with-constraint", nil, "", "no row has a new domain yet; a later constraint is PG305"},
	{"ban-drop-column", within("ALTER TABLE thing DROP COLUMN note;"), "DS103", ""},
	{"ban-drop-database", within("DROP DATABASE customers;"), "DS105", ""},
	{"ban-drop-not-null", within("ALTER TABLE thing ALTER COLUMN note DROP NOT NULL;"), "BC106", ""},
	{"ban-drop-table", within("DROP TABLE other;"), "DS102", ""},
	{"ban-duplicate-column-assignments", within("UPDATE thing SET n = 1, n = 2 WHERE id = 1;"), "refused", ""},
	{"ban-truncate-cascade", within("TRUNCATE thing CASCADE;"), "DS104 DS104", ""},
	{"ban-uncommitted-transaction", []string{none, "", "BEGIN;", "SELECT 1;"}, "AC106", ""},
	{"changing-column-type", within("ALTER TABLE thing ALTER COLUMN id TYPE bigint;"), "PG301", ""},
	{"constraint-missing-not-valid", within("ALTER TABLE thing ADD CONSTRAINT c CHECK (id > 0);"), "PG305", ""},
	{"disallowed-unique-constraint", within("ALTER TABLE thing ADD CONSTRAINT c UNIQUE (n);"), "MF101 PG101", ""},
	{"identifier-too-long", within("CREATE TABLE " + strings.Repeat("long", 16) + " (id integer);"), "AC112", ""},
	{"prefer-bigint-over-int", nil, "", styleOfTypes},
	{"prefer-bigint-over-smallint", nil, "", styleOfTypes},
	{"prefer-identity", nil, "", styleOfTypes},
	{"prefer-repack", outside("VACUUM FULL thing;"), "PG307", ""},
	{"prefer-robust-stmts", outside("ALTER TABLE thing ADD COLUMN x text;"), "AC109", ""},
	{"prefer-text-field", nil, "", styleOfTypes},
	{"prefer-timestamptz", nil, "", styleOfTypes},
	{"renaming-column", within("ALTER TABLE thing RENAME COLUMN note TO remark;"), "BC102", ""},
	{"renaming-table", within("ALTER TABLE thing RENAME TO item;"), "BC101", ""},
	{"require-concurrent-index-creation", within("CREATE INDEX x ON thing (n);"), "PG101", ""},
	{"require-concurrent-index-deletion", within("DROP INDEX thing_name;"), "PG102", ""},
	{"require-concurrent-partition-detach", within("ALTER TABLE parts DETACH PARTITION part1;"), "PG309", ""},
	{"require-concurrent-reindex", within("REINDEX INDEX thing_name;"), "PG105", ""},
	{"require-enum-value-ordering", nil, "", "the position matters only where rows are sorted by it"},
	{"require-lock-timeout", []string{"ALTER TABLE thing ADD COLUMN x text;"}, "AC101", ""},
	{"require-statement-timeout", nil, "", "it would end `CREATE INDEX CONCURRENTLY`; long work under a lock is found by itself"},
	{"require-table-schema", nil, "", "the connection names the schema"},
	{"require-timeout-settings", []string{"ALTER TABLE thing ADD COLUMN x text;"}, "AC101", ""},
	{"syntax-error", within("ALTER TALBE thing ADD COLUMN x text;"), "refused", ""},
	{"transaction-nesting", within("COMMIT;", "BEGIN;"), "AC106 AC106", ""},
}

// https://github.com/ankane/strong_migrations, version 2.8.0.
var strongMigrations = []example{
	{"adding a check constraint", within("ALTER TABLE thing ADD CONSTRAINT c CHECK (id > 0);"), "PG305", ""},
	{"adding a column with a volatile default value", within("ALTER TABLE thing ADD COLUMN x float DEFAULT random();"), "PG302", ""},
	{"adding a column with an expression default value (MySQL)", nil, "", mysql},
	{"adding a foreign key", within("ALTER TABLE thing ADD FOREIGN KEY (id) REFERENCES other;"), "PG306", ""},
	{"adding a json column", nil, "", styleOfTypes},
	{"adding a reference", within("ALTER TABLE thing ADD COLUMN other_id integer REFERENCES other;", "CREATE INDEX x ON thing (other_id);"), "PG101", ""},
	{"adding a stored generated column", within("ALTER TABLE thing ADD COLUMN x integer GENERATED ALWAYS AS (n + 1) STORED;"), "PG302", ""},
	{"adding a unique constraint", within("ALTER TABLE thing ADD CONSTRAINT c UNIQUE (n);"), "MF101 PG101", ""},
	{"adding an auto-incrementing column", within("ALTER TABLE log ADD COLUMN id bigserial;"), "PG302", ""},
	{"adding an exclusion constraint", within("ALTER TABLE other ADD EXCLUDE USING gist (during WITH &&);"), "PG106", ""},
	{"adding an index concurrently (PostgreSQL 14.0 to 14.3)", nil, "", "update these releases"},
	{"adding an index non-concurrently", within("CREATE INDEX x ON thing (n);"), "PG101", ""},
	{"backfilling data", within("ALTER TABLE thing ADD COLUMN x text;", "UPDATE thing SET x = 'y';"), "AC103 AC105", ""},
	{"changing the type of a column", within("ALTER TABLE thing ALTER COLUMN id TYPE bigint;"), "PG301", ""},
	{"creating a table with the force option", within("DROP TABLE IF EXISTS other CASCADE;", "CREATE TABLE other (id integer);"), "DS102", ""},
	{"executing SQL directly", nil, "", "all is SQL, and is executed"},
	{"keeping non-unique indexes to three columns or less", nil, "", "depends on the queries"},
	{"removing a column", within("ALTER TABLE thing DROP COLUMN note;"), "DS103", ""},
	{"removing an index non-concurrently", within("DROP INDEX thing_name;"), "PG102", ""},
	{"renaming a column", within("ALTER TABLE thing RENAME COLUMN note TO remark;"), "BC102", ""},
	{"renaming a schema", within(`ALTER SCHEMA "Old Stock" RENAME TO stock;`), "BC103", ""},
	{"renaming a table", within("ALTER TABLE thing RENAME TO item;"), "BC101", ""},
	{"renaming an enum value", within("ALTER TYPE mood RENAME VALUE 'bad' TO 'poor';"), "BC104", ""},
	{"setting NOT NULL on an existing column", within("ALTER TABLE thing ALTER COLUMN n SET NOT NULL;"), "PG303", ""},
	{"setting NOT NULL with a default value", within("UPDATE thing SET n = 1 WHERE n IS NULL;", "ALTER TABLE thing ALTER COLUMN n SET NOT NULL;"), "AC105 PG303", ""},
	{"using the COPY algorithm, or shared or exclusive locking (MySQL)", nil, "", mysql},
	{"validating a foreign key or a check while writes are blocked", within("ALTER TABLE thing ADD CONSTRAINT c CHECK (id > 0) NOT VALID;",
		"ALTER TABLE thing VALIDATE CONSTRAINT c;"), "AC103", ""},
}

var morePatterns = []example{
	// Found.
	{"a check dropped and added under one name", within("ALTER TABLE thing DROP CONSTRAINT thing_n, ADD CONSTRAINT thing_n CHECK (n > 1);"), "PG305", ""},
	{"a foreign key dropped and added under one name", within("ALTER TABLE other DROP CONSTRAINT other_id_fkey, " +
		"ADD CONSTRAINT other_id_fkey FOREIGN KEY (id) REFERENCES thing ON DELETE CASCADE;"), "PG306", ""},
	{"UPDATE in a block", within("DO $$ BEGIN UPDATE thing SET n = 1; END $$;"), "AC105", ""},
	{"UPDATE in a loop of a block", within("DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM thing LOOP",
		"UPDATE thing SET n = 1 WHERE id = r.id; END LOOP; END $$;"), "AC105", ""},
	{"UPDATE in a function", within("SELECT fill();"), "AC105", ""},
	{"UPDATE in WITH", within("WITH u AS (UPDATE thing SET n = 1 RETURNING id) SELECT count(*) FROM u;"), "AC105", ""},
	{"UPDATE by a range", within("UPDATE thing SET n = 1 WHERE id > 1 AND id < 5;"), "AC105", ""},
	{"UPDATE by what a query returns", within("UPDATE thing SET n = 1 WHERE id = ANY (ARRAY(SELECT id FROM other));"), "AC105", ""},
	{"DELETE of some rows", within("DELETE FROM log WHERE line = 'x';"), "AC105", ""},
	{"DELETE of all rows", within("DELETE FROM log;"), "AC105 DS104", ""},
	{"MERGE", within("MERGE INTO thing USING other ON thing.id = other.id WHEN MATCHED THEN UPDATE SET n = 1;"), "AC105", ""},
	{"INSERT of a query", within("INSERT INTO log SELECT name FROM thing;"), "AC105", ""},
	{"a column, and its backfill in a block", within("ALTER TABLE thing ADD COLUMN x text;", "DO $$ BEGIN UPDATE thing SET x = name; END $$;"), "AC103 AC105", ""},
	{"both in one block", within("DO $$ BEGIN ALTER TABLE thing ADD COLUMN x text; UPDATE thing SET x = name; END $$;"), "AC103 AC105", ""},
	{"COMMIT in a file that is a transaction", within("ALTER TABLE thing ADD COLUMN x text;", "COMMIT;"), "AC106", ""},
	{"another schema: a column dropped", within(`ALTER TABLE "Old Stock"."Item" DROP COLUMN word;`), "DS103", ""},
	{"another schema: a column's type", within(`ALTER TABLE "Old Stock"."Item" ALTER COLUMN n TYPE bigint;`), "PG301", ""},
	{"another schema: an index", within(`CREATE INDEX x ON "Old Stock"."Item" (word);`), "PG101", ""},
	{"another schema: an index dropped", within(`DROP INDEX "Old Stock".item_n;`), "PG102", ""},
	{"another schema: no lock_timeout", []string{`ALTER TABLE "Old Stock"."Item" ADD COLUMN x text;`}, "AC101", ""},
	{"another schema: rows", within(`UPDATE "Old Stock"."Item" SET n = 1;`), "AC105", ""},
	{"another schema: by SET search_path", within(`SET LOCAL search_path = "Old Stock";`, `ALTER TABLE "Item" DROP COLUMN word;`), "DS103", ""},
	{"another schema: dropped", within(`DROP SCHEMA "Old Stock" CASCADE;`), "DS101", ""},
	{"a table moved to another schema", within(`ALTER TABLE log SET SCHEMA "Old Stock";`), "BC101", ""},
	{"a unique index dropped", outside("DROP INDEX CONCURRENTLY IF EXISTS thing_twin;"), "BC106", ""},
	{"a unique constraint dropped", within("ALTER TABLE thing DROP CONSTRAINT thing_at;"), "BC106", ""},
	{"a check dropped", within("ALTER TABLE thing DROP CONSTRAINT thing_n;"), "BC106", ""},
	{"a primary key dropped", within("ALTER TABLE other DROP CONSTRAINT other_pkey;"), "BC106", ""},
	{"a default dropped", within("ALTER TABLE thing ALTER COLUMN name DROP DEFAULT;"), "BC106", ""},
	{"a foreign key dropped", within("ALTER TABLE other DROP CONSTRAINT other_id_fkey;"), "CD101", ""},
	{"a materialized view filled", within("REFRESH MATERIALIZED VIEW counts;"), "PG308", ""},
	{"a view dropped", within("DROP VIEW names;"), "BC105", ""},
	{"a function dropped, with its triggers", within("DROP FUNCTION stamp() CASCADE;"), "BC105 BC108", ""},
	{"a type dropped", within("DROP TYPE mood;"), "BC105", ""},
	{"a trigger disabled", within("ALTER TABLE thing DISABLE TRIGGER stamped;"), "BC108", ""},
	{"a trigger dropped", within("DROP TRIGGER stamped ON thing;"), "BC108", ""},
	{"row level security", within("ALTER TABLE thing ENABLE ROW LEVEL SECURITY;"), "BC107", ""},
	{"a policy dropped", within("DROP POLICY own ON thing;"), "BC107", ""},
	{"REVOKE", within("REVOKE SELECT ON thing FROM PUBLIC;"), "BC107", ""},
	{"LOCK TABLE", within("LOCK TABLE thing IN ACCESS EXCLUSIVE MODE;"), "AC107", ""},
	{"a long lock_timeout", []string{"SET LOCAL lock_timeout = '1h';", "ALTER TABLE thing ADD COLUMN x text;"}, "AC101", ""},
	{"two tables locked in one file", within("ALTER TABLE thing ADD COLUMN x text;", "ALTER TABLE log ADD COLUMN x text;"), "AC110", ""},
	{"CONCURRENTLY IF NOT EXISTS", outside("CREATE INDEX CONCURRENTLY IF NOT EXISTS x ON thing (n);"), "AC108", ""},
	{"rows that would be stored twice", outside("INSERT INTO log VALUES ('x');"), "AC109", ""},
	{"a foreign key without an index", within("ALTER TABLE thing ADD COLUMN x integer REFERENCES other;"), "AC111", ""},
	{"the same in a new table", within("CREATE TABLE fresh (id integer PRIMARY KEY, other_id integer REFERENCES other);"), "AC111", ""},
	{"REINDEX TABLE", within("REINDEX TABLE other;"), "PG105", ""},
	{"REINDEX TABLE CONCURRENTLY in a transaction", within("REINDEX TABLE CONCURRENTLY thing;"), "PG103", ""},
	{"TRUNCATE", within("TRUNCATE log;"), "DS104", ""},
	{"CLUSTER", within("CLUSTER thing USING thing_name;"), "PG307", ""},
	{"SET UNLOGGED", within("ALTER TABLE log SET UNLOGGED;"), "PG307", ""},
	{"an identity column", within("ALTER TABLE log ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;"), "PG302", ""},
	{"a check on a column added with it: PostgreSQL does read all rows", within("ALTER TABLE thing ADD COLUMN x integer CHECK (x > 0);"), "PG305", ""},

	// Nothing is found.
	{"UNIQUE USING INDEX", within("ALTER TABLE thing ADD CONSTRAINT c UNIQUE USING INDEX thing_twin;"), "", ""},
	{"PRIMARY KEY USING INDEX", []string{none, "", "SET lock_timeout = '5s';", "CREATE UNIQUE INDEX CONCURRENTLY new ON thing (id);",
		"BEGIN;", "ALTER TABLE other DROP CONSTRAINT other_id_fkey;", "ALTER TABLE thing DROP CONSTRAINT thing_pkey, ADD PRIMARY KEY USING INDEX new;",
		"ALTER TABLE other ADD CONSTRAINT other_id_fkey FOREIGN KEY (id) REFERENCES thing NOT VALID;", "COMMIT;"}, "", ""},
	{"a new name of a constraint", within("ALTER TABLE thing RENAME CONSTRAINT thing_n TO c;"), "", ""},
	{"a new name of an index", within("ALTER INDEX thing_twin RENAME TO x;"), "", ""},
	{"UPDATE of one row", within("UPDATE thing SET n = 1 WHERE id = 1;"), "", ""},
	{"UPDATE of rows that are named", within("UPDATE thing SET n = 1 WHERE id IN (1, 2, 3);"), "", ""},
	{"UPDATE of a table of the same file", within("CREATE TABLE fresh (n integer);", "UPDATE fresh SET n = 1;"), "", ""},
	{"INSERT of values", within("INSERT INTO log VALUES ('x'), ('y');"), "", ""},
	{"WITH … SELECT", within("WITH n AS (SELECT 1) SELECT * FROM n;"), "", ""},
	{"REINDEX TABLE CONCURRENTLY", outside("REINDEX TABLE CONCURRENTLY thing;"), "", ""},
	{"a foreign key on a column added with it, and indexed", within("ALTER TABLE thing ADD COLUMN x integer UNIQUE REFERENCES other;"), "PG101", ""},
	{"ATTACH PARTITION", within("ALTER TABLE parts ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20);"), "", ""},
	{"SET search_path", within(`SET search_path = "Old Stock";`), "", ""},
	{"a transaction in a file without one", []string{none, "", "BEGIN;", "SET LOCAL lock_timeout = '5s';", "ALTER TABLE thing ADD COLUMN x text;", "COMMIT;"}, "", ""},
	{"a check that a NOT NULL has replaced", []string{none, "", "SET lock_timeout = '5s';",
		"ALTER TABLE thing DROP CONSTRAINT IF EXISTS c, ADD CONSTRAINT c CHECK (n IS NOT NULL) NOT VALID;", "ALTER TABLE thing VALIDATE CONSTRAINT c;",
		"ALTER TABLE thing ALTER COLUMN n SET NOT NULL;", "ALTER TABLE thing DROP CONSTRAINT IF EXISTS c;"}, "", ""},
	{"a view made again", within("DROP VIEW names;", "CREATE VIEW names AS SELECT name, n FROM thing;"), "", ""},
	{"a value added to an enum", within("ALTER TYPE mood ADD VALUE 'so-so';"), "", ""},
	{"a new default", within("ALTER TABLE thing ALTER COLUMN name SET DEFAULT 'y';"), "", ""},
	{"the statistics of a column", within("ALTER TABLE thing ALTER COLUMN n SET STATISTICS 500;"), "", ""},
	{"a longer text", within("ALTER TABLE other ALTER COLUMN words TYPE varchar(60);", "ALTER TABLE other ALTER COLUMN words TYPE varchar(70);"), "PG301", ""},
}

var onSQLite = []example{
	{"DELETE of all rows", []string{"DELETE FROM thing;"}, "DS104", ""},
	{"a unique index dropped", []string{"DROP INDEX thing_twin;"}, "BC106", ""},
	{"a check over existing rows", []string{"ALTER TABLE thing ADD COLUMN x integer CHECK (n < 10);"}, "MF105", ""},
	{"a check on the new column alone", []string{"ALTER TABLE thing ADD COLUMN x integer CHECK (x < 10);"}, "", ""},
	{"ADD COLUMN … DEFAULT CURRENT_TIMESTAMP", []string{"ALTER TABLE thing ADD COLUMN x datetime NOT NULL DEFAULT CURRENT_TIMESTAMP;"}, "MF104", ""},
	{"ADD COLUMN … NOT NULL", []string{"ALTER TABLE thing ADD COLUMN x text NOT NULL;"}, "MF103", ""},
	{"a constant default", []string{"ALTER TABLE thing ADD COLUMN x text NOT NULL DEFAULT 'y';", "ALTER TABLE thing ADD COLUMN y integer NOT NULL DEFAULT -1;"}, "", ""},
	{"DELETE of some rows", []string{"DELETE FROM thing WHERE id = 1;"}, "", ""},
	{"UPDATE of all rows: there is one writer anyway", []string{"UPDATE thing SET n = 1;"}, "", ""},
	{"a view dropped", []string{"DROP VIEW names;"}, "BC105", ""},
	{"a trigger dropped", []string{"DROP TRIGGER stamped;"}, "BC108", ""},
	{"COMMIT in a file that is a transaction", []string{"COMMIT;"}, "AC106", ""},
	{"a column dropped", []string{"ALTER TABLE thing DROP COLUMN spare;"}, "DS103", ""},
	{"a table made again without a check", []string{"CREATE TABLE new_thing (id integer PRIMARY KEY, n integer, twin text, word text, spare text);",
		"INSERT INTO new_thing SELECT * FROM thing;", "DROP VIEW names;", "DROP TABLE thing;", "ALTER TABLE new_thing RENAME TO thing;",
		"CREATE VIEW names AS SELECT word FROM thing;", "CREATE UNIQUE INDEX thing_twin ON thing (twin);",
		"CREATE TRIGGER stamped AFTER INSERT ON thing BEGIN SELECT 1; END;"}, "AC104 BC106", ""},
	{"a table made again with a check", []string{"CREATE TABLE new_thing (id integer PRIMARY KEY, n integer, twin text, word text, spare text, CONSTRAINT thing_n CHECK (n > 0), CHECK (twin <> ''));",
		"INSERT INTO new_thing SELECT * FROM thing;", "DROP VIEW names;", "DROP TABLE thing;", "ALTER TABLE new_thing RENAME TO thing;",
		"CREATE VIEW names AS SELECT word FROM thing;", "CREATE UNIQUE INDEX thing_twin ON thing (twin);",
		"CREATE TRIGGER stamped AFTER INSERT ON thing BEGIN SELECT 1; END;"}, "AC104 MF105", ""},
}

var sqliteBase = map[string]string{first + "_base.sql": lines(
	"CREATE TABLE thing (id integer PRIMARY KEY, n integer, twin text, word text, spare text, CONSTRAINT thing_n CHECK (n > 0));",
	"CREATE UNIQUE INDEX thing_twin ON thing (twin);",
	"CREATE VIEW names AS SELECT word FROM thing;",
	"CREATE TRIGGER stamped AFTER INSERT ON thing BEGIN SELECT 1; END;",
)}

var ruleTables = []struct {
	name, column string
	database     int
	base         map[string]string
	rows         []example
}{
	{"squawk", "rule", 0, ruleBase, squawk},
	{"strong_migrations", "check", 0, ruleBase, strongMigrations},
	{"PostgreSQL", "pattern", 0, ruleBase, morePatterns},
	{"SQLite", "pattern", 1, sqliteBase, onSQLite},
}

// Every pattern is found, or not, as docs/lint.md says; -update writes the tables there.
func TestLintRules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	doc := readFile(t, rulesDoc)
	known := map[string]string{} // what was found in patterns that stand in several tables
	for _, table := range ruleTables {
		t.Run(table.name, func(t *testing.T) {
			d := databases[table.database]
			mergeKnown := true
			if d.dialect == plan.Postgres {
				db := d.open(t, postgrestest.Server(t))
				mergeKnown = queryString(t, db, "SELECT current_setting('server_version_num')::int >= 150000") == "true"
			}
			place := d.dev(t)
			out := "| " + table.column + " | found |\n| --- | --- |\n"
			for _, row := range table.rows {
				found := "not looked for: " + row.because
				if row.because == "" {
					found = cmp.Or(strings.ReplaceAll(row.codes, " ", ", "), "none")
					key := d.name + strings.Join(row.file, "\n")
					codes, ok := known[key]
					if !ok {
						base := table.base
						if d.dialect == plan.Postgres && row.codes != "" { // nothing is found among all objects, what is found among those that it is about
							base = map[string]string{first + "_base.sql": ruleObjects(strings.Join(row.file, " "))}
						}
						codes = lintCodes(t, d, place, base, row.file)
						known[key] = codes
					}
					if codes != row.codes && (mergeKnown || row.rule != "MERGE") {
						t.Errorf("%s: found %q; want %q", row.rule, codes, row.codes)
					}
				}
				out += fmt.Sprintf("| %s | %s |\n", row.rule, found)
			}
			begin, end := "<!-- "+table.name+" -->\n", "<!-- end -->"
			head, rest, ok := strings.Cut(doc, begin)
			was, tail, ok2 := strings.Cut(rest, end)
			if !ok || !ok2 {
				t.Fatalf("%s has no table %s", rulesDoc, table.name)
			}
			if doc = head + begin + out + end + tail; was != out && !*update {
				t.Errorf("the table in %s differs; write it with: go test ./infra/migration -run TestLintRules -update\n%s", rulesDoc, out)
			}
		})
	}
	if *update {
		if err := os.WriteFile(rulesDoc, []byte(doc), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// A finding says what it is about, with the schema where that is not the usual one.
func TestLintReasons(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	place := devPostgres(t)
	for _, test := range []struct{ file, want []string }{
		{within(`UPDATE "Old Stock"."Item" SET n = 1;`), []string{
			`Changing rows of table "Old Stock.Item" in one statement keeps each of them locked until the last one is done`}},
		{within(`SET search_path = "Old Stock";`, `DROP INDEX item_n;`), []string{`Dropping index "item_n" while all use of table "Old Stock.Item" waits`}},
		{within("ALTER TABLE thing ALTER COLUMN note DROP NOT NULL;"), []string{
			`Column "note" of table "thing" may be NULL from here on, and the running release may not expect that`}},
		{[]string{"SET LOCAL lock_timeout = '1h';", "TRUNCATE log;"}, []string{
			`Waiting for a lock on table "log" for more than 10 s: all who come later wait behind it`, `Deleting all rows of table "log"`}},
		{within("REVOKE SELECT ON thing FROM PUBLIC;"), []string{`The right "SELECT of PUBLIC" on "thing" is taken away`}},
		{within("ALTER TABLE thing ADD COLUMN x text;", "ALTER TABLE log ADD COLUMN x text;"), []string{
			`Waiting for a lock on table "log" while the file holds one on table "thing" that stops writes`}},
		{outside("DROP VIEW names;"), []string{
			"In a file without a transaction, a runner that is killed begins again with this statement, which fails if it is executed again",
			`The view "names" is dropped, and the running release may use it`}},
	} {
		dir := and(t, directory(t, ruleBase), map[string]string{second + "_x.sql": lines(test.file...)})
		findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: plan.Postgres, Dir: dir, Latest: 1, Dev: place})
		if err != nil {
			t.Error(err)
		}
		got := make([]string, len(findings))
		for i, f := range findings {
			got[i] = f.Reason
			if strings.Contains(f.Safer, "silence this") && !strings.Contains(f.Safer, "-- atlas:nolint "+f.Code) {
				t.Errorf("%+v does not say how", f)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\n%q\nwant\n%q", test.file, got, test.want)
		}
	}
}

// lintCodes returns the codes found in a file, in order.
func lintCodes(t *testing.T, d testDatabase, dev plan.Dev, base map[string]string, file []string) string {
	t.Helper()
	dir := and(t, directory(t, base), map[string]string{second + "_x.sql": lines(file...)})
	findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: dir, Latest: 1, Dev: dev})
	if err != nil {
		if !strings.Contains(err.Error(), second+"_x.sql, line") {
			t.Error(err)
		}
		t.Logf("%s: %v", file, err)
		return "refused"
	}
	codes := make([]string, len(findings))
	for i, f := range findings {
		codes[i] = f.Code
		if f.Reason == "" || f.Safer == "" {
			t.Errorf("%+v", f)
		}
	}
	slices.Sort(codes)
	return strings.Join(codes, " ")
}

// The table of codes in the documentation is complete: it names the codes of the tests, and no others.
func TestDocumentedCodes(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`\b(DS|MF|LT|BC|CD|PG|AC)\d{3}\b`)
	tested := map[string]bool{}
	for _, test := range slices.Concat(lintPostgres, lintSQLite) {
		for _, c := range code.FindAllString(test.want, -1) {
			tested[c] = true
		}
	}
	for _, table := range ruleTables {
		for _, row := range table.rows {
			for _, c := range code.FindAllString(row.codes, -1) {
				tested[c] = true
			}
		}
	}
	documented := map[string]bool{}
	for _, c := range code.FindAllString(readFile(t, "../../docs/migrations.md"), -1) {
		documented[c] = true
	}
	if !maps.Equal(tested, documented) {
		t.Errorf("documented are %q, tested %q", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(tested)))
	}
}
