package domaintest

import (
	"time"

	"github.com/softbee/accounts/domain"
)

// NewRepository returns an empty repository in memory, for the tests of an application: no database is needed, and nothing is shared between
// tests. It obeys all rules of [domain.Repository], which [Run] shows of it as of the others, and takes the time from now; nil is time.Now.
// Together with password.Fast, whose hashes cost microseconds, a test signs somebody in within a millisecond.
//
// It is safe for concurrent use. Finding is a search through all accounts: it is meant for hundreds of them.
func NewRepository(now func() time.Time) domain.Repository {
	if now == nil {
		now = time.Now
	}
	return newModel(now)
}
