package password

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// turns bounds how many hashes are computed at once by the memory that they take. Its queue is first come, first served, so
// that cheap hashes never overtake a costly one for ever.
type turns struct {
	slots *semaphore.Weighted // in bytes
	limit int64               // of slots
	least int64               // what the cheapest hash counts for, so that at most limit / least run at once

	mu    sync.Mutex
	stats Stats
}

// newTurns allows concurrency hashes of size bytes at once, or as many of other sizes as fit into the same memory; one
// that does not fit has all of it to itself.
func newTurns(concurrency int, size int64) *turns {
	limit := int64(concurrency) * size
	return &turns{slots: semaphore.NewWeighted(limit), limit: limit, least: size}
}

// run calls hash, which allocates the given number of bytes, when its turn comes, or returns the error of ctx if that ends
// first.
func (t *turns) run(ctx context.Context, bytes int64, hash func()) error {
	weight := min(max(bytes, t.least), t.limit)
	begin := time.Now()
	t.count(func(s *Stats) { s.Waiting++ })
	err := t.slots.Acquire(ctx, weight)
	t.count(func(s *Stats) {
		s.Waiting--
		s.Waited += time.Since(begin)
		if err == nil {
			s.Running++
		}
	})
	if err != nil {
		return err
	}
	defer t.slots.Release(weight)
	defer t.count(func(s *Stats) { s.Running--; s.Done++ })
	hash()
	return nil
}

func (t *turns) count(change func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.stats)
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
	h.turns.mu.Lock()
	defer h.turns.mu.Unlock()
	return h.turns.stats
}
