// Package entaccounts lets the ent schema and the Atlas directory of an application refer to accounts whose tables are migrated by this
// module. docs/embedding.md shows it at work.
//
// Without it, ent's Schema.Create changes the table of the accounts into what the application's entity says of it: on SQLite with the
// loss of every column that the entity does not have.
package entaccounts

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"

	atlas "ariga.io/atlas/sql/schema"
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	entannotation "entgo.io/ent/dialect/entsql"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	entschema "entgo.io/ent/schema"
	"entgo.io/ent/schema/mixin"

	"github.com/softbee/accounts/ent/migrate/desired"
	accounts "github.com/softbee/accounts/ent/schema"
	"github.com/softbee/accounts/ent/user"
)

// Tables are those of this module.
var Tables = tables()

func tables() (names []string) {
	for _, match := range regexp.MustCompile(`(?m)^CREATE TABLE "(\w+)"`).FindAllStringSubmatch(desired.Postgres, -1) {
		names = append(names, match[1])
	}
	return names
}

// Exclude is what Atlas's command line must leave alone when it inspects a database: the list "exclude" of an environment in atlas.hcl, or the
// values of --exclude, for a URL that leads to one schema (search_path=…) or to a file of SQLite.
func Exclude() []string { return append(slices.Clone(Tables), "accounts_migrations") }

// ExcludeInDatabase is [Exclude] for a URL of PostgreSQL that leads to the whole database.
func ExcludeInDatabase() []string {
	patterns := []string{"accounts_migrations*"}
	for _, table := range Tables {
		patterns = append(patterns, "*."+table)
	}
	return patterns
}

// Mirror is the mixin of the entity that stands for an account in the application's ent schema, so that others can have edges to it:
//
//	type Account struct{ ent.Schema }
//
//	func (Account) Mixin() []ent.Mixin { return []ent.Mixin{entaccounts.Mirror{}} }
//
// It has the table and the id. The entity may declare more columns of the table, to read them. Accounts are created, changed and deleted by the
// store.
type Mirror struct{ mixin.Schema }

// Fields is the id.
func (Mirror) Fields() []ent.Field {
	fields := accounts.User{}.Fields()
	return fields[slices.IndexFunc(fields, func(f ent.Field) bool { return f.Descriptor().Name == user.FieldID }):][:1]
}

// Annotations is the name of the table.
func (Mirror) Annotations() []entschema.Annotation {
	return []entschema.Annotation{entannotation.Annotation{Table: user.Table}}
}

// DiffHook keeps ent from creating or changing the tables of this module. Foreign keys that lead to them are made: so PostgreSQL refuses
// Schema.Create (and changes nothing) as long as the accounts have not been migrated.
//
//	client.Schema.Create(ctx, schema.WithDiffHook(entaccounts.DiffHook))
func DiffHook(next schema.Differ) schema.Differ {
	return schema.DiffFunc(func(current, desired *atlas.Schema) ([]atlas.Change, error) {
		return next.Diff(withoutOurs(current), withoutOurs(desired))
	})
}

func withoutOurs(s *atlas.Schema) *atlas.Schema {
	rest := *s
	rest.Tables = slices.DeleteFunc(slices.Clone(s.Tables), func(t *atlas.Table) bool { return slices.Contains(Tables, t.Name) })
	return &rest
}

// Driver returns the driver of an ent client on a pool, such as the store's DB(), or in a transaction, such as SQL() of an infra.Tx. The database is
// [dialect.Postgres] or [dialect.SQLite].
//
// Ent begins transactions of its own for some changes, and for the client's Tx. In a transaction these are parts of it: they begin and commit nothing,
// and what a rollback of theirs has to undo, the transaction around has to. Closing the client leaves it open.
func Driver(database string, executor entsql.ExecQuerier) dialect.Driver {
	driver := entsql.NewDriver(database, entsql.Conn{ExecQuerier: executor})
	if _, ok := executor.(*sql.Tx); ok {
		return within{driver}
	}
	return driver
}

type within struct{ *entsql.Driver }

// Tx implements [dialect.Driver].
func (w within) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(w), nil }

// BeginTx is Tx: the isolation is that of the transaction around.
func (w within) BeginTx(context.Context, *entsql.TxOptions) (dialect.Tx, error) {
	return dialect.NopTx(w), nil
}

// Close implements [dialect.Driver].
func (within) Close() error { return nil }

// After is [DiffHook], and migrates the accounts first: Schema.Create returns the errors of migrate, which is the method Migrate of a store.
//
//	client.Schema.Create(ctx, entaccounts.After(store.Migrate))
func After(migrate func(context.Context) error) schema.MigrateOption {
	return func(a *schema.Atlas) {
		schema.WithDiffHook(DiffHook)(a)
		schema.WithHooks(func(next schema.Creator) schema.Creator {
			return schema.CreateFunc(func(ctx context.Context, tables ...*schema.Table) error {
				if err := migrate(ctx); err != nil {
					return err
				}
				return next.Create(ctx, tables...)
			})
		})(a)
	}
}

// DesiredState returns the SQL of an application's tables (of migrate.Tables in its generated client, or of a graph's Tables) for Atlas to compare
// the application's migrations with. A stub of one column stands for each table of this module, as [FirstFile] has it. version is that of the
// oldest PostgreSQL in use, such as "14".
func DesiredState(ctx context.Context, database, version string, tables []*schema.Table) (string, error) {
	reduced := slices.Clone(tables)
	for i, t := range tables {
		if slices.Contains(Tables, t.Name) {
			reduced[i] = stub(t)
		}
	}
	text, err := schema.DDL(ctx, schema.DDLArgs{Dialect: database, Version: version, Tables: reduced})
	return position.ReplaceAllString(text, ""), err
}

// position matches the comments that hold the path of a checkout, which would make the text differ between machines.
var position = regexp.MustCompile(`(?m)^-- atlas:pos .*\n\n?`)

// stub is a table's primary key.
func stub(t *schema.Table) *schema.Table {
	reduced := schema.NewTable(t.Name).SetSchema(t.Schema)
	for _, c := range t.PrimaryKey {
		reduced.AddPrimary(&schema.Column{Name: c.Name, Type: c.Type, SchemaType: c.SchemaType, Size: c.Size})
	}
	return reduced
}

// FirstFile is the first file of an application's Atlas directory whose later ones refer to accounts. Where the accounts are, it does
// nothing. In a development database, in which there is no history, it makes the stub that foreign keys need. In any other it fails, before the
// application's first table is made, and says that the accounts must be migrated first. It returns an error for any other database than
// [dialect.Postgres] and [dialect.SQLite].
func FirstFile(database string) (string, error) {
	if database != dialect.Postgres && database != dialect.SQLite {
		return "", fmt.Errorf("the database is %q: expected %q or %q", database, dialect.Postgres, dialect.SQLite)
	}
	t := schema.NewTable(user.Table)
	id := Mirror{}.Fields()[0].Descriptor()
	t.AddPrimary(&schema.Column{Name: id.Name, Type: id.Info.Type, SchemaType: id.SchemaType})
	text, err := DesiredState(context.Background(), database, "14", []*schema.Table{t})
	if err != nil {
		return "", err
	}
	create := text[regexp.MustCompile(`(?m)^CREATE TABLE`).FindStringIndex(text)[0]:]
	if database == dialect.SQLite {
		return fmt.Sprintf(firstOnSQLite, t.Name, "CREATE TABLE IF NOT EXISTS"+create[len("CREATE TABLE"):]), nil
	}
	return fmt.Sprintf(firstOnPostgres, t.Name, create), nil
}

const firstHead = `-- The accounts, to which later files refer. They have migrations of their own; in a development database a stub stands for them.
`

const firstOnPostgres = firstHead + `DO $$
BEGIN
IF to_regclass('%[1]s') IS NOT NULL THEN
  RETURN;
ELSIF EXISTS (SELECT FROM pg_tables WHERE tablename = 'atlas_schema_revisions' AND schemaname NOT LIKE 'accounts\_migrations%%') THEN
  RAISE EXCEPTION 'the accounts must be migrated first';
END IF;
%[2]sEND $$;
`

const firstOnSQLite = firstHead + "CREATE TEMPORARY TABLE `first` (`ok` integer CONSTRAINT `the accounts must be migrated first` CHECK (`ok`));\n" +
	"INSERT INTO `first` SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = '%[1]s')" +
	" OR NOT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE sql LIKE '%%`operator_version`%%' OR sql LIKE '%%\"operator_version\"%%');\n" +
	"DROP TABLE temp.`first`;\n%[2]s"
