package adoption_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/adoption"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// kept of the sample, with Newest, is this one; the other is quarantined.
const (
	luisNewest = "9556585e-a997-4351-b54a-09cde5cfedfa"
	luisOldest = "9620bf0d-c380-44a0-bd93-fd4c804c25d6"
)

// TestAdoptionKeepsWhatHangsOnTheTable adopts a table as applications have them in the end: with constraints by a naming
// convention, references, triggers, privileges, narrower types, defaults and columns of their own.
func TestAdoptionKeepsWhatHangsOnTheTable(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	db := store.DB()
	mustExec(t, db, `
		ALTER TABLE users RENAME CONSTRAINT users_pkey TO pk_users;
		ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);
		ALTER TABLE users ADD CONSTRAINT named CHECK (username <> ''), ADD COLUMN theme text DEFAULT 'dark', ADD COLUMN points integer;
		CREATE TYPE tier AS ENUM ('low', 'high');
		CREATE TABLE orgs (id integer PRIMARY KEY);
		ALTER TABLE users ADD COLUMN org integer REFERENCES orgs, ADD COLUMN tier tier NOT NULL DEFAULT 'low', ADD CONSTRAINT one_of_each UNIQUE (org, points);
		CREATE INDEX app_idx ON users (lower(username)) WHERE points > 0;
		CREATE INDEX app_login ON users (last_login);
		COMMENT ON TABLE users IS 'theirs';
		CREATE POLICY app_policy ON users USING (true);
		CREATE VIEW app_view AS SELECT id FROM users;
		CREATE RULE app_rule AS ON DELETE TO users DO INSTEAD NOTHING;
		ALTER TABLE users ADD COLUMN locked_until timestamp, ADD COLUMN verification_token text;
		ALTER TABLE users ALTER COLUMN first_name TYPE varchar(10), ALTER COLUMN email TYPE varchar(150);
		ALTER TABLE users ALTER COLUMN is_active SET DEFAULT true, ALTER COLUMN refresh_tokens SET DEFAULT '[]'::json,
			ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN failed_login_attempts TYPE bigint;
		UPDATE users SET points = 7, locked_until = '2030-01-01 00:00:00', verification_token = 'eyJ', failed_login_attempts = 3000000000
			WHERE username = 'ana';
		UPDATE users SET failed_login_attempts = -1, last_login = 'infinity' WHERE username = 'spaced';
		CREATE TABLE hives (id serial PRIMARY KEY, owner uuid NOT NULL REFERENCES users ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
		INSERT INTO hives (owner) SELECT id FROM users WHERE username IN ('ana', 'spaced');
		CREATE TABLE audit (id uuid);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (OLD.id); RETURN NULL; END';
		CREATE TRIGGER noted AFTER UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION note();
		CREATE TRIGGER asleep AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION note();
		ALTER TABLE users DISABLE TRIGGER asleep;
		CREATE TRIGGER always AFTER UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION note();
		ALTER TABLE users ENABLE ALWAYS TRIGGER always;
		GRANT SELECT ON users TO PUBLIC`)
	a := inspect(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"})
	var moved []string
	for _, c := range a.Columns {
		if strings.HasPrefix(c.Change, "stays") {
			moved = append(moved, c.Column)
		}
	}
	if strings.Join(moved, " ") != "org points theme tier" {
		t.Errorf("columns that stay: %q", moved)
	}
	problems := make(report)
	if _, err := a.Adopt(t.Context(), problems.add); err != nil {
		t.Fatal(err)
	}
	checkMigrated(t, store)
	for what, statement := range map[string]string{
		"hives refer to users":   "SELECT count(*) = 1 FROM pg_constraint WHERE conrelid = 'hives'::regclass AND confrelid = 'users'::regclass AND convalidated",
		"hives have owners":      "SELECT count(*) = 2 FROM hives JOIN users ON users.id = owner",
		"triggers did not fire":  "SELECT count(*) = 0 FROM audit",
		"triggers are as before": "SELECT string_agg(tgname::text || tgenabled::text, ' ' ORDER BY tgname) = 'alwaysA asleepD notedO' FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal",
		"privileges remain":      "SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE oid = 'users'::regclass",
		"other columns are kept": "SELECT sum(points) = 7 AND min(theme) = 'dark' AND min(tier) = 'low' FROM users",
		"unique are indexes":     "SELECT string_agg(conname, ',') = 'one_of_each' FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'u'",
		"theirs stays theirs": `SELECT count(*) = 5 FROM (SELECT indexname FROM pg_indexes WHERE indexname IN ('app_idx', 'app_login')
			UNION ALL SELECT conname FROM pg_constraint WHERE conname IN ('named', 'users_org_fkey') UNION ALL SELECT polname FROM pg_policy) x`,
		"the view reads on":        "SELECT count(*) = 55 FROM app_view",
		"the rule is in force":     "SELECT ev_enabled = 'O' FROM pg_rewrite WHERE rulename = 'app_rule'",
		"comments remain":          "SELECT obj_description('users'::regclass) = 'theirs'",
		"the lock is an instant":   "SELECT locked_until = '2030-01-01 00:00:00Z' FROM users WHERE username = 'ana'",
		"the counter is bounded":   "SELECT failed_login_attempts = 2147483647 FROM users WHERE username = 'ana'",
		"nor is it below zero":     "SELECT failed_login_attempts = 0 AND last_login IS NULL FROM users WHERE username = 'spaced'",
		"plain tokens are gone":    "SELECT count(verification_token) = 0 FROM users",
		"notes are gone":           "SELECT to_regclass('accounts_adoption.canonical') IS NULL",
		"no other role reads them": "SELECT NOT has_schema_privilege('pg_monitor', 'accounts_adoption', 'USAGE')",
	} {
		if !query[bool](t, db, statement) {
			t.Errorf("not so: %s", what)
		}
	}
}

func TestReferencesToTheQuarantinedAreRefused(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	db := store.DB()
	mustExec(t, db, "CREATE TABLE hives (owner uuid REFERENCES users ON DELETE CASCADE); INSERT INTO hives SELECT id FROM users")
	before := snapshot(t, db)
	problems := make(report)
	_, err := inspect(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}).Adopt(t.Context(), problems.add)
	if !errors.Is(err, domain.ErrConflict) || !problems.has(luisOldest, "id", "reference", "blocks") {
		t.Errorf("%v, reported %v", err, problems[luisOldest])
	}
	if after := snapshot(t, db); after != before {
		t.Errorf("the database was changed: before\n%s\nafter\n%s", before, after)
	}
	mustExec(t, db, "UPDATE hives SET owner = $1 WHERE owner = $2", luisNewest, luisOldest)
	mustExec(t, db, "DELETE FROM hives h USING users u WHERE owner = id AND username IN ('maria', 'broken')")
	if summary, _ := takeOver(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}); summary.Kept != 55 {
		t.Errorf("summary: %+v", summary)
	}
	if n := query[int](t, db, "SELECT count(*) FROM hives WHERE owner = $1", luisNewest); n != 2 {
		t.Errorf("%d hives of Luis", n)
	}
}

// TestReferencesWithinTheTable: an account may refer to another one, such as to who invited it. What refers to a row that is quarantined is named before
// anything happens, unless it is quarantined too.
func TestReferencesWithinTheTable(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]*infra.Store{"postgres": predecessor(t), "sqlite": fileWith(t, "testdata/softbee_users.sql")} {
		db := store.DB()
		mustExec(t, db, "ALTER TABLE users ADD COLUMN invited_by uuid REFERENCES users (id) ON DELETE CASCADE")
		mustExec(t, db, "UPDATE users SET invited_by = $1 WHERE username IN ('ana', 'broken')", luisOldest) // of which the second is quarantined too
		problems := make(report)
		a := inspect(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"})
		if _, err := a.Report(t.Context(), problems.add); err != nil {
			t.Fatal(err)
		}
		if !problems.has(luisOldest, "id", "reference", "blocks") {
			t.Errorf("%s: reported %+v", name, problems[luisOldest])
		}
		if _, err := a.Adopt(t.Context(), nil); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("%s: %v; want a conflict", name, err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		mustExec(t, db, "UPDATE users SET invited_by = $1 WHERE username = 'ana'", luisNewest)
		if summary, _ := adopt(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}); summary.Kept != 55 {
			t.Errorf("%s: summary: %+v", name, summary)
		}
		if n := query[int](t, db, "SELECT count(*) FROM users u JOIN users i ON u.invited_by = i.id WHERE u.username = 'ana'"); n != 1 {
			t.Errorf("%s: the reference was lost", name)
		}
	}
}

// TestObstacles lays everything in the way at once that PostgreSQL does not change along with a table. Each is named before anything happens, and
// nothing else is.
func TestObstacles(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	db := store.DB()
	mustExec(t, db, `
		CREATE TABLE log (email text);
		CREATE VIEW ids AS SELECT id FROM users;
		CREATE VIEW addresses AS SELECT email FROM users;
		CREATE VIEW upon AS SELECT * FROM addresses;
		CREATE MATERIALIZED VIEW counted AS SELECT count(email) AS n FROM users;
		CREATE POLICY own ON users USING (email = current_user);
		CREATE POLICY plain ON users USING (true);
		CREATE RULE logged AS ON UPDATE TO users DO ALSO INSERT INTO log VALUES (OLD.email);
		CREATE RULE elsewhere AS ON INSERT TO log DO ALSO UPDATE users SET phone = NULL WHERE email = NEW.email;
		CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER of_column AFTER UPDATE OF email ON users FOR EACH ROW EXECUTE FUNCTION fired();
		CREATE TRIGGER whenever AFTER UPDATE ON users FOR EACH ROW WHEN (OLD.phone IS DISTINCT FROM NEW.phone) EXECUTE FUNCTION fired();
		CREATE TRIGGER simple AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION fired();
		CREATE FUNCTION takes(users) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
		ALTER TABLE users ADD COLUMN shout text GENERATED ALWAYS AS (upper(username)) STORED;
		CREATE TABLE copies (u users);
		CREATE TABLE bundles (them users[]);
		CREATE TABLE letters (recipient varchar(255) REFERENCES users (email));
		CREATE TABLE owned (id uuid REFERENCES users);
		CREATE INDEX app_idx ON users (lower(email));
		ALTER TABLE users ADD CONSTRAINT app_check CHECK (email <> username);
		CREATE STATISTICS app_statistics ON email, username FROM users;
		CREATE TABLE heirs () INHERITS (users)`)
	want := []string{
		"view addresses", "view upon", "materialized view counted", "policy own", "rule logged", "rule elsewhere", "trigger of_column", "trigger whenever",
		"column u of table copies", "column them of table bundles", "column shout of table users", "letters_recipient_fkey", "heirs inherits",
	}
	version := query[int](t, db, "SELECT current_setting('server_version_num')::integer")
	if version >= 140000 {
		mustExec(t, db, "CREATE FUNCTION body() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(email) FROM users; END")
		want = append(want, "function body()")
	}
	if version >= 150000 {
		mustExec(t, db, "CREATE PUBLICATION some_columns FOR TABLE users (id, email); CREATE PUBLICATION some_rows FOR TABLE users WHERE (email <> ''); CREATE PUBLICATION whole FOR TABLE users")
		want = append(want, "publication some_columns", "publication some_rows")
	}
	a := inspect(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"})
	for _, w := range want {
		if !slices.ContainsFunc(a.Obstacles, func(o string) bool { return strings.Contains(o, w) && strings.Contains(o, ": ") }) {
			t.Errorf("%s is not named", w)
		}
	}
	for _, o := range a.Obstacles {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(o, w) }) {
			t.Errorf("what is not in the way is named: %s", o)
		}
	}
	before := snapshot(t, db)
	if _, err := a.Adopt(t.Context(), nil); !errors.Is(err, domain.ErrConflict) || !strings.Contains(err.Error(), "view addresses") {
		t.Errorf("%v; want a conflict", err)
	}
	if after := snapshot(t, db); after != before {
		t.Error("the database was changed")
	}

	// Without them it is adopted.
	mustExec(t, db, `DROP VIEW addresses CASCADE; DROP MATERIALIZED VIEW counted; DROP POLICY own ON users; DROP RULE logged ON users; DROP RULE elsewhere ON log;
		DROP TRIGGER of_column ON users; DROP TRIGGER whenever ON users; DROP TABLE copies, bundles, letters, heirs; ALTER TABLE users DROP COLUMN shout`)
	if version >= 140000 {
		mustExec(t, db, "DROP FUNCTION body()")
	}
	if version >= 150000 {
		mustExec(t, db, "DROP PUBLICATION some_columns; DROP PUBLICATION some_rows")
	}
	mustExec(t, db, "DELETE FROM users WHERE email = username")
	if summary, _ := adopt(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}); summary.Kept != 55 {
		t.Errorf("summary: %+v", summary)
	}
}

// An index whose expression does not take the new type, and a check, are in no catalog of what is in the way.
func TestExpressionsInTheWay(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	mustExec(t, store.DB(), "CREATE INDEX app_day ON users ((created_at::date))")
	a := inspect(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"})
	if len(a.Obstacles) != 1 || !strings.Contains(a.Obstacles[0], "IMMUTABLE") {
		t.Errorf("obstacles: %q", a.Obstacles)
	}
	before := snapshot(t, store.DB())
	if _, err := a.Adopt(t.Context(), nil); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("%v; want a conflict", err)
	}
	if after := snapshot(t, store.DB()); after != before {
		t.Error("the database was changed")
	}
}

func TestTablesInTheWay(t *testing.T) {
	t.Parallel()
	taken := laid(t, "testdata/django.sql")
	mustExec(t, taken.DB(), "CREATE TABLE users (id integer)")
	identities := predecessor(t)
	mustExec(t, identities.DB(), "CREATE TABLE identities (id integer)")
	unlogged := predecessor(t)
	mustExec(t, unlogged.DB(), "ALTER TABLE users SET UNLOGGED")
	moved := laid(t, "testdata/flask_security.sql")
	mustExec(t, moved.DB(), `ALTER TABLE "user" RENAME TO users; CREATE VIEW app_view AS SELECT id FROM users`)
	flask := mapping(t, "testdata/flask_security.json")
	flask.Table = "users"
	for _, c := range []struct {
		a    *adoption.Adoption
		want string
	}{
		{inspect(t, identities, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}), "identities already"},
		{inspect(t, unlogged, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}), "is unlogged"},
		{inspect(t, taken, adoption.Options{OnCollision: adoption.Newest, Mapping: mapping(t, "testdata/django.json")}), "users already"},
		{inspect(t, moved, adoption.Options{OnCollision: adoption.Newest, Mapping: flask}), "view app_view"},
	} {
		if _, err := c.a.Adopt(t.Context(), nil); !errors.Is(err, domain.ErrConflict) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %s", err, c.want)
		}
	}
}

// TestForeignSettings adopts a table whose texts have collations of their own, in a database that quotes all identifiers.
func TestForeignSettings(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	store := laidAt(t, url, "testdata/softbee_users.sql")
	db := store.DB()
	if query[int](t, db, "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'") == 0 {
		t.Skip("this server is built without ICU")
	}
	mustExec(t, db, `CREATE COLLATION anyhow (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
		ALTER TABLE users ALTER COLUMN email TYPE varchar(255) COLLATE "und-x-icu", ALTER COLUMN username TYPE varchar(50) COLLATE "POSIX",
			ALTER COLUMN hashed_password TYPE varchar(255) COLLATE anyhow, ALTER COLUMN first_name TYPE varchar(50) COLLATE anyhow,
			ALTER COLUMN last_name TYPE varchar(100) COLLATE "de-x-icu", ALTER COLUMN phone TYPE varchar(20) COLLATE anyhow;
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET quote_all_identifiers = on', current_database()); END $$`)
	quoting := open(t, url)
	if query[string](t, quoting.DB(), "SHOW quote_all_identifiers") != "on" {
		t.Fatal("the database does not quote")
	}
	summary, _ := adopt(t, quoting, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"})
	if summary.Kept != 55 {
		t.Errorf("summary: %+v", summary)
	}
	checkRows(t, quoting)

	// A key that is a text with a collation.
	people := open(t, postgrestest.Database(t))
	mustExec(t, people.DB(), `CREATE TABLE people (login varchar(50) COLLATE "und-x-icu" PRIMARY KEY, mail text COLLATE "de-x-icu", hash text COLLATE "POSIX");
		INSERT INTO people VALUES ('Ana', 'Ana@example.org', 'x'), ('ana', 'ana@example.org', 'y'), ('eva', 'eva@example.org', 'z')`)
	summary, _ = adopt(t, people, adoption.Options{OnCollision: adoption.Oldest, Mapping: &adoption.Mapping{Table: "people", Columns: map[string]adoption.Origin{
		"id": {Column: "login"}, "email": {Column: "mail"}, "username": {Column: "login"}, "hashed_password": {Column: "hash"},
	}}})
	if summary.Kept != 2 || summary.Quarantined != 1 {
		t.Errorf("summary: %+v", summary)
	}
}

// A database whose encoding is not UTF8 cannot hold every name.
func TestAnotherEncodingIsNotAdopted(t *testing.T) {
	t.Parallel()
	server := open(t, postgrestest.Database(t)).DB()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		address, err := url.Parse(postgrestest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		name := "adopt_" + strings.ToLower(encoding)
		mustExec(t, server, "CREATE DATABASE "+name+" ENCODING '"+encoding+"' LOCALE 'C' TEMPLATE template0")
		address.Path = "/" + name
		store, err := postgres.Open(t.Context(), address.String())
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, store.DB(), "CREATE TABLE users (id uuid PRIMARY KEY, email text, username text, hashed_password text)")
		_, err = adoption.Inspect(t.Context(), store.DB(), dialectOf(store), adoption.Options{Hasher: hasher(t)})
		if !errors.Is(err, domain.ErrConflict) || !strings.Contains(err.Error(), "encoding is "+encoding+"; accounts need UTF8") {
			t.Errorf("%s: %v", encoding, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		mustExec(t, server, "DROP DATABASE "+name)
	}
}

func TestMigratedDatabaseIsNotAdopted(t *testing.T) {
	t.Parallel()
	store := storetest.OpenPostgres(t, storetest.PostgresURL(t))
	if _, err := adoption.Inspect(t.Context(), store.DB(), dialectOf(store), adoption.Options{Hasher: hasher(t)}); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("%v; want a conflict", err)
	}
	adopted := predecessor(t)
	takeOver(t, adopted, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"})

	// An adopted table has also what the migrations set by hand, which no comparison of schemas sees.
	const storage = `SELECT string_agg(line, ', ' ORDER BY line) FROM (
		SELECT format('%s %s', relname, reloptions) AS line FROM pg_class LEFT JOIN pg_index ON indexrelid = pg_class.oid
			WHERE pg_class.oid = 'users'::regclass OR indrelid = 'users'::regclass
		UNION ALL SELECT format('%s %s %s %s', attname, attstorage, attoptions, attstattarget) FROM pg_attribute
			WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal
		UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('users'::regclass, 'identities'::regclass)
		UNION ALL SELECT replace(pg_get_indexdef(indexrelid), quote_ident(current_schema()) || '.', '') FROM pg_index WHERE indrelid IN ('users'::regclass, 'identities'::regclass)) everything`
	django := laid(t, "testdata/django.sql")
	takeOver(t, django, adoption.Options{OnCollision: adoption.Newest, Mapping: mapping(t, "testdata/django.json")})
	for name, db := range map[string]*sql.DB{"converted": adopted.DB(), "copied": django.DB()} {
		if want, got := query[string](t, store.DB(), storage), query[string](t, db, storage); got != want {
			t.Errorf("the %s table is %s; want %s", name, got, want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	for field, options := range map[string]adoption.Options{
		"zone":         {Zone: "Bogota'; DROP TABLE users"},
		"on_collision": {OnCollision: "first"},
	} {
		options.Hasher = hasher(t)
		_, err := adoption.Inspect(t.Context(), store.DB(), dialectOf(store), options)
		if refusal := new(domain.Error); !errors.As(err, &refusal) || refusal.Field != field {
			t.Errorf("%v; want %s", err, field)
		}
	}
}

// TestRowsThatChangeMeanwhile writes to the table while it is read: what was read before is read again, under the lock.
func TestRowsThatChangeMeanwhile(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	store := laidAt(t, url, "testdata/softbee_users.sql")
	db, other := store.DB(), open(t, url).DB()
	var meanwhile bool
	options := adoption.Options{Zone: "UTC", OnCollision: adoption.Newest, Progress: func(int64, int64) {
		if meanwhile {
			return
		}
		meanwhile = true
		mustExec(t, other, "UPDATE users SET email = 'Ana.Nunez@colmena.org' WHERE username = 'ana'")
		mustExec(t, other, "DELETE FROM users WHERE username = 'spaced'")
		mustExec(t, other, `INSERT INTO users (id, email, username, hashed_password, created_at)
			VALUES (gen_random_uuid(), 'USER00@example.com', 'late', 'x', '2030-01-01')`)
	}}
	summary, problems := takeOver(t, store, options)
	if !meanwhile || summary.Rows != 58 || summary.Kept != 54 || summary.Quarantined != 4 {
		t.Errorf("summary: %+v", summary)
	}
	if !problems.has("6d94dd6d-ece8-4799-9c57-722e138efef9", "email", "collision", "quarantined") {
		t.Error("the one who collides with the late one was not quarantined")
	}
	if n := query[int](t, db, "SELECT count(*) FROM users WHERE email IN ('ana.nunez@colmena.org', 'user00@example.com')"); n != 2 {
		t.Errorf("%d of 2 accounts that changed meanwhile", n)
	}
}

// TestChainsOfCollisions compares the outcome with going through the accounts one by one.
func TestChainsOfCollisions(t *testing.T) {
	t.Parallel()
	for rule, want := range map[adoption.Rule]string{adoption.Oldest: "1 3 5 6", adoption.Newest: "2 4 6"} {
		store := predecessor(t)
		mustExec(t, store.DB(), `TRUNCATE users;
			INSERT INTO users (id, email, username, hashed_password, first_name, created_at) SELECT gen_random_uuid(), e, u, 'x', n, c::timestamp
			FROM (VALUES
				('A@example.org', 'anna', '1', '2026-01-01'), ('a@example.org', 'bert', '2', '2026-01-02'),
				('c@example.org', 'Bert', '3', '2026-01-01 12:00'), ('C@example.org', 'dora', '4', '2026-01-03'),
				('e@example.org', 'Dora', '5', NULL), ('f@example.org', 'fritz', '6', NULL)) v (e, u, n, c)`)
		takeOver(t, store, adoption.Options{Zone: "UTC", OnCollision: rule})
		if got := query[string](t, store.DB(), "SELECT string_agg(first_name, ' ' ORDER BY first_name) FROM users"); got != want {
			t.Errorf("%s keeps %s; want %s", rule, got, want)
		}
	}
}

// TestAdoptionDoesNotQueueForLong holds the table until the adoption has given up waiting for it once: a session that waits for a
// lock makes all others wait behind.
func TestAdoptionDoesNotQueueForLong(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	url := postgrestest.Database(t)
	store := laidAt(t, url, "testdata/softbee_users.sql")
	reader, err := open(t, url).DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM users").Scan(&n); err != nil {
		t.Fatal(err)
	}
	released := make(chan error, 1)
	go func() {
		for _, waiting := range []int{1, 0} {
			for n := -1; n != waiting; time.Sleep(50 * time.Millisecond) {
				if err := reader.QueryRow("SELECT count(*) FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted").Scan(&n); err != nil {
					released <- err
					return
				}
			}
		}
		released <- reader.Rollback()
	}()
	if summary, _ := takeOver(t, store, adoption.Options{Zone: "UTC", OnCollision: adoption.Newest}); summary.Kept != 55 {
		t.Errorf("summary: %+v", summary)
	}
	if err := <-released; err != nil {
		t.Error(err)
	}
}

// TestNotesOfAnotherZoneAreThrownAway interrupts an adoption that has read the rows in one zone, and goes on in another.
func TestNotesOfAnotherZoneAreThrownAway(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	db := store.DB()
	mustExec(t, db, `UPDATE users SET created_at = '2026-01-01 00:00:00' WHERE username = 'maria';
		UPDATE users SET created_at = '2026-01-01 00:00:01' WHERE username = 'MARIA'`)
	ctx, cancel := context.WithCancel(t.Context())
	options := adoption.Options{Zone: "UTC", OnCollision: adoption.Newest, Progress: func(int64, int64) { cancel() }}
	if _, err := inspect(t, store, options).Adopt(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v; want cancelled", err)
	}
	if n := query[int](t, db, "SELECT count(*) FROM accounts_adoption.canonical"); n != 58 {
		t.Fatalf("%d rows are noted", n)
	}
	takeOver(t, store, adoption.Options{Zone: "Asia/Tokyo", OnCollision: adoption.Oldest})
	if !query[bool](t, db, "SELECT created_at = '2025-12-31 15:00:00Z' FROM users WHERE username = 'maria'") {
		t.Error("the time was not read in the second zone")
	}
}

// TestWhatWasNotReportedIsReportedNextTime cannot print what it did, and does it again.
func TestWhatWasNotReportedIsReportedNextTime(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	options := adoption.Options{Zone: "UTC", OnCollision: adoption.Newest}
	full := errors.New("disk full")
	if _, err := inspect(t, store, options).Adopt(t.Context(), func(adoption.Problem) error { return full }); !errors.Is(err, full) {
		t.Fatalf("%v; want %v", err, full)
	}
	summary, problems := takeOver(t, store, options)
	if summary.Kept != 55 || !problems.has(luisOldest, "email", "collision", "quarantined") {
		t.Errorf("summary: %+v; of Luis: %v", summary, problems[luisOldest])
	}
	if _, problems := takeOver(t, store, options); len(problems) != 0 {
		t.Error("it is reported a third time")
	}
}
