package infra_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// TestMain runs more tests at a time than there are processors: most of them wait for a database, some for a network that is silent.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// On a silent network each method ends with its context, whatever the driver.
func TestMethodsEndOnASilentNetwork(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	users := make([]*domain.User, 200)
	for i := range users {
		users[i] = storetest.NewUser(t, "silent"+string(rune('a'+i/26))+string(rune('a'+i%26)))
	}
	for driver, open := range map[string]func(context.Context, string, ...infra.Option) (*infra.Store, error){"lib-pq": postgres.Open, "pgx": pgx.Open} {
		for name, call := range map[string]func(ctx context.Context, store *infra.Store, silence func()) error{
			"Create": func(ctx context.Context, store *infra.Store, silence func()) error {
				silence()
				return store.Create(ctx, users[0])
			},
			"CreateMany": func(ctx context.Context, store *infra.Store, silence func()) error {
				silence()
				_, err := store.CreateMany(ctx, users)
				return err
			},
			"InTx": func(ctx context.Context, store *infra.Store, silence func()) error {
				return store.InTx(ctx, func(tx *infra.Tx) error { silence(); return tx.Create(ctx, users[0]) })
			},
			"InTx, the commit": func(ctx context.Context, store *infra.Store, silence func()) error {
				return store.InTx(ctx, func(tx *infra.Tx) error {
					err := tx.Create(ctx, users[0])
					silence()
					return err
				})
			},
			"InTx, the rollback": func(ctx context.Context, store *infra.Store, silence func()) error {
				return store.InTx(ctx, func(tx *infra.Tx) error {
					silence()
					<-ctx.Done()
					return &domain.Error{Kind: domain.ErrUnavailable}
				})
			},
			"CheckMigrations": func(ctx context.Context, store *infra.Store, silence func()) error {
				silence()
				return store.CheckMigrations(ctx)
			},
			"Migrate": func(ctx context.Context, store *infra.Store, silence func()) error {
				silence()
				return store.Migrate(ctx)
			},
		} {
			t.Run(driver+", "+name, func(t *testing.T) {
				t.Parallel()
				proxy := postgrestest.NewProxy(t, storetest.PostgresURL(t))
				store, err := open(t.Context(), proxy.URL)
				if err != nil {
					t.Fatal(err)
				}
				const limit = 500 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				ended := make(chan error, 1)
				begun := time.Now()
				go func() { ended <- call(ctx, store, func() { proxy.Silent.Store(true) }) }()
				select {
				case err := <-ended:
					t.Logf("%v after %v", err, time.Since(begun).Round(time.Millisecond))
					if !errors.Is(err, domain.ErrUnavailable) {
						t.Errorf("%v is not unavailable", err)
					}
				case <-time.After(limit + 6*time.Second): // of which 2 s are promised
					t.Error("it goes on")
				}
				proxy.Silent.Store(false)
				if _, err := store.FindByID(t.Context(), users[0].ID()); err != nil && !errors.Is(err, domain.ErrNotFound) {
					t.Errorf("after it: %v", err)
				}
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A pool that has lost its connections gets new ones although each context ends before a connection is made. There is at most one more than the pool may have, and none
// stays behind when the store is closed.
func TestShortContextsGetConnections(t *testing.T) {
	t.Parallel()
	for driver, open := range map[string]func(context.Context, string) (*infra.Store, error){
		"lib-pq": func(ctx context.Context, url string) (*infra.Store, error) {
			return postgres.OpenWithPool(ctx, url, postgres.Pool{MaxOpen: 4})
		},
		"pgx": func(ctx context.Context, url string) (*infra.Store, error) {
			return pgx.Open(ctx, url+"&pool_max_conns=4")
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			url := storetest.PostgresURL(t)
			admin := storetest.OpenPostgres(t, url).DB()
			proxy := postgrestest.NewProxy(t, url)
			store, err := open(t.Context(), proxy.URL+"&application_name=short-"+driver)
			if err != nil {
				t.Fatal(err)
			}
			const sessions = " FROM pg_stat_activity WHERE application_name = $1"
			if _, err := admin.Exec("SELECT pg_terminate_backend(pid)"+sessions, "short-"+driver); err != nil {
				t.Fatal(err)
			}
			const takes = 200 * time.Millisecond
			proxy.Slow.Store(int64(takes))
			var callers sync.WaitGroup
			for range 10 {
				callers.Go(func() {
					for begun := time.Now(); ; {
						ctx, cancel := context.WithTimeout(t.Context(), takes/2)
						_, err := store.FindByID(ctx, domain.NewID())
						cancel()
						if errors.Is(err, domain.ErrNotFound) {
							return
						}
						if time.Since(begun) > 20*time.Second {
							t.Errorf("no call came to the server: %v", err)
							return
						}
					}
				})
			}
			callers.Wait()
			count := func(most int) func() bool {
				return func() bool {
					var n int
					return admin.QueryRow("SELECT count(*)"+sessions, "short-"+driver).Scan(&n) == nil && n <= most
				}
			}
			postgrestest.Await(t, "there are not many more connections than the pool may have", count(4+1))
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			postgrestest.Await(t, "all are closed", count(0))
		})
	}
}
