package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// The databases, as database/sql and ent name them.
const (
	Postgres = script.Postgres
	SQLite   = script.SQLite
)

// database says where the tables are in one database, and where the history of their migrations is.
type database struct {
	dialect string
	name    string // of the history: see WithHistory
	tables  string // on PostgreSQL, the schema of the tables
	schema  string // on PostgreSQL, the schema of the history
	table   string // of the history
	history string // both, quoted
	create  string // the table
	upsert  string
}

const (
	// historyName is the name of the history of this module's migrations.
	historyName = "accounts_migrations"
	// atlasTable is what Atlas's command line calls the history, everywhere.
	atlasTable = "atlas_schema_revisions"
)

// HistorySchema returns what historySchema does for this module's history.
func HistorySchema(tables string) string { return historySchema(historyName, tables) }

// historySchema returns the schema of PostgreSQL in which the history of the tables in a schema is kept, which Atlas's command line takes as
// --revisions-schema. It is one for each schema, so that several stores can live in one database, and not the schema itself, where an
// application's own history may be.
func historySchema(name, tables string) string {
	if tables == "public" {
		return name
	}
	return name + "_" + tables
}

// tablesOf is the inverse of historySchema.
func tablesOf(name, history string) string {
	if history == name {
		return "public"
	}
	return strings.TrimPrefix(history, name+"_")
}

// maxIdentifier is how many bytes of a name PostgreSQL keeps (NAMEDATALEN - 1).
const maxIdentifier = 63

func onPostgres(name, tables string) (database, error) {
	d := database{dialect: Postgres, name: name, tables: tables, schema: historySchema(name, tables), table: atlasTable}
	if len(d.schema) > maxIdentifier {
		return database{}, &domain.Error{Kind: domain.ErrInvalid, Field: "schema", Reason: fmt.Sprintf(
			"is %d bytes long; want at most %d, so that the name of the history's schema has room for it",
			len(tables), maxIdentifier-len(name)-1)}
	}
	d.history = identifier.Quote(d.schema) + "." + identifier.Quote(d.table)
	d.create = "CREATE TABLE " + d.history + ` (
		"version" character varying NOT NULL,
		"description" character varying NOT NULL,
		"type" bigint NOT NULL DEFAULT 2,
		"applied" bigint NOT NULL DEFAULT 0,
		"total" bigint NOT NULL DEFAULT 0,
		"executed_at" timestamptz NOT NULL,
		"execution_time" bigint NOT NULL,
		"error" text NULL,
		"error_stmt" text NULL,
		"hash" character varying NOT NULL,
		"partial_hashes" jsonb NULL,
		"operator_version" character varying NOT NULL,
		PRIMARY KEY ("version"))`
	d.upsert = d.upsertStatement()
	return d, nil
}

func onSQLite(name, table string) database {
	d := database{dialect: SQLite, name: name, table: table, history: "`" + table + "`"}
	d.create = "CREATE TABLE IF NOT EXISTS " + d.history + " (" +
		"`version` text NOT NULL, `description` text NOT NULL, `type` integer NOT NULL DEFAULT 2, " +
		"`applied` integer NOT NULL DEFAULT 0, `total` integer NOT NULL DEFAULT 0, `executed_at` datetime NOT NULL, " +
		"`execution_time` integer NOT NULL, `error` text NULL, `error_stmt` text NULL, `hash` text NOT NULL, " +
		"`partial_hashes` json NULL, `operator_version` text NOT NULL, PRIMARY KEY (`version`))"
	d.upsert = d.upsertStatement()
	return d
}

func (d database) placeholder(n int) string {
	if d.dialect == SQLite {
		return fmt.Sprintf("?%d", n)
	}
	return fmt.Sprintf("$%d", n)
}

// upsertStatement takes the revisionColumns, then executed_at.
func (d database) upsertStatement() string {
	columns := strings.FieldsFunc(revisionColumns+", executed_at", func(r rune) bool { return strings.ContainsRune(", \n\t", r) })
	var values, updates []string
	for i, column := range columns {
		values = append(values, d.placeholder(i+1))
		if i > 0 {
			updates = append(updates, column+" = excluded."+column)
		}
	}
	return "INSERT INTO " + d.history + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(values, ", ") +
		") ON CONFLICT (version) DO UPDATE SET " + strings.Join(updates, ", ")
}

func (d database) historyIdent() *migrate.TableIdent {
	return &migrate.TableIdent{Name: d.table, Schema: d.schema}
}

// historyExists tells whether there is a table of the history, and on PostgreSQL whether there is a schema for it, and one
// for the tables.
func (d database) historyExists(ctx context.Context, q Querier) (table, schema, tables bool, err error) {
	if d.dialect == SQLite {
		n, err := count(ctx, q, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1", d.table)
		return n > 0, true, true, err
	}
	n, err := count(ctx, q, `SELECT
		(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2) +
		(SELECT 2 * count(*) FROM pg_namespace WHERE nspname = $1) + (SELECT 4 * count(*) FROM pg_namespace WHERE nspname = $3)`,
		d.schema, d.table, d.tables)
	return n&1 != 0, n&2 != 0, n&4 != 0, err
}

func count(ctx context.Context, q Querier, query string, args ...any) (n int, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return n, errors.Join(err, rows.Err())
}

func texts(ctx context.Context, q Querier, query string, args ...any) (found []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		found = append(found, text)
	}
	return found, rows.Err()
}

func (d database) isUndefinedTable(err error) bool {
	code := script.SQLState(err)
	return code == "42P01" || code == "3F000" // undefined_table, invalid_schema_name
}

// sqliteHistory returns the table that holds the history on SQLite. Atlas's command line knows one table only, and an
// application may keep a history of its own there: it is that of the directory if there is no other and it holds one of its versions.
func sqliteHistory(ctx context.Context, q Querier, name string, dir *script.Directory) (string, error) {
	tables, err := texts(ctx, q,
		"SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('"+name+"', '"+atlasTable+"')")
	if err != nil || slices.Contains(tables, name) || len(tables) == 0 {
		return name, err
	}
	versions, err := texts(ctx, q, "SELECT version FROM "+atlasTable)
	if err != nil {
		return "", err
	}
	for _, f := range dir.Files {
		if slices.Contains(versions, f.Version()) {
			return atlasTable, nil
		}
	}
	return name, nil
}
