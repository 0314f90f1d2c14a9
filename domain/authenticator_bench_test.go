package domain_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

// BenchmarkRefusal shows that an unknown account cannot be told from a wrong password by the time of the answer: it tries
// both in turn and compares the medians. Run it with -benchtime=200x.
//
// The throw-away PostgreSQL does not wait for its disk. To see one that does, name it in ACCOUNTS_TEST_POSTGRES.
func BenchmarkRefusal(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchmarkRefusal(b, storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "accounts.db")))
	})
	b.Run("postgres", func(b *testing.B) {
		benchmarkRefusal(b, storetest.OpenPostgres(b, storetest.PostgresURL(b)))
	})
}

func benchmarkRefusal(b *testing.B, store *infra.Store) {
	hasher, err := password.New(password.Policy{})
	if err != nil {
		b.Fatal(err)
	}
	authenticator, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{Lock: domain.LockPolicy{Attempts: 100}})
	if err != nil {
		b.Fatal(err)
	}
	ana := createAna(b, authenticator, store)
	refuse := func(identifier string) time.Duration {
		begin := time.Now()
		_, err := authenticator.Authenticate(b.Context(), identifier, wrong)
		took := time.Since(begin)
		if !errors.Is(err, domain.ErrBadCredentials) {
			b.Fatal(err)
		}
		return took
	}
	refuse("nobody@example.org") // makes the decoy

	var unknown, wrongPassword []time.Duration
	for b.Loop() {
		if rand.IntN(2) == 0 { // by chance, since every few hashes memory is collected
			unknown = append(unknown, refuse("nobody@example.org"))
			wrongPassword = append(wrongPassword, refuse("ana@example.org"))
		} else {
			wrongPassword = append(wrongPassword, refuse("ana@example.org"))
			unknown = append(unknown, refuse("nobody@example.org"))
		}
		if len(unknown)%50 == 0 { // before the lock
			if _, err := store.Unlock(b.Context(), ana); err != nil {
				b.Fatal(err)
			}
		}
	}
	slices.Sort(unknown)
	slices.Sort(wrongPassword)
	unknownMedian, wrongMedian := unknown[len(unknown)/2], wrongPassword[len(wrongPassword)/2]
	b.ReportMetric(0, "ns/op") // of both, which is nothing to compare
	b.ReportMetric(unknownMedian.Seconds()*1000, "unknown-ms")
	b.ReportMetric(wrongMedian.Seconds()*1000, "wrong-ms")
	b.ReportMetric(100*(wrongMedian-unknownMedian).Seconds()/unknownMedian.Seconds(), "difference-%")
}

func createAna(b *testing.B, authenticator *domain.Authenticator, store *infra.Store) domain.ID {
	b.Helper()
	ana := storetest.NewUser(b, "ana")
	if err := store.Create(b.Context(), ana); err != nil {
		b.Fatal(err)
	}
	if _, err := authenticator.SetPassword(b.Context(), ana.ID(), right); err != nil {
		b.Fatal(err)
	}
	return ana.ID()
}
