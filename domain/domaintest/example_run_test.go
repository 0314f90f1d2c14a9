package domaintest_test

import (
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
)

var t *testing.T // that of the test

func ExampleRun() {
	// The whole contract, for a repository of one's own.
	domaintest.Run(t, func(_ *testing.T, clock func() time.Time) domain.Repository { return domaintest.NewRepository(clock) })
}

func ExampleRunEveryMethod() {
	// Each method once, in seconds: for another way to the same statements, such as another driver.
	domaintest.RunEveryMethod(t, func(_ *testing.T, clock func() time.Time) domain.Repository { return domaintest.NewRepository(clock) })
}

func ExampleRunBriefly() {
	// The whole contract, for another configuration: with ACCOUNTS_TEST_LONG=1 it does not race as often as Run.
	domaintest.RunBriefly(t, func(_ *testing.T, clock func() time.Time) domain.Repository { return domaintest.NewRepository(clock) })
}
