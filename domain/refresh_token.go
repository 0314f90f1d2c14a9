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

	"github.com/softbee/accounts/domain/entry"
)

// Token layout, as byte offsets. Times are Unix milliseconds, numbers big-endian. The checksum covers everything before it.
const (
	tokenVersionAt      = 0                        // tokenVersion
	tokenUserAt         = tokenVersionAt + 1       // the account's UUID
	tokenFamilySecretAt = tokenUserAt + 16         // 128 random bits that all tokens of one session share
	tokenSecretAt       = tokenFamilySecretAt + 16 // 256 bits of this token alone: random in the first one, then derived
	tokenTermsAt        = tokenSecretAt + 32       // the rest of its entry: four times, the number of links
	tokenLinksAt        = tokenTermsAt + 4*millisBytes + 1

	millisBytes   = 6
	linkBytes     = millisBytes + entry.SaltBytes // links come after the fixed part, then the label, then the checksum
	checksumBytes = 8

	minTokenBytes = tokenLinksAt + checksumBytes
	maxTokenBytes = minTokenBytes + MaxGraceRotations*linkBytes + maxLabelRunes*utf8.UTFMax
)

// tokenVersion is the version of the format. There is no other yet.
const tokenVersion = 1

// Labels for domain separation: no hash can be taken for another one, or for a hash of another program.
const (
	labelChecksum  = "accounts/refresh-token/checksum/1\x00"
	labelDigest    = "accounts/refresh-token/digest/1\x00"
	labelSession   = "accounts/refresh-token/session/1\x00"
	labelSuccessor = "accounts/refresh-token/successor/1\x00"
)

// base64url has no padding and, since it is strict, one text for any bytes.
var base64url = base64.RawURLEncoding.Strict()

// RefreshToken is what a client keeps to stay signed in: 131 characters of base64url without a label and before its first
// rotation, at most 1,240, opaque to the client. It holds the account's id, so that its account is found by primary key; 384
// secret bits, of which 128 prove that it belongs to its session and 256 are its own (OWASP ASVS 5.0, 11.5.1, requires 128); and
// the content of its entry in the [SessionList], so that a store finds that entry by its text. Only a SHA-256 digest of the
// secrets is stored, which needs no salt and no slow hash, since nothing can guess 256 random bits.
//
// It redacts itself in fmt, JSON, text and slog; only Reveal returns it. The zero value means "absent".
type RefreshToken struct {
	redaction
	hidden hidden
}

// ParseRefreshToken reads the text that Reveal returned. It returns [ErrTokenInvalid] on the field "token" for everything else: a checksum
// detects a truncated or altered token before the database is queried. The checksum is no secret and proves nothing about who made the token;
// the stored digest does.
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
	for _, millis := range []int64{t.Issued, t.Rotated, t.Expires, t.Absolute} {
		if millis > entry.MaxMillis {
			return RefreshToken{}, tokenInvalid()
		}
	}
	for _, l := range t.Links {
		if l.End > entry.MaxMillis {
			return RefreshToken{}, tokenInvalid()
		}
	}
	if label, err := shortText("token", t.Label, maxLabelRunes); err != nil || label != t.Label || token.UserID().IsZero() {
		return RefreshToken{}, tokenInvalid()
	}
	return token, nil
}

func mintToken(user ID, familySecret, secret string, t entry.Terms) RefreshToken {
	raw := make([]byte, 0, minTokenBytes+len(t.Links)*linkBytes+len(t.Label))
	userID := user.UUID()
	raw = append(raw, tokenVersion)
	raw = append(raw, userID[:]...)
	raw = append(raw, familySecret...)
	raw = append(raw, secret...)
	for _, millis := range []int64{t.Issued, t.Rotated, t.Expires, t.Absolute} {
		raw = appendMillis(raw, millis)
	}
	raw = append(raw, byte(len(t.Links)))
	for _, l := range t.Links {
		raw = append(appendMillis(raw, l.End), l.Salt...)
	}
	raw = append(raw, t.Label...)
	checksum := tokenHash(labelChecksum, string(raw))
	return RefreshToken{hidden: hide(string(append(raw, checksum[:checksumBytes]...)))}
}

// with returns the token of the same session that has that secret and those terms.
func (t RefreshToken) with(secret string, terms entry.Terms) RefreshToken {
	return mintToken(t.UserID(), t.familySecret(), secret, terms)
}

// Reveal returns the token as the client must present it. It is a secret: hand it to the client and to no other.
func (t RefreshToken) Reveal() string { return base64url.EncodeToString([]byte(t.raw())) }

// UserID returns the account that the token claims to belong to, or the zero ID for the zero token. The claim is unproved until the token is
// found in that account's [SessionList].
func (t RefreshToken) UserID() ID {
	if t.IsZero() {
		return ID{}
	}
	return IDFromUUID(uuid.UUID([]byte(t.raw()[tokenUserAt:tokenFamilySecretAt])))
}

// SessionID returns the session that the token belongs to, or the zero SessionID for the zero token. Unlike the other claims of a token it cannot
// be forged: it is a digest of a secret that the token holds.
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
	return sessionOf(t.SessionID(), t.terms())
}

// ExpiresAt returns when the token expires, in UTC, to the millisecond; the zero time for the zero token.
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

// Entry returns the string that stands for the token in the [SessionList] while it is live; "" for the zero token.
func (t RefreshToken) Entry() string {
	if t.IsZero() {
		return ""
	}
	return entry.Entry{Session: t.SessionID().text, Digest: t.Digest(), Terms: t.terms()}.Text()
}

func (t RefreshToken) terms() entry.Terms {
	times := t.raw()[tokenTermsAt:]
	claimed := entry.Terms{
		Issued: readMillis(times), Rotated: readMillis(times[millisBytes:]),
		Expires: readMillis(times[2*millisBytes:]), Absolute: readMillis(times[3*millisBytes:]),
	}
	rest := t.raw()[tokenLinksAt : len(t.raw())-checksumBytes]
	for range t.raw()[tokenLinksAt-1] {
		claimed.Links = append(claimed.Links, entry.Link{End: readMillis(rest), Salt: rest[millisBytes:linkBytes]})
		rest = rest[linkBytes:]
	}
	claimed.Label = rest
	return claimed
}

// usable returns an error for the zero token and for an expired one.
func (t RefreshToken) usable(now int64) error {
	switch {
	case t.IsZero():
		return tokenInvalid()
	case t.terms().Expires <= now:
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
	return append(raw, binary.BigEndian.AppendUint64(nil, uint64(millis))[8-millisBytes:]...) // 0 <= millis <= entry.MaxMillis, which is less than 48 bits
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
	return &Error{Kind: ErrTokenReused, Field: "token", Reason: "reuse detected; the session is revoked"}
}

// firstToken returns the token of a new session, by a policy with its defaults in place.
func firstToken(user ID, at int64, policy SessionPolicy) RefreshToken {
	absolute := entry.Clamp(at + policy.Absolute.Milliseconds())
	expires := min(entry.Clamp(at+policy.Idle.Milliseconds()), absolute)
	return mintToken(user, randomText(tokenSecretAt-tokenFamilySecretAt), randomText(tokenTermsAt-tokenSecretAt),
		entry.Terms{Issued: at, Rotated: at, Expires: expires, Absolute: absolute, Label: policy.Label})
}

// successor returns the next token of a session on those terms, or false if too many rotations are within their grace intervals.
func (t RefreshToken) successor(terms entry.Terms, at int64, policy SessionPolicy) (RefreshToken, bool) {
	salt := randomText(entry.SaltBytes)
	if policy.Grace == NoGrace {
		terms.Links = nil // no earlier token may lead to the live one
	} else {
		for len(terms.Links) > 0 && terms.Links[0].End <= at { // an expired one between others stays, since the chain needs it
			terms.Links = terms.Links[1:]
		}
		if len(terms.Links) == MaxGraceRotations {
			return RefreshToken{}, false
		}
		end := min(entry.Clamp(at+policy.Grace.Milliseconds()), terms.Expires) // an expired token is refused, grace or not
		terms.Links = append(slices.Clone(terms.Links), entry.Link{End: end, Salt: salt})
	}
	terms.Rotated = max(at, terms.Rotated+1) // orders the tokens of a session, even where clocks differ
	terms.Expires = min(entry.Clamp(at+policy.Idle.Milliseconds()), terms.Absolute)
	terms.Label = cmp.Or(policy.Label, terms.Label)
	return t.with(successorSecret(t.secret(), salt), terms), true
}

// converge returns the live token of the session if this one leads to it by links, the first of which is within its grace interval. Which link is
// the token's own is found by trying: the derived digest must be the stored one.
func (t RefreshToken) converge(e entry.Entry, at int64) (RefreshToken, bool) {
	for first, own := range e.Links {
		if own.End <= at {
			continue
		}
		secret := t.secret()
		for _, l := range e.Links[first:] {
			secret = successorSecret(secret, l.Salt)
		}
		if live := t.with(secret, e.Terms); sameDigest(live.Digest(), e.Digest) {
			return live, true
		}
	}
	return RefreshToken{}, false
}
