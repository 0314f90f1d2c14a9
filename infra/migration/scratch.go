package migration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"
)

// scratch is an empty place in which files are executed to see what they make.
type scratch struct {
	conn     *sql.Conn
	driver   migrate.Driver
	database database
}

// scratchSchema is the place on PostgreSQL. The search path names nothing else, so that a file cannot reach a table of
// the same database by mistake.
const scratchSchema = "accounts_migrations_scratch"

// withScratch calls work with an empty place in a database from dev.
func withScratch(ctx context.Context, d database, dev Dev, work func(*scratch) error) (err error) {
	if dev == nil {
		return errors.New("migration: a development database is needed")
	}
	db, dispose, err := dev(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dispose()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return failure("connect to the development database", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	driver, err := d.driver(conn)
	if err != nil {
		return failure("inspect the development database", err)
	}
	return work(&scratch{conn, driver, d})
}

// withScratchSchema calls work with an empty schema of the session's database, which is dropped afterwards.
func (s *session) withScratchSchema(ctx context.Context, work func(*scratch) error) error {
	var path string
	if err := s.conn.QueryRowContext(ctx, "SELECT current_setting('search_path')").Scan(&path); err != nil {
		return failure("read the search path", err)
	}
	const drop = "DROP SCHEMA IF EXISTS " + scratchSchema + " CASCADE"
	for _, statement := range []string{drop, "CREATE SCHEMA " + scratchSchema, "SET search_path = " + scratchSchema} {
		if _, err := s.conn.ExecContext(ctx, statement); err != nil {
			return failure("create a schema to work in", err)
		}
	}
	err := work(&scratch{s.conn, s.driver, s.database})
	after := context.WithoutCancel(ctx)
	_, dropped := s.conn.ExecContext(after, drop)
	_, reset := s.conn.ExecContext(after, "SELECT set_config('search_path', $1, false)", path)
	if err != nil {
		return err // after which, in a transaction, nothing else succeeds
	}
	return failure("drop the schema to work in", errors.Join(dropped, reset))
}

// rolledBack calls work in a transaction of which nothing remains.
func (s *session) rolledBack(ctx context.Context, work func() error) error {
	if _, err := s.conn.ExecContext(ctx, "BEGIN"); err != nil {
		return failure("begin", err)
	}
	err := work()
	_, back := s.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return errors.Join(err, failure("roll back", back))
}

// execute runs statements one by one.
func (s *scratch) execute(ctx context.Context, name string, statements []*migrate.Stmt) error {
	for _, statement := range statements {
		if _, err := s.conn.ExecContext(ctx, statement.Text); err != nil {
			return fmt.Errorf("%s, statement at byte %d: %w", name, statement.Pos, failure("execute", err))
		}
	}
	return nil
}

// executeText runs the statements of a text, such as a desired state.
func (s *scratch) executeText(ctx context.Context, name, text string) error {
	statements, err := s.database.scan(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return s.execute(ctx, name, statements)
}

// inspect returns the tables of the connection's current schema: the named ones, or all if none is named.
func inspect(ctx context.Context, driver migrate.Driver, tables ...string) (*schema.Schema, error) {
	s, err := driver.InspectSchema(ctx, "", &schema.InspectOptions{Tables: tables})
	if err != nil {
		return nil, failure("inspect the schema", err)
	}
	return s, nil
}

func tableNames(s *schema.Schema) []string {
	names := make([]string, len(s.Tables))
	for i, t := range s.Tables {
		names[i] = t.Name
	}
	slices.Sort(names)
	return names
}

// difference returns the changes that lead from one schema to the other, whatever the two are called.
func difference(driver migrate.Driver, from, to *schema.Schema) ([]schema.Change, error) {
	from.Name, from.Attrs = to.Name, to.Attrs // the comment on the schema "public" is nobody's concern
	return driver.SchemaDiff(from, to, schema.DiffNormalized()) // both are as a database prints them
}

// plan returns the statements of changes, with names that are not qualified.
func plan(ctx context.Context, driver migrate.Driver, name, indent string, changes []schema.Change) (*migrate.Plan, error) {
	unqualified := ""
	return driver.PlanChanges(ctx, name, changes, func(o *migrate.PlanOptions) {
		o.SchemaQualifier, o.Indent = &unqualified, indent
	})
}

func commands(p *migrate.Plan) []string {
	statements := make([]string, len(p.Changes))
	for i, c := range p.Changes {
		statements[i] = c.Cmd + ";"
	}
	return statements
}
