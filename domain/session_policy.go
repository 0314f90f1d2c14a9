package domain

import (
	"cmp"
	"strconv"
	"time"
)

// NoGrace as [SessionPolicy.Grace] invalidates a rotated token at once; presenting it ends its session. It is for clients that never send two
// requests at once: of n concurrent requests with one token, one gets the next token, one is refused as reused, which ends the session, and the
// others as invalid. Such a client cannot retry when a reply was lost.
const NoGrace time.Duration = -1

// The defaults of SessionPolicy.
const (
	DefaultSessionCap      = 20
	DefaultSessionIdle     = 14 * 24 * time.Hour
	DefaultSessionAbsolute = 30 * 24 * time.Hour // NIST SP 800-63B-4, AAL1: sign in again at least every 30 days
	DefaultSessionGrace    = time.Minute         // longer than a failover of the database: a client whose reply was lost comes back in time
)

const (
	maxSessionCap   = 1000
	maxSessionGrace = time.Hour // no client retries a lost reply later
	maxLabelRunes   = 120
)

// SessionPolicy limits sessions. A zero field means its default. Each call may have another policy: it applies to what the call writes, and
// never lengthens or shortens what is stored.
type SessionPolicy struct {
	Cap      int           // sessions per account, 1 to 1000; default 20. A sign-in beyond it ends the oldest
	Idle     time.Duration // a token's lifetime, which each rotation renews; at least 1 ms, default 14 days
	Absolute time.Duration // a session's lifetime, which is fixed (ASVS 5.0, 10.4.8); at least 1 ms, default 30 days
	Grace    time.Duration // how long a rotated token still gets the live one; 1 ms to 1 h, default 1 min, or NoGrace

	// Label names the session in its owner's list of devices: at most 120 code points, without control characters, stored trimmed and in NFC. A
	// rotation of the live token with a label changes it; one with "" keeps it.
	Label string
}

// Resolve returns the policy with its defaults in place, or [ErrInvalid] on the field "cap", "idle", "absolute", "grace" or "label" that is
// out of bounds. An idle limit beyond the absolute one is allowed and has no effect.
func (p SessionPolicy) Resolve() (SessionPolicy, error) {
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
		return p, invalid("grace", "must be NoGrace or 1 ms to 1 h")
	}
	return p, nil
}
