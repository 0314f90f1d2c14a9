package migration

import (
	"context"
	"fmt"

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
	return r.withSession(ctx, defaultLockTimeout, func(s *session) error {
		var target *schema.Schema
		lay := func(place *scratch) (err error) {
			if err := place.executeText(ctx, "the desired state", desired); err != nil {
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
		if err != nil || len(changes) == 0 {
			return err
		}
		p, err := plan(ctx, s.driver, "", "  ", changes)
		if err != nil {
			return err
		}
		return &DriftError{commands(p)}
	})
}
