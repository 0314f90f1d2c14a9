package adoption_test

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	entmigrate "github.com/softbee/accounts/ent/migrate"
	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/adoption"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/postgres"
)

// predecessor returns a store on a new database with the sample of the predecessor's table.
func predecessor(t *testing.T) *infra.Store {
	t.Helper()
	return laid(t, "testdata/softbee_users.sql")
}

func laid(t *testing.T, file string) *infra.Store {
	t.Helper()
	return laidAt(t, postgrestest.Database(t), file)
}

func laidAt(t *testing.T, url, file string) *infra.Store {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	store := open(t, url)
	mustExec(t, store.DB(), string(text))
	return store
}

// dialectOf returns the dialect of a store's database.
func dialectOf(store *infra.Store) string {
	if store.Schema() == "" {
		return migration.SQLite
	}
	return migration.Postgres
}

func open(t *testing.T, url string) *infra.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// mustExec runs statements; a text with several must not have arguments.
func mustExec(t *testing.T, db *sql.DB, statements string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statements, args...); err != nil {
		t.Fatalf("%v: %.100s", err, statements)
	}
}

func query[T any](t *testing.T, db *sql.DB, statement string, args ...any) T {
	t.Helper()
	var value T
	if err := db.QueryRowContext(t.Context(), statement, args...).Scan(&value); err != nil {
		t.Fatalf("%v: %s", err, statement)
	}
	return value
}

func hasher(t *testing.T) *password.Hasher {
	t.Helper()
	h, err := password.New(password.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func inspect(t *testing.T, store *infra.Store, options adoption.Options) *adoption.Adoption {
	t.Helper()
	if options.Hasher == nil {
		options.Hasher = hasher(t)
	}
	a, err := adoption.Inspect(t.Context(), store.DB(), dialectOf(store), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// report collects problems by row.
type report map[string][]adoption.Problem

func (p report) add(problem adoption.Problem) error {
	p[problem.Row] = append(p[problem.Row], problem)
	return nil
}

func (p report) has(row, field, kind, outcome string) bool {
	for _, problem := range p[row] {
		if problem.Field == field && problem.Kind == kind && problem.Outcome == outcome {
			return true
		}
	}
	return false
}

// want demands problems by row, field, kind and outcome.
func (p report) want(t *testing.T, problems [][4]string) {
	t.Helper()
	for _, w := range problems {
		if row := w[0]; !p.has(row, w[1], w[2], w[3]) {
			t.Errorf("%q was not reported; of the row: %+v", w, p[row])
		}
	}
}

// simplyKept is the first line of accounts.csv of those that differ in nothing but their names and passwords.
const simplyKept = 18

// account is a line of accounts.csv: what is known of a row.
type account struct{ id, email, username, password, note string }

func accounts(t *testing.T) []account {
	t.Helper()
	f, err := os.Open("testdata/accounts.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var list []account
	for _, l := range lines[1:] {
		list = append(list, account{l[0], l[1], l[2], l[3], l[4]})
	}
	return list
}

// snapshot is everything in a database but what belongs to the system, as text.
func snapshot(t *testing.T, db *sql.DB) string {
	t.Helper()
	const objects = `SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
		SELECT format('%s %s %s', relnamespace::regnamespace, relname, relkind) AS line FROM pg_class
			WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
		UNION ALL SELECT format('%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull) FROM pg_attribute
			WHERE attrelid = to_regclass('users') AND attnum > 0
		UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_'
		UNION ALL SELECT users::text || xmin FROM users) everything`
	return query[string](t, db, objects)
}

func TestReportChangesNothing(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	before := snapshot(t, store.DB())
	a := inspect(t, store, adoption.Options{})
	problems := make(report)
	summary, err := a.Report(t.Context(), problems.add)
	if err != nil {
		t.Fatal(err)
	}
	if after := snapshot(t, store.DB()); after != before {
		t.Errorf("the database was changed: before\n%s\nafter\n%s", before, after)
	}
	if summary.Rows != 58 || summary.Blocking != 3 || summary.Quarantined != 3 || summary.Adopted || summary.Zone != "UTC" {
		t.Errorf("summary: %+v", summary)
	}
	changes := make(map[string]adoption.ColumnChange)
	for _, c := range a.Columns {
		changes[c.Column] = c
	}
	for column, want := range map[string]adoption.ColumnChange{
		"created_at":     {"created_at", "timestamp", "timestamptz NOT NULL", "read in UTC"},
		"refresh_tokens": {"refresh_tokens", "json", "jsonb NOT NULL", "emptied: what it holds is no digest"},
		"is_active":      {"is_active", "boolean", "boolean NOT NULL", "NULL becomes true"},
		"version":        {"version", "", "bigint NOT NULL", "added: 1"},
		"locked_until":   {"locked_until", "", "timestamptz", "added: NULL"},
	} {
		if changes[column] != want {
			t.Errorf("%s: %+v; want %+v", column, changes[column], want)
		}
	}
	if len(a.Columns) != len(entmigrate.UsersColumns) || len(a.Statements) == 0 || len(a.Obstacles) != 0 {
		t.Errorf("%d columns, %d statements, obstacles %q", len(a.Columns), len(a.Statements), a.Obstacles)
	}

	problems.want(t, [][4]string{
		{"9556585e-a997-4351-b54a-09cde5cfedfa", "email", "collision", "blocks"},    // luis.gomez, the later one
		{"70ac06ac-df70-4017-84c9-d78d82b33599", "username", "collision", "blocks"}, // MARIA, the later one
		{"1038f0b5-e998-40ee-a4dd-f9b9c28ee907", "email", "invalid", "blocks"},
		{"9620bf0d-c380-44a0-bd93-fd4c804c25d6", "email", "canonicalised", "kept"},
		{"46f5a1b4-b156-41ad-b30c-16a3831d03bf", "is_active", "null", "kept"},
		{"46f5a1b4-b156-41ad-b30c-16a3831d03bf", "created_at", "null", "kept"},
		{"46f5a1b4-b156-41ad-b30c-16a3831d03bf", "refresh_tokens", "null", "kept"},
		{"b2fff17b-3f66-4ede-b106-37ce81fc069e", "refresh_tokens", "not_a_list", "kept"},
		{"f3e6ca73-4305-4986-8629-2bb5bf5b411b", "reset_token", "token_dropped", "kept"},
		{"d37ee915-31de-44f4-9f2a-8b79fc8e80b3", "refresh_tokens", "token_dropped", "kept"},
		{"b40de56d-1cd8-4fc1-a309-66194791c2e9", "hashed_password", "unknown_hash", "kept"},
		{"569908f6-c030-4b21-9315-8ce400721f84", "username", "short", "kept"},
	})
	for row, list := range problems {
		for _, p := range list {
			if text := p.Value + p.Becomes + p.Detail; strings.Contains(text, "$") || strings.Contains(text, "eyJ") || strings.Contains(text, "plaintext") {
				t.Errorf("row %s: a secret is reported: %+v", row, p)
			}
		}
	}
}

func TestFailChangesNothing(t *testing.T) {
	t.Parallel()
	store := predecessor(t)
	before := snapshot(t, store.DB())
	problems := make(report)
	_, err := inspect(t, store, adoption.Options{Zone: "UTC"}).Adopt(t.Context(), problems.add)
	if !errors.Is(err, domain.ErrConflict) {
		t.Errorf("error %v; want a conflict", err)
	}
	if !problems.has("1038f0b5-e998-40ee-a4dd-f9b9c28ee907", "email", "invalid", "blocks") {
		t.Error("the reason was not reported")
	}
	_, err = inspect(t, store, adoption.Options{OnCollision: adoption.Newest}).Adopt(t.Context(), nil)
	if refusal := new(domain.Error); !errors.As(err, &refusal) || refusal.Field != "zone" {
		t.Errorf("without a zone: %v", err)
	}
	if after := snapshot(t, store.DB()); after != before {
		t.Errorf("the database was changed: before\n%s\nafter\n%s", before, after)
	}
}

// TestAdoptPredecessor takes every line of accounts.csv at its word.
func TestAdoptPredecessor(t *testing.T) {
	t.Parallel()
	for _, rule := range []adoption.Rule{adoption.Newest, adoption.Oldest} {
		t.Run(string(rule), func(t *testing.T) {
			t.Parallel()
			store := predecessor(t)
			quarantined := map[string]string{
				"not-an-address":         "invalid",
				"luis.gomez@colmena.org": "collision", "maria@colmena.org": "collision", // the later ones
			}
			if rule == adoption.Newest {
				quarantined = map[string]string{
					"not-an-address":         "invalid",
					"Luis.Gomez@Colmena.ORG": "collision", "maria2@colmena.org": "collision",
				}
			}
			problems := make(report)
			summary, err := inspect(t, store, adoption.Options{Zone: "UTC", OnCollision: rule}).Adopt(t.Context(), problems.add)
			if err != nil {
				t.Fatal(err)
			}
			if summary.Rows != 58 || summary.Kept != 55 || summary.Quarantined != 3 || summary.Blocking != 0 || !summary.Adopted {
				t.Errorf("summary: %+v", summary)
			}
			checkMigrated(t, store)
			checkRows(t, store)
			var authenticator *domain.Authenticator
			if rule == adoption.Newest { // the hashes are compared anyway
				authenticator = newAuthenticator(t, store)
			}
			for i, account := range accounts(t) {
				if problem, ok := quarantined[account.email]; ok {
					checkQuarantined(t, store, account, problem)
					continue
				}
				signs := authenticator
				if !slices.Contains(signIn, account.username) && (os.Getenv("ACCOUNTS_TEST_LONG") == "" || i >= simplyKept+4) {
					signs = nil
				}
				checkKept(t, store, signs, account)
			}
			if left := query[int](t, store.DB(), "SELECT count(*) FROM accounts_adoption.quarantine"); left != len(quarantined) {
				t.Errorf("%d rows quarantined; want %d", left, len(quarantined))
			}

			again := inspect(t, store, adoption.Options{Zone: "UTC", OnCollision: rule})
			summary, err = again.Adopt(t.Context(), problems.add)
			if err != nil || again.Done() == nil || summary.Kept != 55 {
				t.Errorf("again: %+v, %v", summary, err)
			}
		})
	}
}

func newAuthenticator(t *testing.T, store *infra.Store) *domain.Authenticator {
	t.Helper()
	authenticator, err := domain.NewAuthenticator(store, hasher(t), domain.AuthenticationPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	return authenticator
}

// checkMigrated demands that the program finds its own schema and history.
func checkMigrated(t *testing.T, store *infra.Store) {
	t.Helper()
	runner, err := store.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	status, err := runner.Status(t.Context())
	if err != nil || len(status.Pending) != 0 || status.Current == "" {
		t.Errorf("status: %+v, %v", status, err)
	}
	declared, dev := desired.Postgres, plan.Dev(nil)
	if dialectOf(store) == migration.SQLite {
		declared, dev = desired.SQLite, plan.DevSQLite(func(context.Context) (*sql.DB, error) {
			db, err := sql.Open("sqlite", ":memory:")
			if err == nil {
				db.SetMaxOpenConns(1)
			}
			return db, err
		})
	}
	if err := plan.Verify(t.Context(), runner, declared, dev); err != nil {
		var drift *plan.DriftError
		_ = errors.As(err, &drift)
		t.Errorf("verify: %v: %+v", err, drift)
	}
	if applied, err := runner.Up(t.Context(), migration.UpOptions{}); err != nil || len(applied) != 0 {
		t.Errorf("up: %v, %v", applied, err)
	}
	if dialectOf(store) == migration.SQLite {
		return
	}
	collation := query[string](t, store.DB(), `SELECT string_agg(collname, ',') FROM pg_attribute a JOIN pg_collation c ON c.oid = attcollation
		WHERE attrelid = 'users'::regclass AND attname IN ('email', 'username')`)
	if collation != "C,C" {
		t.Errorf("the collation of address and name is %s", collation)
	}
}

// checkRows compares columns that no parser touches with the original table, which is laid beside.
func checkRows(t *testing.T, store *infra.Store) {
	t.Helper()
	db := store.DB()
	text, err := os.ReadFile("testdata/softbee_users.sql")
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "CREATE SCHEMA before")
	mustExec(t, db, "SET search_path = before; "+string(text)+"; RESET search_path")
	differ := query[string](t, db, `SELECT coalesce(string_agg(n.email, ', '), '') FROM users n JOIN before.users o USING (id) WHERE
		(n.hashed_password, n.first_name, n.last_name, n.phone, n.is_active, n.is_verified, n.failed_login_attempts, n.last_login)
		IS DISTINCT FROM (o.hashed_password, o.first_name, o.last_name, o.phone, coalesce(o.is_active, true), coalesce(o.is_verified, false),
		coalesce(o.failed_login_attempts, 0), o.last_login AT TIME ZONE 'UTC')
		OR n.created_at <> o.created_at AT TIME ZONE 'UTC' OR n.updated_at <> o.updated_at AT TIME ZONE 'UTC'
		OR n.refresh_tokens <> '[]' OR n.reset_token IS NOT NULL OR n.reset_token_expiry IS NOT NULL OR n.version <> 1`)
	if differ != "" {
		t.Errorf("rows that are not as they were: %s", differ)
	}
	if lost := query[int](t, db, `SELECT count(*) FROM before.users o WHERE NOT EXISTS (SELECT 1 FROM users n WHERE n.id = o.id)
		AND NOT EXISTS (SELECT 1 FROM accounts_adoption.quarantine s WHERE s.old_id = o.id::text AND s.original = to_jsonb(o))`); lost != 0 {
		t.Errorf("%d rows are neither kept nor kept whole beside", lost)
	}
	if unnoted := query[int](t, db, `SELECT count(*) FROM users n JOIN before.users o USING (id) LEFT JOIN accounts_adoption.origin r USING (id)
		WHERE o.email <> n.email AND r.original->>'email' IS DISTINCT FROM o.email
		OR o.username <> n.username AND r.original->>'username' IS DISTINCT FROM o.username`); unnoted != 0 {
		t.Errorf("of %d rows the original spelling is lost", unnoted)
	}
}

func checkQuarantined(t *testing.T, store *infra.Store, account account, problem string) {
	t.Helper()
	var email, why string
	quarantine := "accounts_adoption.quarantine"
	if dialectOf(store) == migration.SQLite {
		quarantine = "accounts_adoption_quarantine"
	}
	err := store.DB().QueryRowContext(t.Context(), "SELECT original->>'email', problem FROM "+quarantine+" WHERE old_id = $1", account.id).
		Scan(&email, &why)
	if err != nil || email != account.email || why != problem {
		t.Errorf("%s was to be quarantined: %q, %q, %v", account.email, email, why, err)
	}
}

// signIn are those who sign in: one with a hash of each scheme, and those whose names or accounts are peculiar. With ACCOUNTS_TEST_LONG=1 all but the
// simply kept do, of which one has a hash that takes a second.
var signIn = []string{"LuisG", "spaced", "jörg", "inactive", "junkhash", "ab"}

// canonical is what the notes of accounts.csv say of those who are kept under another name.
var canonical = map[string][2]string{
	"Luis.Gomez@Colmena.ORG": {"luis.gomez@colmena.org", "luisg"},
	"maria@colmena.org":      {"maria@colmena.org", "maria"},
	"  spaced@colmena.org ":  {"spaced@colmena.org", "spaced"},
	"jörg@müller.example":    {"jörg@xn--mller-kva.example", "jörg"},
	"Ω@example.org":          {"ω@example.org", "ωmegaσ"},
	"wide@example.org":       {"wide@example.org", "fullwidth"},
}

func checkKept(t *testing.T, store *infra.Store, authenticator *domain.Authenticator, account account) {
	t.Helper()
	want, ok := canonical[account.email]
	if !ok {
		want = [2]string{account.email, account.username}
	}
	id, err := domain.ParseID(account.id)
	if err != nil {
		t.Fatal(err)
	}
	user, err := store.FindByID(t.Context(), id)
	if err != nil {
		t.Errorf("%s: %v", account.email, err)
		return
	}
	if user.Email().String() != want[0] || user.Username().String() != want[1] {
		t.Errorf("%s: is %s, %s; want %v", account.email, user.Email(), user.Username(), want)
	}
	attempts := user.FailedLoginAttempts()
	switch account.email {
	case "ana@colmena.org":
		if !user.LastLogin().Equal(time.Date(2026, 5, 29, 0, 12, 34, 6_092_000, time.UTC)) || len(user.State().Sessions) != 0 {
			t.Errorf("%s: last seen %v, %d sessions", account.email, user.LastLogin(), len(user.State().Sessions))
		}
	case "nulls@colmena.org":
		if !user.IsActive() || user.IsVerified() || attempts != 0 || time.Since(user.CreatedAt()) > time.Hour {
			t.Errorf("%s: %+v", account.email, user.State())
		}
	case "locked@colmena.org":
		if attempts != 7 || user.IsLocked(time.Now()) {
			t.Errorf("%s: %d attempts", account.email, attempts)
		}
	}

	// As they always wrote it, capitals and all.
	email, err := domain.ParseEmail(account.email)
	if err != nil {
		t.Errorf("%s: %v", account.email, err)
	} else if found, err := store.FindByEmail(t.Context(), email); err != nil || found.ID() != id {
		t.Errorf("%s is not found by the address: %v", account.email, err)
	}
	if authenticator == nil {
		return
	}
	_, err = authenticator.Authenticate(t.Context(), account.email, account.password)
	switch account.username {
	case "inactive":
		if !errors.Is(err, domain.ErrInactive) {
			t.Errorf("%s signs in: %v; want inactive", account.email, err)
		}
	case "junkhash":
		if !errors.Is(err, domain.ErrBadCredentials) {
			t.Errorf("%s signs in: %v; want bad credentials", account.email, err)
		}
	default:
		if err != nil {
			t.Errorf("%s does not sign in: %v", account.email, err)
		}
	}
	if account.username == "ab" {
		if _, err := authenticator.Authenticate(t.Context(), account.username, account.password); err != nil {
			t.Errorf("%s does not sign in by username: %v", account.username, err)
		}
	}
	if account.username == "LuisG" {
		if _, err := authenticator.Authenticate(t.Context(), account.email, account.password+"x"); !errors.Is(err, domain.ErrBadCredentials) {
			t.Errorf("%s with a wrong password: %v", account.email, err)
		}
	}
}
