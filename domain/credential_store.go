package domain

import (
	"context"
	"time"
)

// CredentialStore does what passwords, locks, resets and changes of address need. The rules of signing in are in
// [Authenticator], which calls it.
type CredentialStore interface {
	// RecordFailure counts a failed sign-in, up to [MaxFailedLoginAttempts], and locks the account when the policy's number of
	// consecutive ones is reached. The first failure after a lock has ended counts as one. While a lock is in force nothing is counted
	// and ErrLocked is returned, with its end. An inactive account's failures count too.
	RecordFailure(ctx context.Context, id ID, policy LockPolicy) (*User, error)

	// RecordSuccess resets the counter, clears the lock, sets last_login and, unless better is absent, stores it in place of
	// the hash that was checked. Nothing of that happens, and the error says why, if by now the account is gone (ErrNotFound),
	// has another hash than the checked one (ErrConflict), is locked (ErrLocked) or inactive (ErrInactive). [NoPassword] was never
	// checked: ErrConflict.
	//
	// It returns the time that it stored, and no account: the caller who checked a hash has read that already, and to read and send it again
	// with every sign-in would take a fifth of the statement's time.
	RecordSuccess(ctx context.Context, id ID, checked, better PasswordHash) (time.Time, error)

	// SetPassword stores another hash, ends all sessions but keep, drops all that is pending, address, tokens and code, and clears
	// counter and lock. The zero SessionID keeps none. Unless checked is absent, it must still be the stored hash:
	// otherwise ErrConflict. With [NoPassword] as checked it thus adds a password once; as hash it is ErrInvalid.
	SetPassword(ctx context.Context, id ID, checked, hash PasswordHash, keep SessionID) (*User, error)

	// Unlock clears the counter and the lock.
	Unlock(ctx context.Context, id ID) (*User, error)

	// LockUntil locks the account until then, as failures do, in place of an earlier lock; the counter stays. It returns ErrInvalid on the
	// field "locked_until" for the zero time. Like every lock it ends when the password is set or reset: for what must last there is
	// Deactivate.
	LockUntil(ctx context.Context, id ID, until time.Time) (*User, error)

	// IssueReset stores the digest of a reset token in place of an earlier one's. The token belongs to the address of the account
	// that is returned, which is read in the same step. It returns ErrInactive.
	IssueReset(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelReset drops the reset token, if there is one.
	CancelReset(ctx context.Context, id ID) (*User, error)

	// ConsumeReset finds the account by the digest of its reset token and does what SetPassword does. The address is verified by it, for
	// the token came there. Of several calls with one token one succeeds. It returns ErrTokenInvalid or ErrTokenExpired, and then
	// changes nothing.
	ConsumeReset(ctx context.Context, digest TokenDigest, hash PasswordHash) (*User, error)

	// RequestEmail does what [User.RequestEmail] does, and stores the digest of a verification token, which belongs to the pending
	// address. It returns ErrTaken if another account has that address by now, which another may also get before it is confirmed;
	// ErrInvalid or ErrInactive.
	RequestEmail(ctx context.Context, id ID, email Email, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelEmail does what [User.CancelEmail] does.
	CancelEmail(ctx context.Context, id ID) (*User, error)

	// IssueVerification stores the digest of a verification token in place of an earlier one's. It belongs to the pending address of
	// the account that is returned, or where there is none to the present one; both are read in the same step. It returns ErrInactive.
	IssueVerification(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelVerification drops the verification token, if there is one. A pending address stays.
	CancelVerification(ctx context.Context, id ID) (*User, error)

	// ConsumeVerification finds the account by the digest of its verification token. A pending address becomes the present one, and
	// the reset token is dropped, which was sent to the old one; the present address is verified. Of several calls with one token one does this;
	// the others, until another token is issued or this one is dropped, get the same account, with Already set, and change nothing. It
	// returns ErrTokenInvalid or ErrTokenExpired, or ErrTaken on the field "email" if another account has got the address
	// meanwhile, and then changes nothing.
	ConsumeVerification(ctx context.Context, digest TokenDigest) (Confirmation, error)
}

// Confirmation is the outcome of a confirmed address.
type Confirmation struct {
	User    *User
	Email   Email // the address that was confirmed
	Already bool  // it was confirmed before, with the same token
}
