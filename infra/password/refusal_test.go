package password

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/softbee/accounts/domain"
)

// A refusal costs what one against a hash of the policy costs, however cheap the stored hash is. Only half is demanded, since
// the machine that runs the tests does other things too: BenchmarkRefusal in domain measures exactly.
func TestRefusalIsToppedUp(t *testing.T) {
	h := newHasher(t, Policy{AllowWeakImports: true})
	ours, err := h.Hash(t.Context(), phrase)
	if err != nil {
		t.Fatal(err)
	}
	const decomposed = "e\u0301crin" // takes two hashes of the policy: its normal form, and as it is
	fastest := func(stored, password string) time.Duration {
		var took []time.Duration
		for range 5 {
			begin := time.Now()
			got, err := verify(t.Context(), h, stored, password)
			if err != nil || got != (domain.Verification{}) {
				t.Fatalf("%s: got %+v, %v", stored, got, err)
			}
			took = append(took, time.Since(begin))
		}
		return slices.Min(took)
	}
	for _, password := range []string{"wrong", decomposed} {
		want := fastest(ours.Stored(), password)
		for _, stored := range []string{
			"md5$abcdefgh$e99715b475abcadd63e6cb482fa16f04",
			"{SSHA}JFZFs0oHzxbMwkSJmYVeI8MnTDy/276a",
			"$2b$04$uxrlH9gD0gBxb0ai6tgyDOivLOVHQpFj0e3vq3kWB99OSKEFekqOm",
			"$pbkdf2-sha256$i=1$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
			"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		} {
			if got := fastest(stored, password); got < want/2 {
				t.Errorf("%s: refused after %v, a hash of the policy after %v", stored, got, want)
			}
		}
	}
}

// The rest is computed before the first hash of the policy was measured too.
func TestRefusalIsToppedUpFromTheFirstOn(t *testing.T) {
	h := newHasher(t, Policy{})
	if _, err := verify(t.Context(), h, "$2b$04$uxrlH9gD0gBxb0ai6tgyDOivLOVHQpFj0e3vq3kWB99OSKEFekqOm", "wrong"); err != nil {
		t.Fatal(err)
	}
	if h.whole.Load() == 0 {
		t.Error("no hash of the policy was computed")
	}
}

// A match, and a refusal by a hash that costs more than the policy's, take no further hash.
func TestNothingElseIsToppedUp(t *testing.T) {
	h := newHasher(t, Policy{})
	if got, err := verify(t.Context(), h, "$2b$05$GPo7PRzmq.WcNvlLkXz1Veqa.Ro8LVNwQbDtX9.Uvt1sveXZkc/vq", "Pässwörd-ñandú-密码-🐝"); err != nil || !got.Match {
		t.Fatalf("got %+v, %v", got, err)
	}
	if h.whole.Load() != 0 {
		t.Error("a match was topped up")
	}
	h.whole.Store(int64(time.Hour))
	h.topUp(time.Hour, []byte("wrong"), 1)
	if got := time.Duration(h.whole.Load()); got != time.Hour {
		t.Errorf("a hash was computed: the average is %v", got)
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
		compute := func(ctx context.Context) error { return h.turns.run(ctx, 0, func() { <-step }) }
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
