package plan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// scratch is an empty place in which files are executed to see what they make.
type scratch struct {
	conn          *sql.Conn
	driver        migrate.Driver
	database      database
	transactional bool     // it is a transaction, of which nothing remains
	besides       []string // tables in it that are no part of it
}

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
		return script.Failure("connect to the development database", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	driver, err := d.driver(conn)
	if err != nil {
		return script.Failure("inspect the development database", err)
	}
	return work(&scratch{conn: conn, driver: driver, database: d})
}

// withinHistory calls work with an empty place in the connection's own PostgreSQL database: the schema of the history, in a
// transaction, or a part of one, that is rolled back. So nothing is left behind, however the process ends, and no other right is needed than that
// of the schema's owner. The search path names nothing else, so that a file cannot reach a table by mistake.
func withinHistory(ctx context.Context, s *migration.Connection, d database, work func(*scratch) error) (err error) {
	conn := s.Conn()
	place, table := s.History()
	driver, err := d.driver(conn)
	if err != nil {
		return script.Failure("inspect the database", err)
	}
	begin, rollBack := "BEGIN", "ROLLBACK"
	if s.InTransaction() {
		begin, rollBack = "SAVEPOINT place", "ROLLBACK TO SAVEPOINT place"
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return script.Failure("begin", err)
	}
	defer func() {
		_, back := conn.ExecContext(context.WithoutCancel(ctx), rollBack)
		err = errors.Join(err, script.Failure("roll back", back))
	}()
	var exists bool
	if err := conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", place).Scan(&exists); err != nil {
		return script.Failure("look for a schema to work in", err)
	}
	if !exists {
		if _, err := conn.ExecContext(ctx, "CREATE SCHEMA "+identifier.Quote(place)); err != nil {
			return script.Failure("create a schema to work in", err)
		}
	}
	if _, err := conn.ExecContext(ctx, "SET LOCAL search_path = "+identifier.Quote(place)); err != nil {
		return script.Failure("go to a schema to work in", err)
	}
	return work(&scratch{conn: conn, driver: driver, database: d, transactional: true, besides: []string{table}})
}

var (
	doBlock = regexp.MustCompile(`(?i)^\s*(DO|CALL)\b`)
	// endsTransaction finds the statements in a block that would end the transaction around it.
	endsTransaction = regexp.MustCompile(`(?i)\b(COMMIT|ROLLBACK)(\s+AND\s+(NO\s+)?CHAIN)?\s*;`)
)

// execute runs a statement of a file. In a transaction it runs what makes the same of an empty schema.
func (s *scratch) execute(ctx context.Context, statement string) error {
	if s.transactional {
		switch {
		case script.Concurrently.MatchString(statement):
			statement = script.Concurrently.ReplaceAllString(statement, "INDEX")
		case doBlock.MatchString(statement):
			statement = endsTransaction.ReplaceAllString(statement, "NULL;")
		}
	}
	_, err := s.conn.ExecContext(ctx, statement)
	return err
}

// executeFile runs the statements of a file one by one.
func (s *scratch) executeFile(ctx context.Context, f *script.File) error {
	return s.executeFirst(ctx, f, len(f.Statements))
}

// executeFirst runs the first n statements of a file.
func (s *scratch) executeFirst(ctx context.Context, f *script.File, n int) error {
	for _, statement := range f.Statements[:n] {
		if err := s.execute(ctx, statement.Text); err != nil {
			return f.Failure(statement, err)
		}
	}
	return nil
}

// executeText runs the statements of a desired state.
func (s *scratch) executeText(ctx context.Context, text string) error {
	statements, err := script.Scan(s.database.dialect, text)
	if err != nil {
		return fmt.Errorf("desired state: %w", err)
	}
	return s.executeFile(ctx, &script.File{LocalFile: migrate.NewLocalFile("desired state", []byte(text)), Statements: statements})
}

// inspect returns what has been made in the place.
func (s *scratch) inspect(ctx context.Context) (*schema.Schema, error) {
	made, err := inspect(ctx, s.driver)
	if err == nil {
		made.Tables = slices.DeleteFunc(made.Tables, func(t *schema.Table) bool { return slices.Contains(s.besides, t.Name) })
	}
	return made, err
}

// inspect returns the tables of the connection's current schema: the named ones, or all if none is named.
func inspect(ctx context.Context, driver migrate.Driver, tables ...string) (*schema.Schema, error) {
	s, err := driver.InspectSchema(ctx, "", &schema.InspectOptions{Tables: tables})
	if err != nil {
		return nil, script.Failure("inspect the schema", err)
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
	from.Name, from.Attrs = to.Name, to.Attrs                            // the comment on the schema "public" is not compared
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

// forms returns how PostgreSQL prints each check of the place, and how it prints what it has printed: the text of some
// expressions, such as a varchar IN (…), changes each of the first times. They are keyed by table and name.
func (s *scratch) forms(ctx context.Context) (map[[2]string][]string, error) {
	forms := map[[2]string][]string{}
	if s.database.dialect != Postgres {
		return forms, nil
	}
	const rounds = 3
	for range rounds {
		current, err := s.checks(ctx)
		if err != nil {
			return nil, err
		}
		again := map[string][]string{} // by table, in one statement for all of its checks
		for key, expression := range current {
			if slices.Contains(forms[key], expression) {
				continue
			}
			forms[key] = append(forms[key], expression)
			name := identifier.Quote(key[1])
			again[key[0]] = append(again[key[0]], "DROP CONSTRAINT "+name+", ADD CONSTRAINT "+name+" CHECK ("+expression+")")
		}
		for table, changes := range again {
			if _, err := s.conn.ExecContext(ctx, "ALTER TABLE "+identifier.Quote(table)+" "+strings.Join(changes, ", ")); err != nil {
				return nil, script.Failure("look at the checks", err)
			}
		}
	}
	return forms, nil
}

func (s *scratch) checks(ctx context.Context) (_ map[[2]string]string, err error) {
	rows, err := s.conn.QueryContext(ctx, `SELECT relname, conname, pg_get_expr(conbin, conrelid) FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid
		WHERE contype = 'c' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())`)
	if err != nil {
		return nil, script.Failure("look at the checks", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := map[[2]string]string{}
	for rows.Next() {
		var key [2]string
		var expression string
		if err := rows.Scan(&key[0], &key[1], &expression); err != nil {
			return nil, err
		}
		found[key] = expression
	}
	return found, rows.Err()
}

// unify gives the checks of a schema the text that they have in the target, where both are forms of one expression.
func unify(from, target *schema.Schema, forms map[[2]string][]string) {
	for _, table := range target.Tables {
		live, ok := from.Table(table.Name)
		if !ok {
			continue
		}
		for _, attr := range table.Attrs {
			declared, ok := attr.(*schema.Check)
			if !ok {
				continue
			}
			for _, attr := range live.Attrs {
				check, ok := attr.(*schema.Check)
				if ok && check.Name == declared.Name && slices.Contains(forms[[2]string{table.Name, check.Name}], check.Expr) {
					check.Expr = declared.Expr
				}
			}
		}
	}
}
