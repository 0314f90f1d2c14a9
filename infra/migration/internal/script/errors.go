package script

import (
	"errors"
	"fmt"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
)

// Refuse returns an error of a kind.
func Refuse(kind domain.Kind, format string, args ...any) error {
	return &domain.Error{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}

// Failure describes an error that is not about a statement of a migration. Its kind is [domain.ErrUnavailable], or
// [domain.ErrInternal] where trying again cannot help.
func Failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	if known := new(domain.Error); errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	refused := &domain.Error{Kind: domain.ErrInternal, Reason: Reason(err), Cause: fault.ContextError(err)}
	if IsUnavailable(err) {
		refused.Kind = domain.ErrUnavailable
	}
	return fmt.Errorf("%s: %w", doing, refused)
}

// Reason is what may be shown of a driver's error: messages about names of tables, columns and constraints, but not
// PostgreSQL's class 22, data exceptions, which quote the value.
func Reason(err error) string {
	var e interface {
		error
		SQLState() string
	}
	switch ended := fault.ContextError(err); {
	case ended != nil:
		return ended.Error()
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

// IsBusy reports SQLITE_BUSY and SQLITE_LOCKED.
func IsBusy(err error) bool {
	var e interface{ Code() int }
	return errors.As(err, &e) && (e.Code()&0xff == 5 || e.Code()&0xff == 6)
}

// IsUnavailable reports that the fault is not in the statement.
func IsUnavailable(err error) bool {
	class := fault.Of(err).Class
	return class == fault.Unavailable || class == fault.Conflict
}
