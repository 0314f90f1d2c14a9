package domain

import (
	"context"
	"strings"
)

const maxPasswordHashBytes = 255 // the column's width

// PasswordHash is a password's hash in the form in which it is stored, such as "$argon2id$v=19$…". It redacts itself in
// fmt, JSON, text and slog; only Stored gives it away, which the store and the hasher alone need. The zero value means
// "absent", as in an account that was read for a list; that an account has no password is a value of its own, [NoPassword].
type PasswordHash struct {
	redaction
	stored hidden
}

// noPassword is how "no password" is stored. No scheme begins like this.
const noPassword = "!"

// NoPassword returns the value for an account without a password, whose owner signs in by other means. No password matches
// it, and a sign-in with one takes as long, and is refused in the same words, as with a wrong one.
func NoPassword() PasswordHash { return PasswordHash{stored: hide(noPassword)} }

// ParsePasswordHash wraps a stored or imported hash: 1 to 255 printable ASCII characters. Whether anything can verify it is
// for the [PasswordHasher] to say, so that an account with an unknown hash can be kept until its owner resets it. What
// begins with "!" is [NoPassword]: Django writes "!" and random letters, and shadow(5) puts one before a hash that must not
// match. It returns [ErrInvalid] on the field "hashed_password".
func ParsePasswordHash(stored string) (PasswordHash, error) {
	if stored == "" {
		return PasswordHash{}, invalid("hashed_password", "is required")
	}
	if len(stored) > maxPasswordHashBytes {
		return PasswordHash{}, tooLong("hashed_password", maxPasswordHashBytes)
	}
	for i := range len(stored) {
		if stored[i] < ' ' || stored[i] > '~' {
			return PasswordHash{}, invalid("hashed_password", "has a character that a hash cannot have")
		}
	}
	if strings.HasPrefix(stored, noPassword) {
		return NoPassword(), nil
	}
	return PasswordHash{stored: hide(stored)}, nil
}

// Stored returns the hash as the database holds it. It is a secret: do not print it.
func (h PasswordHash) Stored() string { return h.stored.reveal() }

// IsZero tells whether the hash is absent. [NoPassword] is not.
func (h PasswordHash) IsZero() bool { return h == PasswordHash{} }

// HasPassword tells whether there is a hash that a password could match; false for [NoPassword] and the zero value.
func (h PasswordHash) HasPassword() bool { return !h.IsZero() && h != NoPassword() }

// PasswordHasher makes and checks hashes. Implementations are safe for concurrent use and bound how many hashes they
// compute at once; while waiting for their turn both methods honour ctx and return its error.
type PasswordHasher interface {
	// Hash returns a new hash of password by the current policy.
	Hash(ctx context.Context, password string) (PasswordHash, error)

	// Verify tells whether password is the one that hash was made of. It returns [ErrInvalid] on the field
	// "hashed_password" for a hash that it cannot or must not verify: [NoPassword], an unknown or malformed form, or parameters
	// out of bounds; and on the field "password" for one that the hash's scheme cannot carry, such as one with a NUL. To a
	// sign-in both are a wrong password.
	//
	// A password that does not match takes at least as long as one that does not match a hash made by Hash today, however
	// cheap the given one is: otherwise the time tells that the account exists.
	Verify(ctx context.Context, hash PasswordHash, password string) (Verification, error)
}

// Verification is the answer of [PasswordHasher.Verify].
type Verification struct {
	Match bool
	// Stale is true when the password matched but the hash is weaker than the policy or of another scheme, so that a new
	// hash should be stored now that the password is at hand.
	Stale bool
}
