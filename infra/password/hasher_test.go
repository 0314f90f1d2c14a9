package password

import (
	"context"
	"errors"
	"math"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/softbee/accounts/domain"
)

func TestHashWritesPHC(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	for name, test := range map[string]struct {
		policy Policy
		costs  string
	}{
		"default":         {Policy{}, "m=19456,t=2,p=1"},
		"one pass":        {Policy{Memory: 47104, Iterations: 1}, "m=47104,t=1,p=1"},
		"RFC 9106":        {RFC9106(), "m=65536,t=3,p=4"},
		"memory not x 4p": {Policy{Memory: 19457, Parallelism: 3}, "m=19457,t=2,p=3"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHasher(t, test.policy)
			hash, err := h.Hash(t.Context(), phrase)
			if err != nil {
				t.Fatal(err)
			}
			form := regexp.MustCompile(`^\$argon2id\$v=19\$` + test.costs + `\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
			if !form.MatchString(hash.Stored()) {
				t.Errorf("got %s, want %s", hash.Stored(), form)
			}
			if name != "default" {
				return // what is verified is in the other tests
			}
			again, err := h.Hash(t.Context(), phrase)
			if err != nil || again == hash {
				t.Errorf("hashed twice: %v, the same: %t", err, again == hash)
			}
			got, err := h.Verify(t.Context(), hash, phrase)
			if want := (domain.Verification{Match: true}); err != nil || got != want {
				t.Errorf("right password: %+v, %v", got, err)
			}
			got, err = h.Verify(t.Context(), hash, "correct horse battery stable")
			if err != nil || got != (domain.Verification{}) {
				t.Errorf("wrong password: %+v, %v", got, err)
			}
		})
	}
}

func TestPolicyBounds(t *testing.T) {
	for field, policies := range map[string][]Policy{
		"": {
			{}, RFC9106(), {Memory: 19456}, {Memory: 47104, Iterations: 1}, {Memory: maxArgon2Memory, Iterations: 4},
			{Concurrency: 1}, {Concurrency: maxConcurrency}, {Parallelism: maxArgon2Parallelism},
		},
		"memory": {
			{Memory: 19455}, {Memory: 19455, Iterations: 3}, {Memory: 47103, Iterations: 1}, {Iterations: 1},
			{Memory: maxArgon2Memory + 1}, {Memory: math.MaxUint32},
		},
		"iterations":  {{Memory: maxArgon2Memory, Iterations: 5}, {Iterations: maxArgon2Iterations + 1}, {Iterations: math.MaxUint32}},
		"parallelism": {{Parallelism: maxArgon2Parallelism + 1}},
		"concurrency": {{Concurrency: -1}, {Concurrency: maxConcurrency + 1}},
	} {
		for _, policy := range policies {
			h, err := New(policy)
			if field == "" {
				if err != nil {
					t.Errorf("%+v: %v", policy, err)
				} else if _, err := parse(h.params.format(make([]byte, saltBytes), make([]byte, tagBytes)), false); err != nil {
					t.Errorf("%+v: its hashes are refused: %v", policy, err)
				}
				continue
			}
			var detail *domain.Error
			if !errors.As(err, &detail) || detail.Kind != domain.ErrInvalid || detail.Field != field {
				t.Errorf("%+v: got %v, want it invalid on %s", policy, err, field)
			}
		}
	}
}

func TestDefaultConcurrencyIsBounded(t *testing.T) {
	policy, err := Policy{}.resolved()
	if err != nil || policy.Concurrency < 1 || policy.Concurrency > 8 {
		t.Errorf("got %d, %v", policy.Concurrency, err)
	}
}

const phrase = "correct horse battery staple"

// Forms that testdata/hash_vectors.json has no example of.
func TestFurtherForms(t *testing.T) {
	h := cheapHasher()
	for form, test := range map[string]struct{ password, stored string }{
		"PHC PBKDF2":                  {phrase, "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI"},
		"PHC PBKDF2, length stated":   {phrase, "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI"},
		"passlib bcrypt-sha256 v1":    {"password", "$bcrypt-sha256$2a,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"},
		"SHA-256-crypt, rounds given": {phrase, "$5$rounds=1000$saltstringsaltst$w7bWQ2Z/gtN581UKhVr4sVAsyzC6APuMGxRY0fR8Wg7"},
		"phpass as phpBB writes it":   {phrase, "$H$5/dluCWyN8yGFIsuw8msHCn.VEZ7Mh."},
		"Werkzeug PBKDF2 SHA-512":     {phrase, "pbkdf2:sha512:1000$abcdefgh$f9cc1a82f98484adce0e71f4e9535d4d5710e2d9520b118b24cc71c8fc5448f1b55183147012b6e7e940a92b47c2a8688c734a653c21e3a6beaa98efef899729"},
		"Werkzeug md5":                {phrase, "md5$abcdefgh$e99715b475abcadd63e6cb482fa16f04"},
		"Werkzeug sha512":             {phrase, "sha512$abcdefgh$1a6934d6b8014775a6cfa8eb9d17b7d66f7b99e47794516f8ed6e7488160dce41158c01bd5ba13865ca1f8d7ea5d3cedc813e09c92252b8cf44714218dc65c7f"},
	} {
		t.Run(form, func(t *testing.T) {
			got, err := verify(t.Context(), h, test.stored, test.password)
			if want := (domain.Verification{Match: true, Stale: true}); err != nil || got != want {
				t.Errorf("right password: %+v, %v", got, err)
			}
			got, err = verify(t.Context(), h, test.stored, test.password+"x")
			if err != nil || got != (domain.Verification{}) {
				t.Errorf("wrong password: %+v, %v", got, err)
			}
		})
	}
}

// Costs one above what is accepted, in each form that has any.
func TestCostsAreBounded(t *testing.T) {
	const (
		salt  = "c29tZXNhbHQxMjM0NTY3OA"
		tag   = "Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ"
		hex32 = "a41b5c87b8405b1f19117759d62faced1a78e7f2145f958d9a2640e86e4a2aa1"
		body  = "S9j.SY0RgchBnP7HjNbf3.jH8.9GiO/uD2JWQhHSXRrBcpKUm0m1C"
		sha5  = "saltstringsaltst$w7bWQ2Z/gtN581UKhVr4sVAsyzC6APuMGxRY0fR8Wg7"
	)
	for stored, want := range map[string]error{
		"$argon2id$v=19$m=1048576,t=4,p=1$" + salt + "$" + tag:        nil,
		"$argon2id$v=19$m=1048577,t=1,p=1$" + salt + "$" + tag:        errCostly,
		"$argon2id$v=19$m=1048576,t=5,p=1$" + salt + "$" + tag:        errCostly,
		"$argon2id$v=19$m=4096,t=256,p=1$" + salt + "$" + tag:         nil,
		"$argon2id$v=19$m=4096,t=257,p=1$" + salt + "$" + tag:         errCostly,
		"$argon2id$v=19$m=4096,t=1,p=64$" + salt + "$" + tag:          nil,
		"$argon2id$v=19$m=4096,t=1,p=65$" + salt + "$" + tag:          errCostly,
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + tag:              nil,
		"$argon2id$v=19$m=7,t=1,p=1$" + salt + "$" + tag:              errMalformed,
		"$argon2id$v=19$m=31,t=1,p=4$" + salt + "$" + tag:             errMalformed,
		"$scrypt$ln=20,r=8,p=1$" + salt + "$" + tag:                   nil,
		"$scrypt$ln=20,r=8,p=2$" + salt + "$" + tag:                   errCostly,
		"$scrypt$ln=21,r=8,p=1$" + salt + "$" + tag:                   errCostly,
		"$scrypt$ln=1,r=4194305,p=1$" + salt + "$" + tag:              errCostly,
		"$scrypt$ln=23,r=2,p=1$" + salt + "$" + tag:                   errCostly,
		"scrypt:8388608:1:1$salt$" + hex32:                            nil,
		"scrypt:16777216:1:1$salt$" + hex32:                           errCostly,
		"scrypt$16777216$salt$1$1$" + tag + "=":                       errCostly,
		"$pbkdf2-sha256$5000000$" + salt + "$" + tag:                  nil,
		"$pbkdf2-sha256$5000001$" + salt + "$" + tag:                  errCostly,
		"$pbkdf2-sha256$i=5000001$" + salt + "$" + tag:                errCostly,
		"pbkdf2_sha256$5000001$salt$" + tag + "=":                     errCostly,
		"pbkdf2:sha256:5000001$salt$" + hex32:                         errCostly,
		"$2b$16$" + body:                                              nil,
		"$2b$17$" + body:                                              errCostly,
		"$2b$31$" + body:                                              errCostly,
		"bcrypt$$2b$17$" + body:                                       errCostly,
		"bcrypt_sha256$$2b$17$" + body:                                errCostly,
		"$bcrypt-sha256$v=2,t=2b,r=17$" + body[:22] + "$" + body[22:]: errCostly,
		"$bcrypt-sha256$2b,17$" + body[:22] + "$" + body[22:]:         errCostly,
		"$5$rounds=1000000$" + sha5:                                   nil,
		"$5$rounds=1000001$" + sha5:                                   errCostly,
		"$5$rounds=999$" + sha5:                                       errMalformed,
		"$P$I12345678" + strings.Repeat(".", 22):                      nil,
		"$P$J12345678" + strings.Repeat(".", 22):                      errCostly,
		"$P$412345678" + strings.Repeat(".", 22):                      errMalformed,
	} {
		if _, err := parse(stored, true); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", stored, err, want)
		}
	}
}

func TestMemoryIsCountedBeforeItIsTaken(t *testing.T) {
	const tag = "$c29tZXNhbHQxMjM0NTY3OA$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ"
	for stored, want := range map[string]int64{
		"$argon2id$v=19$m=512000,t=2,p=2" + tag: 512000 << 10,
		"$argon2d$v=19$m=64,t=2,p=2" + tag:      64 << 10,
		"$scrypt$ln=17,r=8,p=1" + tag:           128<<20 + 3<<10,
		"$scrypt$ln=13,r=8,p=10" + tag:          8<<20 + 12<<10,
	} {
		if d, err := parse(stored, false); err != nil || d.memory != want {
			t.Errorf("%s: got %d, %v, want %d", stored, d.memory, err, want)
		}
	}
}

const (
	composed   = "Pa\u0308sswo\u0308rd" // to be composed
	nfc        = "P\u00e4ssw\u00f6rd"
	argon2Salt = "sixteen bytes..."
)

func TestUnicode(t *testing.T) {
	h := cheapHasher()
	made := func(params argon2Params, password string) string {
		return params.format([]byte(argon2Salt), params.derive([]byte(password), []byte(argon2Salt)))
	}
	ours := h.params
	another := argon2Params{argon2id, minMemory, defaultIterations, defaultParallelism, saltBytes, tagBytes} // policy's
	foreign := argon2Params{argon2id, 64, 1, 1, 16, 32}
	hashed, err := h.Hash(t.Context(), composed)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		stored, password string
		want             bool
	}{
		"hashed in one form, verified in another": {hashed.Stored(), nfc, true},
		"and in the same":                         {hashed.Stored(), composed, true},
		"not composed, of our strength":           {made(ours, composed), composed, true},
		"composed, of another policy":             {made(another, nfc), composed, true},
		"not composed, foreign":                   {made(foreign, composed), composed, true},
		"composed, foreign, as it was":            {made(foreign, nfc), nfc, true},
		"composed, foreign, as it was not":        {made(foreign, nfc), composed, false},
		"not UTF-8, foreign":                      {made(foreign, "p\xe4ssword"), "p\xe4ssword", true},
		"compatible, not canonical":               {made(ours, "\ufb01sh"), "fish", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verify(t.Context(), h, test.stored, test.password)
			if err != nil || got.Match != test.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestStale(t *testing.T) {
	h := newHasherOf(argon2Params{argon2id, 1024, 2, 1, 16, 32}, Policy{Concurrency: 1})
	for name, test := range map[string]struct {
		params argon2Params
		want   bool
	}{
		"the policy's": {argon2Params{argon2id, 1024, 2, 1, 16, 32}, false},
		"less memory":  {argon2Params{argon2id, 1020, 2, 1, 16, 32}, true},
		"more memory":  {argon2Params{argon2id, 1028, 2, 1, 16, 32}, true},
		"fewer passes": {argon2Params{argon2id, 1024, 1, 1, 16, 32}, true},
		"more passes":  {argon2Params{argon2id, 1024, 3, 1, 16, 32}, true},
		"more lanes":   {argon2Params{argon2id, 1024, 2, 2, 16, 32}, true},
		"shorter salt": {argon2Params{argon2id, 1024, 2, 1, 8, 32}, true},
		"shorter tag":  {argon2Params{argon2id, 1024, 2, 1, 16, 16}, true},
		"Argon2i":      {argon2Params{argon2i, 1024, 2, 1, 16, 32}, true},
		"Argon2d":      {argon2Params{argon2d, 1024, 2, 1, 16, 32}, true},
	} {
		t.Run(name, func(t *testing.T) {
			salt := []byte(argon2Salt)[:test.params.saltLen]
			stored := test.params.format(salt, test.params.derive([]byte("correct"), salt))
			got, err := verify(t.Context(), h, stored, "correct")
			if want := (domain.Verification{Match: true, Stale: test.want}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestPasswordLength(t *testing.T) {
	h := cheapHasher()
	longest := strings.Repeat("x", maxPasswordBytes)
	hash, err := h.Hash(t.Context(), longest)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.Verify(t.Context(), hash, longest); err != nil || !got.Match {
		t.Errorf("%d bytes: %+v, %v", len(longest), got, err)
	}
	var detail *domain.Error
	if _, err := h.Hash(t.Context(), longest+"x"); !errors.As(err, &detail) || detail.Kind != domain.ErrInvalid || detail.Field != "password" {
		t.Errorf("Hash of a byte more: %v", err)
	}
	if _, err := h.Verify(t.Context(), hash, longest+"x"); answered(t, domain.Verification{}, err) != badPassword {
		t.Errorf("Verify of a byte more: %v", err)
	}
	// This character is three bytes, and in normal form C, of which it is excluded, two characters of three bytes each.
	growing := strings.Repeat("\u0958", maxPasswordBytes/3)
	hash, err = h.Hash(t.Context(), growing)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.Verify(t.Context(), hash, growing); err != nil || !got.Match {
		t.Errorf("a password that grows in normal form: %+v, %v", got, err)
	}
}

func TestAbsentHashIsRefused(t *testing.T) {
	_, err := newHasher(t, Policy{}).Verify(t.Context(), domain.PasswordHash{}, "")
	if answered(t, domain.Verification{}, err) != badHash {
		t.Errorf("got %v", err)
	}
}

// occupied returns a hasher all of whose turns are taken until release is called.
func occupied(t *testing.T, policy Policy) (h *Hasher, release func()) {
	t.Helper()
	h = newHasher(t, policy)
	if err := h.limiter.slots.Acquire(t.Context(), h.limiter.limit); err != nil {
		t.Fatal(err)
	}
	return h, func() { h.limiter.slots.Release(h.limiter.limit) }
}

func TestCancelLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, release := occupied(t, Policy{Concurrency: 2})
		hash, err := domain.ParsePasswordHash("$2b$05$GPo7PRzmq.WcNvlLkXz1Veqa.Ro8LVNwQbDtX9.Uvt1sveXZkc/vq")
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		answers := make(chan error, 2000)
		for range cap(answers) / 2 {
			go func() { _, err := h.Hash(ctx, "password"); answers <- err }()
			go func() { _, err := h.Verify(ctx, hash, "password"); answers <- err }()
		}
		synctest.Wait()
		if len(answers) > 0 {
			t.Fatalf("%d did not wait", len(answers))
		}
		cancel(stop)
		synctest.Wait() // the limiter is still full
		if len(answers) != cap(answers) {
			t.Errorf("%d of %d left the queue", len(answers), cap(answers))
		}
		for range len(answers) {
			if err := <-answers; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		release()
		if got, err := h.Verify(t.Context(), hash, "Pässwörd-ñandú-密码-🐝"); err != nil || !got.Match {
			t.Errorf("afterwards: %+v, %v", got, err)
		}
	})
}

func TestContextThatIsOver(t *testing.T) {
	h := newHasher(t, Policy{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ctx, "password"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The bound is counted, not timed: each call parks inside its turn until no other can come in.
func TestTurnsAreExact(t *testing.T) {
	const size = 1000
	for name, test := range map[string]struct {
		concurrency int
		bytes       int64
		want        int // at once
	}{
		"cheap":                 {3, 0, 3},
		"the policy's":          {3, size, 3},
		"one byte more":         {3, size + 1, 2},
		"one and a half":        {3, size * 3 / 2, 2},
		"all of it":             {3, 3 * size, 1},
		"more than all":         {3, 100 * size, 1},
		"one at a time":         {1, size, 1},
		"one at a time, costly": {1, 100 * size, 1},
		"many":                  {50, size, 50},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limiter := newLimiter(test.concurrency, size)
				var mu sync.Mutex
				var inside, most, done int
				step := make(chan struct{})
				const calls = 200
				for range calls {
					go func() {
						err := limiter.run(t.Context(), test.bytes, func() {
							mu.Lock()
							inside++
							most = max(most, inside)
							mu.Unlock()
							<-step
							mu.Lock()
							inside--
							mu.Unlock()
						})
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						done++
						mu.Unlock()
					}()
				}
				for range calls {
					synctest.Wait() // all that can come in are in
					step <- struct{}{}
				}
				synctest.Wait()
				if most != test.want || done != calls {
					t.Errorf("%d at once, want %d; %d of %d done", most, test.want, done, calls)
				}
			})
		})
	}
}

// A costly hash holds back the cheap ones behind it, so it is never overtaken for ever.
func TestTurnsAreFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := newLimiter(2, 1000)
		var order []string
		step := make(chan struct{})
		start := func(name string, bytes int64) {
			go func() {
				if err := limiter.run(t.Context(), bytes, func() { order = append(order, name); <-step }); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		start("first", 1000)
		start("costly", 2000)
		start("cheap", 0) // one slot is free, but the costly one is before it
		for range 3 {
			step <- struct{}{}
			synctest.Wait()
		}
		if got := strings.Join(order, " "); got != "first costly cheap" {
			t.Errorf("got %s", got)
		}
	})
}
