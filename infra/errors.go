package infra

import (
	"context"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
)

// Diagnosis is what a database's error means to the store. It holds no text of the driver, which may quote values.
type Diagnosis struct {
	Fault      Fault
	Constraint string // with UniqueFault and CheckFault: its name, as PostgreSQL names it
	Code       string // SQLSTATE or SQLite's extended result code
}

// Fault is a class of database errors.
type Fault int

// The faults that the store tells apart.
const (
	NoFault          Fault = iota // not an error of the database
	OtherFault                    // an error that has no meaning of its own here
	UniqueFault                   // a unique constraint
	CheckFault                    // a check, or a value that its column cannot hold
	SchemaFault                   // a table or a column is not there
	UnavailableFault              // unreachable, shut down, read-only, full, or busy for too long
)

// uniqueFields names the field of each unique constraint.
var uniqueFields = map[string]string{
	"users_email_key":              "email",
	"users_username_key":           "username",
	"users_phone_key":              "phone",
	"users_reset_token_key":        "reset_token",
	"users_verification_token_key": "verification_token",
}

// checkFields names the field of each check.
var checkFields = map[string]string{
	"users_email_check":                 "email",
	"users_username_check":              "username",
	"users_refresh_tokens_check":        "refresh_tokens",
	"users_failed_login_attempts_check": "failed_login_attempts",
	"users_version_check":               "version",
}

// failure turns any error below the store into one of the domain. op says what the store was about to do.
func (s *Store) failure(ctx context.Context, op string, err error) error {
	// A statement that was cancelled fails in many ways; the reason is the context's.
	if ended := endOf(ctx); ended != nil {
		return wrap(op, ended)
	}
	if ent.IsNotFound(err) {
		return wrap(op, notFound())
	}
	diagnosis := s.database.Diagnose(err)
	switch diagnosis.Fault {
	case UniqueFault:
		return wrap(op, uniqueViolation(diagnosis.Constraint))
	case CheckFault:
		field := checkFields[diagnosis.Constraint]
		return wrap(op, &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: "is refused by the database"})
	case SchemaFault:
		return wrap(op, &domain.Error{
			Kind:   domain.ErrPendingMigrations,
			Reason: "the database lacks a table or a column (" + diagnosis.Code + "); run: accounts migrate up",
		})
	case UnavailableFault:
		return wrap(op, &domain.Error{Kind: domain.ErrUnavailable, Reason: "the database is not available (" + diagnosis.Code + ")"})
	case OtherFault:
		return wrap(op, &domain.Error{Kind: domain.ErrUnavailable, Reason: "the database refuses the statement (" + diagnosis.Code + ")"})
	case NoFault:
	}
	return wrap(op, err)
}

// endOf is ctx.Err, and does not wait for the timer: a dial that was given the context's deadline can fail just before that.
func endOf(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func uniqueViolation(constraint string) error {
	if field, ok := uniqueFields[constraint]; ok {
		return collision(field)
	}
	return collision("id")
}

// collision is the error of a value in a unique column that another account has.
func collision(column string) error {
	if column == "id" {
		return idExists()
	}
	return &domain.Error{Kind: domain.ErrTaken, Field: column, Reason: "is taken by another account"}
}

func idExists() error {
	return &domain.Error{Kind: domain.ErrConflict, Field: "id", Reason: "exists already"}
}
