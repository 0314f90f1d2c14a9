package script

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

// Refuse returns an error of a kind.
func Refuse(kind domain.Kind, format string, args ...any) error {
	return &domain.Error{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}

// Failure describes an error that is not about a statement of a migration.
func Failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known *domain.Error
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case IsUnavailable(err):
		return fmt.Errorf("%s: %w", doing, Refuse(domain.ErrUnavailable, "%s", Reason(err)))
	case SQLState(err) == "42501": // insufficient_privilege
		return fmt.Errorf("%s: %w", doing, Refuse(domain.ErrUnavailable, "%s", Reason(err)))
	}
	return fmt.Errorf("%s: %s", doing, Reason(err))
}

// Reason is what may be told of a driver's error: messages about names of tables, columns and constraints, but not
// PostgreSQL's class 22, data exceptions, which quote the value.
func Reason(err error) string {
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

// SQLState returns the SQLSTATE of PostgreSQL's error, or "".
func SQLState(err error) string {
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

// IsBusy reports SQLITE_BUSY and SQLITE_LOCKED.
func IsBusy(err error) bool {
	code := sqliteCode(err)
	return code == 5 || code == 6
}

// IsUnavailable reports that the fault is not in the statement.
func IsUnavailable(err error) bool {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if code := SQLState(err); code != "" {
		// Connection, authorization, resources, operator intervention, system errors; locks.
		return slices.Contains([]string{"08", "28", "53", "57", "58"}, code[:2]) ||
			slices.Contains([]string{"25006", "3D000", "40001", "40P01", "55P03"}, code)
	}
	// BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, NOTADB
	return slices.Contains([]int{5, 6, 8, 10, 13, 14, 26}, sqliteCode(err))
}
