package plan

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	"ariga.io/atlas/sql/sqlite"

	"github.com/softbee/accounts/infra/migration"
)

// The databases, as database/sql and ent name them.
const (
	Postgres = migration.Postgres
	SQLite   = migration.SQLite
)

// database is what differs between PostgreSQL and SQLite in planning.
type database struct {
	dialect string
	driver  func(schema.ExecQuerier) (migrate.Driver, error)
	format  migrate.Formatter // of a planned file
	indent  string            // of its statements
}

func databaseOf(dialect string) (database, error) {
	switch dialect {
	case Postgres:
		return database{dialect: Postgres, driver: postgres.Open, format: formatPostgres}, nil
	case SQLite:
		return database{dialect: SQLite, driver: openSQLite, format: migrate.DefaultFormatter, indent: "  "}, nil
	}
	return database{}, fmt.Errorf("plan: unknown dialect %q", dialect)
}

func openSQLite(q schema.ExecQuerier) (migrate.Driver, error) { return sqlite.Open(referring{q}) }

// referring names the column of a foreign key that names none, as in REFERENCES orgs: that is the primary key. Atlas cannot read the NULL that
// SQLite has there, and would leave the connection with an open result.
type referring struct{ schema.ExecQuerier }

func (r referring) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if strings.Contains(query, "FROM pragma_foreign_key_list(") {
		query = strings.Replace(query, "`to`,", "coalesce(`to`, (SELECT p.name FROM pragma_table_info(`table`) p WHERE p.pk = 1), '') AS `to`,", 1)
	}
	return r.ExecQuerier.QueryContext(ctx, query, args...)
}
