package domain

import (
	"cmp"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"github.com/softbee/accounts/domain/entry"
)

// MaxGraceRotations is how many rotations of one session can be within their grace interval at once. At that number, rotating the live token
// returns it unchanged until the first interval is over. So no client is signed out for rotating often, and the stored entry stays bounded.
const MaxGraceRotations = entry.MaxLinks

// SessionList is an account's sessions as they are stored: a JSON array of entries (see package entry), one for each session,
// from none of which a token can be computed. Nil is an empty list. Malformed strings and expired entries (expires <= now) are ignored.
//
// Its methods never change the list they are called on. Those that return a list return a new one, or the same list where there is nothing to
// change. Ignored strings are dropped when a list reaches its cap or when sessions are ended: doing so at each sign-in and rotation would cost
// more time than they take space.
type SessionList []string

// Sessions returns the live sessions, the oldest first; those issued in the same millisecond are in the order of the list.
func (l SessionList) Sessions(now time.Time) []Session {
	live := l.live(entry.Clamp(now.UnixMilli()))
	sessions := make([]Session, len(live))
	for i, e := range live {
		sessions[i] = sessionOf(SessionID{e.Session}, e.Terms)
	}
	return sessions
}

// live returns the entries of the live sessions, in the order of Sessions. Of several entries of one session, which only another program can have
// written, it is the first.
func (l SessionList) live(now int64) []entry.Entry {
	entries := make([]entry.Entry, 0, len(l))
	for _, text := range l {
		e, ok := entry.Parse(text)
		if ok && e.Expires > now && !slices.ContainsFunc(entries, func(other entry.Entry) bool { return other.Session == e.Session }) {
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b entry.Entry) int { return cmp.Compare(a.Issued, b.Issued) })
	return entries
}

func (l SessionList) find(id SessionID, now int64) (entry.Entry, bool) {
	for _, text := range l {
		if !strings.HasPrefix(text, id.text) {
			continue
		}
		if e, ok := entry.Parse(text); ok && e.Expires > now {
			return e, true
		}
	}
	return entry.Entry{}, false
}

// Find returns the session of a live token. It returns [ErrTokenExpired] for an expired token, and [ErrTokenInvalid] for any other that is not
// live, such as a rotated one, also within its grace interval.
func (l SessionList) Find(token RefreshToken, now time.Time) (Session, error) {
	at := entry.Clamp(now.UnixMilli())
	if err := token.usable(at); err != nil {
		return Session{}, err
	}
	e, ok := l.find(token.SessionID(), at)
	if !ok || !sameDigest(e.Digest, token.Digest()) {
		return Session{}, tokenInvalid()
	}
	return sessionOf(SessionID{e.Session}, e.Terms), nil
}

// Issue begins a session of the account, and returns the list with it, and its first token. If the list has as many strings as the policy's
// cap, it first drops malformed and expired ones, and then ends the oldest sessions, in the order of Sessions, until the cap is kept. It returns [ErrInvalid] for the zero ID and for a policy that is out of bounds.
func (l SessionList) Issue(user ID, now time.Time, policy SessionPolicy) (SessionList, RefreshToken, error) {
	policy, err := policy.Resolve()
	if err != nil {
		return l, RefreshToken{}, err
	}
	if user.IsZero() {
		return l, RefreshToken{}, invalid("id", "is required")
	}
	at := entry.Clamp(now.UnixMilli())
	token := firstToken(user, at, policy)
	if len(l) < policy.Cap {
		return append(slices.Clip(l), token.Entry()), token, nil
	}
	live := l.live(at)
	ended := make(map[string]bool)
	for n := range max(0, len(live)-(policy.Cap-1)) {
		ended[live[n].Session] = true
	}
	return append(l.keep(at, func(e entry.Entry) bool { return !ended[e.Session] }), token.Entry()), token, nil
}

// Rotate exchanges the presented token for the live one of its session. In this order:
//
//   - Its session has no entry: [ErrTokenInvalid]. A forged token ends no session, since the id of a session cannot be forged (see
//     [RefreshToken.SessionID]).
//   - It is the live token: its successor takes its place, at the end of the list; but at [MaxGraceRotations] it is returned as it is.
//   - It was retired, its grace interval is not over, and the policy has grace: the live token of the session is returned, and the
//     list as it is. Two tabs, or a client whose reply was lost, thus come to hold one token.
//   - Otherwise somebody has a copy: [ErrTokenReused], and the returned list, which must be stored, lacks the session (RFC 9700 4.14.2).
//
// Before it looks into the list, it returns [ErrInvalid] for a policy that is out of bounds, [ErrTokenInvalid] for the zero token and
// [ErrTokenExpired] for an expired one. Cap and Absolute of the policy have no effect: a session keeps the end that it was issued with.
//
// A store can rotate a list of one entry, [RefreshToken.Entry], and replace that entry by the result in the stored list without reading it.
func (l SessionList) Rotate(presented RefreshToken, now time.Time, policy SessionPolicy) (SessionList, RefreshToken, error) {
	policy, err := policy.Resolve()
	if err != nil {
		return l, RefreshToken{}, err
	}
	at := entry.Clamp(now.UnixMilli())
	if err := presented.usable(at); err != nil {
		return l, RefreshToken{}, err
	}
	e, ok := l.find(presented.SessionID(), at)
	if !ok {
		return l, RefreshToken{}, tokenInvalid()
	}
	if sameDigest(e.Digest, presented.Digest()) {
		next, ok := presented.successor(e.Terms, at, policy)
		if !ok {
			return l, presented.with(presented.secret(), e.Terms), nil
		}
		stored := e.Text()
		return append(slices.DeleteFunc(slices.Clone(l), func(text string) bool { return text == stored }), next.Entry()), next, nil
	}
	if live, ok := presented.converge(e, at); ok && policy.Grace != NoGrace {
		return l, live, nil
	}
	return l.keep(at, func(other entry.Entry) bool { return other.Session != e.Session }), RefreshToken{}, tokenReused()
}

// Revoke ends the session, if it is there.
func (l SessionList) Revoke(session SessionID, now time.Time) SessionList {
	return l.without(now, func(e entry.Entry) bool { return e.Session == session.text })
}

// RevokeOthers ends all sessions but one.
func (l SessionList) RevokeOthers(kept SessionID, now time.Time) SessionList {
	return l.without(now, func(e entry.Entry) bool { return e.Session != kept.text })
}

// without returns the list without the sessions that are to end; as it is if none of them is in it.
func (l SessionList) without(now time.Time, ended func(entry.Entry) bool) SessionList {
	if !slices.ContainsFunc(l, func(text string) bool { e, ok := entry.Parse(text); return ok && ended(e) }) {
		return l
	}
	return l.keep(entry.Clamp(now.UnixMilli()), func(e entry.Entry) bool { return !ended(e) })
}

// Prune drops expired and malformed entries.
func (l SessionList) Prune(now time.Time) SessionList {
	return l.keep(entry.Clamp(now.UnixMilli()), func(entry.Entry) bool { return true })
}

// keep returns a new list, never nil, of the entries that have not expired and are wanted.
func (l SessionList) keep(now int64, wanted func(entry.Entry) bool) SessionList {
	list := make(SessionList, 0, len(l)+1) // what Issue and Rotate append
	for _, text := range l {
		if e, ok := entry.Parse(text); ok && e.Expires > now && wanted(e) {
			list = append(list, text)
		}
	}
	return list
}

func sameDigest(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
