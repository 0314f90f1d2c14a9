package domain

import (
	"cmp"
	"crypto/subtle"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SessionID names a session: 22 characters of base64url, the first 128 bits of a SHA-256 digest of the secret that all
// tokens of the session share. It may be listed and logged: nobody can make a token of the session from it. The zero
// SessionID means "absent"; SessionIDs are comparable.
type SessionID struct{ text string }

const sessionIDBytes = 16

// ParseSessionID reads the text that String gave. It returns [ErrInvalid] on the field "session".
func ParseSessionID(text string) (SessionID, error) {
	if len(text) != EntrySessionLen {
		return SessionID{}, invalid("session", "is not the id of a session")
	}
	if raw, err := base64url.DecodeString(text); err != nil || len(raw) != sessionIDBytes {
		return SessionID{}, invalid("session", "is not the id of a session")
	}
	return SessionID{text}, nil
}

// IsZero tells whether the id is absent.
func (s SessionID) IsZero() bool { return s.text == "" }

// String returns the id's text, or "" for the zero SessionID.
func (s SessionID) String() string { return s.text }

// Session is one sign-in on one device, as its owner may see it. Times are UTC, to the millisecond.
type Session struct {
	ID             SessionID
	IssuedAt       time.Time // the sign-in
	RotatedAt      time.Time // when its newest token was minted; IssuedAt or, with unequal clocks, near it for the first one
	ExpiresAt      time.Time // when its last token expires unless it is rotated
	AbsoluteExpiry time.Time // when it ends whatever happens
}

// NoGrace as [SessionPolicy.Grace] makes a rotated token worthless at once.
const NoGrace time.Duration = -1

// What SessionPolicy's fields stand for when they are zero.
const (
	DefaultSessionCap      = 20
	DefaultSessionIdle     = 14 * 24 * time.Hour
	DefaultSessionAbsolute = 30 * 24 * time.Hour // NIST SP 800-63B-4, AAL1: sign in again at least every 30 days
	DefaultSessionGrace    = 10 * time.Second
)

const (
	maxSessionCap   = 1000
	maxSessionGrace = time.Hour // a reply that was lost longer ago is not waited for any more
)

// SessionPolicy limits sessions. The zero value is the default policy, and so is a zero field. Each call may bring
// another policy: it governs what the call writes, and never lengthens or shortens what is stored.
type SessionPolicy struct {
	Cap      int           // sessions per account, 1 to 1000; default 20. A sign-in beyond it ends the oldest
	Idle     time.Duration // a token's lifetime, which rotation begins anew; at least 1 ms, default 14 days
	Absolute time.Duration // a session's lifetime, which nothing moves (ASVS 5.0, 10.4.8); at least 1 ms, default 30 days
	Grace    time.Duration // how long a rotated token still gets a sibling; 1 ms to 1 h, default 10 s, or NoGrace
}

// Validate returns [ErrInvalid] on the field "cap", "idle", "absolute" or "grace" when it is out of bounds. An idle limit
// beyond the absolute one is allowed and has no effect.
func (p SessionPolicy) Validate() error {
	_, err := p.resolve()
	return err
}

// resolve returns the policy with its defaults in place.
func (p SessionPolicy) resolve() (SessionPolicy, error) {
	p = SessionPolicy{
		Cap:      cmp.Or(p.Cap, DefaultSessionCap),
		Idle:     cmp.Or(p.Idle, DefaultSessionIdle),
		Absolute: cmp.Or(p.Absolute, DefaultSessionAbsolute),
		Grace:    cmp.Or(p.Grace, DefaultSessionGrace),
	}
	switch {
	case p.Cap < 1 || p.Cap > maxSessionCap:
		return p, invalid("cap", "is not 1 to "+strconv.Itoa(maxSessionCap))
	case p.Idle < time.Millisecond:
		return p, invalid("idle", "is shorter than 1 ms")
	case p.Absolute < time.Millisecond:
		return p, invalid("absolute", "is shorter than 1 ms")
	case p.Grace != NoGrace && (p.Grace < time.Millisecond || p.Grace > maxSessionGrace):
		return p, invalid("grace", "is neither none nor 1 ms to 1 h")
	}
	return p, nil
}

// MaxSessionTokens is how many live tokens, and how many retired ones, one session can have. A session has more than one
// live token after replays within the grace interval; the bound keeps such replays from filling the row.
const MaxSessionTokens = 16

// The entries of a [SessionList], in ASCII, fields parted by dots. Positions count from 0, lengths are in characters.
//
//	live:    expires.session.digest.rotated.absolute.issued
//	retired: expires.session.tag
//
// Times are as [EntryTime] writes them. A live entry stands for a token that can be used until expires; session is a
// [SessionID]; digest is [RefreshToken.Digest]; rotated is when the token was minted; absolute and issued are those of the
// session, the same in all its entries. A retired entry stands for a token that was rotated; expires is the end of its
// grace interval; tag is the beginning of its digest, 132 bits.
const (
	EntryTimeLen    = 9
	EntrySessionLen = 22
	EntryDigestLen  = 43
	EntryTagLen     = 22

	EntryExpires  = 0
	EntrySession  = EntryExpires + EntryTimeLen + 1
	EntryDigest   = EntrySession + EntrySessionLen + 1 // in a retired entry the tag
	EntryRotated  = EntryDigest + EntryDigestLen + 1
	EntryAbsolute = EntryRotated + EntryTimeLen + 1
	EntryIssued   = EntryAbsolute + EntryTimeLen + 1

	LiveEntryLen    = EntryIssued + EntryTimeLen
	RetiredEntryLen = EntryDigest + EntryTagLen
)

const (
	entryTimeBase = 36
	maxMillis     = 101_559_956_668_415 // 36^9 - 1: in the year 5188
)

// EntryTime returns a time as entries hold it: Unix milliseconds, cut and not rounded, as nine lower-case digits in base
// 36, so that times compare as their texts do, byte by byte. Times before 1970 give the first and times after 5188 the last such text.
func EntryTime(t time.Time) string { return entryTime(clampMillis(t.UnixMilli())) }

func entryTime(millis int64) string {
	digits := strconv.FormatInt(millis, entryTimeBase)
	return strings.Repeat("0", EntryTimeLen-len(digits)) + digits
}

func clampMillis(millis int64) int64 { return min(max(millis, 0), maxMillis) }

// entryWrite is what the new live entry of a token consists of, but for its time of issue.
type entryWrite struct{ now, head string }

func newEntryWrite(token RefreshToken, at int64) entryWrite {
	now := entryTime(at)
	head := strings.Join([]string{
		entryTime(token.millis(tokenExpiryAt)), token.SessionID().text, token.Digest(),
		now, entryTime(token.millis(tokenAbsoluteAt)), "",
	}, ".")
	return entryWrite{now: now, head: head}
}

func retiredEntry(expires int64, session SessionID, digest string) string {
	return entryTime(expires) + "." + session.text + "." + digest[:EntryTagLen]
}

// entry is one string of a list, taken apart. The last three fields are empty in a retired one.
type entry struct{ expires, session, digest, rotated, absolute, issued string }

func (e entry) live() bool { return e.issued != "" }

// readEntry returns false for a string that is in neither form, such as one written by hand.
func readEntry(text string) (entry, bool) {
	var e entry
	switch len(text) {
	case LiveEntryLen:
		e = entry{
			expires:  text[EntryExpires:][:EntryTimeLen],
			session:  text[EntrySession:][:EntrySessionLen],
			digest:   text[EntryDigest:][:EntryDigestLen],
			rotated:  text[EntryRotated:][:EntryTimeLen],
			absolute: text[EntryAbsolute:][:EntryTimeLen],
			issued:   text[EntryIssued:][:EntryTimeLen],
		}
		dots := text[EntrySession-1] == '.' && text[EntryDigest-1] == '.' && text[EntryRotated-1] == '.' &&
			text[EntryAbsolute-1] == '.' && text[EntryIssued-1] == '.'
		return e, dots && isEntryTime(e.expires) && isBase64url(e.session) && isBase64url(e.digest) &&
			isEntryTime(e.rotated) && isEntryTime(e.absolute) && isEntryTime(e.issued)
	case RetiredEntryLen:
		e = entry{
			expires: text[EntryExpires:][:EntryTimeLen],
			session: text[EntrySession:][:EntrySessionLen],
			digest:  text[EntryDigest:][:EntryTagLen],
		}
		dots := text[EntrySession-1] == '.' && text[EntryDigest-1] == '.'
		return e, dots && isEntryTime(e.expires) && isBase64url(e.session) && isBase64url(e.digest)
	default:
		return e, false
	}
}

func isEntryTime(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') }) < 0
}

func isBase64url(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	}) < 0
}

// SessionList is an account's sessions as they are stored: a JSON array of entries (see [LiveEntryLen]), none of which can
// be turned into a token. Nil is an empty list. Strings in neither form of an entry count for nothing.
//
// Its methods never change the list they are called on. Those that return a list return a new one, without the strings
// that have expired (expires <= now) or have no form: what they say of entries is said of the others. They are what a
// store's statements must do, in terms that SQL has as well: comparing substrings at fixed positions, the least and the
// greatest of such substrings, dropping and appending.
type SessionList []string

// Sessions returns the sessions that have a live token, the oldest first; of two issued in the same millisecond the
// one whose live entry comes first in the list.
func (l SessionList) Sessions(now time.Time) []Session {
	families := l.families(EntryTime(now))
	sessions := make([]Session, len(families))
	for i, f := range families {
		sessions[i] = Session{
			ID:             SessionID{f.session},
			IssuedAt:       parseEntryTime(f.issued),
			RotatedAt:      parseEntryTime(f.rotated),
			ExpiresAt:      parseEntryTime(f.expires),
			AbsoluteExpiry: parseEntryTime(f.absolute),
		}
	}
	return sessions
}

// families returns one entry for each session with a live token, in the order of Sessions: the earliest issue, the latest
// of the other times of its live entries.
func (l SessionList) families(now string) []entry {
	var families []entry
	place := make(map[string]int)
	for _, text := range l {
		e, ok := readEntry(text)
		if !ok || !e.live() || e.expires <= now {
			continue
		}
		at, known := place[e.session]
		if !known {
			place[e.session] = len(families)
			families = append(families, e)
			continue
		}
		f := &families[at]
		f.issued = min(f.issued, e.issued)
		f.rotated, f.expires, f.absolute = max(f.rotated, e.rotated), max(f.expires, e.expires), max(f.absolute, e.absolute)
	}
	slices.SortStableFunc(families, func(a, b entry) int { return strings.Compare(a.issued, b.issued) })
	return families
}

// Has tells whether the token is live in the list. It is false for one that was rotated, within its grace interval too.
func (l SessionList) Has(token RefreshToken, now time.Time) bool {
	digest, at := token.Digest(), EntryTime(now)
	for _, text := range l {
		if e, ok := readEntry(text); ok && e.live() && e.expires > at && sameDigest(e.digest, digest) {
			return true
		}
	}
	return false
}

// Issue appends the new session. Before that the oldest sessions end, in the order of Sessions, until the cap is kept. The
// new one's time of issue is the present, or the latest time of issue in the list if that is later: so the newest
// session is the one stored last, even where clocks differ.
func (l SessionList) Issue(i TokenIssue) SessionList {
	now := i.write.now
	families := l.families(now)
	issued := now
	for _, f := range families {
		issued = max(issued, f.issued)
	}
	ended := make(map[string]bool)
	for n := range max(0, len(families)-(i.cap-1)) {
		ended[families[n].session] = true
	}
	list := l.keep(now, func(e entry) bool { return !ended[e.session] })
	return append(list, i.write.head+issued)
}

// Rotate exchanges the presented token for the new one. In this order:
//
//   - Its session has no live entry: [ErrTokenInvalid], and the list as it was. A stranger who made up a token is told no
//     more, and ends nothing, since the id of a session cannot be made up (see [RefreshToken.SessionID]).
//   - It is live: its entry goes; the retired entry, if there is grace, and the new live entry are appended.
//   - It is retired, within its grace interval, and the policy has grace: the new live entry is appended. Two tabs, or
//     a client whose reply was lost, thus get a token each.
//   - Otherwise it was rotated long ago, and somebody has a copy: [ErrTokenReused], and all entries of the session are
//     gone (RFC 9700 4.14.2). This list must be stored.
//
// A new live entry takes the time of issue of the session's live entries (the least, should they differ). Of more than
// [MaxSessionTokens] live entries of the session, and of as many retired ones, the first in the list go.
func (l SessionList) Rotate(r TokenRotation) (SessionList, error) {
	session, tag := r.presented.SessionID().text, r.digest[:EntryTagLen]
	var issued string
	var live, retired bool
	list := l.keep(r.write.now, func(e entry) bool {
		switch {
		case e.session != session:
			return true
		case !e.live():
			retired = retired || sameDigest(e.digest, tag)
			return true
		}
		if issued == "" || e.issued < issued {
			issued = e.issued
		}
		presented := sameDigest(e.digest, r.digest)
		live = live || presented
		return !presented
	})
	switch {
	case issued == "":
		return l, tokenInvalid()
	case live:
		if r.retired != "" {
			list = append(list, r.retired)
		}
	case !retired || r.retired == "":
		list = list.keep(r.write.now, func(e entry) bool { return e.session != session })
		return list, &Error{Kind: ErrTokenReused, Field: "token", Reason: "was used before; its session has been ended"}
	}
	return append(list, r.write.head+issued).bound(r.write.now, session), nil
}

// bound drops the first of more than MaxSessionTokens entries of one form.
func (l SessionList) bound(now, session string) SessionList {
	excess := map[bool]int{true: -MaxSessionTokens, false: -MaxSessionTokens} // by form: live, retired
	for _, text := range l {
		if e, ok := readEntry(text); ok && e.session == session {
			excess[e.live()]++
		}
	}
	return l.keep(now, func(e entry) bool {
		if e.session != session {
			return true
		}
		excess[e.live()]--
		return excess[e.live()] < 0
	})
}

// Revoke ends the session, if it is there.
func (l SessionList) Revoke(session SessionID, now time.Time) SessionList {
	return l.keep(EntryTime(now), func(e entry) bool { return e.session != session.text })
}

// RevokeOthers ends all sessions but one.
func (l SessionList) RevokeOthers(kept SessionID, now time.Time) SessionList {
	return l.keep(EntryTime(now), func(e entry) bool { return e.session == kept.text })
}

// Prune does nothing beyond what all methods do that return a list.
func (l SessionList) Prune(now time.Time) SessionList {
	return l.keep(EntryTime(now), func(entry) bool { return true })
}

// keep returns a new list, never nil, of the entries that are not expired and are wanted.
func (l SessionList) keep(now string, wanted func(entry) bool) SessionList {
	list := make(SessionList, 0, len(l)+2) // what Rotate appends
	for _, text := range l {
		if e, ok := readEntry(text); ok && e.expires > now && wanted(e) {
			list = append(list, text)
		}
	}
	return list
}

func sameDigest(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func parseEntryTime(text string) time.Time {
	millis, _ := strconv.ParseInt(text, entryTimeBase, 64) // readEntry has checked the digits, and nine of them cannot overflow
	return time.UnixMilli(millis).UTC()
}
