package domain

import "strings"

const maxPasswordHashBytes = 255 // the column's width

// PasswordHash is a password's hash in the form in which it is stored, such as "$argon2id$v=19$…". It redacts itself in
// fmt, JSON, text and slog; only Stored, which the store and the hasher call, returns it. The zero value means
// "absent", as in an account that was read for a list; that an account has no password is a value of its own, [NoPassword].
type PasswordHash struct {
	redaction
	stored hidden
}

// noPassword is the stored form of "no password". No scheme has this prefix.
const noPassword = "!"

// NoPassword returns the value for an account without a password, whose owner signs in by other means. No password matches it, and a sign-in with one
// takes as long as with a wrong one, and returns the same error.
func NoPassword() PasswordHash { return PasswordHash{stored: hide(noPassword)} }

// ParsePasswordHash wraps a stored or imported hash: 1 to 255 printable ASCII characters. It does not check that a [PasswordHasher] can verify it, so
// that an account with an unknown hash can be kept until its owner resets it. A hash with the prefix "!" is [NoPassword]: Django writes "!" and random
// letters, and shadow(5) puts one before a disabled hash. It returns [ErrInvalid] on the field "hashed_password".
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

// IsZero reports whether the hash is absent. [NoPassword] is not.
func (h PasswordHash) IsZero() bool { return h == PasswordHash{} }

// HasPassword reports whether there is a hash that a password could match; false for [NoPassword] and the zero value.
func (h PasswordHash) HasPassword() bool { return !h.IsZero() && h != NoPassword() }
