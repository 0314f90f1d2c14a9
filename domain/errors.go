package domain

import (
	"errors"
	"strings"
	"time"
)

// Kind is the kind of an error, a word that programs may depend on. A Kind is itself an error, so that errors.Is(err, domain.ErrTaken) works through
// every layer that wraps with %w.
type Kind string //nolint:errname // it is a kind of error first; its constants have the names of errors

// The kinds of error. No method returns a Kind bare where there is more to say: see [Error].
const (
	ErrInvalid           Kind = "invalid"            // a value breaks a rule; Error names the field and the rule
	ErrTaken             Kind = "taken"              // another account holds this e-mail, username, phone or identity
	ErrNotFound          Kind = "not_found"          // no such account
	ErrConflict          Kind = "conflict"           // the account was changed concurrently; read it again
	ErrReferenced        Kind = "referenced"         // a row of another table refers to the account, which therefore stays
	ErrBadCredentials    Kind = "bad_credentials"    // no such account, or a wrong password: the error does not say which
	ErrLocked            Kind = "locked"             // too many failed sign-ins; Error.Until says until when
	ErrInactive          Kind = "inactive"           // the account was deactivated
	ErrTokenInvalid      Kind = "token_invalid"      // not a token, or not one that is stored
	ErrTokenExpired      Kind = "token_expired"      // an expired token
	ErrTokenReused       Kind = "token_reused"       // a refresh token that was rotated before: its session is revoked
	ErrPendingMigrations Kind = "pending_migrations" // the database lacks what the program needs: it is older, or has lost a column to a newer one
	ErrChecksum          Kind = "checksum"           // a migration file or its record was edited, or is unknown to the program
	ErrDrift             Kind = "drift"              // the live schema is not the declared one
	ErrUnavailable       Kind = "unavailable"        // the database is unreachable, read-only, full or too slow: trying again can help
	ErrInternal          Kind = "internal"           // a defect or a setting, such as a privilege that is missing: trying again cannot help
	ErrUsage             Kind = "usage"              // a command line with wrong arguments
)

// Error returns the kind's word.
func (k Kind) Error() string { return string(k) }

// Error is an error with a kind and its detail. Its text has field names and rules, never a password, a hash, a token or the text of a database driver.
type Error struct {
	Kind   Kind
	Field  string    // the column or argument concerned; empty when there is none
	Reason string    // for people, in English
	Until  time.Time // with ErrLocked: when the lock ends
	Cause  error     // with ErrUnavailable: the error of the context, if that has ended; not part of the text

	// Unknown means, with ErrUnavailable, that the outcome is unknown: the change may have been made, or may still be. Without it nothing was changed,
	// and the call can be repeated.
	Unknown bool
}

// Error returns "field: reason", or the part of it that is set.
func (e *Error) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = strings.ReplaceAll(string(e.Kind), "_", " ")
	}
	if e.Field == "" {
		return reason
	}
	return e.Field + ": " + reason
}

// Unwrap makes errors.Is true for the kind, and for the cause where there is one.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// KindOf returns the kind of err, or "" if no error in its chain has one.
func KindOf(err error) Kind {
	var kind Kind
	if errors.As(err, &kind) {
		return kind
	}
	return ""
}

// OutcomeUnknown reports whether a change that failed with err may have been made nevertheless: the reply was lost, or came after the end of the context.
// Repeat what is idempotent: Create with the same account returns [ErrConflict] on the field "id" if the first one was stored. A find shows the change too,
// but also where no standby has it, and a failover would undo it.
func OutcomeUnknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Unknown
}

func invalid(field, reason string) error {
	return &Error{Kind: ErrInvalid, Field: field, Reason: reason}
}
