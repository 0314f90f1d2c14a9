package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
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
// be nil: then it is executed in a schema of its own, in a transaction that is rolled back, which needs the right to create
// schemas.
func (r *Runner) Verify(ctx context.Context, desired string, dev Dev) error {
	return r.withSession(ctx, defaultLimits.lockTimeout, func(s *session) error {
		var target *schema.Schema
		lay := func(place *scratch) (err error) {
			if err := place.executeText(ctx, desired); err != nil {
				return err
			}
			target, err = inspect(ctx, place.driver)
			return err
		}
		var err error
		if r.database.dialect == Postgres && dev == nil {
			err = s.rolledBack(ctx, func() error { return s.withScratchSchema(ctx, lay) })
		} else {
			err = withScratch(ctx, r.database, dev, lay)
		}
		if err != nil {
			return err
		}

		live, err := inspect(ctx, s.driver, tableNames(target)...)
		if err != nil {
			return err
		}
		changes, err := difference(s.driver, live, target)
		if err != nil {
			return err
		}
		statements, err := planStatements(ctx, s.driver, changes)
		if err != nil {
			return err
		}
		if r.database.dialect == Postgres {
			unfinished, err := s.unfinished(ctx, target)
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

// unfinished returns the statements that finish what exists by name only: indexes that a broken CREATE INDEX CONCURRENTLY has
// left invalid, and constraints that were never validated. Atlas does not tell them from others.
func (s *session) unfinished(ctx context.Context, target *schema.Schema) (statements []string, err error) {
	rows, err := s.conn.QueryContext(ctx, `
		SELECT t.relname, i.relname, format('REINDEX INDEX CONCURRENTLY %I;', i.relname)
		FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
		WHERE NOT x.indisvalid AND t.relnamespace = current_schema()::regnamespace
		UNION ALL
		SELECT t.relname, c.conname, format('ALTER TABLE %I VALIDATE CONSTRAINT %I;', t.relname, c.conname)
		FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
		WHERE NOT c.convalidated AND t.relnamespace = current_schema()::regnamespace
		ORDER BY 1, 2`)
	if err != nil {
		return nil, failure("look for invalid indexes", err)
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
