package domain

import (
	"context"
	"time"
)

// LinkedIdentity is an identity that an account can be signed in to with. Times are UTC, in microseconds.
type LinkedIdentity struct {
	Identity   Identity
	UserID     ID
	CreatedAt  time.Time // when it was linked
	LastUsedAt time.Time // the last sign-in with it; the zero time if there was none
}

// IdentityStore links accounts to identities, and removes ways in. An account has any number of identities, an identity has one
// account; deleting an account deletes its links. Changes of identities raise no version, and do not set updated_at.
//
// It does not verify the provider's answer, nor require a second factor: the caller does.
type IdentityStore interface {
	// FindByIdentity returns the account that the identity is linked to, or ErrNotFound.
	FindByIdentity(ctx context.Context, identity Identity) (*User, error)

	// Identities returns the identities of the account, the one linked first first; of two linked at once by issuer and subject. It returns
	// ErrNotFound. For those that cannot be read the error holds a [Malformed] each, with the ID of the account; the others are returned with it.
	Identities(ctx context.Context, id ID) ([]LinkedIdentity, error)

	// LinkIdentity links an identity to the account. It returns ErrNotFound, ErrInvalid on the field "identity" for the zero one, or
	// ErrTaken on that field if it is linked already, to this account or to another.
	LinkIdentity(ctx context.Context, id ID, identity Identity) (LinkedIdentity, error)

	// UnlinkIdentity removes the link. It returns ErrNotFound where there is no such account, or, on the field "identity", where that is not linked
	// to it; and unless force is set ErrConflict on the field "identity" when the account has neither a password nor another identity, since its owner
	// could not sign in any more. Of concurrent removals one is refused, so that one way to sign in remains.
	UnlinkIdentity(ctx context.Context, id ID, identity Identity, force bool) error

	// RecordIdentitySignIn finds the account of the identity and sets last_login and the identity's LastUsedAt to Now. It returns ErrNotFound or
	// ErrInactive, and then changes nothing. A lock, which guards the password against guessing, has no effect on it.
	RecordIdentitySignIn(ctx context.Context, identity Identity) (*User, error)

	// RemovePassword stores [NoPassword], and otherwise does what SetPassword does. An account without a password it leaves as it is. It
	// returns ErrNotFound; and unless force is set ErrConflict on the field "hashed_password" when no identity is linked.
	RemovePassword(ctx context.Context, id ID, keep SessionID, force bool) (*User, error)
}
