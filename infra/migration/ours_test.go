package migration_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// theirs is what an application adds to our tables and beside them.
var theirs = map[string][]string{
	"postgres": {
		"CREATE TYPE tier AS ENUM ('low', 'high')",
		"ALTER TABLE users ADD COLUMN org_id integer, ADD COLUMN tier tier DEFAULT 'low', ADD COLUMN note text NOT NULL DEFAULT 'n'",
		"CREATE INDEX app_idx ON users (last_login)",
		"CREATE UNIQUE INDEX app_org ON users (org_id, lower(username))",
		"ALTER TABLE users ADD CONSTRAINT app_check CHECK (org_id > 0)",
		"CREATE TABLE orgs (id integer PRIMARY KEY)",
		"INSERT INTO orgs VALUES (1)",
		"ALTER TABLE users ADD CONSTRAINT app_fk FOREIGN KEY (org_id) REFERENCES orgs",
		"CREATE TABLE posts (id integer PRIMARY KEY, user_id uuid REFERENCES users ON DELETE CASCADE)",
		"COMMENT ON TABLE users IS 'theirs'", "COMMENT ON COLUMN users.email IS 'theirs'", "COMMENT ON INDEX users_email_key IS 'theirs'",
		"ALTER TABLE users ALTER COLUMN first_name SET DEFAULT 'x'",
		"CREATE VIEW app_view AS SELECT id, email, org_id FROM users",
		"CREATE FUNCTION app_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := NEW.note || '!'; RETURN NEW; END $$",
		"CREATE TRIGGER app_trigger BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION app_touch()",
		"CREATE POLICY app_policy ON users USING (true)",
		"CREATE RULE app_rule AS ON DELETE TO users DO ALSO NOTHING",
	},
	"sqlite": {
		"CREATE TABLE orgs (id integer PRIMARY KEY)",
		"INSERT INTO orgs VALUES (1)",
		"ALTER TABLE users ADD COLUMN org_id integer REFERENCES orgs",
		"ALTER TABLE users ADD COLUMN note text COLLATE NOCASE NOT NULL DEFAULT 'n' CHECK (note <> '')",
		"CREATE INDEX app_idx ON users (last_login)",
		"CREATE UNIQUE INDEX app_org ON users (org_id, lower(username) DESC) WHERE org_id > 0",
		"CREATE TABLE posts (id integer PRIMARY KEY, user_id uuid REFERENCES users (id) ON DELETE CASCADE)",
		"CREATE VIEW app_view AS SELECT id, email, org_id FROM users",
		"CREATE TRIGGER app_trigger AFTER UPDATE OF phone ON users BEGIN UPDATE users SET note = note || '!' WHERE id = NEW.id; END",
		"CREATE TRIGGER app_posts AFTER DELETE ON posts BEGIN UPDATE users SET note = 'gone' WHERE id = OLD.user_id; END",
	},
}

// additions are what verify lists of them.
var additions = map[string][]string{
	"postgres": {
		"check app_check (org_id > 0) of users", "column note of users", "column org_id of users", "column tier of users",
		"comment of users", "comment on column email of users", "comment on index users_email_key of users", "default of column first_name of users",
		"foreign key app_fk of users", "function app_touch", "index app_idx of users", "index app_org of users", "policy app_policy of users",
		"reference posts_user_id_fkey from posts of users", "rule app_rule of users", "table orgs", "table posts", "trigger app_trigger of users",
		"type tier", "view app_view",
	},
	"sqlite": {
		"check (note <> '') of users", "column note of users", "column org_id of users", "foreign key 0 of users", "index app_idx of users",
		"index app_org of users", "table orgs", "table posts", "trigger app_trigger of users", "view app_view",
	},
}

// catalogs holds what was first seen of a database.
var catalogs sync.Map

// present demands that what is the application's is there, as it was, and works.
func present(t *testing.T, d testDatabase, db *sql.DB) {
	t.Helper()
	for query, want := range map[string]string{
		"SELECT count(*) || ' ' || count(DISTINCT org_id) || ' ' || count(DISTINCT note) FROM users WHERE org_id = 1 AND note <> 'n'": "3 1 3",
		"SELECT count(*) FROM app_view": "3",
		"SELECT count(*) FROM posts":    "3",
		"SELECT count(*) FROM users WHERE hashed_password = 'hash of ' || username": "3",
	} {
		if got := queryString(t, db, query); got != want {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
	catalog := "SELECT group_concat(name || ' ' || sql, char(10)) FROM (SELECT * FROM sqlite_schema WHERE name LIKE 'app\\_%' ESCAPE '\\' ORDER BY name)"
	if d.dialect == migration.Postgres {
		catalog = `SELECT concat_ws(E'\n', (SELECT string_agg(indexdef, E'\n' ORDER BY indexname) FROM pg_indexes WHERE indexname LIKE 'app%'),
			(SELECT string_agg(conname || pg_get_constraintdef(oid), E'\n' ORDER BY conname) FROM pg_constraint WHERE conname LIKE 'app%' OR conrelid = 'posts'::regclass),
			(SELECT string_agg(tgname, ',') FROM pg_trigger WHERE tgname LIKE 'app%'), (SELECT string_agg(polname, ',') FROM pg_policy),
			(SELECT string_agg(rulename, ',') FROM pg_rewrite WHERE rulename LIKE 'app%'), obj_description('users'::regclass),
			col_description('users'::regclass, 2), obj_description('users_email_key'::regclass), (SELECT string_agg(enumlabel, ',') FROM pg_enum),
			(SELECT column_default FROM information_schema.columns WHERE table_name = 'users' AND column_name = 'first_name'))`
	}
	now := queryString(t, db, catalog)
	if before, ok := catalogs.LoadOrStore(db, now); ok && before != now {
		t.Errorf("what is the application's was\n%s\nand is\n%s", before, now)
	}
	for _, name := range []string{"app_idx", "app_org", "app_trigger"} {
		if !strings.Contains(now, name) {
			t.Errorf("%s is gone", name)
		}
	}
}

// Whatever we do to our tables, what an application added to them survives: the files of a release, the way back, the remedy of a
// drift. None of it is a drift.
func TestTheirsIsTheirs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		dir := onDisk(t, d.embedded(t))
		runner := d.runner(t, db, os.DirFS(dir))
		mustUp(t, runner)
		for i, name := range []string{"ann", "bob", "cay"} {
			mustExec(t, db, fmt.Sprintf("INSERT INTO users (id, email, username, hashed_password, created_at) VALUES ('00000000-0000-4000-8000-00000000000%d', '%s@example.org', '%[2]s', 'hash of %[2]s', '2026-01-01 00:00:00')", i, name))
		}
		mustExec(t, db, theirs[d.name]...)
		mustExec(t, db, "INSERT INTO posts SELECT length(username) * 100 + row_number() OVER (), id FROM users",
			"UPDATE users SET org_id = 1, note = 'N' || username")
		present(t, d, db)

		for place, dev := range d.places(t) {
			found, err := plan.Compare(t.Context(), runner, d.desired(t), dev)
			if err != nil || len(found.Difference) > 0 {
				t.Errorf("%s: %v, difference %q", place, err, found.Difference)
			}
			slices.Sort(found.Additional)
			if want := additions[d.name]; !slices.Equal(found.Additional, want) {
				t.Errorf("%s: additional\n%q; want\n%q", place, found.Additional, want)
			}
		}

		// A release that changes the table in every way; on SQLite it makes the table again.
		status, err := runner.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := status.Current
		extended := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.extended(t), Name: "extend", Dev: d.dev(t)}
		if _, err := plan.Diff(t.Context(), extended); err != nil {
			t.Fatal(err)
		}
		runner = d.runner(t, db, os.DirFS(dir))
		mustUp(t, runner)
		present(t, d, db)
		if err := plan.Verify(t.Context(), runner, extended.Desired, d.dev(t)); err != nil {
			t.Error(err)
		}

		// Somebody loses a check of ours; the remedy leads back.
		if d.dialect == migration.Postgres {
			mustExec(t, db, "ALTER TABLE users DROP CONSTRAINT users_version_check")
		} else {
			mustExec(t, db, "PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, 'version >= 1', 'version >= 0') WHERE name = 'users'; PRAGMA writable_schema = reset")
		}
		var drift *plan.DriftError
		if err := plan.Verify(t.Context(), runner, extended.Desired, d.dev(t)); !errors.As(err, &drift) {
			t.Fatalf("%v; want drift", err)
		}
		mustExec(t, db, drift.Statements...)
		present(t, d, db)
		if err := plan.Verify(t.Context(), runner, extended.Desired, d.dev(t)); err != nil {
			t.Error(err)
		}

		options := plan.DownOptions{To: before, Dev: d.dev(t), AllowDestructive: true}
		if _, err := plan.Down(t.Context(), runner, options); err != nil {
			t.Fatal(err)
		}
		present(t, d, db)
		if err := plan.Verify(t.Context(), runner, d.desired(t), d.dev(t)); err != nil {
			t.Error(err)
		}
		mustUp(t, runner)
		present(t, d, db)
	})
}

// What cannot be kept is a refusal with a list, and nothing is changed.
func TestRebuildRefusesWhatItWouldLose(t *testing.T) {
	t.Parallel()
	d := databases[1]
	for name, losses := range map[string][2]string{
		"generated column": {"ALTER TABLE users ADD COLUMN shout text GENERATED ALWAYS AS (upper(username)) VIRTUAL", "column shout of users"},
		"constraint": {"PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, 'PRIMARY KEY (`id`)', 'PRIMARY KEY (`id`), CONSTRAINT app_c CHECK (phone <> 1)') WHERE name = 'users'; PRAGMA writable_schema = reset",
			"constraint app_c of users"},
	} {
		t.Run(name, func(t *testing.T) {
			db := d.open(t, d.url(t))
			dir := onDisk(t, d.embedded(t))
			mustUp(t, d.runner(t, db, os.DirFS(dir)))
			mustExec(t, db, losses[0])
			before := queryString(t, db, "SELECT sql FROM sqlite_schema WHERE name = 'users'")
			if _, err := plan.Diff(t.Context(), plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.extended(t), Name: "extend", Dev: d.dev(t)}); err != nil {
				t.Fatal(err)
			}
			runner := d.runner(t, db, os.DirFS(dir))
			_, err := runner.Up(t.Context(), migration.UpOptions{})
			if !errors.Is(err, domain.ErrConflict) || !strings.Contains(err.Error(), losses[1]) {
				t.Errorf("%v; want a conflict that names %s", err, losses[1])
			}
			if after := queryString(t, db, "SELECT sql FROM sqlite_schema WHERE name = 'users'"); after != before {
				t.Errorf("the table is\n%s", after)
			}
		})
	}
}

// TestRebuildKeepsOurTriggers: a table of SQLite that is made again has its triggers afterwards, by any author of the file, and run by any program.
func TestRebuildKeepsOurTriggers(t *testing.T) {
	t.Parallel()
	d := databases[1]
	const triggers = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name)"
	dir := onDisk(t, d.embedded(t))
	changed := strings.Replace(d.desired(t), "`kind` text NOT NULL", "`kind` text NOT NULL DEFAULT ('none')", 1)
	if changed == d.desired(t) {
		t.Fatal("the declared schema has no kind")
	}
	path, err := plan.Diff(t.Context(), plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: changed, Name: "rebuild", Dev: d.dev(t)})
	if err != nil {
		t.Fatal(err)
	}
	whole := readFile(t, path)
	if !strings.HasPrefix(whole, "-- atlas:delimiter ;\\n\\n\n\n") || strings.Count(whole, "CREATE TRIGGER") != 3 || !strings.Contains(whole, "DROP TABLE `account_events`") {
		t.Fatalf("the file is\n%s", whole)
	}
	withoutTriggers, _, _ := strings.Cut(whole, "-- Make again trigger")
	for name, text := range map[string]string{"ours": whole, "without triggers": withoutTriggers} {
		t.Run(name, func(t *testing.T) {
			url := d.url(t)
			db := d.open(t, url)
			base := d.runner(t, db, d.embedded(t))
			mustUp(t, base)
			status, err := base.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, db, "INSERT INTO account_events (account_id, kind) VALUES ('00000000-0000-4000-8000-000000000001', 'x')",
				"CREATE TRIGGER app_trigger AFTER INSERT ON account_events BEGIN SELECT 1; END")
			before := queryString(t, db, triggers)
			directory := and(t, d.embedded(t), map[string]string{filepath.Base(path): text})
			findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: directory, Latest: 1, Dev: d.dev(t)})
			if err != nil {
				t.Fatal(err)
			}
			lost := 0
			for _, f := range findings {
				if f.Code == "BC108" || f.Code == "AC104" {
					lost++
				}
			}
			if want := map[string]int{"ours": 0, "without triggers": 3}[name]; lost != want {
				t.Errorf("findings %+v; want %d of lost triggers", findings, want)
			}
			runner := d.runner(t, db, directory)
			mustUp(t, runner)
			if after := queryString(t, db, triggers); after != before {
				t.Errorf("the triggers are\n%s\nand were\n%s", after, before)
			}
			if err := plan.Verify(t.Context(), runner, changed, d.dev(t)); err != nil {
				t.Error(err)
			}
			if _, err := plan.Down(t.Context(), runner, plan.DownOptions{To: status.Current, Dev: d.dev(t)}); err != nil {
				t.Fatal(err)
			}
			if after := queryString(t, db, triggers); after != before {
				t.Errorf("after going back the triggers are\n%s\nand were\n%s", after, before)
			}
			if err := plan.Verify(t.Context(), base, d.desired(t), d.dev(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
