package domain

import (
	"cmp"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// What a refresh token is made of, in bytes. Times are Unix milliseconds, numbers big-endian. The checksum covers all that
// precedes it.
const (
	tokenVersionAt      = 0                        // tokenVersion
	tokenUserAt         = tokenVersionAt + 1       // the account's UUID
	tokenFamilySecretAt = tokenUserAt + 16         // 128 random bits that all tokens of one session share
	tokenSecretAt       = tokenFamilySecretAt + 16 // 256 bits of this token alone: random in the first one, then derived
	tokenTermsAt        = tokenSecretAt + 32       // what its entry is made of besides: four times, the number of links
	tokenLinksAt        = tokenTermsAt + 4*millisBytes + 1

	millisBytes   = 6
	saltBytes     = 16
	linkBytes     = millisBytes + saltBytes // links come after the fixed part, then the label, then the checksum
	checksumBytes = 8

	minTokenBytes = tokenLinksAt + checksumBytes
	maxTokenBytes = minTokenBytes + MaxGraceRotations*linkBytes + maxLabelRunes*utf8.UTFMax
)

// tokenVersion is the version of the format. There is no other yet.
const tokenVersion = 1

// Labels keep the hashes apart: none can be mistaken for another, or for a hash of another program.
const (
	labelChecksum  = "accounts/refresh-token/checksum/1\x00"
	labelDigest    = "accounts/refresh-token/digest/1\x00"
	labelSession   = "accounts/refresh-token/session/1\x00"
	labelSuccessor = "accounts/refresh-token/successor/1\x00"
)

// base64url has no padding and, being strict, one text for any bytes.
var base64url = base64.RawURLEncoding.Strict()

// RefreshToken is what a client keeps to stay signed in: 131 characters of base64url without a label and before its first
// rotation, at most 1,240, opaque to the client. It holds the account's id, so that its account is found by primary key; 384
// secret bits, of which 128 prove that it belongs to its session and 256 are its own (OWASP ASVS 5.0, 11.5.1, asks for 128); and
// what its entry in the [SessionList] is made of, so that a store finds that entry by its text. Only a SHA-256 digest of the
// secrets is ever stored, which needs no salt and no slow hash, since nothing can guess 256 random bits.
//
// It redacts itself in fmt, JSON, text and slog; only Reveal gives it away. The zero value means "absent".
type RefreshToken struct {
	redaction
	hidden hidden
}

// ParseRefreshToken reads the text that Reveal gave. It returns [ErrTokenInvalid] on the field "token" for everything
// else: a checksum makes a cut or altered token known before the database is asked. The checksum is no secret and
// proves nothing about who made the token; the stored digest does.
func ParseRefreshToken(text string) (RefreshToken, error) {
	if len(text) < base64url.EncodedLen(minTokenBytes) || len(text) > base64url.EncodedLen(maxTokenBytes) || strings.ContainsAny(text, "\r\n") {
		return RefreshToken{}, tokenInvalid() // the decoder would skip line ends
	}
	raw, err := base64url.DecodeString(text)
	if err != nil {
		return RefreshToken{}, tokenInvalid()
	}
	signed := raw[:len(raw)-checksumBytes]
	checksum := tokenHash(labelChecksum, string(signed))
	if subtle.ConstantTimeCompare(raw[len(signed):], checksum[:checksumBytes]) != 1 || raw[tokenVersionAt] != tokenVersion {
		return RefreshToken{}, tokenInvalid()
	}
	links := int(raw[tokenLinksAt-1])
	if links > MaxGraceRotations || len(signed) < tokenLinksAt+links*linkBytes {
		return RefreshToken{}, tokenInvalid()
	}
	token := RefreshToken{hidden: hide(string(raw))}
	t := token.terms()
	for _, millis := range []int64{t.issued, t.rotated, t.expires, t.absolute} {
		if millis > maxMillis {
			return RefreshToken{}, tokenInvalid()
		}
	}
	for _, l := range t.links {
		if l.end > maxMillis {
			return RefreshToken{}, tokenInvalid()
		}
	}
	if label, err := shortText("token", t.label, maxLabelRunes); err != nil || label != t.label || token.UserID().IsZero() {
		return RefreshToken{}, tokenInvalid()
	}
	return token, nil
}

func mintToken(user ID, familySecret, secret string, t terms) RefreshToken {
	raw := make([]byte, 0, minTokenBytes+len(t.links)*linkBytes+len(t.label))
	userID := user.UUID()
	raw = append(raw, tokenVersion)
	raw = append(raw, userID[:]...)
	raw = append(raw, familySecret...)
	raw = append(raw, secret...)
	for _, millis := range []int64{t.issued, t.rotated, t.expires, t.absolute} {
		raw = appendMillis(raw, millis)
	}
	raw = append(raw, byte(len(t.links)))
	for _, l := range t.links {
		raw = append(appendMillis(raw, l.end), l.salt...)
	}
	raw = append(raw, t.label...)
	checksum := tokenHash(labelChecksum, string(raw))
	return RefreshToken{hidden: hide(string(append(raw, checksum[:checksumBytes]...)))}
}

// with returns the token of the same session that has that secret and those terms.
func (t RefreshToken) with(secret string, terms terms) RefreshToken {
	return mintToken(t.UserID(), t.familySecret(), secret, terms)
}

// Reveal returns the token as the client must present it. It is a secret: hand it to the client and to no other.
func (t RefreshToken) Reveal() string { return base64url.EncodeToString([]byte(t.raw())) }

// UserID returns the account that the token claims to belong to, or the zero ID for the zero token. Nothing is proved
// until the token was found in that account's [SessionList].
func (t RefreshToken) UserID() ID {
	if t.IsZero() {
		return ID{}
	}
	return IDFromUUID(uuid.UUID([]byte(t.raw()[tokenUserAt:tokenFamilySecretAt])))
}

// SessionID returns the session that the token belongs to, or the zero SessionID for the zero token. Unlike the other
// claims of a token it cannot be made up: it is a digest of a secret that the token holds.
func (t RefreshToken) SessionID() SessionID {
	if t.IsZero() {
		return SessionID{}
	}
	sum := tokenHash(labelSession, t.familySecret())
	return SessionID{base64url.EncodeToString(sum[:sessionIDBytes])}
}

// Session returns the session as it was when the token was made, or the zero Session for the zero token. Like UserID it is a
// claim, unless the token comes from a [Grant].
func (t RefreshToken) Session() Session {
	if t.IsZero() {
		return Session{}
	}
	return t.terms().session(t.SessionID())
}

// ExpiresAt returns when the token stops to be accepted, in UTC, to the millisecond; the zero time for the zero token.
func (t RefreshToken) ExpiresAt() time.Time { return t.Session().ExpiresAt }

// Digest returns the SHA-256 digest by which the token is stored, 43 characters of base64url, or "" for the zero token.
func (t RefreshToken) Digest() string {
	if t.IsZero() {
		return ""
	}
	sum := tokenHash(labelDigest, t.raw()[:tokenTermsAt])
	return base64url.EncodeToString(sum[:])
}

func (t RefreshToken) raw() string { return t.hidden.reveal() }

// IsZero tells whether the token is absent.
func (t RefreshToken) IsZero() bool { return t == RefreshToken{} }

func (t RefreshToken) familySecret() string { return t.raw()[tokenFamilySecretAt:tokenSecretAt] }

func (t RefreshToken) secret() string { return t.raw()[tokenSecretAt:tokenTermsAt] }

// entry is what is stored of the token while it is live.
func (t RefreshToken) entry() entry {
	return entry{id: t.SessionID(), digest: t.Digest(), terms: t.terms()}
}

func (t RefreshToken) terms() terms {
	times := t.raw()[tokenTermsAt:]
	claimed := terms{
		issued: readMillis(times), rotated: readMillis(times[millisBytes:]),
		expires: readMillis(times[2*millisBytes:]), absolute: readMillis(times[3*millisBytes:]),
	}
	rest := t.raw()[tokenLinksAt : len(t.raw())-checksumBytes]
	for range t.raw()[tokenLinksAt-1] {
		claimed.links = append(claimed.links, link{end: readMillis(rest), salt: rest[millisBytes:linkBytes]})
		rest = rest[linkBytes:]
	}
	claimed.label = rest
	return claimed
}

// usable returns an error for the zero token and for one whose time is over.
func (t RefreshToken) usable(now int64) error {
	switch {
	case t.IsZero():
		return tokenInvalid()
	case t.terms().expires <= now:
		return &Error{Kind: ErrTokenExpired, Field: "token", Reason: "has expired"}
	}
	return nil
}

func readMillis(raw string) int64 {
	var wide [8]byte
	copy(wide[8-millisBytes:], raw[:millisBytes])
	return int64(binary.BigEndian.Uint64(wide[:])) // 48 bits fit
}

func appendMillis(raw []byte, millis int64) []byte {
	return append(raw, binary.BigEndian.AppendUint64(nil, uint64(millis))[8-millisBytes:]...) // 0 <= millis <= maxMillis, which is less than 48 bits
}

func tokenHash(label, data string) [sha256.Size]byte { return sha256.Sum256([]byte(label + data)) }

// successorSecret is HKDF-Expand of RFC 5869, 2.3, whose output is one block: HMAC-SHA-256 of label and salt under the secret, which
// needs no Extract, being uniformly random. Without the secret no salt leads to it; and without the salt no copy of a token does,
// before the store has answered.
func successorSecret(secret, salt string) string {
	next, err := hkdf.Expand(sha256.New, []byte(secret), labelSuccessor+salt, len(secret))
	if err != nil {
		panic(err) // only for lengths that are out of bounds
	}
	return string(next)
}

// randomText never fails: crypto/rand ends the program rather than return anything predictable.
func randomText(n int) string {
	random := make([]byte, n)
	_, _ = rand.Read(random)
	return string(random)
}

func tokenInvalid() error {
	return &Error{Kind: ErrTokenInvalid, Field: "token", Reason: "is not valid"}
}

func tokenReused() error {
	return &Error{Kind: ErrTokenReused, Field: "token", Reason: "was used before; its session has been ended"}
}

// TokenIssue is a sign-in about to be stored: the first token of a new session. [SessionList.Issue] says what is to be stored.
type TokenIssue struct {
	token RefreshToken
	cap   int
	at    int64
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
	expires := min(clampMillis(at+policy.Idle.Milliseconds()), absolute)
	token := mintToken(user, randomText(tokenSecretAt-tokenFamilySecretAt), randomText(tokenTermsAt-tokenSecretAt),
		terms{issued: at, rotated: at, expires: expires, absolute: absolute, label: policy.Label})
	return TokenIssue{token: token, cap: policy.Cap, at: at}, nil
}

// Token returns the token to hand to the client once the store has done its work.
func (i TokenIssue) Token() RefreshToken { return i.token }

// Cap returns how many sessions the account may have, the new one included. Where a list has fewer strings, Issue only appends
// Entry.
func (i TokenIssue) Cap() int { return i.cap }

// Entry returns what is to be stored of the session.
func (i TokenIssue) Entry() string { return i.token.entry().text() }

// TokenRotation is the exchange of a token for the live one of its session. [SessionList.Rotate] says what is to be stored.
type TokenRotation struct {
	presented RefreshToken
	at        int64
	policy    SessionPolicy
	salt      string
}

// NewTokenRotation draws what is random in a rotation. It returns [ErrTokenInvalid] for the zero token, [ErrTokenExpired] when
// the presented one's time is over, and [ErrInvalid] for a policy out of bounds. Cap and Absolute of the policy have no effect: a
// session keeps the end that it was issued with.
func NewTokenRotation(presented RefreshToken, now time.Time, policy SessionPolicy) (TokenRotation, error) {
	policy, err := policy.resolve()
	if err != nil {
		return TokenRotation{}, err
	}
	at := clampMillis(now.UnixMilli())
	if err := presented.usable(at); err != nil {
		return TokenRotation{}, err
	}
	return TokenRotation{presented: presented, at: at, policy: policy, salt: randomText(saltBytes)}, nil
}

// Replacement returns what Rotate does if the presented token is live and was not altered: the entry that is stored of it then,
// the entry to append in its place, and the new token. A store that finds the first in the account's list exchanges it, without
// reading the list. It returns false where Rotate would return the presented token itself.
func (r TokenRotation) Replacement() (live, next string, token RefreshToken, ok bool) {
	e := r.presented.entry()
	token, ok = r.successor(e.terms)
	if !ok {
		return "", "", RefreshToken{}, false
	}
	return e.text(), token.entry().text(), token, true
}

// successor returns the next token of a session on those terms, or false if too many rotations are within their grace intervals.
func (r TokenRotation) successor(t terms) (RefreshToken, bool) {
	if r.policy.Grace == NoGrace {
		t.links = nil // nothing leads over this rotation
	} else {
		for len(t.links) > 0 && t.links[0].end <= r.at { // what is over between others stays, to lead over
			t.links = t.links[1:]
		}
		if len(t.links) == MaxGraceRotations {
			return RefreshToken{}, false
		}
		end := min(clampMillis(r.at+r.policy.Grace.Milliseconds()), t.expires) // an expired token is refused, grace or not
		t.links = append(slices.Clone(t.links), link{end: end, salt: r.salt})
	}
	t.rotated = max(r.at, t.rotated+1) // so that of two tokens of a session it is known which came later, even where clocks differ
	t.expires = min(clampMillis(r.at+r.policy.Idle.Milliseconds()), t.absolute)
	t.label = cmp.Or(r.policy.Label, t.label)
	return r.presented.with(successorSecret(r.presented.secret(), r.salt), t), true
}

// converge returns the live token of the session if the presented one leads to it over links of which its own is within its grace
// interval. Nothing says which link is its own: the derived digest does.
func (r TokenRotation) converge(e entry) (RefreshToken, bool) {
	if r.policy.Grace == NoGrace {
		return RefreshToken{}, false
	}
	for first, own := range e.links {
		if own.end <= r.at {
			continue
		}
		secret := r.presented.secret()
		for _, l := range e.links[first:] {
			secret = successorSecret(secret, l.salt)
		}
		if live := r.presented.with(secret, e.terms); sameDigest(live.Digest(), e.digest) {
			return live, true
		}
	}
	return RefreshToken{}, false
}
