package domaintest

import (
	"sync/atomic"
	"time"
)

// Clock is a clock that stands still until it is moved. It is safe for concurrent use.
type Clock struct{ nanos atomic.Int64 }

// NewClock returns a clock that shows an instant in 2026 with a fraction of a microsecond.
func NewClock() *Clock {
	c := new(Clock)
	c.nanos.Store(time.Date(2026, time.March, 1, 12, 30, 0, 123_457_891, time.UTC).UnixNano())
	return c
}

// Now returns the time that the clock shows, in a zone that is not UTC.
func (c *Clock) Now() time.Time {
	return time.Unix(0, c.nanos.Load()).In(time.FixedZone("", -(3*3600 + 1800)))
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// stored returns the present as a store keeps it.
func (c *Clock) stored() time.Time { return storedTime(c.Now()) }
