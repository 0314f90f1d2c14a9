package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// DriftError says how a database differs from the declared schema. It is a [domain.ErrDrift].
type DriftError struct {
	Statements []string // SQL that leads from the database to the declaration
}

// Error tells the number of differences.
func (e *DriftError) Error() string {
	if len(e.Statements) == 1 {
		return "the database is not as declared: 1 statement would mend it"
	}
	return fmt.Sprintf("the database is not as declared: %d statements would mend it", len(e.Statements))
}

// Unwrap returns [domain.ErrDrift].
func (*DriftError) Unwrap() error { return domain.ErrDrift }

// Verify compares the database with a desired state, given as CREATE statements, and returns nil or a [*DriftError]. It
// compares what Atlas inspects of the tables in the desired state: columns with type, NULL, default and collation; keys,
// indexes, checks. Other tables are not its concern, nor are storage parameters.
//
// Verify changes nothing. To see what the desired state makes, it executes it in a database from dev. On PostgreSQL dev may
// be nil: then it is executed in the schema of the history, in a transaction that is rolled back, which needs the right to
// create tables there.
func Verify(ctx context.Context, runner *migration.Runner, desired string, dev Dev) error {
	return runner.Inspect(ctx, func(s *migration.Session) error {
		d, err := databaseOf(s.Dialect())
		if err != nil {
			return err
		}
		var target *schema.Schema
		err = layOut(ctx, s, d, dev, func(place *scratch) (err error) {
			if err := place.executeText(ctx, desired); err != nil {
				return err
			}
			target, err = place.inspect(ctx)
			return err
		})
		if err != nil {
			return err
		}

		driver, err := d.driver(s.Conn())
		if err != nil {
			return script.Failure("inspect the database", err)
		}
		live, err := inspect(ctx, driver, tableNames(target)...)
		if err != nil {
			return err
		}
		changes, err := difference(driver, live, target)
		if err != nil {
			return err
		}
		statements, err := planStatements(ctx, driver, changes)
		if err != nil {
			return err
		}
		if d.dialect == Postgres {
			unfinished, err := unfinished(ctx, s, target)
			if err != nil {
				return err
			}
			statements = append(statements, unfinished...)
		}
		if len(statements) == 0 {
			return nil
		}
		return &DriftError{statements}
	})
}

// layOut calls work with an empty place: in a database from dev or, on PostgreSQL without one, in the session's own.
func layOut(ctx context.Context, s *migration.Session, d database, dev Dev, work func(*scratch) error) error {
	if d.dialect == Postgres && dev == nil {
		return withinHistory(ctx, s, d, work)
	}
	return withScratch(ctx, d, dev, work)
}

// unfinished returns the statements that finish what exists by name only: indexes that a broken CREATE INDEX CONCURRENTLY has
// left invalid, and constraints that were never validated. Atlas does not tell them from others.
func unfinished(ctx context.Context, s *migration.Session, target *schema.Schema) (statements []string, err error) {
	rows, err := s.Conn().QueryContext(ctx, `
		SELECT t.relname, i.relname, format('REINDEX INDEX CONCURRENTLY %I;', i.relname)
		FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
		JOIN pg_namespace n ON n.oid = t.relnamespace
		WHERE NOT x.indisvalid AND n.nspname = $1
		UNION ALL
		SELECT t.relname, c.conname, format('ALTER TABLE %I VALIDATE CONSTRAINT %I;', t.relname, c.conname)
		FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
		JOIN pg_namespace n ON n.oid = t.relnamespace
		WHERE NOT c.convalidated AND n.nspname = $1
		ORDER BY 1, 2`, s.Tables())
	if err != nil {
		return nil, script.Failure("look for invalid indexes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var table, name, statement string
		if err := rows.Scan(&table, &name, &statement); err != nil {
			return nil, err
		}
		if declared, ok := target.Table(table); ok && declares(declared, name) {
			statements = append(statements, statement)
		}
	}
	return statements, rows.Err()
}

// declares reports whether a table has an index or a constraint of that name. One that it has not is to be dropped anyway.
func declares(t *schema.Table, name string) bool {
	_, index := t.Index(name)
	_, foreignKey := t.ForeignKey(name)
	return index || foreignKey || slices.ContainsFunc(t.Attrs, func(a schema.Attr) bool {
		check, ok := a.(*schema.Check)
		return ok && check.Name == name
	})
}
