package password

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/softbee/accounts/domain"
)

// smallHasher is of a policy whose hash takes so little memory that its time hardly counts, and so much that nothing else does.
func smallHasher() *Hasher {
	return newHasherOf(argon2Params{argon2id, smallMemory, defaultIterations, defaultParallelism, saltBytes, tagBytes}, Policy{Concurrency: 1, AllowWeakImports: true})
}

const smallMemory = 2048 // KiB

// allocated returns how much memory f takes, in hashes of smallHasher, rounded to quarters. It shows what was computed
// without a clock. Tests that call it are not parallel, for it counts what the whole process allocates.
func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return math.Round(4*float64(after.TotalAlloc-before.TotalAlloc)/float64(smallMemory<<10)) / 4
}

// slow makes the hasher measure time in what is computed, so that a hash of smallHasher takes an hour.
func slow(h *Hasher, factor float64) {
	h.whole.Store(int64(time.Hour))
	h.clock = func() time.Time {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		return time.Unix(0, int64(float64(now.TotalAlloc)/float64(smallMemory<<10)*factor*float64(time.Hour)))
	}
}

// A refusal takes as much work as one by a hash of the policy, however cheap the stored hash is. BenchmarkRefusal in domain
// measures the time.
func TestRefusalIsToppedUp(t *testing.T) {
	h := smallHasher()
	ours, err := h.Hash(t.Context(), phrase)
	if err != nil {
		t.Fatal(err)
	}
	const decomposed = "e\u0301crin" // takes two hashes of the policy: its normal form, and as it is
	for i, stored := range []string{
		ours.Stored(),
		"md5$abcdefgh$e99715b475abcadd63e6cb482fa16f04",
		"{SSHA}JFZFs0oHzxbMwkSJmYVeI8MnTDy/276a",
		"$2b$04$uxrlH9gD0gBxb0ai6tgyDOivLOVHQpFj0e3vq3kWB99OSKEFekqOm",
		"$pbkdf2-sha256$i=1$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
		"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		for password, want := range map[string]float64{"wrong": 1, decomposed: 2} {
			for _, whole := range []time.Duration{0, time.Hour} { // not known yet, and much more than the stored hash takes
				if i > 1 && (whole == 0) != (password == decomposed) {
					continue // the first two, of the policy and a weak one, are tried with all of both
				}
				slow(h, 1)
				h.whole.Store(int64(whole))
				got := allocated(func() {
					if got, err := verify(t.Context(), h, stored, password); err != nil || got != (domain.Verification{}) {
						t.Errorf("%s: got %+v, %v", stored, got, err)
					}
				})
				if got != want {
					t.Errorf("%s, %q: computed %v hashes of the policy, want %v", stored, password, got, want)
				}
			}
		}
	}
}

func TestTopUp(t *testing.T) {
	for _, test := range []struct {
		spent  time.Duration
		hashes int
		want   float64
	}{
		{0, 1, 1},
		{15 * time.Minute, 1, 0.75},
		{30 * time.Minute, 1, 0.5},
		{time.Hour, 1, 0},
		{10 * time.Hour, 1, 0},
		{30 * time.Minute, 2, 1.5},
		{90 * time.Minute, 2, 0.5},
		{2 * time.Hour, 2, 0},
	} {
		for _, factor := range []float64{1, 0.5} { // a part of a hash takes its part of the time, or half of that
			h := smallHasher()
			slow(h, factor)
			if got, want := allocated(func() { h.topUp(test.spent, []byte("wrong"), test.hashes) }), test.want/factor; got != want {
				t.Errorf("after %v of %d hours at a factor of %v: computed %v hashes, want %v", test.spent, test.hashes, factor, got, want)
			}
		}
	}
}

func TestMatchIsNotToppedUp(t *testing.T) {
	h := smallHasher()
	h.whole.Store(int64(time.Hour))
	got := allocated(func() {
		got, err := verify(t.Context(), h, "$2b$05$GPo7PRzmq.WcNvlLkXz1Veqa.Ro8LVNwQbDtX9.Uvt1sveXZkc/vq", "Pässwörd-ñandú-密码-🐝")
		if err != nil || !got.Match {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	if got != 0 {
		t.Errorf("computed %v hashes of the policy", got)
	}
}

// The estimate follows the machine's speed in either direction, and a single slow hash hardly moves it.
func TestEstimateOfAHashIsItsMedian(t *testing.T) {
	h := newHasher(t, Policy{})
	h.note(100)
	for _, speed := range []time.Duration{10 * time.Millisecond, time.Second, 20 * time.Millisecond} {
		for i := range 1000 {
			took := speed
			if i%10 == 0 {
				took *= 50
			}
			h.note(took)
		}
		if got := time.Duration(h.whole.Load()); got < speed*8/10 || got > speed*12/10 {
			t.Errorf("got %v, want about %v", got, speed)
		}
	}
}

func TestNoPasswordMatchesNothing(t *testing.T) {
	h := newHasher(t, Policy{AllowWeakImports: true})
	for _, password := range []string{"", "!", phrase} {
		got, err := h.Verify(t.Context(), domain.NoPassword(), password)
		if answered(t, got, err) != badHash {
			t.Errorf("%q: got %+v, %v", password, got, err)
		}
	}
}

func TestFast(t *testing.T) {
	fast := Fast()
	hash, err := fast.Hash(t.Context(), composed)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]domain.Verification{
		composed: {Match: true}, nfc: {Match: true}, "wrong": {},
	} {
		if got, err := fast.Verify(t.Context(), hash, password); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", password, got, err, want)
		}
	}
	if got, err := newHasher(t, Policy{}).Verify(t.Context(), hash, nfc); err != nil || got != (domain.Verification{Match: true, Stale: true}) {
		t.Errorf("by a policy: got %+v, %v", got, err)
	}
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, Policy{Concurrency: 1})
		step := make(chan struct{})
		compute := func(ctx context.Context) error { return h.limiter.run(ctx, 0, func() { <-step }) }
		go func() { _ = compute(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _ = compute(t.Context()) }()
		synctest.Wait()
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- compute(ctx) }()
		synctest.Wait()
		if got, want := h.Stats(), (Stats{Running: 1, Waiting: 2}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if err := <-gaveUp; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Second)
		step <- struct{}{}
		synctest.Wait()
		if got, want := h.Stats(), (Stats{Running: 1, Done: 1, Waited: 4 * time.Second}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		step <- struct{}{}
		synctest.Wait()
		if got, want := h.Stats(), (Stats{Done: 2, Waited: 4 * time.Second}); got != want {
			t.Errorf("at the end: got %+v, want %+v", got, want)
		}
	})
}
