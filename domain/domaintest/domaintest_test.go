package domaintest

import (
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
)

func TestModel(t *testing.T) {
	Run(t, func(_ *testing.T, clock func() time.Time) domain.Repository { return newModel(clock) })
}
