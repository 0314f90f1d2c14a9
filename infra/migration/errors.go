package migration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/softbee/accounts/domain"
)

// StatementError says which statement of a migration failed. Its kind is [domain.ErrUnavailable] if the database was not
// there or a lock was not to be had; otherwise [domain.ErrPendingMigrations], since that is how the failure leaves it.
type StatementError struct {
	File       string
	Line       int // of the file, where the statement begins
	Statement  int // counted from 1
	Statements int // in the file
	SQL        string
	RolledBack bool  // what of the file had been executed; otherwise the next run continues with this statement
	Err        error // of the driver; its text may quote values
}

// Error tells the place and the reason, without values of rows.
func (e *StatementError) Error() string {
	after := fmt.Sprintf("%d of %d statements remain applied", e.Statement-1, e.Statements)
	if e.RolledBack {
		after = "the file was rolled back"
	}
	return fmt.Sprintf("migration %s, line %d: %s; %s", e.File, e.Line, reason(e.Err), after)
}

// Unwrap returns the kind and the driver's error.
func (e *StatementError) Unwrap() []error {
	kind := domain.ErrPendingMigrations
	if isUnavailable(e.Err) {
		kind = domain.ErrUnavailable
	}
	return []error{kind, e.Err}
}

// failure describes an error that is not about a statement of a migration.
func failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known *domain.Error
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case isUnavailable(err):
		return fmt.Errorf("%s: %w", doing, refuse(domain.ErrUnavailable, "%s", reason(err)))
	case sqlState(err) == "42501": // insufficient_privilege
		return fmt.Errorf("%s: %w", doing, refuse(domain.ErrUnavailable, "%s", reason(err)))
	}
	return fmt.Errorf("%s: %s", doing, reason(err))
}

// reason is what may be told of a driver's error: messages about names of tables, columns and constraints, but not
// PostgreSQL's class 22, data exceptions, which quote the value.
func reason(err error) string {
	var e interface {
		error
		SQLState() string
	}
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded.Error()
	case !errors.As(err, &e):
		return err.Error()
	case strings.HasPrefix(e.SQLState(), "22"):
		return "a value does not fit (" + e.SQLState() + ")"
	case strings.Contains(e.Error(), e.SQLState()):
		return e.Error()
	}
	return e.Error() + " (" + e.SQLState() + ")"
}

// sqlState returns the SQLSTATE of PostgreSQL's error, or "".
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) && len(e.SQLState()) == 5 {
		return e.SQLState()
	}
	return ""
}

// sqliteCode returns the primary result code of SQLite's error, or 0.
func sqliteCode(err error) int {
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isBusy reports SQLITE_BUSY and SQLITE_LOCKED.
func isBusy(err error) bool {
	code := sqliteCode(err)
	return code == 5 || code == 6
}

// isUnavailable reports that the fault is not in the statement.
func isUnavailable(err error) bool {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if code := sqlState(err); code != "" {
		// Connection, authorization, resources, operator intervention, system errors; locks.
		return slices.Contains([]string{"08", "28", "53", "57", "58"}, code[:2]) ||
			slices.Contains([]string{"25006", "3D000", "40001", "40P01", "55P03"}, code)
	}
	// BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, NOTADB
	return slices.Contains([]int{5, 6, 8, 10, 13, 14, 26}, sqliteCode(err))
}
