package domain

import (
	"context"
	"time"
)

// PhoneStore confirms telephone numbers by a short code, which the owner of the number types.
type PhoneStore interface {
	// IssuePhoneCode stores the digest of a code and replaces an earlier one. The code belongs to the number of the account that is returned by the
	// same statement. It returns ErrNotFound, ErrInactive, or ErrInvalid on the field "phone" if the account has no number.
	IssuePhoneCode(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// ConsumePhoneCode confirms the number if that is the digest of the account's code. Every call counts as an attempt, concurrent ones too, until
	// the code was used: after [MaxPhoneCodeAttempts] none is accepted before another code is issued. It is idempotent: until another code is issued
	// or this one is dropped, further calls with the right code return the account with Already set, and change nothing. It returns ErrNotFound, ErrInactive, ErrTokenExpired, or ErrTokenInvalid on the field "code".
	ConsumePhoneCode(ctx context.Context, id ID, digest TokenDigest) (PhoneConfirmation, error)

	// CancelPhoneCode drops the code, if there is one. A confirmation stays. It returns ErrNotFound.
	CancelPhoneCode(ctx context.Context, id ID) (*User, error)
}

// PhoneConfirmation is the outcome of a confirmed telephone number.
type PhoneConfirmation struct {
	User    *User
	Phone   Phone // the number that was confirmed
	Already bool  // it was confirmed before, with the same code
}
