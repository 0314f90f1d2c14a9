package adoption

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/softbee/accounts/domain"
)

// errBlocked wraps the refusals that the report of the rows explains.
var errBlocked = errors.New("rows cannot be kept")

type blocked struct{ refusal error }

func (b blocked) Error() string   { return b.refusal.Error() }
func (b blocked) Unwrap() []error { return []error{b.refusal, errBlocked} }

func refuse(kind domain.Kind, field, reason string) error {
	return &domain.Error{Kind: kind, Field: field, Reason: reason}
}

// failure describes an error of the database. PostgreSQL's messages name tables, columns and constraints, but those of class
// 22, data exceptions, quote values and are not repeated.
func failure(doing string, err error) error {
	var known *domain.Error
	code := sqlState(err)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case code == "" && isConnection(err):
		return fmt.Errorf("%s: %w", doing, refuse(domain.ErrUnavailable, "", "the database cannot be reached"))
	case code == "":
		return fmt.Errorf("%s: %w", doing, err)
	}
	reason := err.Error()
	if code[:2] == "22" {
		reason = "a value does not fit (SQLSTATE " + code + ")"
	}
	kind := domain.ErrConflict
	if slices.Contains([]string{"08", "28", "40", "53", "55", "57", "58"}, code[:2]) || code == "42501" { // insufficient_privilege
		kind = domain.ErrUnavailable
	}
	return fmt.Errorf("%s: %w", doing, &databaseError{domain.Error{Kind: kind, Reason: reason}, code})
}

// databaseError is a refusal that came from the database.
type databaseError struct {
	refusal domain.Error
	code    string
}

func (e *databaseError) Error() string    { return e.refusal.Error() }
func (e *databaseError) Unwrap() error    { return &e.refusal }
func (e *databaseError) SQLState() string { return e.code }

// interrupted returns the error of ctx if that has ended: a statement that it cuts off fails in many ways.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("adopt: %w", ctx.Err())
	}
	return err
}

func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) && len(e.SQLState()) == 5 {
		return e.SQLState()
	}
	return ""
}

func isConnection(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, sql.ErrConnDone)
}

// isLockTimeout tells whether trying again may help: lock_not_available, deadlock_detected.
func isLockTimeout(err error) bool {
	code := sqlState(err)
	return code == "55P03" || code == "40P01"
}
