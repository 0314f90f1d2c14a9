package password

import (
	"fmt"
	"runtime"

	"github.com/softbee/accounts/domain"
)

// Policy says how new hashes are made and which old ones are verified. The zero value is the recommended policy: each
// zero field stands for the value that its comment names.
type Policy struct {
	// Memory is what one Argon2id hash takes, in KiB ("m"). Default 19456.
	Memory uint32
	// Iterations is the number of passes over that memory ("t"). Default 2.
	Iterations uint32
	// Parallelism is the number of lanes, each computed by a goroutine of its own ("p"). Default 1.
	Parallelism uint8

	// Concurrency is how many hashes are computed at once; others wait their turn. Concurrency x Memory bounds the memory
	// that is in use at any moment: a stored hash that needs more than Memory counts as several, and one that needs more
	// than all of it is computed alone. What finished hashes leave behind is collected as Go's garbage is, so that a burst
	// holds two to three times as much at its peak: set GOMEMLIMIT where the program's memory is limited. Default:
	// GOMAXPROCS, but no more than 8 (152 MiB at the default Memory).
	Concurrency int

	// AllowWeakImports also verifies md5-crypt, phpass and the plain digests of LDAP servers ({SSHA} and its relatives), of
	// Django before 4.0 (md5$, sha1$) and of Werkzeug before 3.0, which a graphics card tries at billions a second. They are
	// always stale. Turn it on for an import, and off when the accounts that have not signed in since are due for a reset.
	AllowWeakImports bool

	// Observers see each hash and each verification, and how long it waited for its turn.
	Observers []domain.Observer
}

// RFC9106 returns the second recommended option of RFC 9106 section 4, for environments short of memory: 64 MiB, three
// passes, four lanes. (The first takes 2 GiB for each sign-in.)
func RFC9106() Policy {
	return Policy{Memory: 64 * 1024, Iterations: 3, Parallelism: 4}
}

// The least that OWASP's Password Storage Cheat Sheet accepts of Argon2id: 19456 KiB with two passes, or 47104 KiB with
// one. Its equivalents with still less memory and more passes are not offered.
const (
	minMemory        = 19456
	minMemoryOnePass = 47104
)

const (
	defaultIterations     = 2
	defaultParallelism    = 1
	maxDefaultConcurrency = 8
	maxConcurrency        = 1024
)

// resolved returns the policy with its defaults filled in, or [domain.ErrInvalid] on the field that is out of bounds.
func (p Policy) resolved() (Policy, error) {
	if p.Memory == 0 {
		p.Memory = minMemory
	}
	if p.Iterations == 0 {
		p.Iterations = defaultIterations
	}
	if p.Parallelism == 0 {
		p.Parallelism = defaultParallelism
	}
	if p.Concurrency == 0 {
		p.Concurrency = min(runtime.GOMAXPROCS(0), maxDefaultConcurrency)
	}
	switch {
	case !meetsMinimum(p.Memory, p.Iterations):
		return p, invalidPolicy("memory", "is below OWASP's minimum: %d KiB with 2 passes, or %d KiB with 1", minMemory, minMemoryOnePass)
	case p.Memory > maxArgon2Memory:
		return p, invalidPolicy("memory", "is above %d KiB", maxArgon2Memory)
	case p.Iterations > maxArgon2Iterations, uint64(p.Memory)*uint64(p.Iterations) > maxArgon2Work:
		return p, invalidPolicy("iterations", "are so many that the policy's own hashes would be refused as too costly")
	case p.Parallelism > maxArgon2Parallelism:
		return p, invalidPolicy("parallelism", "is above %d", maxArgon2Parallelism)
	case p.Concurrency < 1 || p.Concurrency > maxConcurrency:
		return p, invalidPolicy("concurrency", "is not between 1 and %d", maxConcurrency)
	}
	return p, nil
}

func meetsMinimum(memory, iterations uint32) bool {
	return memory >= minMemoryOnePass && iterations >= 1 || memory >= minMemory && iterations >= 2
}

func invalidPolicy(field, reason string, args ...any) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: fmt.Sprintf(reason, args...)}
}
