// Package domaintest is the contract of [domain.Repository] as a suite of tests, for its implementations:
//
//	func TestContract(t *testing.T) {
//		domaintest.Run(t, func(t *testing.T, clock func() time.Time) domain.Repository {
//			return open(t, clock)
//		})
//	}
//
// Each of its subtests is named for a behaviour. One of them does random operations, on the repository and on a model of it:
// to repeat a sequence that failed, set DOMAINTEST_SEED to the number that the test printed.
package domaintest

import (
	"os"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
)

// Run tests a repository. For each of its many subtests, which run in parallel, it calls open, which returns a repository
// on a store of its own that holds no account and takes the time from clock, and which leaves to t.Cleanup what there
// is to close. With ACCOUNTS_TEST_LONG=1 it races more often.
func Run(t *testing.T, open func(t *testing.T, clock func() time.Time) domain.Repository) {
	run(t, suite, open, true, os.Getenv("ACCOUNTS_TEST_LONG") != "")
}

// RunBriefly is [Run] for another configuration of a repository that passes Run in one: it races no more often with ACCOUNTS_TEST_LONG=1,
// by which Run makes hundreds and thousands of rounds.
func RunBriefly(t *testing.T, open func(t *testing.T, clock func() time.Time) domain.Repository) {
	run(t, suite, open, true, false)
}

// RunEveryMethod is the part of [Run] that calls every method, with all that it reads and writes. Its few subtests run one after the other, so that they
// can use one store. It is meant for another configuration of a repository that passes Run in one: another protocol, a newer schema.
func RunEveryMethod(t *testing.T, open func(t *testing.T, clock func() time.Time) domain.Repository) {
	run(t, suite[:1], open, false, false)
}

// suite is all that the contract demands. The first group calls every method.
var suite = []group{
	{"Every method", everyMethod},
	{"Reading", reading},
	{"Writing", writing},
	{"Listing", listing},
	{"Many", many},
	{"Credentials", credentials},
	{"Addresses", addresses},
	{"Phones", phones},
	{"Identities", identities},
	{"Sessions", sessions},
	{"Predecessor", predecessor},
	{"Random operations", sequences},
}

type group struct {
	name  string
	cases []behaviour
}

func run(t *testing.T, groups []group, open func(t *testing.T, clock func() time.Time) domain.Repository, parallel, often bool) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, b := range group.cases {
				t.Run(b.name, func(t *testing.T) {
					if parallel {
						t.Parallel()
					}
					clock := NewClock()
					b.test(&contractTest{T: t, Repository: open(t, clock.Now), clock: clock, often: often})
				})
			}
		})
	}
}

// behaviour is one demand of the contract.
type behaviour struct {
	name string
	test func(*contractTest)
}
