package plan

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

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
		return "the database is not as declared: 1 statement leads there"
	}
	return fmt.Sprintf("the database is not as declared: %d statements lead there", len(e.Statements))
}

// Unwrap returns [domain.ErrDrift].
func (*DriftError) Unwrap() error { return domain.ErrDrift }

// Comparison is how a database and a declared schema stand.
type Comparison struct {
	Difference []string // SQL that leads from the database to what is declared
	// Additional is what an application has added to our tables, or beside them in their schema, in words. It is no difference.
	Additional []string
}

// Verify is [Compare] with a [*DriftError] if there is a difference.
func Verify(ctx context.Context, runner *migration.Runner, desired string, dev Dev) error {
	found, err := Compare(ctx, runner, desired, dev)
	if err == nil && len(found.Difference) > 0 {
		return &DriftError{found.Difference}
	}
	return err
}

// Compare compares the database with a desired state, given as CREATE statements. It compares what is declared: columns with type,
// NULL, default and collation; keys, indexes, checks; on PostgreSQL also storage parameters, whether a table is logged, and whether
// indexes and constraints are valid; and the triggers and functions that the runner's files make on what is declared. All else is additional.
//
// Of a database that a later release has migrated, a difference says nothing: that is a [domain.ErrChecksum].
//
// It changes nothing. To see what the desired state makes, it executes it in a database from dev. On PostgreSQL dev may
// be nil: then it is executed in the schema of the history, in a transaction that is rolled back, which needs the right to
// create tables there.
func Compare(ctx context.Context, runner *migration.Runner, desired string, dev Dev) (found Comparison, err error) {
	found = Comparison{Difference: []string{}, Additional: []string{}}
	err = runner.Inspect(ctx, func(s *migration.Connection) error {
		d, err := databaseOf(s.Dialect())
		if err != nil {
			return err
		}
		var target *schema.Schema
		var storage map[string]storage
		var forms map[[2]string][]string
		var routines []definition
		made := routinesOf(runner.Statements())
		err = layOut(ctx, s, d, dev, func(place *scratch) (err error) {
			if err := place.executeText(ctx, desired); err != nil {
				return err
			}
			if storage, err = d.storage(ctx, place.conn); err != nil {
				return err
			}
			if target, err = place.inspect(ctx); err != nil {
				return err
			}
			if forms, err = place.forms(ctx); err != nil {
				return err
			}
			routines, err = place.makeRoutines(ctx, made)
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
		on := prune(live, target)
		unify(live, target, forms)
		beside, err := additionalObjects(ctx, s, target)
		if err != nil {
			return err
		}
		beside = slices.DeleteFunc(beside, func(word string) bool {
			return slices.ContainsFunc(made, func(r routine) bool {
				if r.kind == "trigger" {
					return word == "trigger "+r.name+" of "+r.table
				}
				return word == "function "+r.name
			})
		})
		found.Additional = append(append(found.Additional, on...), beside...)
		changes, err := difference(driver, live, target)
		if err != nil {
			return err
		}
		if d.dialect == SQLite {
			if changes, err = addCollated(ctx, s, changes, live, target); err != nil {
				return err
			}
		}
		if found.Difference, err = planStatements(ctx, driver, changes); err != nil {
			return err
		}
		if d.dialect == Postgres {
			unfinished, err := unfinished(ctx, s, target)
			if err != nil {
				return err
			}
			stored, err := d.storage(ctx, s.Conn())
			if err != nil {
				return err
			}
			found.Difference = append(append(found.Difference, unfinished...), storageChanges(stored, storage)...)
		} else if found.Difference, err = carrying(ctx, s, found.Difference, script.Made{}); err != nil {
			return err
		}
		defined, err := d.definitions(ctx, s.Conn())
		found.Difference = append(found.Difference, routineChanges(defined, routines)...)
		return err
	})
	if err != nil || len(found.Difference) == 0 {
		return found, err
	}
	status, err := runner.Status(ctx)
	if err == nil && len(status.Unknown) > 0 {
		err = script.Refuse(domain.ErrChecksum, "the database differs, but is at %s, which this program does not know: ask the newer one", status.Current)
	}
	return found, err
}

var collate = regexp.MustCompile(`(?i)\bCOLLATE\b`)

// addCollated adds the columns of SQLite that have a collation, which Atlas does not read: ours have none.
func addCollated(
	ctx context.Context, s *migration.Connection, changes []schema.Change, live, target *schema.Schema,
) ([]schema.Change, error) {
	for _, table := range live.Tables {
		var create string
		if err := s.Conn().QueryRowContext(ctx, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1", table.Name).Scan(&create); err != nil {
			return nil, script.Failure("look for collations", err)
		}
		declared, _ := target.Table(table.Name)
		columns := script.Columns(create)
		for _, from := range table.Columns {
			if to, ok := declared.Column(from.Name); ok && collate.MatchString(columns[strings.ToLower(from.Name)]) {
				changes = addTypeChange(changes, declared, from, to)
			}
		}
	}
	return changes, nil
}

// carrying adds to statements what keeps an application's objects where a table of SQLite is made again.
func carrying(ctx context.Context, s *migration.Connection, statements []string, made script.Made) ([]string, error) {
	before, after, err := script.Carry(ctx, s.Conn(), statements, made)
	if err != nil || len(before) == 0 {
		return statements, err
	}
	terminated := func(texts []string) []string {
		for i, text := range texts {
			texts[i] = strings.TrimSuffix(text, ";") + ";"
		}
		return texts
	}
	return slices.Concat(terminated(before), statements, terminated(after)), nil
}

// layOut calls work with an empty place: in a database from dev or, on PostgreSQL without one, in the connection's own.
func layOut(ctx context.Context, s *migration.Connection, d database, dev Dev, work func(*scratch) error) error {
	if d.dialect == Postgres && dev == nil {
		return withinHistory(ctx, s, d, work)
	}
	return withScratch(ctx, d, dev, work)
}

// unfinished returns the statements that finish what exists by name only: indexes that a broken CREATE INDEX CONCURRENTLY has
// left invalid, and constraints that were never validated or are checked late. Atlas does not tell them from others.
func unfinished(ctx context.Context, s *migration.Connection, target *schema.Schema) (statements []string, err error) {
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
		UNION ALL
		SELECT t.relname, c.conname, CASE c.contype WHEN 'f' THEN format('ALTER TABLE %I ALTER CONSTRAINT %I NOT DEFERRABLE;', t.relname, c.conname)
			ELSE format('ALTER TABLE %I DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %s;', t.relname, c.conname,
				regexp_replace(pg_get_constraintdef(c.oid), ' DEFERRABLE.*', '')) END
		FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
		JOIN pg_namespace n ON n.oid = t.relnamespace
		WHERE c.condeferrable AND n.nspname = $1
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
	primaryKey := t.PrimaryKey != nil && t.PrimaryKey.Name == name
	return index || foreignKey || primaryKey || slices.ContainsFunc(t.Attrs, func(a schema.Attr) bool {
		check, ok := a.(*schema.Check)
		return ok && check.Name == name
	})
}
