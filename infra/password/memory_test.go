package password

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
)

// burst verifies a password at once, as often as times says, against a hash with the given costs, which need not be the
// hasher's.
func burst(tb testing.TB, h *Hasher, times int, params argon2Params) {
	salt := []byte(argon2Salt)
	// The tag is not computed, so that no memory is taken before: nothing matches, which takes as long.
	hash, err := domain.ParsePasswordHash(params.format(salt, make([]byte, params.tagLen)))
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	for range times {
		all.Go(func() {
			if got, err := h.Verify(tb.Context(), hash, phrase); err != nil || got.Match {
				tb.Errorf("got %+v, %v", got, err)
			}
		})
	}
	all.Wait()
}

// A burst takes a small multiple of the memory of the limiter, however many wait: Go's collector lets the heap double before
// it collects what finished hashes leave. What is measured is the heap with all that the collector holds free but has not
// given back. The operating system's own count is in BenchmarkBurst; it cannot be used here, because the race detector takes
// several times as much for itself.
func TestMemoryOfABurst(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	policy := argon2Params{argon2id, 8192, 1, 1, 16, 32}
	for _, test := range []struct {
		times   int
		params  argon2Params
		hashMiB int64
	}{
		{40, policy, 8},
		// Alone, although four of the policy's own may run at once: it is more than all.
		{8, argon2Params{argon2id, 40960, 1, 2, 16, 32}, 40},
	} {
		t.Run(fmt.Sprintf("%d x m=%d", test.times, test.params.memory), func(t *testing.T) {
			h := newHasherOf(policy, Policy{Concurrency: 4})
			debug.FreeOSMemory()
			before := heap()
			stop := make(chan struct{})
			peak := make(chan int64)
			go func() {
				var most int64
				ticks := time.NewTicker(time.Millisecond)
				defer ticks.Stop()
				for {
					select {
					case <-stop:
						peak <- most
						return
					case <-ticks.C:
						most = max(most, heap())
					}
				}
			}()
			burst(t, h, test.times, test.params)
			close(stop)
			got := (<-peak - before) >> 20
			least := test.hashMiB / 2                                 // or nothing was measured
			most := 3*max(h.limiter.limit, test.hashMiB<<20)>>20 + 64 // for what the process has beside
			t.Logf("peak %d MiB, bound %d MiB", got, most)
			if got < least || got > most {
				t.Errorf("peak %d MiB, want %d to %d", got, least, most)
			}
		})
	}
}

// heap returns the bytes of memory that the heap holds of the operating system.
func heap() int64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	var sum int64
	for _, sample := range samples {
		sum += int64(sample.Value.Uint64())
	}
	return sum
}

// BenchmarkBurst measures many sign-ins at once: the time of each, and the most memory that the process held meanwhile, as
// Linux counts it.
//
//	go test ./infra/password -run '^$' -bench Burst -benchtime 1x
func BenchmarkBurst(b *testing.B) {
	rfc9106 := argon2Params{argon2id, 65536, 3, 4, saltBytes, tagBytes}
	for _, test := range []struct {
		policy Policy
		times  int
		params argon2Params
	}{
		{Policy{Concurrency: 2}, 1000, argon2Params{argon2id, minMemory, 2, 1, saltBytes, tagBytes}},
		{Policy{Memory: 65536, Iterations: 3, Parallelism: 4, Concurrency: 1}, 1000, rfc9106},
		{Policy{Memory: 65536, Iterations: 3, Parallelism: 4, Concurrency: 2}, 1000, rfc9106},
		{Policy{Memory: 65536, Iterations: 3, Parallelism: 4, Concurrency: 8}, 1000, rfc9106},
		// Imported hashes of a predecessor that took 500 MiB for each.
		{Policy{Concurrency: 1}, 1, argon2Params{argon2id, 512000, 2, 2, saltBytes, tagBytes}},
		{Policy{Concurrency: 1}, 2, argon2Params{argon2id, 512000, 2, 2, saltBytes, tagBytes}},
		{Policy{Concurrency: 1}, 10, argon2Params{argon2id, 512000, 2, 2, saltBytes, tagBytes}},
	} {
		b.Run(fmt.Sprintf("%d at once, m=%d, concurrency %d", test.times, test.params.memory, test.policy.Concurrency), func(b *testing.B) {
			h := newHasher(b, test.policy)
			debug.FreeOSMemory()
			resetPeak(b)
			for b.Loop() {
				burst(b, h, test.times, test.params)
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*test.times), "ms/sign-in")
			b.ReportMetric(peakMiB(b), "peak-MiB")
		})
	}
}

// resetPeak makes Linux forget how much memory the process ever held.
func resetPeak(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skipf("the peak can be measured on Linux only: %v", err)
	}
}

// peakMiB returns the most memory that the process held since.
func peakMiB(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	digits, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" kB"))
	kib, err := strconv.Atoi(string(digits))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib / 1024)
}
