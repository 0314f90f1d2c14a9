// Package entry has the stored form of an account's sessions: each is a string in the JSON array refresh_tokens. It is for stores whose statements read
// the array, and for reports in SQL; applications do not need it.
//
// An entry is the text
//
//	session.expires.digest.rotated.absolute.issued.links.label
//
// session is the session's id; digest is that of its live token; the times are as [Time] writes them; links are the rotations that may still be within
// their grace interval, the earliest first, of 31 characters each: the end of the interval and the salt in base64url; label is the session's label, which
// may contain dots.
package entry

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Where a statement finds the parts of an entry. Positions count from 0, lengths are in characters.
const (
	Session    = 0
	SessionLen = 22
	Expires    = Session + SessionLen + 1
	TimeLen    = 9

	// Pattern is the form of an entry, for LIKE.
	Pattern = "______________________._________.___________________________________________._________._________._________.%.%"
)

const (
	digestAt   = Expires + TimeLen + 1
	digestLen  = 43
	rotatedAt  = digestAt + digestLen + 1
	absoluteAt = rotatedAt + TimeLen + 1
	issuedAt   = absoluteAt + TimeLen + 1
	linksAt    = issuedAt + TimeLen + 1
	saltLen    = 22
	linkLen    = TimeLen + saltLen
)

const (
	// MaxLinks is the most links that an entry has.
	MaxLinks = 16
	// SaltBytes is the length of a link's salt.
	SaltBytes = 16
	// MaxMillis is the last time that an entry can hold, 36^9 - 1, in the year 5188.
	MaxMillis = 101_559_956_668_415

	timeBase = 36
)

var base64url = base64.RawURLEncoding.Strict()

// Terms are the part of a session that its live token and its entry both hold. Times are Unix milliseconds, from 0 to [MaxMillis].
type Terms struct {
	Issued, Absolute int64 // of the session
	Rotated, Expires int64 // of the token
	Links            []Link
	Label            string
}

// Link is a rotation: until its grace interval ends, the successor of the retired token can be derived with the salt.
type Link struct {
	End  int64
	Salt string // [SaltBytes] of them, random
}

// Entry is one string of the array, parsed.
type Entry struct {
	Session, Digest string
	Terms
}

// Time returns a time as entries hold it: Unix milliseconds, truncated, as nine lower-case digits in base 36, so that times compare as their texts do, byte
// by byte. Times before 1970 are written as the first, and times after 5188 as the last such text.
func Time(t time.Time) string { return formatTime(Clamp(t.UnixMilli())) }

// Clamp returns the nearest time that an entry can hold.
func Clamp(millis int64) int64 { return min(max(millis, 0), MaxMillis) }

func formatTime(millis int64) string {
	digits := strconv.FormatInt(millis, timeBase)
	return strings.Repeat("0", TimeLen-len(digits)) + digits
}

// Text returns the entry as it is stored.
func (e Entry) Text() string {
	var b strings.Builder
	b.Grow(linksAt + len(e.Links)*linkLen + 1 + len(e.Label))
	for _, field := range []string{
		e.Session, formatTime(e.Expires), e.Digest, formatTime(e.Rotated), formatTime(e.Absolute), formatTime(e.Issued),
	} {
		b.WriteString(field)
		b.WriteByte('.')
	}
	for _, l := range e.Links {
		b.WriteString(formatTime(l.End))
		b.WriteString(base64url.EncodeToString([]byte(l.Salt)))
	}
	b.WriteByte('.')
	b.WriteString(e.Label)
	return b.String()
}

// Parse returns false for a string that is not in the form of an entry.
func Parse(text string) (Entry, bool) {
	if len(text) <= linksAt {
		return Entry{}, false
	}
	for _, next := range []int{Expires, digestAt, rotatedAt, absoluteAt, issuedAt, linksAt} {
		if text[next-1] != '.' {
			return Entry{}, false
		}
	}
	links, label, ok := strings.Cut(text[linksAt:], ".")
	e := Entry{
		Session: text[Session:][:SessionLen],
		Digest:  text[digestAt:][:digestLen],
		Terms:   Terms{Label: label},
	}
	ok = ok && isBase64url(e.Session) && isBase64url(e.Digest) && len(links)%linkLen == 0 && len(links) <= MaxLinks*linkLen
	for at, field := range map[int]*int64{Expires: &e.Expires, rotatedAt: &e.Rotated, absoluteAt: &e.Absolute, issuedAt: &e.Issued} {
		ok = ok && parseTime(text[at:][:TimeLen], field)
	}
	for ; ok && links != ""; links = links[linkLen:] {
		var l Link
		ok = parseTime(links[:TimeLen], &l.End)
		salt, err := base64url.DecodeString(links[TimeLen:][:saltLen])
		ok = ok && err == nil && len(salt) == SaltBytes
		l.Salt = string(salt)
		e.Links = append(e.Links, l)
	}
	return e, ok
}

func parseTime(text string, millis *int64) bool {
	if strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') }) >= 0 {
		return false
	}
	var err error
	*millis, err = strconv.ParseInt(text, timeBase, 64)
	return err == nil
}

func isBase64url(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	}) < 0
}
