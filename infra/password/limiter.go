package password

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// limiter bounds how many hashes are computed at once by the memory that they take. Its queue is first come, first served, so
// that cheap hashes never overtake a costly one for ever.
type limiter struct {
	slots *semaphore.Weighted // in bytes
	limit int64               // of slots
	least int64               // what the cheapest hash counts for, so that at most limit / least run at once

	mu    sync.Mutex
	stats Stats
}

// newLimiter allows concurrency hashes of size bytes at once, or as many of other sizes as fit into the same memory; one
// that does not fit has all of it to itself.
func newLimiter(concurrency int, size int64) *limiter {
	limit := int64(concurrency) * size
	return &limiter{slots: semaphore.NewWeighted(limit), limit: limit, least: size}
}

// run calls hash, which allocates the given number of bytes, when its turn comes, or returns the error of ctx if that ends
// first.
func (l *limiter) run(ctx context.Context, bytes int64, hash func()) error {
	weight := min(max(bytes, l.least), l.limit)
	begin := time.Now()
	l.count(func(s *Stats) { s.Waiting++ })
	err := l.slots.Acquire(ctx, weight)
	l.count(func(s *Stats) {
		s.Waiting--
		s.Waited += time.Since(begin)
		if err == nil {
			s.Running++
		}
	})
	if err != nil {
		return err
	}
	defer l.slots.Release(weight)
	defer l.count(func(s *Stats) { s.Running--; s.Done++ })
	hash()
	return nil
}

func (l *limiter) count(change func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
}

// Stats is what a [Hasher] is doing and has done. A growing Waiting means that sign-ins arrive faster than the policy's
// concurrency lets them be hashed.
type Stats struct {
	Running int           // calls that compute a hash now
	Waiting int           // calls that wait for their turn now
	Done    int64         // calls that computed a hash, since the hasher was made
	Waited  time.Duration // sum of the times that calls waited for their turn, those included that gave up
}

// Stats returns a consistent snapshot. It never waits for a hash.
func (h *Hasher) Stats() Stats {
	h.limiter.mu.Lock()
	defer h.limiter.mu.Unlock()
	return h.limiter.stats
}
