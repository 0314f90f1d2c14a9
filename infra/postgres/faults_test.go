//go:build long && unix

// Each of these tests takes servers of its own, and some ten seconds: go test -tags long ./infra/postgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// A change that the synchronous standby has not confirmed is no success, however the wait for it ends. After a failover nothing that was
// acknowledged is missing.
func TestUnconfirmedChangeIsNoSuccess(t *testing.T) {
	t.Parallel()
	primary := postgrestest.NewCluster(t)
	standby := primary.Standby(t)
	store := storetest.OpenPostgres(t, primary.URL)
	primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'", "SELECT pg_reload_conf()")
	admin := primary.DB(t)
	postgrestest.Await(t, "the standby is synchronous", func() bool {
		var n int
		return admin.QueryRow("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").Scan(&n) == nil && n == 1
	})
	acknowledged := make(map[string]bool)
	create := func(name string, how func(ctx context.Context, u *domain.User) error, ctx context.Context) error {
		u := storetest.NewUser(t, name)
		err := how(ctx, u)
		acknowledged[u.ID().String()] = err == nil
		return err
	}
	ways := map[string]func(ctx context.Context, u *domain.User) error{
		"create": func(ctx context.Context, u *domain.User) error { return store.Create(ctx, u) },
		"transaction": func(ctx context.Context, u *domain.User) error {
			return store.InTx(ctx, func(tx *infra.Tx) error { return tx.Create(context.WithoutCancel(ctx), u) })
		},
		"many": func(ctx context.Context, u *domain.User) error {
			_, err := store.CreateMany(ctx, []*domain.User{u})
			return err
		},
	}
	for name, how := range ways {
		if err := create("before-"+name, how, t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	standby.Exec(t, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()") // cut off
	postgrestest.Await(t, "the standby is cut off", func() bool {
		var n int
		return admin.QueryRow("SELECT count(*) FROM pg_stat_replication").Scan(&n) == nil && n == 0
	})
	for name, how := range ways {
		for i := range 7 { // 21 in all
			var err error
			begun := time.Now()
			for try := range 20 { // a busy machine may send nothing in time
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				err = create(fmt.Sprintf("late-%s-%d-%d", name, i, try), how, ctx)
				cancel()
				if !errors.Is(err, domain.ErrUnavailable) || domain.OutcomeUnknown(err) {
					break
				}
			}
			if !errors.Is(err, domain.ErrUnavailable) || !domain.OutcomeUnknown(err) {
				t.Errorf("%s whose context ended: %v, after %v; want an unknown outcome", name, err, time.Since(begun))
			}
		}
		done := make(chan error)
		go func() { done <- create("cancelled-"+name, how, t.Context()) }()
		postgrestest.Await(t, "the statement waits", func() bool {
			var n int
			_ = admin.QueryRow("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&n)
			return n == 1
		})
		if err := <-done; !errors.Is(err, domain.ErrUnavailable) || !domain.OutcomeUnknown(err) {
			t.Errorf("%s that an administrator cancelled: %v; want an unknown outcome", name, err)
		}
	}
	primary.Kill()
	standby.Promote(t)
	rows, err := standby.DB(t).Query("SELECT id FROM users")
	if err != nil {
		t.Fatal(err)
	}
	stored := make(map[string]bool)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		stored[id] = true
	}
	for id, yes := range acknowledged {
		if yes && !stored[id] {
			t.Errorf("account %s was acknowledged and is lost", id)
		}
	}
	t.Logf("%d changes, %d stored after the failover", len(acknowledged), len(stored))
}

// hosts returns a URL with the hosts of both servers, as libpq writes it.
func hosts(t *testing.T, first, second string) string {
	t.Helper()
	u, err := url.Parse(second)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(first, "/postgres?", ","+u.Host+"/postgres?", 1)
}

// drivers open a store with a number of connections.
var drivers = map[string]func(ctx context.Context, address string, connections int) (*infra.Store, error){
	"lib-pq": func(ctx context.Context, address string, connections int) (*infra.Store, error) {
		return postgres.OpenWithPool(ctx, address, postgres.Pool{MaxOpen: connections})
	},
	"pgx": func(ctx context.Context, address string, connections int) (*infra.Store, error) {
		return pgx.Open(ctx, fmt.Sprintf("%s&pool_max_conns=%d", address, connections))
	},
}

// load has workers create accounts, each call with a context of half a second, until stop is called.
type load struct {
	longest, lastFailure atomic.Int64 // ms; of the last one since the beginning
	calls, failures      atomic.Int64
	acknowledged         sync.Map // of IDs
	begun                time.Time
	end                  chan struct{}
	workers              sync.WaitGroup
}

func startLoad(t *testing.T, store *infra.Store, workers int) *load {
	l := &load{begun: time.Now(), end: make(chan struct{})}
	for w := range workers {
		l.workers.Go(func() {
			for {
				select {
				case <-l.end:
					return
				case <-time.After(20 * time.Millisecond):
				}
				u := storetest.NewUser(t, fmt.Sprintf("w%d-%d", w, l.calls.Add(1)))
				ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 500*time.Millisecond)
				called := time.Now()
				err := store.Create(ctx, u)
				cancel()
				if took := time.Since(called).Milliseconds(); took > l.longest.Load() {
					l.longest.Store(took)
				}
				if err == nil {
					l.acknowledged.Store(u.ID().String(), true)
				} else {
					l.failures.Add(1)
					l.lastFailure.Store(time.Since(l.begun).Milliseconds())
				}
			}
		})
	}
	return l
}

func (l *load) stop() {
	close(l.end)
	l.workers.Wait()
}

// With a synchronous standby that is cut off while accounts are made, and a failover to it, nothing that was acknowledged is lost.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	for round := range 10 {
		for driver, open := range drivers {
			t.Run(fmt.Sprintf("%s, round %d", driver, round), func(t *testing.T) {
				primary := postgrestest.NewCluster(t)
				storetest.OpenPostgres(t, primary.URL)
				standby := primary.Standby(t)
				primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'", "SELECT pg_reload_conf()")
				admin := primary.DB(t)
				postgrestest.Await(t, "the standby is synchronous", func() bool {
					var n int
					return admin.QueryRow("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").Scan(&n) == nil && n == 1
				})
				store, err := open(t.Context(), hosts(t, primary.URL, standby.URL), 8)
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				l := startLoad(t, store, 8)
				time.Sleep(500 * time.Millisecond)
				standby.Exec(t, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
				time.Sleep(1200 * time.Millisecond)
				if round%2 == 1 { // an administrator ends the waits
					_, _ = admin.Exec("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
				}
				primary.Kill()
				standby.Promote(t)
				postgrestest.Await(t, "accounts are made again", func() bool { return store.Create(t.Context(), storetest.NewUser(t, "last")) == nil })
				l.stop()
				stored := make(map[string]bool)
				rows, err := standby.DB(t).Query("SELECT id FROM users")
				if err != nil {
					t.Fatal(err)
				}
				for rows.Next() {
					var id string
					if err := rows.Scan(&id); err != nil {
						t.Fatal(err)
					}
					stored[id] = true
				}
				acknowledged := 0
				l.acknowledged.Range(func(id, _ any) bool {
					acknowledged++
					if !stored[id.(string)] {
						t.Errorf("account %s was acknowledged and is lost", id)
					}
					return true
				})
				t.Logf("%d calls, %d acknowledged, %d stored", l.calls.Load(), acknowledged, len(stored))
				if acknowledged == 0 {
					t.Error("nothing was acknowledged")
				}
			})
		}
	}
}

// After the promotion of a standby, writes are possible again within seconds, whatever became of the primary, and no call outlives its
// context by more than the second that a silent network has to answer.
func TestPoolFollowsThePrimary(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, primary *postgrestest.Cluster, network *postgrestest.Proxy){
		"killed": func(_ *testing.T, primary *postgrestest.Cluster, _ *postgrestest.Proxy) { primary.Kill() },
		"frozen": func(_ *testing.T, primary *postgrestest.Cluster, _ *postgrestest.Proxy) { primary.Freeze() },
		"demoted": func(t *testing.T, primary *postgrestest.Cluster, _ *postgrestest.Proxy) {
			primary.Exec(t, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
		},
		"partitioned": func(_ *testing.T, _ *postgrestest.Cluster, network *postgrestest.Proxy) { network.Silent.Store(true) },
	} {
		for driver, open := range drivers {
			for _, connections := range []int{10, 32} {
				t.Run(fmt.Sprintf("%s, %s, %d connections", name, driver, connections), func(t *testing.T) {
					primary := postgrestest.NewCluster(t)
					storetest.OpenPostgres(t, primary.URL)
					standby := primary.Standby(t)
					network := postgrestest.NewProxy(t, primary.URL)
					store, err := open(t.Context(), hosts(t, network.URL, standby.URL), connections)
					if err != nil {
						t.Fatal(err)
					}
					defer store.Close()
					l := startLoad(t, store, connections)
					time.Sleep(time.Second)
					fault(t, primary, network)
					standby.Promote(t)
					promoted := time.Since(l.begun)
					time.Sleep(8 * time.Second)
					l.stop()
					recovery := time.Duration(l.lastFailure.Load())*time.Millisecond - promoted
					t.Logf("%d calls, %d failed, longest %d ms, the last failure %v after the promotion", l.calls.Load(), l.failures.Load(), l.longest.Load(), recovery)
					if recovery > 6*time.Second { // 3 s where the machine is not busy
						t.Errorf("writes failed until %v after the promotion", recovery)
					}
					if l.longest.Load() > 4500 {
						t.Errorf("a call with a context of 500 ms took %d ms", l.longest.Load())
					}
				})
			}
		}
	}
}
