package domain

import (
	"context"
	"time"
)

// CredentialStore stores passwords, locks, resets and changes of address. The rules of signing in are in [Authenticator], which calls it.
type CredentialStore interface {
	// RecordFailure counts a failed sign-in, up to [MaxFailedLoginAttempts], and locks the account when the policy's number of
	// consecutive ones is reached. The first failure after a lock has ended counts as one. While a lock is in force nothing is counted
	// and ErrLocked is returned, with its end. An inactive account's failures count too.
	RecordFailure(ctx context.Context, id ID, policy LockPolicy) (*User, error)

	// RecordSuccess resets the counter, clears the lock, sets last_login and, unless better is absent, stores it in place of the hash that was
	// checked. It changes nothing if the account is gone (ErrNotFound), has another hash than the checked one (ErrConflict), is locked (ErrLocked) or
	// inactive (ErrInactive). [NoPassword] as checked is ErrConflict: it never verifies.
	//
	// It returns the time that it stored, and no account: the caller has read that already, and returning it again would take a fifth of the
	// statement's time.
	RecordSuccess(ctx context.Context, id ID, checked, better PasswordHash) (time.Time, error)

	// SetPassword stores another hash, ends all sessions but keep, drops the pending address, one-time tokens and code, and clears counter and lock.
	// The zero SessionID keeps none. Unless checked is absent, it is compared with the stored hash, and ErrConflict is returned where they differ.
	// With [NoPassword] as checked it adds a password once; as hash it is ErrInvalid.
	SetPassword(ctx context.Context, id ID, checked, hash PasswordHash, keep SessionID) (*User, error)

	// Unlock clears the counter and the lock.
	Unlock(ctx context.Context, id ID) (*User, error)

	// LockUntil locks the account until a time, in place of an earlier lock; the counter stays. It returns ErrInvalid on the field "locked_until" for
	// the zero time. Like every lock it ends when the password is set or reset: to forbid sign-ins for good, use Deactivate.
	LockUntil(ctx context.Context, id ID, until time.Time) (*User, error)

	// IssueReset stores the digest of a reset token and replaces an earlier one. The token belongs to the address of the account that is returned by
	// the same statement. It returns ErrInactive.
	IssueReset(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelReset drops the reset token, if there is one.
	CancelReset(ctx context.Context, id ID) (*User, error)

	// ConsumeReset finds the account by the digest of its reset token and does what SetPassword does. It also marks the address as verified, since
	// the token was sent there. Of several calls with one token one succeeds. It returns ErrTokenInvalid or ErrTokenExpired, and then changes
	// nothing.
	ConsumeReset(ctx context.Context, digest TokenDigest, hash PasswordHash) (*User, error)

	// RequestEmail does what [User.RequestEmail] does, and stores the digest of a verification token, which belongs to the pending address. It
	// returns ErrTaken if another account has that address, ErrInvalid or ErrInactive. The address is not reserved: another account may get it
	// before it is confirmed.
	RequestEmail(ctx context.Context, id ID, email Email, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelEmail does what [User.CancelEmail] does.
	CancelEmail(ctx context.Context, id ID) (*User, error)

	// IssueVerification stores the digest of a verification token and replaces an earlier one. The token belongs to the pending address of the account
	// that is returned by the same statement, or where there is none to the present address. It returns ErrInactive.
	IssueVerification(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelVerification drops the verification token, if there is one. A pending address stays.
	CancelVerification(ctx context.Context, id ID) (*User, error)

	// ConsumeVerification finds the account by the digest of its verification token, and marks its address as verified. A pending address replaces the
	// present one first, and the reset token, which was sent to the old one, is dropped. It is idempotent: until another token is issued or this one
	// is dropped, further calls return the account with Already set, and change nothing. It returns ErrTokenInvalid or ErrTokenExpired, or ErrTaken on
	// the field "email" if another account has taken the address, and then changes nothing.
	ConsumeVerification(ctx context.Context, digest TokenDigest) (Confirmation, error)
}

// Confirmation is the outcome of a confirmed address.
type Confirmation struct {
	User    *User
	Email   Email // the address that was confirmed
	Already bool  // it was confirmed before, with the same token
}
