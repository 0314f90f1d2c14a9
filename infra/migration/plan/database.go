package plan

import (
	"fmt"

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
		return database{dialect: SQLite, driver: sqlite.Open, format: migrate.DefaultFormatter, indent: "  "}, nil
	}
	return database{}, fmt.Errorf("plan: unknown dialect %q", dialect)
}
