package sqlite_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// BenchmarkReadsBeside is a lookup by ID, by eight workers at a time, on one connection for all and with connections that read, while nothing
// else happens, while one account after the other is changed, and while transactions are open for 20 ms each.
func BenchmarkReadsBeside(b *testing.B) {
	stores := map[string]func(b *testing.B, path string) *infra.Store{"one connection": oneConnection, "readers": func(b *testing.B, path string) *infra.Store {
		b.Helper()
		return storetest.OpenSQLite(b, path)
	}}
	change := func(b *testing.B, store interface {
		RecordSignIn(ctx context.Context, id domain.ID) (time.Time, error)
	}, u *domain.User,
	) {
		b.Helper()
		if _, err := store.RecordSignIn(b.Context(), u.ID()); err != nil {
			b.Error(err)
		}
	}
	besides := map[string]func(b *testing.B, store *infra.Store, u *domain.User){
		"nothing":  nil,
		"a writer": func(b *testing.B, store *infra.Store, u *domain.User) { change(b, store, u) },
		"transactions of 20 ms": func(b *testing.B, store *infra.Store, u *domain.User) {
			if err := store.InTx(b.Context(), func(tx *infra.Tx) error {
				change(b, tx, u)
				time.Sleep(20 * time.Millisecond) // what the application does meanwhile
				return nil
			}); err != nil {
				b.Error(err)
			}
		},
	}
	for _, beside := range []string{"nothing", "a writer", "transactions of 20 ms"} {
		for _, name := range []string{"one connection", "readers"} {
			b.Run(beside+"/"+name, func(b *testing.B) { readBeside(b, stores[name](b, b.TempDir()+"/accounts.db"), besides[beside]) })
		}
	}
}

// oneConnection returns a store that reads and writes on the same connection.
func oneConnection(b *testing.B, path string) *infra.Store {
	b.Helper()
	db, err := stdsql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(256)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	store, err := sqlite.New(db)
	if err == nil {
		err = store.Migrate(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	return store
}

func readBeside(b *testing.B, store *infra.Store, beside func(*testing.B, *infra.Store, *domain.User)) {
	users := make([]*domain.User, 1000)
	for i := range users {
		users[i] = storetest.NewUser(b, fmt.Sprintf("user%d", i))
	}
	if refused, err := store.CreateMany(b.Context(), users); errors.Join(append(refused, err)...) != nil {
		b.Fatal(refused, err)
	}
	stop := make(chan struct{})
	var writer, readers sync.WaitGroup
	changes := 0
	if beside != nil {
		writer.Go(func() {
			for ; ; changes++ {
				select {
				case <-stop:
					return
				default:
					beside(b, store, users[changes%len(users)])
				}
			}
		})
	}
	taken := make([][]time.Duration, 8)
	b.ResetTimer()
	for worker := range taken {
		readers.Go(func() {
			for i := worker; i < b.N; i += len(taken) {
				start := time.Now()
				if _, err := store.FindByID(b.Context(), users[i%len(users)].ID()); err != nil {
					b.Error(err)
					return
				}
				taken[worker] = append(taken[worker], time.Since(start))
			}
		})
	}
	readers.Wait()
	b.StopTimer()
	elapsed := b.Elapsed()
	close(stop)
	writer.Wait()
	all := slices.Concat(taken...)
	slices.Sort(all)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(all))/elapsed.Seconds(), "reads/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-99%")
	b.ReportMetric(float64(changes)/elapsed.Seconds(), "changes/s")
}
