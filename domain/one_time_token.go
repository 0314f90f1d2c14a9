package domain

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

const oneTimeTokenBytes = 32

// OneTimeToken is what a link for a password reset or an e-mail verification carries: 256 bits from crypto/rand (ASVS 5.0
// 11.5.1 requires 128). Only its digest is stored. It redacts itself in fmt, JSON, text and slog. The zero value means
// "absent".
type OneTimeToken struct {
	redaction
	text hidden
}

// NewOneTimeToken returns a random token.
func NewOneTimeToken() OneTimeToken {
	secret := make([]byte, oneTimeTokenBytes)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	return OneTimeToken{text: hide(base64url.EncodeToString(secret))}
}

// ParseOneTimeToken reads the text that Reveal returned. It returns [ErrTokenInvalid] on the field "token".
func ParseOneTimeToken(text string) (OneTimeToken, error) {
	if len(text) == base64url.EncodedLen(oneTimeTokenBytes) {
		secret, err := base64url.DecodeString(text)
		if err == nil && len(secret) == oneTimeTokenBytes { // the decoder skips line ends
			return OneTimeToken{text: hide(text)}, nil
		}
	}
	return OneTimeToken{}, tokenInvalid()
}

// Reveal returns the token's text, to be sent to its owner and nowhere else.
func (t OneTimeToken) Reveal() string { return t.text.reveal() }

// Digest returns what is stored of the token.
func (t OneTimeToken) Digest() TokenDigest {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return TokenDigest{hex: hide(hex.EncodeToString(sum[:]))}
}

// IsZero reports whether the token is absent.
func (t OneTimeToken) IsZero() bool { return t == OneTimeToken{} }
