package migration

import (
	"fmt"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// StatementError says which statement of a migration failed. Its kind is [domain.ErrUnavailable] if the database was not
// there or a lock was not to be had; otherwise [domain.ErrPendingMigrations], since that is how the failure leaves it.
type StatementError struct {
	File       string
	Line       int // of the file, where the statement begins
	Statement  int // counted from 1
	Statements int // in the file
	SQL        string
	Applied    int   // statements of the file that remain applied; the next run continues behind them
	RolledBack bool  // the file is one transaction, and none of it remains
	Err        error // of the driver; its text may quote values
}

// Error tells the place and the reason, without values of rows.
func (e *StatementError) Error() string {
	after := fmt.Sprintf("%d of %d statements remain applied", e.Applied, e.Statements)
	switch {
	case e.RolledBack:
		after = "the file was rolled back"
	case e.Applied < e.Statement-1:
		after = "its transaction was rolled back; " + after
	}
	return fmt.Sprintf("migration %s, line %d: %s; %s", e.File, e.Line, script.Reason(e.Err), after)
}

// Unwrap returns the kind and the driver's error.
func (e *StatementError) Unwrap() []error {
	kind := domain.ErrPendingMigrations
	if script.IsUnavailable(e.Err) {
		kind = domain.ErrUnavailable
	}
	return []error{kind, e.Err}
}
