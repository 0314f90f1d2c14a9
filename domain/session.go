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
// tokens of the session share. It may be listed and logged: no one can make a token of the session from it. The zero
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
	Label          string    // what the application called it, such as "Firefox on Linux, Bogotá"; "" if nothing
	IssuedAt       time.Time // the sign-in
	RotatedAt      time.Time // when its live token was made; IssuedAt for the first one, and later with each
	ExpiresAt      time.Time // when it ends unless its token is rotated
	AbsoluteExpiry time.Time // when it ends whatever happens
}

// NoGrace as [SessionPolicy.Grace] makes a rotated token worthless at once, and presenting it the end of its session. It is
// for clients that never have two requests under way: of n requests that present one token at once, one gets the next token,
// one is refused as reused, which ends the session, and the others as invalid. Nor can such a client try again when the reply to
// its request was lost.
const NoGrace time.Duration = -1

// What SessionPolicy's fields stand for when they are zero.
const (
	DefaultSessionCap      = 20
	DefaultSessionIdle     = 14 * 24 * time.Hour
	DefaultSessionAbsolute = 30 * 24 * time.Hour // NIST SP 800-63B-4, AAL1: sign in again at least every 30 days
	DefaultSessionGrace    = time.Minute         // longer than a failover of the database: a client whose reply was lost comes back in time
)

const (
	maxSessionCap   = 1000
	maxSessionGrace = time.Hour // a reply that was lost longer ago is not waited for any more
	maxLabelRunes   = 120
)

// SessionPolicy limits sessions. The zero value is the default policy, and so is a zero field. Each call may bring
// another policy: it governs what the call writes, and never lengthens or shortens what is stored.
type SessionPolicy struct {
	Cap      int           // sessions per account, 1 to 1000; default 20. A sign-in beyond it ends the oldest
	Idle     time.Duration // a token's lifetime, which each rotation starts again; at least 1 ms, default 14 days
	Absolute time.Duration // a session's lifetime, which nothing moves (ASVS 5.0, 10.4.8); at least 1 ms, default 30 days
	Grace    time.Duration // how long a rotated token still gets the live one; 1 ms to 1 h, default 1 min, or NoGrace

	// Label is what the owner shall see of the session in a list of devices: at most 120 code points, without control
	// characters, stored trimmed and in NFC. A rotation of the live token with a label changes it; one with "" leaves it.
	Label string
}

// Validate returns [ErrInvalid] on the field "cap", "idle", "absolute", "grace" or "label" when it is out of bounds. An idle
// limit beyond the absolute one is allowed and has no effect.
func (p SessionPolicy) Validate() error {
	_, err := p.resolve()
	return err
}

// resolve returns the policy with its defaults in place.
func (p SessionPolicy) resolve() (SessionPolicy, error) {
	label, err := shortText("label", p.Label, maxLabelRunes)
	if err != nil {
		return p, err
	}
	p = SessionPolicy{
		Label:    label,
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

// MaxGraceRotations is how many rotations of one session can be within their grace interval at once. Rotating its live token
// once more returns that token as it is, until the first of them is over. So no client is logged out for rotating often, and
// what is stored of a session stays bounded.
const MaxGraceRotations = 16

// An entry of a [SessionList] is the text
//
//	session.expires.digest.rotated.absolute.issued.links.label
//
// session is a [SessionID]; digest is [RefreshToken.Digest] of the session's live token; the times are as [EntryTime] writes
// them; links are the rotations that may still be within their grace interval, the earliest first, of 31 characters each: the
// end of the interval and the salt in base64url; label is [Session.Label], whatever it contains. Positions count from 0,
// lengths are in characters: they are what a store's statements need.
const (
	EntrySession    = 0
	EntrySessionLen = 22
	EntryExpires    = EntrySession + EntrySessionLen + 1
	EntryTimeLen    = 9

	// EntryPattern is the form of an entry, for LIKE.
	EntryPattern = "______________________._________.___________________________________________._________._________._________.%.%"
)

const (
	entryDigest    = EntryExpires + EntryTimeLen + 1
	entryDigestLen = 43
	entryRotated   = entryDigest + entryDigestLen + 1
	entryAbsolute  = entryRotated + EntryTimeLen + 1
	entryIssued    = entryAbsolute + EntryTimeLen + 1
	entryLinks     = entryIssued + EntryTimeLen + 1
	entrySaltLen   = 22
	entryLinkLen   = EntryTimeLen + entrySaltLen
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

// terms are what a live token and its entry both tell of a session. Times are Unix milliseconds, from 0 to maxMillis.
type terms struct {
	issued, absolute int64 // of the session
	rotated, expires int64 // of the token
	links            []link
	label            string
}

// link is a rotation: the token that was retired then leads to its successor with the salt, until its grace interval ends.
type link struct {
	end  int64
	salt string // saltBytes of them, random
}

func (t terms) session(id SessionID) Session {
	at := func(millis int64) time.Time { return time.UnixMilli(millis).UTC() }
	return Session{
		ID: id, Label: t.label, IssuedAt: at(t.issued), RotatedAt: at(t.rotated), ExpiresAt: at(t.expires), AbsoluteExpiry: at(t.absolute),
	}
}

// entry is one string of a list, taken apart.
type entry struct {
	id     SessionID
	digest string
	terms
}

func (e entry) text() string {
	var b strings.Builder
	b.Grow(entryLinks + len(e.links)*entryLinkLen + 1 + len(e.label))
	for _, field := range []string{
		e.id.text, entryTime(e.expires), e.digest, entryTime(e.rotated), entryTime(e.absolute), entryTime(e.issued),
	} {
		b.WriteString(field)
		b.WriteByte('.')
	}
	for _, l := range e.links {
		b.WriteString(entryTime(l.end))
		b.WriteString(base64url.EncodeToString([]byte(l.salt)))
	}
	b.WriteByte('.')
	b.WriteString(e.label)
	return b.String()
}

// readEntry returns false for a string that is not in the form of an entry, such as one written by hand.
func readEntry(text string) (entry, bool) {
	if len(text) <= entryLinks {
		return entry{}, false
	}
	for _, next := range []int{EntryExpires, entryDigest, entryRotated, entryAbsolute, entryIssued, entryLinks} {
		if text[next-1] != '.' {
			return entry{}, false
		}
	}
	links, label, ok := strings.Cut(text[entryLinks:], ".")
	e := entry{
		id:     SessionID{text[EntrySession:][:EntrySessionLen]},
		digest: text[entryDigest:][:entryDigestLen],
		terms:  terms{label: label},
	}
	ok = ok && isBase64url(e.id.text) && isBase64url(e.digest) && len(links)%entryLinkLen == 0 && len(links) <= MaxGraceRotations*entryLinkLen
	for at, field := range map[int]*int64{EntryExpires: &e.expires, entryRotated: &e.rotated, entryAbsolute: &e.absolute, entryIssued: &e.issued} {
		ok = ok && readEntryTime(text[at:][:EntryTimeLen], field)
	}
	for ; ok && links != ""; links = links[entryLinkLen:] {
		var l link
		ok = readEntryTime(links[:EntryTimeLen], &l.end)
		salt, err := base64url.DecodeString(links[EntryTimeLen:][:entrySaltLen])
		ok = ok && err == nil && len(salt) == saltBytes
		l.salt = string(salt)
		e.links = append(e.links, l)
	}
	return e, ok
}

func readEntryTime(text string, millis *int64) bool {
	if strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') }) >= 0 {
		return false
	}
	var err error
	*millis, err = strconv.ParseInt(text, entryTimeBase, 64)
	return err == nil
}

func isBase64url(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	}) < 0
}

// SessionList is an account's sessions as they are stored: a JSON array of entries (see [EntrySession]), one for each session,
// none of which can be turned into a token. Nil is an empty list. Strings that are not in the form of an entry count for
// nothing, and neither do entries that have expired (expires <= now).
//
// Its methods never change the list they are called on. Those that return a list return a new one; where there is nothing to
// change, the list as it is. What counts for nothing goes when a list comes to its cap or when sessions are ended: to look for it at
// each sign-in and rotation would cost more than its place.
type SessionList []string

// Sessions returns the live sessions, the oldest first; of two issued in the same millisecond the one that comes first in the
// list.
func (l SessionList) Sessions(now time.Time) []Session {
	live := l.live(clampMillis(now.UnixMilli()))
	sessions := make([]Session, len(live))
	for i, e := range live {
		sessions[i] = e.session(e.id)
	}
	return sessions
}

// live returns the entries that count, in the order of Sessions. Of a session that was given two by hand the first one counts.
func (l SessionList) live(now int64) []entry {
	entries := make([]entry, 0, len(l))
	for _, text := range l {
		e, ok := readEntry(text)
		if ok && e.expires > now && !slices.ContainsFunc(entries, func(other entry) bool { return other.id == e.id }) {
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.issued, b.issued) })
	return entries
}

func (l SessionList) find(id SessionID, now int64) (entry, bool) {
	for _, text := range l {
		if !strings.HasPrefix(text, id.text) {
			continue
		}
		if e, ok := readEntry(text); ok && e.expires > now {
			return e, true
		}
	}
	return entry{}, false
}

// Find returns the session whose live token this is. It returns [ErrTokenExpired] for a token whose time is over, and
// [ErrTokenInvalid] for any other that is not live, such as a rotated one, within its grace interval too.
func (l SessionList) Find(token RefreshToken, now time.Time) (Session, error) {
	at := clampMillis(now.UnixMilli())
	if err := token.usable(at); err != nil {
		return Session{}, err
	}
	e, ok := l.find(token.SessionID(), at)
	if !ok || !sameDigest(e.digest, token.Digest()) {
		return Session{}, tokenInvalid()
	}
	return e.session(e.id), nil
}

// Issue appends the new session. If the list has as many strings as the cap allows, it first removes what counts for nothing, and
// then ends the oldest sessions, in the order of Sessions, until the cap is kept.
func (l SessionList) Issue(i TokenIssue) SessionList {
	if len(l) < i.cap {
		return append(slices.Clip(l), i.Entry())
	}
	live := l.live(i.at)
	ended := make(map[SessionID]bool)
	for n := range max(0, len(live)-(i.cap-1)) {
		ended[live[n].id] = true
	}
	return append(l.keep(i.at, func(e entry) bool { return !ended[e.id] }), i.Entry())
}

// Rotate exchanges the presented token for the live one of its session. In this order:
//
//   - Its session has no entry: [ErrTokenInvalid]. A made-up token reveals no more, and ends nothing, since the id of a
//     session cannot be made up (see [RefreshToken.SessionID]).
//   - It is the live token: its successor takes its place, at the end of the list; but at [MaxGraceRotations] it is returned as it is.
//   - It was retired, its grace interval is not over, and the policy has grace: the live token of the session is returned, and the
//     list as it is. Two tabs, or a client whose reply was lost, thus come to hold one token.
//   - Otherwise somebody has a copy: [ErrTokenReused], and the session is gone from the list (RFC 9700 4.14.2), which must be stored.
func (l SessionList) Rotate(r TokenRotation) (SessionList, RefreshToken, error) {
	e, ok := l.find(r.presented.SessionID(), r.at)
	if !ok {
		return l, RefreshToken{}, tokenInvalid()
	}
	if sameDigest(e.digest, r.presented.Digest()) {
		next, ok := r.successor(e.terms)
		if !ok {
			return l, r.presented.with(r.presented.secret(), e.terms), nil
		}
		stored := e.text()
		return append(slices.DeleteFunc(slices.Clone(l), func(text string) bool { return text == stored }), next.entry().text()), next, nil
	}
	if live, ok := r.converge(e); ok {
		return l, live, nil
	}
	return l.keep(r.at, func(other entry) bool { return other.id != e.id }), RefreshToken{}, tokenReused()
}

// Revoke ends the session, if it is there.
func (l SessionList) Revoke(session SessionID, now time.Time) SessionList {
	return l.without(now, func(e entry) bool { return e.id == session })
}

// RevokeOthers ends all sessions but one.
func (l SessionList) RevokeOthers(kept SessionID, now time.Time) SessionList {
	return l.without(now, func(e entry) bool { return e.id != kept })
}

// without returns the list without the sessions that are to end; as it is if none of them is in it.
func (l SessionList) without(now time.Time, ended func(entry) bool) SessionList {
	if !slices.ContainsFunc(l, func(text string) bool { e, ok := readEntry(text); return ok && ended(e) }) {
		return l
	}
	return l.keep(clampMillis(now.UnixMilli()), func(e entry) bool { return !ended(e) })
}

// Prune removes what counts for nothing.
func (l SessionList) Prune(now time.Time) SessionList {
	return l.keep(clampMillis(now.UnixMilli()), func(entry) bool { return true })
}

// keep returns a new list, never nil, of the entries that are not expired and are wanted.
func (l SessionList) keep(now int64, wanted func(entry) bool) SessionList {
	list := make(SessionList, 0, len(l)+1) // what Issue and Rotate append
	for _, text := range l {
		if e, ok := readEntry(text); ok && e.expires > now && wanted(e) {
			list = append(list, text)
		}
	}
	return list
}

func sameDigest(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
