package entaccounts_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ariga.io/atlas/sql/migrate"
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	"entgo.io/ent/entc/gen"
	"entgo.io/ent/entc/load"
	"entgo.io/ent/schema/field"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/entaccounts/testdata/blog"
	"github.com/softbee/accounts/infra/internal/journeytest"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// graph is of the schema of an application in testdata, as its generated client holds it. Ent's own way to it compiles a program.
var graph = sync.OnceValues(func() (*gen.Graph, error) {
	var schemas []*load.Schema
	for _, entity := range []ent.Interface{blog.Account{}, blog.Post{}, blog.Tag{}} {
		text, err := load.MarshalSchema(entity)
		if err != nil {
			return nil, err
		}
		loaded, err := load.UnmarshalSchema(text)
		if err != nil {
			return nil, err
		}
		schemas = append(schemas, loaded)
	}
	return gen.NewGraph(&gen.Config{}, schemas...)
})

var tablesLock sync.Mutex // ent's graph is not safe for concurrent use

func blogTables(t *testing.T) []*schema.Table {
	t.Helper()
	graph, err := graph()
	if err != nil {
		t.Fatal(err)
	}
	tablesLock.Lock()
	defer tablesLock.Unlock()
	tables, err := graph.Tables()
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func databaseName(store *infra.Store) string {
	if store.Schema() == "" {
		return dialect.SQLite
	}
	return dialect.Postgres
}

// record holds docs/journeys.md to an outcome, if the test has not failed.
func record(t *testing.T, database, journey, program, outcome string) {
	t.Helper()
	if !t.Failed() {
		journeytest.Record(t, map[string]string{dialect.Postgres: "PostgreSQL", dialect.SQLite: "SQLite"}[database], journey, program, outcome)
	}
}

// create is the Schema.Create of the application's client. It returns the statements that were executed.
func create(ctx context.Context, store *infra.Store, tables []*schema.Table, options ...schema.MigrateOption) (executed []string, err error) {
	options = append(options, schema.WithApplyHook(func(next schema.Applier) schema.Applier {
		return schema.ApplyFunc(func(ctx context.Context, conn dialect.ExecQuerier, plan *migrate.Plan) error {
			for _, change := range plan.Changes {
				executed = append(executed, change.Cmd)
			}
			return next.Apply(ctx, conn, plan)
		})
	}))
	m, err := schema.NewMigrate(entsql.OpenDB(databaseName(store), store.DB()), options...)
	if err != nil {
		return nil, err
	}
	return executed, m.Create(ctx, tables...)
}

// unmigrated returns stores on empty databases.
func unmigrated(t *testing.T, test func(t *testing.T, store *infra.Store)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) (*infra.Store, error){
		"sqlite": func(t *testing.T) (*infra.Store, error) {
			return sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "app.db"))
		},
		"postgres": func(t *testing.T) (*infra.Store, error) {
			return postgres.Open(t.Context(), storetest.EmptyPostgresURL(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			test(t, store)
		})
	}
}

// fill stores 1,000 accounts with hashes, and a session for each tenth.
func fill(t *testing.T, store *infra.Store) []*domain.User {
	t.Helper()
	var users []*domain.User
	for i := range 1000 {
		users = append(users, storetest.NewUser(t, fmt.Sprintf("user%d", i)))
	}
	refused, err := store.CreateMany(t.Context(), users)
	if err != nil || errors.Join(refused...) != nil {
		t.Fatal(err, errors.Join(refused...))
	}
	for i := 0; i < len(users); i += 10 {
		if _, err := store.IssueToken(t.Context(), users[i].ID(), domain.SessionPolicy{}); err != nil {
			t.Fatal(err)
		}
	}
	return users
}

// bytes returns all rows of our tables, and all that the database says about them.
func bytes(t *testing.T, store *infra.Store) string {
	t.Helper()
	var b strings.Builder
	query := func(text string, args ...any) {
		rows, err := store.DB().QueryContext(t.Context(), text, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		values := make([]sql.RawBytes, len(columns))
		destinations := make([]any, len(columns))
		for i := range values {
			destinations[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(destinations...); err != nil {
				t.Fatal(err)
			}
			for i, value := range values {
				fmt.Fprintf(&b, "%s=%q ", columns[i], value)
			}
			b.WriteByte('\n')
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range entaccounts.Tables {
		if databaseName(store) == dialect.SQLite {
			query("SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = ? ORDER BY type, name", table)
			query("SELECT * FROM " + table + " ORDER BY id")
			continue
		}
		name := store.Schema() + "." + table
		query("SELECT relname, reloptions, relacl, relpersistence FROM pg_class WHERE oid = CAST($1 AS regclass)", name)
		query(`SELECT attname, format_type(atttypid, atttypmod), attnotnull, attcollation, pg_get_expr(adbin, adrelid) FROM pg_attribute
			LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = CAST($1 AS regclass) AND attnum > 0 ORDER BY attnum`, name)
		query("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = CAST($1 AS regclass) ORDER BY 1", name)
		query("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = CAST($1 AS regclass) ORDER BY 1", name)
		query("SELECT t::text FROM " + name + " AS t ORDER BY id")
	}
	return b.String()
}

// refers demands the foreign keys from posts to accounts.
func refers(t *testing.T, store *infra.Store) {
	t.Helper()
	ctx := t.Context()
	author, free := storetest.NewUser(t, "author"), storetest.NewUser(t, "free")
	insert := "INSERT INTO posts (title, account_posts) VALUES ('Hello', $1)"
	if err := errors.Join(store.Create(ctx, author), store.Create(ctx, free)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.DB().Exec(insert, author.ID().String()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.DB().Exec(insert, domain.NewID().String()); err == nil {
		t.Error("a post of no account was stored")
	}
	if err := store.Delete(ctx, author.ID()); !errors.Is(err, domain.ErrReferenced) {
		t.Errorf("an account with a post: %v; want referenced", err)
	}
	if err := store.Delete(ctx, free.ID()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(store.CheckMigrations(ctx), store.CheckSchema(ctx)); err != nil {
		t.Error(err)
	}
}

// TestSchemaCreate lets the application's ent make and change its tables beside 1,000 accounts: not a byte of them changes. Without the
// hook ent destroys them, which shows that the test can see it.
func TestSchemaCreate(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		fill(t, store)
		before := bytes(t, store)
		for name, option := range map[string]schema.MigrateOption{
			"hook": schema.WithDiffHook(entaccounts.DiffHook), "after": entaccounts.After(store.Migrate),
		} {
			if _, err := create(ctx, store, blogTables(t), option); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if executed, err := create(ctx, store, blogTables(t), option); err != nil || len(executed) > 0 {
				t.Errorf("%s, again: %v, %q", name, err, executed)
			}
		}
		changed := blogTables(t)
		for _, table := range changed {
			table.Columns = append(table.Columns, &schema.Column{Name: "note", Type: field.TypeString, Nullable: true}) // to the mirror too
		}
		executed, err := create(ctx, store, changed, schema.WithDiffHook(entaccounts.DiffHook), schema.WithDropColumn(true), schema.WithDropIndex(true))
		if err != nil || len(executed) != 3 {
			t.Errorf("a change of the application's three tables: %v, %q", err, executed)
		}
		if bytes(t, store) != before {
			t.Error("the accounts have changed")
		}
		refers(t, store)
		record(t, databaseName(store), "managed: a mirror of the accounts, by ent's `Schema.Create`", journeytest.Ours, "done")

		if _, err := create(ctx, store, blogTables(t)); err != nil {
			t.Fatal(err)
		}
		if err := store.CheckSchema(ctx); !errors.Is(err, domain.ErrDrift) {
			t.Errorf("without the hook: %v; want drift", err)
		}
	})
}

// TestOrderOfFirstMigrations makes the application's tables before ours.
func TestOrderOfFirstMigrations(t *testing.T) {
	t.Run("by one call", func(t *testing.T) {
		unmigrated(t, func(t *testing.T, store *infra.Store) {
			if _, err := create(t.Context(), store, blogTables(t), entaccounts.After(store.Migrate)); err != nil {
				t.Fatal(err)
			}
			refers(t, store)
		})
	})
	t.Run("by the hook", func(t *testing.T) {
		unmigrated(t, func(t *testing.T, store *infra.Store) {
			hook := schema.WithDiffHook(entaccounts.DiffHook)
			_, err := create(t.Context(), store, blogTables(t), hook)
			if refused := databaseName(store) == dialect.Postgres; (err != nil) != refused {
				t.Fatalf("before the accounts: %v", err)
			}
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := create(t.Context(), store, blogTables(t), hook); err != nil {
				t.Fatal(err)
			}
			refers(t, store)
		})
	})
	t.Run("the migration fails", func(t *testing.T) {
		unmigrated(t, func(t *testing.T, store *infra.Store) {
			failed := errors.New("failed")
			executed, err := create(t.Context(), store, blogTables(t), entaccounts.After(func(context.Context) error { return failed }))
			if !errors.Is(err, failed) || len(executed) > 0 {
				t.Errorf("%v, %q", err, executed)
			}
		})
	})
}

// TestAccountsInTheirOwnSchema refers to them by the search_path.
func TestAccountsInTheirOwnSchema(t *testing.T) {
	store, err := postgres.Open(t.Context(), storetest.EmptyPostgresURL(t)+"&search_path=public,auth", infra.WithSchema("auth"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	option := entaccounts.After(store.Migrate)
	if _, err := create(t.Context(), store, blogTables(t), option); err != nil {
		t.Fatal(err)
	}
	fill(t, store)
	before := bytes(t, store)
	if executed, err := create(t.Context(), store, blogTables(t), option); err != nil || len(executed) > 0 {
		t.Errorf("again: %v, %q", err, executed)
	}
	if bytes(t, store) != before {
		t.Error("the accounts have changed")
	}
	refers(t, store)
}

func TestTables(t *testing.T) {
	if !slices.Contains(entaccounts.Tables, "users") {
		t.Errorf("%q lacks users", entaccounts.Tables)
	}
	if _, err := entaccounts.FirstFile("mysql"); err == nil {
		t.Error("a file for MySQL was made")
	}
}
