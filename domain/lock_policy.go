package domain

import (
	"cmp"
	"math"
	"time"
)

// LockPolicy says when failed sign-ins lock an account. The zero value is the default.
type LockPolicy struct {
	Attempts int           // consecutive failures that lock; 1 to 100 (NIST SP 800-63B-4 3.2.2), default 5; or NoLock
	Duration time.Duration // of the lock; default 15 minutes
}

// NoLock as [LockPolicy.Attempts] turns locking off, for an application that limits guesses by other means. Failures are still counted, and a lock
// that is in force stays.
const NoLock = -1

// The defaults of LockPolicy.
const (
	DefaultLockAttempts = 5
	DefaultLockDuration = 15 * time.Minute
)

const maxLockAttempts = 100

// Resolve returns the policy with its defaults in place, or [ErrInvalid] on the field "attempts" or "lock_for".
func (p LockPolicy) Resolve() (LockPolicy, error) {
	p.Attempts = cmp.Or(p.Attempts, DefaultLockAttempts)
	p.Duration = cmp.Or(p.Duration, DefaultLockDuration)
	switch {
	case p.Attempts != NoLock && (p.Attempts < 1 || p.Attempts > maxLockAttempts):
		return p, invalid("attempts", "must be NoLock or 1 to 100")
	case p.Duration < 0:
		return p, invalid("lock_for", "is negative")
	}
	return p, nil
}

// MaxFailedLoginAttempts is where the counter of failed sign-ins stops: the most that PostgreSQL's integer holds.
const MaxFailedLoginAttempts = math.MaxInt32
