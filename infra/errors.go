package infra

import (
	"context"
	"errors"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
)

// uniqueFields names the field of each unique constraint: PostgreSQL's name, and SQLite's.
var uniqueFields = map[string]string{
	"users_pkey":                    "id",
	"users_email_key":               "email",
	"users_username_key":            "username",
	"users_phone_key":               "phone",
	"users_reset_token_key":         "reset_token",
	"users_verification_token_key":  "verification_token",
	"identities_issuer_subject_key": "identity",
	"users.id":                      "id",
	"users.email":                   "email",
	"users.username":                "username",
	"users.phone":                   "phone",
	"users.reset_token":             "reset_token",
	"users.verification_token":      "verification_token",
	"identities.issuer":             "identity",
}

// checkFields names the field of each check.
var checkFields = map[string]string{
	"users_id_check":                        "id",
	"users_email_check":                     "email",
	"users_pending_email_check":             "pending_email",
	"users_username_check":                  "username",
	"users_last_login_check":                "last_login",
	"users_refresh_tokens_check":            "refresh_tokens",
	"users_failed_login_attempts_check":     "failed_login_attempts",
	"users_locked_until_check":              "locked_until",
	"users_reset_token_expiry_check":        "reset_token_expiry",
	"users_verification_token_expiry_check": "verification_token_expiry",
	"users_phone_code_expiry_check":         "phone_code_expiry",
	"users_phone_code_attempts_check":       "phone_code_attempts",
	"users_phone_verified_at_check":         "phone_verified_at",
	"users_version_check":                   "version",
	"users_created_at_check":                "created_at",
	"users_updated_at_check":                "updated_at",
	"users_hashed_password_check":           "hashed_password",
	"users_first_name_check":                "first_name",
	"users_last_name_check":                 "last_name",
	"users_phone_check":                     "phone",
	"users_is_active_check":                 "is_active",
	"users_is_verified_check":               "is_verified",
	"users_reset_token_check":               "reset_token",
	"users_verification_token_check":        "verification_token",
	"users_phone_code_check":                "phone_code",
	"identities_issuer_check":               "issuer",
	"identities_subject_check":              "subject",
	"identities_created_at_check":           "created_at",
	"identities_last_used_at_check":         "last_used_at",
	"account_events_account_id_check":       "account_id",
	"account_events_request_id_check":       "request_id",
	"account_events_client_check":           "client",
	"account_events_actor_check":            "actor",
	"account_events_kind_check":             "kind",
	"account_events_occurred_at_check":      "occurred_at",
}

// notDoneError is an error before anything was sent to the database that could change it.
type notDoneError struct{ error }

func (e notDoneError) Unwrap() error { return e.error }

// SafeToRetry tells it to the classification of errors, as pgx does.
func (notDoneError) SafeToRetry() bool { return true }

const (
	commitOp       = "commit"
	outcomeUnknown = "; the outcome is unknown"
)

// failure turns any error below the store into one of the domain. op says what the store was about to do. Every error has a kind, and
// none has text of the driver, which may quote values.
func (r *repository) failure(ctx context.Context, op string, err error) error {
	known := new(domain.Error)
	isKnown := errors.As(err, &known)
	if isKnown && (known.Cause != nil || endOf(ctx) == nil) {
		return wrap(op, err)
	}
	f := fault.Of(err)
	f.Unknown = f.Unknown && !isKnown || known.Unknown
	// What a statement in a transaction did is decided by the commit.
	refused := &domain.Error{Kind: f.Kind(), Unknown: f.Unknown && (!r.inside || op == commitOp)}
	// A statement that was cancelled fails in many ways; the reason is the context's.
	if ended := endOf(ctx); ended != nil {
		refused.Kind, refused.Reason, refused.Cause = domain.ErrUnavailable, ended.Error(), ended
		if refused.Unknown {
			refused.Reason += outcomeUnknown
		}
		return wrap(op, refused)
	}
	switch f.Class {
	case fault.Unique:
		return wrap(op, collision(f.Constraint))
	case fault.Check:
		refused.Field, refused.Reason = checkFields[f.Constraint], "is refused by the database"
		if refused.Field == "" {
			refused.Field = f.Constraint
		}
		if f.Column != "" {
			refused.Field = f.Column
		}
	case fault.Refused:
		refused.Reason = "a trigger of the database refuses the change (" + f.Where + ")"
	case fault.Referenced:
		refused.Reason = "another table refers to the account"
		if f.Constraint != "" {
			refused.Reason = "the foreign key " + f.Constraint + " refers to the account"
		}
	case fault.Schema:
		refused.Reason = "the database lacks a table or a column (" + f.Where + "); accounts migrate status says whether it is older or newer than this program"
	case fault.Conflict:
		refused.Reason = "conflicts with a concurrent transaction (" + f.Where + ")"
		return wrap(op, retryable{refused})
	case fault.Unavailable:
		refused.Reason = "the database is not available (" + f.Where + ")"
		if r.name != "" {
			refused.Reason = "the database " + r.name + " is not available (" + f.Where + ")"
		}
		if refused.Unknown {
			refused.Reason += outcomeUnknown
		}
	case fault.Other:
		refused.Reason = "the database refuses the statement (" + f.Where + ")"
		if f.Aborted {
			refused.Reason = "a statement before it in the transaction failed; nothing is stored"
		}
	}
	return wrap(op, refused)
}

// ConnectFailure is the error of a connection that could not be made. It is for the packages of the drivers.
func ConnectFailure(ctx context.Context, err error) error {
	if ended := endOf(ctx); ended != nil {
		return &domain.Error{Kind: domain.ErrUnavailable, Field: "database", Reason: ended.Error(), Cause: ended}
	}
	if known := new(domain.Error); errors.As(err, &known) {
		return err
	}
	f := fault.Of(err)
	refused := &domain.Error{Kind: domain.ErrUnavailable, Field: "database", Reason: "cannot be reached"}
	switch {
	case f.Code != "":
		refused.Reason = "refuses the connection (" + f.Where + ")"
	case f.Class == fault.Other: // such as a setting that the server does not have
		refused.Kind, refused.Reason = domain.ErrInternal, "cannot be connected to with these settings ("+f.Where+")"
	}
	return refused
}

// endOf is ctx.Err, and does not wait for the timer: a dial that was given the context's deadline can fail just before that.
func endOf(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// collision is the error of a value that another row has already, by the name of the constraint, or the column, that is unique. One that is
// not the store's, such as an index of the application, is named itself.
func collision(constraint string) error {
	field, ok := uniqueFields[constraint]
	switch {
	case !ok:
		field = constraint
	case field == "id":
		return idExists()
	}
	return &domain.Error{Kind: domain.ErrTaken, Field: field, Reason: "is taken by another account"}
}

func idExists() error {
	return &domain.Error{Kind: domain.ErrConflict, Field: "id", Reason: "exists already"}
}
