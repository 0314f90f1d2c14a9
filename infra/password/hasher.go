// Package password makes and checks password hashes: it implements [domain.PasswordHasher].
//
// New hashes are Argon2id in the PHC string form, by a [Policy] that cannot be set below OWASP's minimum. Verified are
// also the hashes that other systems store, so that accounts can be imported with them: Argon2id, Argon2i and Argon2d
// version 19; bcrypt; scrypt, and Firebase's variant of it; PBKDF2 with SHA-1, SHA-256 or SHA-512; SHA-256-crypt and
// SHA-512-crypt; in the forms of PHC, crypt(3), Django, Werkzeug, passlib, ASP.NET Identity, Ory Kratos, Supabase and LDAP.
// A match against any hash but one that the policy would make today is reported as stale, so that it is replaced at the
// first sign-in.
//
// A stored hash is input like any other. It is parsed strictly, and what it asks for in memory and time is bounded before
// any of either is spent: a row that asks for more is refused.
package password

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/softbee/accounts/domain"
)

// maxPasswordBytes bounds what is hashed, against requests made to cost time: some of the imported schemes hash the
// password again in every round. It is four times what 64 code points, the least that NIST SP 800-63B-4 wants a
// maximum to be, can take in UTF-8.
const maxPasswordBytes = 1024

// What Hash writes beside the policy's costs: RFC 9106 section 3.1 recommends a salt of 128 bits, and section 4 a tag of
// 256.
const (
	saltBytes = 16
	tagBytes  = 32
)

// Hasher is a [domain.PasswordHasher]. It is safe for concurrent use. A program needs one: the bound on concurrent hashing
// holds for each Hasher by itself.
type Hasher struct {
	params    argon2Params
	allowWeak bool
	limiter   *limiter
	observers []domain.Observer
	whole     atomic.Int64     // how long a hash of the policy takes, in nanoseconds: a running median; 0 before the first
	clock     func() time.Time // that measures what a hash takes
}

var _ domain.PasswordHasher = (*Hasher)(nil)

// New returns a hasher that follows policy, or [domain.ErrInvalid] on the field of the policy that is out of bounds.
func New(policy Policy) (*Hasher, error) {
	policy, err := policy.resolved()
	if err != nil {
		return nil, err
	}
	return newHasherOf(argon2Params{
		variant:     argon2id,
		memory:      policy.Memory,
		iterations:  policy.Iterations,
		parallelism: policy.Parallelism,
		saltLen:     saltBytes,
		tagLen:      tagBytes,
	}, policy), nil
}

func newHasherOf(params argon2Params, policy Policy) *Hasher {
	return &Hasher{params: params, allowWeak: policy.AllowWeakImports, limiter: newLimiter(policy.Concurrency, params.bytes()), observers: policy.Observers, clock: time.Now}
}

// Hash returns a new hash of password, taken in Unicode normal form C, so that it matches however a keyboard composes its
// letters. It waits its turn, and returns the error of ctx if that ends first; once begun, a hash is finished. A password
// over 1024 bytes is [domain.ErrInvalid] on the field "password"; every other rule for passwords is the caller's.
func (h *Hasher) Hash(ctx context.Context, password string) (hash domain.PasswordHash, err error) {
	err = domain.Observe(ctx, h.observers, domain.OperationHash, func(ctx context.Context) (seen domain.Observation, err error) {
		hash, err = h.hash(ctx, password, &seen.Waited)
		return seen, err
	})
	return hash, err
}

func (h *Hasher) hash(ctx context.Context, password string, waited *time.Duration) (domain.PasswordHash, error) {
	if err := checkLength(password); err != nil {
		return domain.PasswordHash{}, err
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: it ends the program instead

	var tag []byte
	begin := time.Now()
	if err := h.limiter.run(ctx, h.params.bytes(), func() {
		*waited = time.Since(begin)
		tag = h.derive([]byte(norm.NFC.String(password)), salt)
	}); err != nil {
		return domain.PasswordHash{}, err
	}
	return domain.ParsePasswordHash(h.params.format(salt, tag))
}

// derive computes a hash of the policy and notes how long it took.
func (h *Hasher) derive(password, salt []byte) []byte {
	begin := h.clock()
	tag := h.params.derive(password, salt)
	h.note(h.clock().Sub(begin))
	return tag
}

// note moves the estimate of a hash's time towards took, by a fixed share, so that it settles at the median: a mean would
// be led astray by the few hashes that the processor was taken from.
func (h *Hasher) note(took time.Duration) {
	whole := time.Duration(h.whole.Load())
	switch {
	case whole == 0:
		whole = took
	case took > whole:
		whole += whole / 64
	default:
		whole -= whole / 64
	}
	h.whole.Store(int64(whole)) // of two at once one may be lost
}

// Verify tells whether password is the one that hash was made of, and if so, whether hash is stale: anything but what Hash
// would return today. That includes costs above the policy's, since it is the policy that says how much memory a sign-in
// may take. It waits its turn like Hash.
//
// A password that does not match takes as long as one that does not match a hash of the policy: where the stored hash is
// cheaper, the rest of the policy's cost is spent on a hash that is thrown away. Where it is costlier, the refusal takes as
// long as that hash.
//
// A hash that Hash can have made, by this policy or another, is checked against the password in normal form C, then against
// its bytes as they are, because it may as well have been imported from a system that does not normalise. Any other hash is
// checked against the bytes alone, as the system that it comes from did.
//
// bcrypt reads 72 bytes of a password. A longer one matches a bcrypt hash by its first 72, as it did where that hash was
// made; replace the hash then, which is stale like all of bcrypt, by one of the whole password.
//
// It returns [domain.ErrInvalid], at once and without waiting, on the field "hashed_password" for a hash of a form that is
// unknown, malformed, too weak or too costly, and on the field "password" for a password that is over 1024 bytes or that
// the hash's scheme cannot carry: bcrypt and crypt(3) stop at a NUL. In a sign-in all of these are a wrong password, and
// should take as long as one.
func (h *Hasher) Verify(ctx context.Context, hash domain.PasswordHash, password string) (verification domain.Verification, err error) {
	err = domain.Observe(ctx, h.observers, domain.OperationVerify, func(ctx context.Context) (seen domain.Observation, err error) {
		verification, err = h.verify(ctx, hash, password, &seen.Waited)
		return seen, err
	})
	return verification, err
}

func (h *Hasher) verify(ctx context.Context, hash domain.PasswordHash, password string, waited *time.Duration) (domain.Verification, error) {
	d, err := parse(hash.Stored(), h.allowWeak)
	if err != nil {
		return domain.Verification{}, err
	}
	if err := checkLength(password); err != nil {
		return domain.Verification{}, err
	}
	if d.nulEnds && strings.Contains(password, "\x00") {
		return domain.Verification{}, invalidPassword("contains a NUL, which the stored hash cannot carry")
	}

	spellings := []string{password}
	if nfc := norm.NFC.String(password); nfc != password {
		spellings = []string{nfc, password}
	}
	candidates := spellings
	if d.params != h.params && !d.params.couldBeOurs() {
		candidates = []string{password}
	}
	var match bool
	var failed error
	queued := time.Now()
	err = h.limiter.run(ctx, max(d.memory, h.params.bytes()), func() {
		*waited = time.Since(queued)
		begin := h.clock()
		for _, candidate := range candidates {
			if match, failed = d.matches([]byte(candidate)); match || failed != nil {
				return
			}
		}
		spent := h.clock().Sub(begin)
		if d.params == h.params {
			h.note(spent / time.Duration(len(candidates)))
			return
		}
		h.topUp(spent, []byte(password), len(spellings))
	})
	if err != nil {
		return domain.Verification{}, err
	}
	if failed != nil { // such as SHA-1 in Go's FIPS 140-only mode
		return domain.Verification{}, errUncomputable
	}
	return domain.Verification{Match: match, Stale: match && d.params != h.params}, nil
}

// topUp adds to the time that was spent what is missing to the given number of hashes of the policy. It computes and does
// not wait, so that the processor's load, which slows down hashing, slows this down as much.
func (h *Hasher) topUp(spent time.Duration, password []byte, hashes int) {
	salt := make([]byte, saltBytes)
	whole := time.Duration(h.whole.Load())
	if whole == 0 {
		for range hashes {
			h.derive(password, salt)
		}
		return
	}
	// The time of Argon2 is nearly in proportion to its memory. A hash with less of it is up to a fifth faster than that, because more
	// of it fits into the processor's caches: what is missing after one pass, others add, but for what times differ by anyway.
	missing := time.Duration(hashes)*whole - spent
	for first := true; missing > 0; first = false {
		part := h.params
		part.memory = uint32(float64(part.memory) * min(1, float64(missing)/float64(whole)))
		if part.memory < 8*uint32(part.parallelism) { // the least that Argon2 takes
			return
		}
		begin := h.clock()
		part.derive(password, salt)
		missing -= h.clock().Sub(begin)
		if first {
			missing -= whole / 32
		}
	}
}

func checkLength(password string) error {
	if len(password) > maxPasswordBytes {
		return invalidPassword("is longer than " + strconv.Itoa(maxPasswordBytes) + " bytes")
	}
	return nil
}

func invalidPassword(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "password", Reason: reason}
}
