package main

import (
	"cmp"
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	accounts "github.com/softbee/accounts/ent/schema"
	"github.com/softbee/accounts/examples/composed/ent"
	"github.com/softbee/accounts/examples/composed/ent/user"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// database is one of the two that the application is tested on.
type database struct {
	name, dialect string
	empty         func(t *testing.T) string // what open takes, for a new one
	atlas         func(address string) string
}

var databases = []database{
	{"sqlite", dialect.SQLite,
		func(t *testing.T) string { return filepath.Join(t.TempDir(), "app.db") },
		func(path string) string { return "sqlite://" + path + "?_fk=1" }},
	{"postgres", dialect.Postgres,
		func(t *testing.T) string { return storetest.EmptyPostgresURL(t) + "&search_path=public" },
		func(url string) string { return url }},
}

func onBoth(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) { test(t, d) })
	}
}

func (d database) open(t *testing.T, address string, options ...infra.Option) *infra.Store {
	t.Helper()
	var store *infra.Store
	var err error
	if d.dialect == dialect.SQLite {
		store, err = sqlite.Open(t.Context(), address, options...)
	} else {
		store, err = postgres.Open(t.Context(), address, options...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// migrated returns a store on a new database with the application's migrations, as they are in the directory.
func (d database) migrated(t *testing.T, options ...infra.Option) (store *infra.Store, address string) {
	t.Helper()
	address = d.empty(t)
	store = d.open(t, address, options...)
	files, err := filepath.Glob(filepath.Join("migrations", d.name, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.DB().Exec(string(text)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return store, address
}

// TestContract calls every method of the store on the application's table.
func TestContract(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		domaintest.RunEveryMethod(t, func(t *testing.T, clock func() time.Time) domain.Repository {
			store, _ := d.migrated(t, infra.WithClock(clock))
			return store
		})
	})
}

func TestCheckSchema(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		store, _ := d.migrated(t)
		if err := store.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := store.DB().Exec("DROP INDEX users_email_key"); err != nil {
			t.Fatal(err)
		}
		if err := store.CheckSchema(t.Context()); !errors.Is(err, domain.ErrDrift) || !strings.Contains(err.Error(), "users_email_key") {
			t.Errorf("without an index: %v", err)
		}
	})
}

// TestRegister stores an organization with its account, or neither; ent's client and the store see the same.
func TestRegister(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		store, _ := d.migrated(t)
		ana := storetest.NewUser(t, "ana")
		if err := register(ctx, store, "Acme", ana); err != nil {
			t.Fatal(err)
		}
		if err := register(ctx, store, "Other", storetest.NewUser(t, "ana")); !errors.Is(err, domain.ErrTaken) {
			t.Errorf("a name that is taken: %v", err)
		}
		c := client(store, store.DB())
		if n, err := c.Organization.Query().Count(ctx); err != nil || n != 1 {
			t.Errorf("%d organizations, %v; want 1", n, err)
		}
		seen, err := c.User.Query().Where(user.Username("ana")).WithOrganization().Only(ctx)
		if err != nil || seen.ID != ana.ID().UUID() || seen.Edges.Organization == nil || seen.Edges.Organization.Name != "Acme" {
			t.Errorf("ent's client sees %v, %v", seen, err)
		}
		if found, err := store.FindByID(ctx, ana.ID()); err != nil || found.Email() != ana.Email() {
			t.Errorf("the store finds %v, %v", found, err)
		}

		if err := c.Organization.DeleteOneID(*seen.OrgID).Exec(ctx); err == nil {
			t.Error("an organization that has a member was deleted")
		}
		err = store.CreateWith(ctx, storetest.NewUser(t, "bob"), infra.Column{Name: user.FieldOrgID, Value: uuid.New()})
		if domain.KindOf(err) == "" {
			t.Errorf("an organization that does not exist: %v", err)
		}
		if err := store.Delete(ctx, ana.ID()); err != nil {
			t.Error(err)
		}
		if err := c.Organization.DeleteOneID(*seen.OrgID).Exec(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestProgram(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		_, address := d.migrated(t)
		for i, want := range []string{"Acme ana@example.org\n", "Acme ana@example.org\nBest bob@example.org\n"} {
			var printed strings.Builder
			name := []string{"ana", "bob"}[i]
			args := []string{address, []string{"Acme", "Best"}[i], name + "@example.org", name}
			if err := run(t.Context(), args, strings.NewReader("correct horse battery staple\n"), &printed); err != nil {
				t.Fatal(err)
			}
			if printed.String() != want {
				t.Errorf("printed %q; want %q", printed.String(), want)
			}
		}
		if err := run(context.Background(), []string{d.empty(t), "Acme", "eve@example.org", "eve"}, strings.NewReader(""), nil); !errors.Is(err, domain.ErrDrift) {
			t.Errorf("a database that is not migrated: %v; want drift", err)
		}
	})
}

// TestEntWrites has the application's client create and change accounts, on the pool and in a transaction of the store, which reads them.
func TestEntWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		store, _ := d.migrated(t)
		write := func(c *ent.Client, name string) {
			t.Helper()
			at := time.Date(2026, 3, 4, 5, 6, 7, 120_000_000, time.FixedZone("", -5*60*60))
			org := c.Organization.Create().SetName(name).SaveX(ctx)
			u, err := c.User.Create().SetEmail(name + "@example.org").SetUsername(name).SetHashedPassword("!").SetOrganization(org).Save(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if u, err = u.Update().SetFirstName("Ana").SetLastLogin(at).Save(ctx); err != nil {
				t.Fatal(err)
			}
			found, err := c.User.Query().Where(user.LastLoginLTE(at), user.LastLoginGT(at.Add(-time.Microsecond)), user.UpdatedAtGTE(u.UpdatedAt), user.UsernameEQ(name)).Only(ctx)
			if err != nil || !found.LastLogin.Equal(at) || !found.CreatedAt.Equal(u.CreatedAt) || !found.UpdatedAt.Equal(u.UpdatedAt) {
				t.Errorf("ent's client wrote %v and found %v, %v", u, found, err)
			}
			if _, err := c.Identity.Create().SetUser(u).SetIssuer("https://id.example.org").SetSubject(name).SetLastUsedAt(at).Save(ctx); err != nil {
				t.Fatal(err)
			}
		}
		write(client(store, store.DB()), "ana")
		if err := store.InTx(ctx, func(tx *infra.Tx) error {
			write(client(store, tx.SQL()), "bob")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ana", "bob"} {
			username, err := domain.ParseUsername(name)
			if err != nil {
				t.Fatal(err)
			}
			u, err := store.FindByUsername(ctx, username)
			if err != nil || u.State().FirstName != "Ana" || u.State().LastLogin.IsZero() {
				t.Fatalf("the store finds %v, %v", u, err)
			}
			if _, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{}); err != nil {
				t.Error(err)
			}
			if identities, err := store.Identities(ctx, u.ID()); err != nil || len(identities) != 1 {
				t.Errorf("the store finds %v, %v", identities, err)
			}
		}
		if users, err := store.List(ctx, domain.ListQuery{}); err != nil || len(users.Users) != 2 || len(users.Malformed) != 0 {
			t.Errorf("the store lists %v, %v", users, err)
		}
		for _, refused := range []string{"Ana@example.org", "nothing"} {
			if _, err := client(store, store.DB()).User.Create().SetEmail(refused).SetUsername("eva").SetHashedPassword("-").Save(ctx); !ent.IsConstraintError(err) {
				t.Errorf("the address %s: %v; want a check to refuse it", refused, err)
			}
		}
	})
}

// TestTrail keeps the audit trail in the application's table, append-only.
func TestTrail(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		store, _ := d.migrated(t, audit.WithTrail(audit.Options{}))
		ana := storetest.NewUser(t, "ana")
		if err := register(ctx, store, "Acme", ana); err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(ctx, ana.ID()); err != nil {
			t.Fatal(err)
		}
		entries, err := audit.List(ctx, store, audit.Query{UserID: ana.ID()})
		if err != nil || len(entries) != 2 || entries[0].Kind != domain.EventRegistered || entries[1].Kind != domain.EventDeleted {
			t.Errorf("the trail is %v, %v", entries, err)
		}
		if n, err := client(store, store.DB()).AccountEvent.Query().Count(ctx); err != nil || n != 2 {
			t.Errorf("ent's client counts %d, %v", n, err)
		}
		for _, statement := range []string{"UPDATE account_events SET kind = 'x'", "DELETE FROM account_events"} {
			if _, err := store.DB().Exec(statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
		if n, err := audit.Prune(ctx, store, time.Now().Add(time.Hour), 10); err != nil || n != 2 {
			t.Errorf("pruned %d, %v", n, err)
		}
	})
}

// TestStatements demands the statements that ent cannot declare in the migrations.
func TestStatements(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var files strings.Builder
		paths, err := filepath.Glob(filepath.Join("migrations", d.name, "*.sql"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files.Write(text)
		}
		statements := accounts.AppendOnly(d.dialect)
		for _, annotation := range (accounts.User{}).Annotations() {
			if own, ok := annotation.(accounts.Database); ok {
				statements = append(statements, own.Statements[d.dialect]...)
			}
		}
		for _, statement := range statements {
			if !strings.Contains(files.String(), statement+";\n") {
				t.Errorf("the migrations lack %s", statement)
			}
		}
	})
}

// upgraded is what the next release of the accounts module brings, by what the previous one lacked in ent/schema/user.go.
var upgraded = map[string][]string{
	"sqlite":   {`field\.Time\("last_login"\)`, `timeChecks\("users"`},
	"postgres": {`field\.Time\("last_login"\)`, `jsonb_typeof`, `timeChecks\("users"`},
}

// TestUpgrade goes from a previous release of the accounts module to this one, with 1,000 accounts in the table, by what atlas
// migrate diff writes.
func TestUpgrade(t *testing.T) {
	program := atlasProgram(t)
	onBoth(t, func(t *testing.T, d database) {
		root := t.TempDir()
		for _, name := range []string{"go.mod", "go.sum", "ent", "examples/composed/go.mod", "examples/composed/go.sum",
			"examples/composed/atlas.hcl", "examples/composed/ent"} {
			copyInto(t, filepath.Join("../..", name), filepath.Join(root, name))
		}
		application := filepath.Join(root, "examples", "composed")
		address := d.empty(t)
		execute := func(program string, arguments ...string) string {
			t.Helper()
			cmd := exec.Command(program, arguments...)
			cmd.Dir = application
			cmd.Env = append(os.Environ(), "DATABASE_URL="+d.atlas(address), "TMPDIR="+root)
			if d.dialect == dialect.Postgres {
				cmd.Env = append(cmd.Env, "DEV_URL="+d.empty(t))
			}
			output, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s %q: %v\n%s", program, arguments, err, output)
			}
			return string(output)
		}
		schema := filepath.Join(root, "ent", "schema", "user.go")
		current, err := os.ReadFile(schema)
		if err != nil {
			t.Fatal(err)
		}

		previous := string(current)
		for _, line := range upgraded[d.name] {
			without := regexp.MustCompile(`(?m)^.*`+line+`.*\n`).ReplaceAllString(previous, "")
			if without == previous {
				t.Fatalf("%s does not say %s", schema, line)
			}
			previous = without
		}
		if err := os.WriteFile(schema, []byte(previous), 0o600); err != nil {
			t.Fatal(err)
		}
		execute("go", "generate", "./ent")
		execute(program, "migrate", "diff", "first", "--env", d.name)
		apply := func() {
			t.Helper()
			if d.dialect == dialect.SQLite {
				withParentheses(t, filepath.Join(application, "migrations", "sqlite"))
				execute(program, "migrate", "hash", "--env", d.name)
			}
			execute(program, "migrate", "apply", "--env", d.name)
		}
		apply()

		store := d.open(t, address)
		if err := store.CheckSchema(t.Context()); !errors.Is(err, domain.ErrDrift) || !strings.Contains(err.Error(), "users.last_login is missing") {
			t.Errorf("on the previous schema: %v", err)
		}
		for _, statement := range accounts.AppendOnly(d.dialect) { // which are in a file of their own
			if _, err := store.DB().Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		fill(t, store.DB())
		before, identities := rows(t, store.DB(), "users", nil), rows(t, store.DB(), "identities", nil)

		if err := os.WriteFile(schema, current, 0o600); err != nil {
			t.Fatal(err)
		}
		execute("go", "generate", "./ent")
		execute(program, "migrate", "diff", "upgrade", "--env", d.name)
		apply()
		if err := store.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
		if after := rows(t, store.DB(), "users", before.columns); !slices.Equal(after.values, before.values) {
			t.Error("the accounts are not what they were")
		}
		if after := rows(t, store.DB(), "identities", nil); !slices.Equal(after.values, identities.values) {
			t.Error("the identities are not what they were")
		}
		if output := execute(program, "migrate", "diff", "nothing", "--env", d.name); !strings.Contains(output, "no changes") {
			t.Error(output)
		}
		username, err := domain.ParseUsername("user7")
		if err != nil {
			t.Fatal(err)
		}
		u, err := store.FindByUsername(t.Context(), username)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.RecordSignIn(t.Context(), u.ID()); err != nil {
			t.Error(err)
		}
	})
}

func atlasProgram(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath(cmp.Or(os.Getenv("ACCOUNTS_ATLAS"), "atlas"))
	if err == nil {
		return program
	}
	unavailable(t, "Atlas's command line is not installed: run: bash .ci/atlas DIR, where DIR is in the PATH")
	return ""
}

func unavailable(t *testing.T, hint string) {
	t.Helper()
	if os.Getenv("ACCOUNTS_REQUIRE_ATLAS") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
}

// TestDocumentedCommands runs the commands of docs/embedding.md for composed accounts on PostgreSQL, as they are typed, once the
// application's schema has a new field.
func TestDocumentedCommands(t *testing.T) {
	program := atlasProgram(t)
	document, err := os.ReadFile("../../docs/embedding.md")
	if err != nil {
		t.Fatal(err)
	}
	_, composed, _ := strings.Cut(string(document), "\n## Composed\n")
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(composed, -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of commands; want 1", len(blocks))
	}
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "ent", "examples/composed/go.mod", "examples/composed/go.sum",
		"examples/composed/atlas.hcl", "examples/composed/ent", "examples/composed/migrations"} {
		copyInto(t, filepath.Join("../..", name), filepath.Join(root, name))
	}
	application := filepath.Join(root, "examples", "composed")
	schema := filepath.Join(application, "ent", "schema", "schema.go")
	text, err := os.ReadFile(schema)
	if err != nil {
		t.Fatal(err)
	}
	const name = `field.String("name").Unique(),`
	changed := strings.Replace(string(text), name, name+"\nfield.String(\"things\").Optional(),", 1)
	if err := os.WriteFile(schema, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	d := databases[1]
	address := d.empty(t)
	cmd := exec.Command("sh", "-c", "set -eu\natlas() { '"+program+"' \"$@\"; }\n"+blocks[0][1])
	cmd.Dir, cmd.Env = application, append(os.Environ(), "DATABASE_URL="+address, "DEV_URL="+d.empty(t))
	output, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(output), "unexpected number of rows") {
		unavailable(t, "this build of Atlas does not know so new a PostgreSQL: set ACCOUNTS_ATLAS to a newer one, or use PostgreSQL 14 or 15")
	}
	if err != nil || !strings.Contains(string(output), "Migration Status: OK") {
		t.Fatalf("%v\n%s", err, output)
	}
	store := d.open(t, address)
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := store.DB().Exec("SELECT things FROM organizations"); err != nil {
		t.Error(err)
	}
}

// withParentheses puts the default of the id into parentheses, which Atlas v0.13.1 forgets on SQLite.
func withParentheses(t *testing.T, directory string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(directory, "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`DEFAULT (lower\(hex\(.*?randomblob\(6\)\)\))`).ReplaceAll(text, []byte("DEFAULT ($1)"))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// fill stores 1,000 accounts with hashes and an identity each.
func fill(t *testing.T, db *stdsql.DB) {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := tx.Exec("INSERT INTO users (email, username, hashed_password) VALUES ($1, $2, $3)", fmt.Sprintf("user%d@example.org", i), fmt.Sprintf("user%d", i),
			fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tx.Exec("INSERT INTO identities (user_id, issuer, subject) SELECT id, 'https://id.example.org', username FROM users"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

type table struct{ columns, values []string }

// rows reads a table as text; nil stands for all columns.
func rows(t *testing.T, db *stdsql.DB, name string, columns []string) (read table) {
	t.Helper()
	selected := "*"
	if columns != nil {
		selected = `"` + strings.Join(columns, `", "`) + `"`
	}
	result, err := db.Query("SELECT " + selected + " FROM " + name + " ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	if read.columns, err = result.Columns(); err != nil {
		t.Fatal(err)
	}
	values := make([]stdsql.RawBytes, len(read.columns))
	destinations := make([]any, len(values))
	for i := range values {
		destinations[i] = &values[i]
	}
	for result.Next() {
		if err := result.Scan(destinations...); err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			read.values = append(read.values, string(value))
		}
	}
	if err := result.Err(); err != nil || len(read.values) < 1000 {
		t.Fatal(len(read.values), err)
	}
	return read
}

func copyInto(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(to, os.DirFS(from))
	} else {
		var text []byte
		if text, err = os.ReadFile(from); err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, text, 0o600))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
