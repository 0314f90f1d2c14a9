package domain

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// What a refresh token is made of, in bytes. The checksum covers all that precedes it.
const (
	tokenUserAt         = 0                        // the account's UUID
	tokenFamilySecretAt = tokenUserAt + 16         // 128 random bits that all tokens of one session share
	tokenSecretAt       = tokenFamilySecretAt + 16 // 256 random bits of this token alone
	tokenExpiryAt       = tokenSecretAt + 32       // Unix milliseconds, big endian
	tokenAbsoluteAt     = tokenExpiryAt + 6        // the same: when the session ends whatever happens
	tokenChecksumAt     = tokenAbsoluteAt + 6
	tokenBytes          = tokenChecksumAt + 8
	tokenTextLen        = tokenBytes / 3 * 4
)

// Labels keep the three hashes apart: none can be mistaken for another, or for a hash of another program.
const (
	labelChecksum = "accounts/refresh-token/checksum/1\x00"
	labelDigest   = "accounts/refresh-token/digest/1\x00"
	labelSession  = "accounts/refresh-token/session/1\x00"
)

// base64url has no padding and, being strict, one text for any bytes.
var base64url = base64.RawURLEncoding.Strict()

// RefreshToken is what a client keeps to stay signed in: 112 characters of base64url, opaque to it. It holds the account's
// id, so that its account is found by primary key; 384 random bits, of which 128 prove that it belongs to its session and
// 256 are its own (OWASP ASVS 5.0, 11.5.1, asks for 128); and its times. Only its SHA-256 digest is ever stored, which needs
// no salt and no slow hash, since nobody can guess 256 random bits.
//
// It redacts itself in fmt, JSON, text and slog; only Reveal gives it away. The zero value means "absent".
type RefreshToken struct {
	redaction
	raw string
}

// ParseRefreshToken reads the text that Reveal gave. It returns [ErrTokenInvalid] on the field "token" for everything
// else: a checksum makes a cut or altered token known before the database is asked. The checksum is no secret and
// proves nothing about who made the token; the stored digest does.
func ParseRefreshToken(text string) (RefreshToken, error) {
	if len(text) != tokenTextLen {
		return RefreshToken{}, tokenInvalid()
	}
	raw, err := base64url.DecodeString(text)
	if err != nil || len(raw) != tokenBytes {
		return RefreshToken{}, tokenInvalid() // the decoder skips line ends, so the length is checked again
	}
	checksum := tokenHash(labelChecksum, raw[:tokenChecksumAt])
	if subtle.ConstantTimeCompare(raw[tokenChecksumAt:], checksum[:tokenBytes-tokenChecksumAt]) != 1 {
		return RefreshToken{}, tokenInvalid()
	}
	token := RefreshToken{raw: string(raw)}
	if token.UserID().IsZero() {
		return RefreshToken{}, tokenInvalid()
	}
	return token, nil
}

// mintToken returns a new token of the session that familySecret belongs to.
func mintToken(user ID, familySecret string, expiry, absolute int64) RefreshToken {
	raw := make([]byte, 0, tokenBytes)
	userID := user.UUID()
	raw = append(raw, userID[:]...)
	raw = append(raw, familySecret...)
	raw = append(raw, randomBytes(tokenExpiryAt-tokenSecretAt)...)
	raw = appendMillis(raw, expiry)
	raw = appendMillis(raw, absolute)
	checksum := tokenHash(labelChecksum, raw)
	raw = append(raw, checksum[:tokenBytes-tokenChecksumAt]...)
	return RefreshToken{raw: string(raw)}
}

// Reveal returns the token as the client must present it. It is a secret: hand it to the client and nobody else.
func (t RefreshToken) Reveal() string { return base64url.EncodeToString([]byte(t.raw)) }

// UserID returns the account that the token claims to belong to, or the zero ID for the zero token. Nothing is proved
// until the token was found in that account's [SessionList].
func (t RefreshToken) UserID() ID {
	if t.IsZero() {
		return ID{}
	}
	return IDFromUUID(uuid.UUID([]byte(t.raw[tokenUserAt:tokenFamilySecretAt])))
}

// SessionID returns the session that the token belongs to, or the zero SessionID for the zero token. Unlike the other
// claims of a token it cannot be made up: it is a digest of a secret that the token holds.
func (t RefreshToken) SessionID() SessionID {
	if t.IsZero() {
		return SessionID{}
	}
	sum := tokenHash(labelSession, []byte(t.familySecret()))
	return SessionID{base64url.EncodeToString(sum[:sessionIDBytes])}
}

// ExpiresAt returns when the token stops to be accepted, in UTC, to the millisecond; the zero time for the zero token.
func (t RefreshToken) ExpiresAt() time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.millis(tokenExpiryAt)).UTC()
}

// Digest returns the SHA-256 digest by which the token is stored, 43 characters of base64url, or "" for the zero token.
func (t RefreshToken) Digest() string {
	if t.IsZero() {
		return ""
	}
	sum := tokenHash(labelDigest, []byte(t.raw))
	return base64url.EncodeToString(sum[:])
}

// IsZero tells whether the token is absent.
func (t RefreshToken) IsZero() bool { return t.raw == "" }

func (t RefreshToken) familySecret() string { return t.raw[tokenFamilySecretAt:tokenSecretAt] }

func (t RefreshToken) millis(at int) int64 {
	var wide [8]byte
	copy(wide[2:], t.raw[at:at+6])
	return int64(binary.BigEndian.Uint64(wide[:])) // 48 bits fit
}

func appendMillis(raw []byte, millis int64) []byte {
	return append(raw, binary.BigEndian.AppendUint64(nil, uint64(millis))[2:]...) // 0 <= millis <= maxMillis, which is less than 48 bits
}

func tokenHash(label string, data []byte) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(label), data...))
}

// randomBytes never fails: crypto/rand ends the program rather than return anything predictable.
func randomBytes(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.Read(random)
	return random
}

func tokenInvalid() error {
	return &Error{Kind: ErrTokenInvalid, Field: "token", Reason: "is not valid"}
}

// TokenIssue is a sign-in about to be stored: the first token of a new session, and everything that a store must know to
// add it to an account's list in one statement. [SessionList.Issue] says what the statement does.
type TokenIssue struct {
	token RefreshToken
	cap   int
	write entryWrite
}

// NewTokenIssue mints the first token of a new session of the account. It returns [ErrInvalid] for the zero ID and for a
// policy out of bounds.
func NewTokenIssue(user ID, now time.Time, policy SessionPolicy) (TokenIssue, error) {
	policy, err := policy.resolve()
	if err != nil {
		return TokenIssue{}, err
	}
	if user.IsZero() {
		return TokenIssue{}, invalid("id", "is required")
	}
	at := clampMillis(now.UnixMilli())
	absolute := clampMillis(at + policy.Absolute.Milliseconds())
	expiry := min(clampMillis(at+policy.Idle.Milliseconds()), absolute)
	token := mintToken(user, string(randomBytes(tokenSecretAt-tokenFamilySecretAt)), expiry, absolute)
	return TokenIssue{token: token, cap: policy.Cap, write: newEntryWrite(token, at)}, nil
}

// Token returns the token to hand to the client once the store has done its work.
func (i TokenIssue) Token() RefreshToken { return i.token }

// Cap returns how many sessions the account may have, the new one included.
func (i TokenIssue) Cap() int { return i.cap }

// Now returns the present in the form of [EntryTime].
func (i TokenIssue) Now() string { return i.write.now }

// EntryHead returns the new live entry without its last field, the time of issue, which only the list can tell: the
// greater of Now and the latest time of issue in it.
func (i TokenIssue) EntryHead() string { return i.write.head }

// TokenRotation is the exchange of a token for the next one of its session, about to be stored: the new token, and
// everything that a store must know to do it in one statement. [SessionList.Rotate] says what the statement does.
type TokenRotation struct {
	presented, token RefreshToken
	digest           string // of the presented token
	retired          string // the entry to remember it by; empty without grace
	write            entryWrite
}

// NewTokenRotation mints the token that shall replace the presented one. It returns [ErrTokenInvalid] for the zero token,
// [ErrTokenExpired] when the presented one's time is over, and [ErrInvalid] for a policy out of bounds. Cap and Absolute of
// the policy have no effect: a session keeps the end that it was issued with.
func NewTokenRotation(presented RefreshToken, now time.Time, policy SessionPolicy) (TokenRotation, error) {
	policy, err := policy.resolve()
	if err != nil {
		return TokenRotation{}, err
	}
	if presented.IsZero() {
		return TokenRotation{}, tokenInvalid()
	}
	at := clampMillis(now.UnixMilli())
	if presented.millis(tokenExpiryAt) <= at {
		return TokenRotation{}, &Error{Kind: ErrTokenExpired, Field: "token"}
	}
	// The presented token's word for the end of its session is as good as the list's: a new token is only stored when the
	// digest of the presented one, which covers it, was found there.
	absolute := clampMillis(presented.millis(tokenAbsoluteAt))
	expiry := min(clampMillis(at+policy.Idle.Milliseconds()), absolute)
	token := mintToken(presented.UserID(), presented.familySecret(), expiry, absolute)
	rotation := TokenRotation{presented: presented, token: token, digest: presented.Digest(), write: newEntryWrite(token, at)}
	if policy.Grace != NoGrace {
		rotation.retired = retiredEntry(clampMillis(at+policy.Grace.Milliseconds()), presented.SessionID(), rotation.digest)
	}
	return rotation, nil
}

// Presented returns the token that the client gave.
func (r TokenRotation) Presented() RefreshToken { return r.presented }

// Token returns the token to hand to the client once the store has done its work.
func (r TokenRotation) Token() RefreshToken { return r.token }

// Now returns the present in the form of [EntryTime].
func (r TokenRotation) Now() string { return r.write.now }

// PresentedDigest returns the digest of the presented token, by which its live entry is known. Its first [EntryTagLen]
// characters are the tag by which its retired entry is known.
func (r TokenRotation) PresentedDigest() string { return r.digest }

// RetiredEntry returns the entry by which the presented token is remembered during the grace interval, or "" when the
// policy has none.
func (r TokenRotation) RetiredEntry() string { return r.retired }

// EntryHead returns the new live entry without its last field, the time of issue, which is that of the session's other
// live entries.
func (r TokenRotation) EntryHead() string { return r.write.head }
