package adoption_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/adoption"
	"github.com/softbee/accounts/infra/sqlite"
)

// fileWith returns a store on a new file with the tables of a sample.
func fileWith(t *testing.T, sample string) *infra.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "app.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, store.DB(), string(text))
	return store
}

// contents are all tables of a file, and their rows of users.
func contents(t *testing.T, store *infra.Store) string {
	t.Helper()
	return query[string](t, store.DB(), "SELECT (SELECT group_concat(sql, char(10)) FROM sqlite_schema) || (SELECT group_concat(concat_ws('|', id, email, username, hashed_password, phone, is_active, created_at), char(10)) FROM users)")
}

// TestReportOnSQLite finds in a file what it finds on PostgreSQL in the same rows, and changes nothing.
func TestReportOnSQLite(t *testing.T) {
	t.Parallel()
	store := fileWith(t, "testdata/softbee_users.sql")
	before := contents(t, store)
	a := inspect(t, store, adoption.Options{})
	problems := make(report)
	summary, err := a.Report(t.Context(), problems.add)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Rows != 58 || summary.Blocking != 3 || summary.Quarantined != 3 || summary.Adopted || summary.Zone != "UTC" {
		t.Errorf("summary: %+v", summary)
	}
	if len(a.Obstacles) > 0 || len(a.Statements) == 0 || len(a.Columns) == 0 {
		t.Errorf("%d columns, %d statements, obstacles %q", len(a.Columns), len(a.Statements), a.Obstacles)
	}
	there := make(report)
	if _, err := inspect(t, predecessor(t), adoption.Options{}).Report(t.Context(), there.add); err != nil {
		t.Fatal(err)
	}
	kinds := func(list []adoption.Problem) (all string) {
		for _, field := range []string{"email", "username", "hashed_password", "first_name", "last_name", "phone", "is_active", "is_verified", "refresh_tokens",
			"reset_token", "failed_login_attempts", "last_login", "created_at", "updated_at"} {
			for _, p := range list {
				if p.Field == field {
					all += strings.Join([]string{p.Field, p.Kind, p.Outcome, p.With, p.Becomes}, " ") + "; "
				}
			}
		}
		return all
	}
	for row, list := range there {
		if want, got := kinds(list), kinds(problems[row]); got != want {
			t.Errorf("row %s: %s; PostgreSQL reports %s", row, got, want)
		}
	}
	if len(problems) != len(there) {
		t.Errorf("problems in %d rows; PostgreSQL reports %d", len(problems), len(there))
	}
	if _, err := a.Adopt(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "zone") {
		t.Errorf("without a zone: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if after := contents(t, store); after != before {
		t.Error("the file was changed")
	}
	_, err = inspect(t, fileWith(t, "testdata/softbee_users.sql"), adoption.Options{Zone: "UTC"}).Adopt(t.Context(), nil)
	if !errors.Is(err, domain.ErrConflict) {
		t.Errorf("without a rule: %v", err)
	}
}

// TestAdoptSQLite takes every line of accounts.csv at its word, and keeps what an application has on the table.
func TestAdoptSQLite(t *testing.T) {
	t.Parallel()
	store := fileWith(t, "testdata/softbee_users.sql")
	db := store.DB()
	mustExec(t, db, `
		CREATE TABLE orgs (id integer PRIMARY KEY);
		ALTER TABLE users ADD COLUMN theme text COLLATE NOCASE DEFAULT 'dark' CHECK (theme <> '');
		ALTER TABLE users ADD COLUMN org integer REFERENCES orgs;
		CREATE INDEX app_idx ON users (lower(username)) WHERE theme = 'light';
		CREATE VIEW app_view AS SELECT email FROM users;
		CREATE TABLE audit (id text);
		CREATE TRIGGER app_trigger AFTER UPDATE OF theme ON users BEGIN INSERT INTO audit VALUES (NEW.id); END;
		CREATE TABLE hives (owner text NOT NULL REFERENCES users (id) ON DELETE CASCADE);
		INSERT INTO hives SELECT id FROM users WHERE username IN ('ana', 'spaced');
		UPDATE users SET theme = 'light' WHERE username = 'ana';
		DELETE FROM audit;
		UPDATE users SET last_login = '2026-06-01T10:00:00+02:00' WHERE username = 'spaced';
		UPDATE users SET failed_login_attempts = -1 WHERE username = 'spaced'`)
	summary, _ := adopt(t, store, adoption.Options{Zone: "UTC", OnCollision: adoption.Newest})
	if summary.Rows != 58 || summary.Kept != 55 || summary.Quarantined != 3 || !summary.Adopted {
		t.Errorf("summary: %+v", summary)
	}
	quarantined := map[string]string{"not-an-address": "invalid", "Luis.Gomez@Colmena.ORG": "collision", "maria2@colmena.org": "collision"}
	if _, err := newAuthenticator(t, store).Authenticate(t.Context(), "User00@example.com", "pw-user00-9653"); err != nil {
		t.Errorf("sign-in: %v", err)
	}
	for _, account := range accounts(t) {
		if problem, ok := quarantined[account.email]; ok {
			checkQuarantined(t, store, account, problem)
			continue
		}
		checkKept(t, store, nil, account)
	}
	for what, statement := range map[string]string{
		"other columns are kept":  "SELECT count(*) = 1 FROM users WHERE theme = 'light' AND username = 'ana'",
		"the view reads on":       "SELECT count(*) = 55 FROM app_view",
		"references remain":       "SELECT count(*) = 2 FROM hives JOIN users ON users.id = owner",
		"triggers did not fire":   "SELECT count(*) = 0 FROM audit",
		"objects are theirs":      "SELECT count(*) = 3 FROM sqlite_schema WHERE name IN ('app_idx', 'app_trigger', 'app_view')",
		"replaced are gone":       "SELECT count(*) = 0 FROM sqlite_schema WHERE name LIKE 'ix_users%'",
		"their keys are enforced": "SELECT count(*) = 1 FROM pragma_foreign_key_list('users') WHERE \"table\" = 'orgs'",
		"a zone is kept":          "SELECT last_login = '2026-06-01 08:00:00' AND failed_login_attempts = 0 FROM users WHERE username = 'spaced'",
		"enforced again":          "SELECT foreign_keys = 1 FROM pragma_foreign_keys",
	} {
		if !query[bool](t, db, statement) {
			t.Errorf("not so: %s", what)
		}
	}
	mustExec(t, db, "UPDATE users SET theme = 'blue' WHERE username = 'ana'")
	if n := query[int](t, db, "SELECT count(*) FROM audit"); n != 1 {
		t.Error("the trigger does not fire any more")
	}
	again, _ := adopt(t, store, adoption.Options{Zone: "UTC"})
	if again.Kept != 55 || again.At == nil || !again.At.Equal(*summary.At) {
		t.Errorf("again: %+v", again)
	}
}

// TestObstaclesOnSQLite names what cannot be carried over, and changes nothing.
func TestObstaclesOnSQLite(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		"ALTER TABLE users ADD COLUMN shout text GENERATED ALWAYS AS (upper(username)) VIRTUAL": "column shout of users",
		"CREATE TABLE identities (id integer)":                                                  "identities already",
		`ALTER TABLE users RENAME TO old; CREATE TABLE users (id text NOT NULL PRIMARY KEY, email text, username text, hashed_password text, theme text,
			CONSTRAINT app_check CHECK (theme <> username)); INSERT INTO users SELECT id, email, username, hashed_password, NULL FROM old`: "constraint app_check of users",
	} {
		store := fileWith(t, "testdata/softbee_users.sql")
		mustExec(t, store.DB(), statement)
		a := inspect(t, store, adoption.Options{Zone: "UTC", OnCollision: adoption.Newest})
		if _, err := a.Adopt(t.Context(), nil); !errors.Is(err, domain.ErrConflict) || !strings.Contains(err.Error(), want) || !strings.Contains(strings.Join(a.Obstacles, ";"), want) {
			t.Errorf("%v, %q; want %s", err, a.Obstacles, want)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if n := query[int](t, store.DB(), "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'accounts_%'"); n != 0 {
			t.Error("the file was changed")
		}
	}
	store := fileWith(t, "testdata/softbee_users.sql")
	mustExec(t, store.DB(), "CREATE TABLE hives (owner text REFERENCES users (id)); INSERT INTO hives SELECT id FROM users")
	problems := make(report)
	_, err := inspect(t, store, adoption.Options{OnCollision: adoption.Newest, Zone: "UTC"}).Adopt(t.Context(), problems.add)
	if !errors.Is(err, domain.ErrConflict) || !problems.has(luisOldest, "id", "reference", "blocks") {
		t.Errorf("%v, reported %v", err, problems[luisOldest])
	}
	for what, key := range map[string]string{
		"without dashes": "replace(id, '-', '')", "in capitals": "upper(id)", "of dashes": "'--------' || substr(id, 9)",
		"of bytes": "CAST(id AS blob)", "as numbers": "rowid",
	} {
		store := fileWith(t, "testdata/softbee_users.sql")
		mustExec(t, store.DB(), "UPDATE users SET id = "+key)
		_, err = adoption.Inspect(t.Context(), store.DB(), dialectOf(store), adoption.Options{Hasher: hasher(t)})
		if !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "58 keys") {
			t.Errorf("keys %s: %v", what, err)
		}
	}
}

// TestMappingOnSQLite copies a table with other columns, and one of the same name.
func TestMappingOnSQLite(t *testing.T) {
	t.Parallel()
	const people = `CREATE TABLE people (nr integer PRIMARY KEY, mail text, pw text, confirmed datetime, joined integer, active text);
		INSERT INTO people VALUES (1, 'Ana@example.org', 'bcrypt$$2b$10$emvnU9TXofJnBi/vNQKXKeliOe/BZE9kL2ryBYUhJJXhX0IGbVG7q', '2026-01-01', 1767225600, 'yes'),
			(2, 'eva@example.org', NULL, NULL, 1767225600000, '0'), (3, 'ANA@example.org', 'x', NULL, 'never', 'perhaps');
		CREATE TABLE posts (author integer REFERENCES people (nr)); INSERT INTO posts VALUES (1)`
	for _, name := range []string{"people", "users"} {
		store := fileWith(t, "testdata/empty.sql")
		mustExec(t, store.DB(), strings.ReplaceAll(people, "people", name))
		m := &adoption.Mapping{Table: name, Columns: map[string]adoption.Origin{
			"id": {Column: "nr"}, "email": {Column: "mail"}, "username": {Generate: true}, "hashed_password": {Column: "pw"},
			"is_verified": {Set: "confirmed"}, "created_at": {Column: "joined"}, "is_active": {Column: "active"},
		}}
		summary, problems := adopt(t, store, adoption.Options{Mapping: m, OnCollision: adoption.Oldest, Zone: "UTC"})
		if summary.Kept != 2 || summary.Quarantined != 1 || !problems.has("3", "email", "collision", "quarantined") {
			t.Errorf("%s: summary: %+v, %+v", name, summary, problems)
		}
		for what, statement := range map[string]string{
			"values":    "SELECT count(*) = 2 FROM users WHERE created_at = '2026-01-01 00:00:00' AND (email = 'ana@example.org') = is_verified AND is_active = is_verified",
			"origins":   "SELECT count(*) = 2 FROM accounts_adoption_origin o JOIN users u USING (id)",
			"old table": "SELECT count(*) = 1 FROM posts JOIN " + map[string]string{"people": "people", "users": "accounts_adoption_users"}[name] + " ON nr = author",
		} {
			if !query[bool](t, store.DB(), statement) {
				t.Errorf("%s: not so: %s", name, what)
			}
		}
	}
}

// TestInterruptedOnSQLite ends the context in the midst: nothing remains, and the next run does it all.
func TestInterruptedOnSQLite(t *testing.T) {
	t.Parallel()
	store := fileWith(t, "testdata/softbee_users.sql")
	before := contents(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	options := adoption.Options{Zone: "UTC", OnCollision: adoption.Newest, Progress: func(int64, int64) { cancel() }}
	a := inspect(t, store, options)
	if _, err := a.Adopt(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v; want cancelled", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if after := contents(t, store); after != before {
		t.Error("the file was changed")
	}
	started := time.Now()
	if summary, _ := adopt(t, store, adoption.Options{Zone: "UTC", OnCollision: adoption.Newest}); summary.Kept != 55 || summary.At.Before(started.Add(-time.Minute)) {
		t.Errorf("summary: %+v", summary)
	}
}
