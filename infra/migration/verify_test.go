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

// places are where a desired state can be laid out; nil is a schema of the same PostgreSQL database.
func (d testDatabase) places(t *testing.T) map[string]plan.Dev {
	if d.dialect == migration.SQLite {
		return map[string]plan.Dev{"in memory": d.dev(t)}
	}
	return map[string]plan.Dev{"development database": devPostgres(t), "same database": nil}
}

// drift is what somebody did, and what the remedy contains.
type drift struct{ name, done, remedy string }

// drifts are laid upon a database group by group: those of a group are in each other's way neither in the table nor in the remedy.
var drifts = map[string][][]drift{
	"postgres": {
		{
			{"dropped column", "ALTER TABLE users DROP COLUMN last_name", `ADD COLUMN "last_name" character varying(100) NULL`},
			{"type", "ALTER TABLE users ALTER COLUMN phone TYPE text", `ALTER COLUMN "phone" TYPE character varying(20)`},
			{"null", "ALTER TABLE users ALTER COLUMN hashed_password DROP NOT NULL", `ALTER COLUMN "hashed_password" SET NOT NULL`},
			{"default", "ALTER TABLE users ALTER COLUMN version SET DEFAULT 2", `ALTER COLUMN "version" SET DEFAULT 1`},
			{"no default", "ALTER TABLE users ALTER COLUMN id DROP DEFAULT", `ALTER COLUMN "id" SET DEFAULT gen_random_uuid()`},
			{"check", "ALTER TABLE users DROP CONSTRAINT users_version_check, ADD CONSTRAINT users_version_check CHECK (version >= 0)", `CHECK ((version >= 1) AND`},
			{"no check", "ALTER TABLE users DROP CONSTRAINT users_username_check", `ADD CONSTRAINT "users_username_check"`},
			{"dropped index", "DROP INDEX users_created_at", `CREATE INDEX "users_created_at"`},
			{"storage", "ALTER TABLE users RESET (fillfactor)", `SET (fillfactor=85);`},
			{"deferrable", "ALTER TABLE identities DROP CONSTRAINT identities_pkey, ADD CONSTRAINT identities_pkey PRIMARY KEY (id) DEFERRABLE", `ADD CONSTRAINT identities_pkey PRIMARY KEY (id);`},
			{"unlogged", "ALTER TABLE identities SET UNLOGGED", `SET LOGGED;`},
			{"no trigger", "DROP TRIGGER account_events_append_only ON account_events", "CREATE TRIGGER account_events_append_only BEFORE"},
		},
		{
			{"collation", `ALTER TABLE users ALTER COLUMN email TYPE varchar(255) COLLATE "POSIX"`, `ALTER COLUMN "email" TYPE character varying(255) COLLATE "C"`},
			{"index not unique", "DROP INDEX users_phone_key; CREATE INDEX users_phone_key ON users (phone)", `CREATE UNIQUE INDEX "users_phone_key"`},
			{"invalid index", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_created_at'::regclass", `REINDEX INDEX CONCURRENTLY users_created_at`},
			{"check not valid", "ALTER TABLE users DROP CONSTRAINT users_version_check, ADD CONSTRAINT users_version_check CHECK (version >= 1) NOT VALID", `VALIDATE CONSTRAINT users_version_check`},
			{"other trigger", "DROP TRIGGER account_events_append_only ON account_events; CREATE TRIGGER account_events_append_only BEFORE UPDATE ON account_events " +
				"FOR EACH ROW EXECUTE FUNCTION account_events_append_only()", `DROP TRIGGER "account_events_append_only" ON "account_events";`},
			{"function's body", "CREATE OR REPLACE FUNCTION account_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
				"CREATE OR REPLACE FUNCTION account_events_append_only()"},
		},
		{
			{"no table", "DROP TABLE users CASCADE", `CREATE TABLE "users"`},
			{"trigger disabled", "ALTER TABLE account_events DISABLE TRIGGER account_events_append_only", `ENABLE TRIGGER "account_events_append_only";`},
			{"function's rights", "ALTER FUNCTION account_events_append_only() SECURITY DEFINER", "CREATE OR REPLACE FUNCTION account_events_append_only()"},
		},
		{
			{"triggers disabled", "ALTER TABLE account_events DISABLE TRIGGER ALL", `ENABLE TRIGGER "account_events_no_truncate";`},
			{"trigger for replicas", "ALTER TABLE account_events ENABLE REPLICA TRIGGER account_events_append_only", `ENABLE TRIGGER "account_events_append_only";`},
		},
		{{"no function", "DROP FUNCTION account_events_append_only() CASCADE", "CREATE OR REPLACE FUNCTION account_events_append_only()"}},
	},
	"sqlite": {
		{{"dropped index", "DROP INDEX users_created_at", "CREATE INDEX `users_created_at`"}},
		{{"collation", "PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, '`email` text', '`email` text COLLATE NOCASE') WHERE name = 'users'; PRAGMA writable_schema = reset", "new_users"}},
		{{"check", "PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, 'version >= 1', 'version >= 0') WHERE name = 'users'; PRAGMA writable_schema = reset", "new_users"}},
		{{"no table", "DROP TABLE users", "CREATE TABLE `users`"}},
		{{"no trigger", "DROP TRIGGER account_events_no_update", "CREATE TRIGGER `account_events_no_update`"}},
		{{"other trigger", "DROP TRIGGER account_events_no_delete; CREATE TRIGGER account_events_no_delete BEFORE DELETE ON account_events WHEN OLD.id < 7 " +
			"BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END", `DROP TRIGGER "account_events_no_delete";`}},
	},
}

func TestVerify(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		places := d.places(t)
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, d.embedded(t))
		mustUp(t, runner)
		// What belongs to the application around is not the runner's concern.
		mustExec(t, db, "CREATE TABLE orders (id integer PRIMARY KEY, account text)")
		mustExec(t, db, theirTriggers[d.name]...)
		asDeclared := func(t *testing.T, when string) {
			for place, dev := range places {
				if err := plan.Verify(t.Context(), runner, d.desired(t), dev); err != nil {
					t.Errorf("%s, %s: %v", place, when, err)
				}
			}
		}
		asDeclared(t, "without drift")
		for _, group := range drifts[d.name] {
			for _, drift := range group {
				mustExec(t, db, drift.done)
			}
			var remedy []string
			for place, dev := range places {
				err := plan.Verify(t.Context(), runner, d.desired(t), dev)
				var found *plan.DriftError
				if !errors.As(err, &found) || !errors.Is(err, domain.ErrDrift) {
					t.Errorf("%s: %s: %v; want drift", group[0].name, place, err)
					continue
				}
				remedy = found.Statements
				text := strings.Join(remedy, "\n")
				for _, drift := range group {
					// Two in a group could have the same remedy, and one of them none.
					if n := strings.Count(text, drift.remedy); n == 0 || n > 1 && len(group) > 1 || strings.Contains(text, "orders") {
						t.Errorf("%s: %s: the remedy is\n%s\nwant %q in it", drift.name, place, text, drift.remedy)
					}
				}
			}
			mustExec(t, db, remedy...)
		}
		asDeclared(t, "after the remedies")
	})
}

// theirTriggers are an application's, one of them with a name that we have on another table.
var theirTriggers = map[string][]string{
	"postgres": {
		"CREATE FUNCTION orders_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
		"CREATE TRIGGER account_events_append_only BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION orders_touch()",
		"CREATE TRIGGER orders_trigger AFTER INSERT ON account_events FOR EACH ROW EXECUTE FUNCTION orders_touch()",
		"ALTER TABLE account_events DISABLE TRIGGER orders_trigger",
	},
	"sqlite": {"CREATE TRIGGER orders_trigger AFTER INSERT ON account_events BEGIN DELETE FROM orders; END"},
}

// What hides rows or changes who sees them is not ours, and no drift, but is said.
func TestAdditionalOnPostgres(t *testing.T) {
	t.Parallel()
	d := onPostgres
	db := d.open(t, d.url(t))
	runner := d.runner(t, db, d.embedded(t))
	mustUp(t, runner)
	mustExec(t, db, "ALTER TABLE users ENABLE ROW LEVEL SECURITY", "ALTER TABLE identities FORCE ROW LEVEL SECURITY", "ALTER TABLE account_events OWNER TO pg_monitor",
		"GRANT SELECT (email, username) ON users TO pg_monitor", "GRANT SELECT, INSERT ON identities TO PUBLIC", "CREATE STATISTICS app_names ON first_name, last_name FROM users",
		"CREATE SEQUENCE app_numbers", "CREATE TYPE app_pair AS (a integer, b integer)", "CREATE DOMAIN app_word AS text", "CREATE TYPE app_span AS RANGE (subtype = time)")
	found, err := plan.Compare(t.Context(), runner, d.desired(t), nil)
	if err != nil || len(found.Difference) > 0 {
		t.Errorf("%v, difference %q", err, found.Difference)
	}
	slices.Sort(found.Additional)
	// PostgreSQL makes constructors of a range.
	found.Additional = slices.DeleteFunc(found.Additional, func(word string) bool { return strings.HasPrefix(word, "function app_span") })
	if want := []string{
		"forced row level security of identities", "owner pg_monitor of account_events", "rights of everybody of identities", "rights on column email of pg_monitor of users",
		"rights on column username of pg_monitor of users", "row level security of users", "sequence app_numbers", "statistics app_names of users",
		"type app_pair", "type app_span", "type app_word",
	}; !slices.Equal(found.Additional, want) {
		t.Errorf("additional\n%q; want\n%q", found.Additional, want)
	}
}

// A program of an earlier release cannot say how a database should be that a later one has migrated.
func TestVerifyOnANewerDatabase(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		more := map[string]string{"20990101000000_more.sql": "ALTER TABLE users ADD COLUMN later text;\n"}
		mustUp(t, d.runner(t, db, and(t, d.embedded(t), more)))
		runner := d.runner(t, db, d.embedded(t))
		found, err := plan.Compare(t.Context(), runner, d.desired(t), d.dev(t))
		if err != nil || !slices.Equal(found.Additional, []string{"column later of users"}) {
			t.Errorf("with a column more: %+v, %v", found, err)
		}
		mustExec(t, db, "DROP INDEX users_created_at")
		if err := plan.Verify(t.Context(), runner, d.desired(t), d.dev(t)); !errors.Is(err, domain.ErrChecksum) || !strings.Contains(err.Error(), "newer") {
			t.Errorf("with an index less: %v; want a refusal", err)
		}
	})
}

// What is printed as the remedy is one.
func TestRemedyEndsTheDrift(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, d.embedded(t))
		mustUp(t, runner)
		mustExec(t, db, "ALTER TABLE users ADD COLUMN x text", "DROP INDEX users_created_at",
			"INSERT INTO users (email, username, hashed_password) VALUES ('a@example.org', 'ann', '-')")
		if d.dialect == migration.Postgres {
			mustExec(t, db, "DROP FUNCTION account_events_append_only() CASCADE", "CREATE FUNCTION account_events_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
				"CREATE TRIGGER account_events_append_only BEFORE INSERT ON account_events FOR EACH ROW EXECUTE FUNCTION account_events_append_only()",
				"ALTER TABLE account_events DISABLE TRIGGER account_events_append_only")
		} else {
			mustExec(t, db, "DROP TRIGGER account_events_no_update", "DROP TRIGGER account_events_no_delete",
				"CREATE TRIGGER account_events_no_delete AFTER DELETE ON account_events BEGIN SELECT 1; END")
		}
		var found *plan.DriftError
		if err := plan.Verify(t.Context(), runner, d.desired(t), d.dev(t)); !errors.As(err, &found) {
			t.Fatal(err)
		}
		mustExec(t, db, found.Statements...)
		if err := plan.Verify(t.Context(), runner, d.desired(t), d.dev(t)); err != nil {
			t.Error(err)
		}
		if n := queryString(t, db, "SELECT count(*) FROM users"); n != "1" {
			t.Errorf("%s rows; want 1", n)
		}
	})
}

func TestVerifyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	d := databases[0]
	db := d.open(t, d.url(t))
	runner := d.runner(t, db, d.embedded(t))
	mustUp(t, runner)
	for range 3 {
		if err := plan.Verify(t.Context(), runner, d.desired(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := plan.Verify(t.Context(), runner, "CREATE TABLE x (;", nil); err == nil {
		t.Error("a desired state that cannot be read was accepted")
	}
	if err := plan.Verify(t.Context(), runner, "CREATE TABLE x (a nothing);", nil); err == nil || strings.Contains(err.Error(), "aborted") {
		t.Errorf("%v; want the reason", err)
	}
	if n := queryString(t, db, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'accounts%' AND nspname <> 'accounts_migrations'"); n != "0" {
		t.Errorf("%s schemas are left", n)
	}
}
