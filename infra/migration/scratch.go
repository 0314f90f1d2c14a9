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

// executeFile runs the statements of a file one by one, without a transaction.
func (s *scratch) executeFile(ctx context.Context, f *file) error {
	return s.executeFirst(ctx, f, len(f.statements))
}

// executeFirst runs the first n statements of a file.
func (s *scratch) executeFirst(ctx context.Context, f *file, n int) error {
	for _, statement := range f.statements[:n] {
		if _, err := s.conn.ExecContext(ctx, statement.Text); err != nil {
			return f.failure(statement, err)
		}
	}
	return nil
}

// executeText runs the statements of a desired state.
func (s *scratch) executeText(ctx context.Context, text string) error {
	statements, err := s.database.scan(text)
	if err != nil {
		return fmt.Errorf("desired state: %w", err)
	}
	return s.executeFile(ctx, &file{LocalFile: migrate.NewLocalFile("desired state", []byte(text)), statements: statements})
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
	from.Name, from.Attrs = to.Name, to.Attrs                            // the comment on the schema "public" is nobody's concern
	changes, err := driver.SchemaDiff(from, to, schema.DiffNormalized()) // both are as a database prints them
	if err != nil {
		return nil, err
	}
	return addCollations(changes, from, to), nil
}

// addCollations adds the columns whose collation changes, which Atlas reads and plans but does not compare.
func addCollations(changes []schema.Change, from, to *schema.Schema) []schema.Change {
	for _, table := range to.Tables {
		before, ok := from.Table(table.Name)
		if !ok {
			continue
		}
		for _, column := range table.Columns {
			old, ok := before.Column(column.Name)
			if !ok || collation(old) == collation(column) {
				continue
			}
			target := *column
			target.Attrs = slices.Clone(column.Attrs)
			target.SetCollation(collation(column))
			changes = addTypeChange(changes, table, old, &target)
		}
	}
	return changes
}

func collation(c *schema.Column) string {
	for _, attr := range c.Attrs {
		if c, ok := attr.(*schema.Collation); ok {
			return c.V
		}
	}
	return "default"
}

func addTypeChange(changes []schema.Change, table *schema.Table, from, to *schema.Column) []schema.Change {
	var modify *schema.ModifyTable
	for _, change := range changes {
		if m, ok := change.(*schema.ModifyTable); ok && m.T.Name == table.Name {
			modify = m
		}
	}
	if modify == nil {
		modify = &schema.ModifyTable{T: table}
		changes = append(changes, modify)
	}
	for _, change := range modify.Changes {
		if m, ok := change.(*schema.ModifyColumn); ok && m.To.Name == to.Name {
			m.Change |= schema.ChangeType
			m.To = to
			return changes
		}
	}
	modify.Changes = append(modify.Changes, &schema.ModifyColumn{From: from, To: to, Change: schema.ChangeType})
	return changes
}

// plan returns the statements of changes, with names that are not qualified.
func plan(ctx context.Context, driver migrate.Driver, name, indent string, changes []schema.Change) (*migrate.Plan, error) {
	unqualified := ""
	return driver.PlanChanges(ctx, name, changes, func(o *migrate.PlanOptions) {
		o.SchemaQualifier, o.Indent = &unqualified, indent
	})
}

// planStatements returns the statements of changes as one would read them.
func planStatements(ctx context.Context, driver migrate.Driver, changes []schema.Change) ([]string, error) {
	statements := []string{}
	if len(changes) == 0 {
		return statements, nil
	}
	planned, err := plan(ctx, driver, "plan", "  ", changes)
	if err != nil {
		return nil, err
	}
	for _, c := range planned.Changes {
		statements = append(statements, c.Cmd+";")
	}
	return statements, nil
}
