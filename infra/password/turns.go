package password

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"golang.org/x/sync/semaphore"
)

// minGarbage is how much memory finished hashes may leave uncollected, in bytes, before one of them collects it.
const minGarbage = 64 << 20

// turns bounds the memory of concurrent hashing. Its waiting line is first come, first served, so a costly hash is not
// overtaken for ever by cheap ones.
//
// Bounding how many hashes run is not enough, because the libraries allocate the memory of each anew and leave it to the
// garbage collector, which lets the heap double first and, once a small object has settled in the hole that a 64 MiB block
// left, looks for the next block elsewhere. Therefore a hash gives back its memory to the operating system itself,
// before its turn ends, whenever the garbage would exceed a limit. So all hashing together never holds more than limit +
// minGarbage.
type turns struct {
	slots *semaphore.Weighted // in bytes
	limit int64               // of slots
	least int64               // what the cheapest hash counts for, so that at most limit / least run at once

	mu      sync.Mutex // held while collecting, so that nothing new is counted meanwhile
	garbage int64      // bytes that were allocated by finished hashes since the last collection
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
	if err := t.slots.Acquire(ctx, weight); err != nil {
		return err
	}
	defer t.slots.Release(weight)
	hash()
	t.discard(bytes)
	return nil
}

// discard counts bytes as garbage and collects it if it is too much.
func (t *turns) discard(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.garbage += bytes
	if t.garbage > t.tolerable() {
		debug.FreeOSMemory()
		t.garbage = 0
	}
}

// tolerable returns how much garbage is left to the ordinary collector. Collecting costs time in proportion to all live
// objects of the program, so where there is much of that, more is tolerated: half of what the program keeps alive beside
// hashing. (The collector's own default is as much again.)
func (t *turns) tolerable() int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return max(minGarbage, (int64(live[0].Value.Uint64())-t.limit)/2)
}
