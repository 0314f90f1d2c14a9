package sqlite_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/storetest"
)

// BenchmarkReadsBeside is a lookup by ID, by eight workers at a time, while nothing else happens and while one account after the other is
// changed.
func BenchmarkReadsBeside(b *testing.B) {
	for name, writing := range map[string]bool{"nothing": false, "a writer": true} {
		b.Run(name, func(b *testing.B) {
			store := storetest.OpenSQLite(b, b.TempDir()+"/accounts.db")
			users := make([]*domain.User, 1000)
			for i := range users {
				users[i] = storetest.NewUser(b, "user"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)))
			}
			if refused, err := store.CreateMany(b.Context(), users); errors.Join(append(refused, err)...) != nil {
				b.Fatal(refused, err)
			}
			stop := make(chan struct{})
			var writer, readers sync.WaitGroup
			if writing {
				writer.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := store.RecordSignIn(b.Context(), users[i%len(users)].ID()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ResetTimer()
			for worker := range 8 {
				readers.Go(func() {
					for i := worker; i < b.N; i += 8 {
						if _, err := store.FindByID(b.Context(), users[i%len(users)].ID()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			readers.Wait()
			b.StopTimer()
			close(stop)
			writer.Wait()
		})
	}
}
