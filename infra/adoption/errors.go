package adoption

import (
	"context"
	"errors"
	"fmt"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
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
	if err == nil {
		return nil
	}
	if known := new(domain.Error); errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	f := fault.Of(err)
	refused := domain.Error{Kind: domain.ErrConflict, Reason: err.Error()}
	switch f.Class {
	case fault.Unavailable, fault.Conflict:
		refused.Kind = domain.ErrUnavailable
	case fault.Other:
		refused.Kind = domain.ErrInternal
	}
	switch {
	case f.Code == "":
		refused.Reason = "the database cannot be reached"
		if f.Class == fault.Other {
			refused.Reason = "an unexpected error (" + f.Where + ")"
		}
	case len(f.Code) == 5 && f.Code[:2] == "22":
		refused.Reason = "a value does not fit (SQLSTATE " + f.Code + ")"
	}
	if ended := fault.ContextError(err); ended != nil {
		refused.Reason, refused.Cause = ended.Error(), ended
	}
	return fmt.Errorf("%s: %w", doing, &databaseError{refused, f.Code})
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
		return failure("adopt", ctx.Err())
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

// isLockTimeout tells whether trying again may help: lock_not_available, deadlock_detected.
func isLockTimeout(err error) bool {
	code := sqlState(err)
	return code == "55P03" || code == "40P01"
}
