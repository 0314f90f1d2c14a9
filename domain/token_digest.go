package domain

import (
	"crypto/sha256"
	"encoding/hex"
)

// TokenDigest is the SHA-256 digest of a [OneTimeToken] or a [PhoneCode], in hexadecimal, as it is stored. Since a token is random, its digest needs no
// salt, and the time of looking it up in an index reveals nothing. It redacts itself like the token. The zero value means "absent"; TokenDigests are
// comparable.
type TokenDigest struct {
	redaction
	hex hidden
}

// RestoreTokenDigest returns a digest as it was stored, checking its form only; "" returns the zero TokenDigest. It returns
// [ErrInvalid] on the given field.
func RestoreTokenDigest(field, stored string) (TokenDigest, error) {
	if stored == "" {
		return TokenDigest{}, nil
	}
	if len(stored) != hex.EncodedLen(sha256.Size) {
		return TokenDigest{}, invalid(field, "is not in the form of a stored digest")
	}
	return TokenDigest{hex: hide(stored)}, nil
}

// Stored returns the digest as the database holds it.
func (d TokenDigest) Stored() string { return d.hex.reveal() }

// IsZero reports whether the digest is absent.
func (d TokenDigest) IsZero() bool { return d == TokenDigest{} }
