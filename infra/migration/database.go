package migration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	"ariga.io/atlas/sql/sqlite"
)

// database is what differs between PostgreSQL and SQLite in reading a directory and keeping the history.
type database struct {
	dialect string
	history string // the table, qualified and quoted
	create  []string
	upsert  string
	scanner migrate.StmtScanner
	driver  func(schema.ExecQuerier) (migrate.Driver, error)
	format  migrate.Formatter // of a planned file
	indent  string            // of its statements
}

const (
	historySchema = "accounts_migrations" // on PostgreSQL; atlas.hcl names it as well
	historyTable  = "atlas_schema_revisions"
)

// The tables are the ones that Atlas itself creates.
var (
	onPostgres = database{
		dialect: Postgres,
		history: `"` + historySchema + `"."` + historyTable + `"`,
		create: []string{
			`CREATE SCHEMA IF NOT EXISTS "` + historySchema + `"`,
			`CREATE TABLE IF NOT EXISTS "` + historySchema + `"."` + historyTable + `" (
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
				PRIMARY KEY ("version"))`,
		},
		scanner: (*postgres.Driver)(nil),
		driver:  postgres.Open,
		format:  formatPostgres,
	}
	onSQLite = database{
		dialect: SQLite,
		history: "`" + historyTable + "`",
		create: []string{
			"CREATE TABLE IF NOT EXISTS `" + historyTable + "` (" +
				"`version` text NOT NULL, `description` text NOT NULL, `type` integer NOT NULL DEFAULT 2, " +
				"`applied` integer NOT NULL DEFAULT 0, `total` integer NOT NULL DEFAULT 0, `executed_at` datetime NOT NULL, " +
				"`execution_time` integer NOT NULL, `error` text NULL, `error_stmt` text NULL, `hash` text NOT NULL, " +
				"`partial_hashes` json NULL, `operator_version` text NOT NULL, PRIMARY KEY (`version`))",
		},
		scanner: (*sqlite.Driver)(nil),
		driver:  sqlite.Open,
		format:  migrate.DefaultFormatter,
		indent:  "  ",
	}
)

func databaseOf(dialect string) (database, error) {
	var d database
	switch dialect {
	case Postgres:
		d = onPostgres
	case SQLite:
		d = onSQLite
	default:
		return database{}, fmt.Errorf("migration: unknown dialect %q", dialect)
	}
	d.upsert = d.upsertStatement()
	return d, nil
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

func (d database) scan(text string) ([]*migrate.Stmt, error) { return d.scanner.ScanStmts(text) }

func (d database) historyIdent() *migrate.TableIdent {
	if d.dialect == SQLite {
		return &migrate.TableIdent{Name: historyTable}
	}
	return &migrate.TableIdent{Name: historyTable, Schema: historySchema}
}

// historyExists asks SQLite, which does not tell a missing table from other errors. PostgreSQL does, and is farther away.
func (d database) historyExists(ctx context.Context, q querier) (exists bool, err error) {
	if d.dialect == Postgres {
		return true, nil
	}
	rows, err := q.QueryContext(ctx, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '"+historyTable+"'")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return rows.Next(), rows.Err()
}

func (d database) isUndefinedTable(err error) bool {
	code := sqlState(err)
	return code == "42P01" || code == "3F000" // undefined_table, invalid_schema_name
}

var _ querier = (*sql.Conn)(nil)
