//go:build long && unix

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
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

// withReplicas opens a store by each driver.
var withReplicas = map[string]func(ctx context.Context, address string, replicas []string, options ...infra.Option) (*infra.Store, error){
	"lib-pq": func(ctx context.Context, address string, replicas []string, options ...infra.Option) (*infra.Store, error) {
		return postgres.Open(ctx, address, append(options, postgres.WithReplicas(replicas...))...)
	},
	"pgx": func(ctx context.Context, address string, replicas []string, options ...infra.Option) (*infra.Store, error) {
		return pgx.Open(ctx, address, append(options, pgx.WithReplicas(replicas...))...)
	},
}

func openWithReplicas(t *testing.T, driver, address string, replicas []string, options ...infra.Option) *infra.Store {
	t.Helper()
	store, err := withReplicas[driver](t.Context(), address, replicas, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func replicaHealth(t *testing.T, store *infra.Store) []infra.ReplicaHealth {
	t.Helper()
	h, _ := store.Health(t.Context())
	return h.Replicas
}

// serving waits until a replica serves reads, or does not.
func serving(t *testing.T, store *infra.Store, replica int, want bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		h := replicaHealth(t, store)[replica]
		if h.Serves == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("replica %d: %+v; want serving %t", replica, h, want)
		}
	}
}

// caughtUp asks for the primary's position before each read, so that a replica answers as soon as it has replayed everything.
type caughtUp struct{ *infra.Store }

func (s caughtUp) ask(ctx context.Context) { _, _ = s.Position(ctx) }

func (s caughtUp) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	s.ask(ctx)
	return s.Store.FindByID(ctx, id)
}

func (s caughtUp) FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error) {
	s.ask(ctx)
	return s.Store.FindByEmail(ctx, email)
}

func (s caughtUp) FindByUsername(ctx context.Context, username domain.Username) (*domain.User, error) {
	s.ask(ctx)
	return s.Store.FindByUsername(ctx, username)
}

func (s caughtUp) FindByIDs(ctx context.Context, ids []domain.ID) ([]*domain.User, error) {
	s.ask(ctx)
	return s.Store.FindByIDs(ctx, ids)
}

func (s caughtUp) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	s.ask(ctx)
	return s.Store.List(ctx, query)
}

func (s caughtUp) Count(ctx context.Context, filter domain.Filter) (int, error) {
	s.ask(ctx)
	return s.Store.Count(ctx, filter)
}

func (s caughtUp) Identities(ctx context.Context, id domain.ID) ([]domain.LinkedIdentity, error) {
	s.ask(ctx)
	return s.Store.Identities(ctx, id)
}

func (s caughtUp) Sessions(ctx context.Context, id domain.ID) ([]domain.Session, error) {
	s.ask(ctx)
	return s.Store.Sessions(ctx, id)
}

// TestContractWithReplicas runs the contract on stores that read from two replicas, of which one is a second behind.
func TestContractWithReplicas(t *testing.T) {
	primary := postgrestest.NewCluster(t, "max_connections=500")
	replicas := []*postgrestest.Cluster{primary.Standby(t, "max_connections=500"), primary.Standby(t, "max_connections=500", "recovery_min_apply_delay=1s")}
	admin := primary.DB(t)
	var schemas, reads atomic.Int64
	for driver := range withReplicas {
		t.Run(driver, func(t *testing.T) {
			another(t, func(t *testing.T, clock func() time.Time) domain.Repository {
				schema := fmt.Sprintf("contract_%d", schemas.Add(1))
				if _, err := admin.Exec("CREATE SCHEMA " + schema); err != nil {
					t.Fatal(err)
				}
				var urls []string
				for _, r := range replicas {
					urls = append(urls, r.URL+"&search_path="+schema)
				}
				store := openWithReplicas(t, driver, primary.URL+"&search_path="+schema, urls, infra.WithClock(clock))
				if err := store.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				serving(t, store, 0, true)
				t.Cleanup(func() {
					for _, h := range replicaHealth(t, store) {
						reads.Add(h.Reads)
					}
				})
				return caughtUp{store}
			})
		})
	}
	t.Logf("%d reads by replicas", reads.Load())
	if reads.Load() < 50 {
		t.Errorf("%d reads by replicas; want the most of them", reads.Load())
	}
}

// written is what the test knows of an account.
type written struct {
	mu       sync.Mutex
	version  int64          // that was acknowledged last
	position infra.Position // of the primary, after the version covered was acknowledged
	covered  int64
}

// TestReplicasReadYourWrites reads accounts by two stores while others of their accounts are written, and while two replicas lag by up to 5 s: that which writes, and
// another one that is given positions. No read may see less than had been acknowledged when it began. With ACCOUNTS_TEST_LONG=1 it makes 1,000,000 reads.
func TestReplicasReadYourWrites(t *testing.T) {
	total := int64(50_000)
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		total = 1_000_000
	}
	for driver := range withReplicas {
		t.Run(driver, func(t *testing.T) { readYourWrites(t, driver, total/int64(len(withReplicas))) })
	}
}

func readYourWrites(t *testing.T, driver string, total int64) {
	primary := postgrestest.NewCluster(t)
	storetest.OpenPostgres(t, primary.URL)
	replicas := []*postgrestest.Cluster{primary.Standby(t), primary.Standby(t)}
	urls := []string{replicas[0].URL, replicas[1].URL}
	writer := openWithReplicas(t, driver, primary.URL, urls)
	other := openWithReplicas(t, driver, primary.URL, urls)
	behind, err := postgres.Open(t.Context(), replicas[1].URL) // the control: a reader that takes no care
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	const accounts = 100
	ids, ledger := make([]domain.ID, accounts), make([]written, accounts)
	for i := range ids {
		u := storetest.NewUser(t, fmt.Sprintf("user%d", i))
		if err := writer.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		ids[i], ledger[i].version, ledger[i].covered = u.ID(), u.Version(), u.Version()
	}
	at, err := writer.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range ledger {
		ledger[i].position = at
	}
	serving(t, writer, 0, true)
	serving(t, other, 1, true)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var background, readers sync.WaitGroup
	var maxLag atomic.Int64
	background.Go(func() { // who makes them lag
		for round := 0; ctx.Err() == nil; round++ {
			for i, r := range replicas {
				delay := []int{0, 5000, 200, 3000}[(round+i)%4]
				if round < 2 {
					delay = 5000 * ((round + i) % 2)
				}
				r.Exec(t, fmt.Sprintf("ALTER SYSTEM SET recovery_min_apply_delay = '%dms'", delay), "SELECT pg_reload_conf()")
			}
			select {
			case <-ctx.Done():
			case <-time.After(6 * time.Second):
			}
		}
	})
	background.Go(func() { // who writes: some accounts, and then none for a while, so that the store that writes gets to its replicas, too
		for ctx.Err() == nil {
			for range 20 {
				i := rand.IntN(accounts)
				u, err := writer.Update(ctx, ids[i], func(u *domain.User) error { return u.Rename(fmt.Sprint(u.Version()+1), "") })
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("update: %v", err)
					}
					return
				}
				l := &ledger[i]
				l.mu.Lock()
				l.version = u.Version() // for the store itself
				l.mu.Unlock()
				at, err := writer.Position(ctx)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("position: %v", err)
					}
					return
				}
				l.mu.Lock()
				l.position, l.covered = at, u.Version()
				l.mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
			select {
			case <-ctx.Done():
			case <-time.After(rand.N(2 * time.Second)):
			}
		}
	})
	background.Go(func() {
		for ctx.Err() == nil {
			for _, h := range replicaHealth(t, other) {
				maxLag.Store(max(maxLag.Load(), int64(h.Lag)))
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	var made, violations, careless, carelessStale atomic.Int64
	begun := time.Now()
	read := func(n int, store *infra.Store, positions bool) {
		for made.Add(1) <= total || time.Since(begun) < 15*time.Second { // in which both were behind
			i := rand.IntN(accounts)
			l := &ledger[i]
			l.mu.Lock()
			want, ctx := l.version, t.Context()
			if positions {
				want, ctx = l.covered, infra.WithPosition(ctx, l.position)
			}
			l.mu.Unlock()
			var u *domain.User
			var err error
			switch {
			case n == 0 && made.Load()%100 == 0:
				var page domain.Page
				if page, err = store.List(ctx, domain.ListQuery{Limit: accounts}); err == nil {
					for _, one := range page.Users {
						if one.ID() == ids[i] {
							u = one
						}
					}
				}
			case made.Load()%10 == 0:
				var some []*domain.User
				if some, err = store.FindByIDs(ctx, ids[i:i+1]); err == nil {
					u = some[0]
				}
			default:
				u, err = store.FindByID(ctx, ids[i])
			}
			switch {
			case err != nil:
				t.Errorf("read: %v", err)
				return
			case u == nil || u.Version() < want:
				violations.Add(1)
			}
		}
	}
	for n := range 4 {
		readers.Go(func() { read(n, writer, false) })
		readers.Go(func() { read(n, other, true) })
	}
	readers.Go(func() {
		for made.Load() < total || time.Since(begun) < 15*time.Second {
			i := rand.IntN(accounts)
			ledger[i].mu.Lock()
			want := ledger[i].version
			ledger[i].mu.Unlock()
			if u, err := behind.FindByID(t.Context(), ids[i]); err == nil {
				careless.Add(1)
				if u.Version() < want {
					carelessStale.Add(1)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	readers.Wait()
	took := time.Since(begun)
	stop()
	background.Wait()
	var onReplicas []int64
	var sum int64
	for _, store := range []*infra.Store{writer, other} {
		var n int64
		for _, h := range replicaHealth(t, store) {
			n += h.Reads
		}
		onReplicas, sum = append(onReplicas, n), sum+n
	}
	t.Logf("%d reads in %v (%.0f a second): %d stale; by replicas %d of the store that writes and %d of the other one; lag up to %v; a reader of one replica that takes no care: %d of %d stale",
		made.Load(), took.Round(time.Second), float64(made.Load())/took.Seconds(), violations.Load(), onReplicas[0], onReplicas[1], time.Duration(maxLag.Load()).Round(time.Millisecond),
		carelessStale.Load(), careless.Load())
	if violations.Load() > 0 {
		t.Errorf("%d reads saw less than had been acknowledged", violations.Load())
	}
	if onReplicas[0] < total/100 || onReplicas[1] < total/10 {
		t.Errorf("replicas answered %v reads; the test shows nothing", onReplicas)
	}
	if carelessStale.Load() == 0 {
		t.Error("nothing was stale on the replica itself; the test shows nothing")
	}
}

// A replica that is lost costs no read an error, and serves again when it is back. Reads that were on it go to the primary.
func TestReplicasAreLostAndComeBack(t *testing.T) {
	for driver := range withReplicas {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			primary := postgrestest.NewCluster(t)
			storetest.OpenPostgres(t, primary.URL)
			standby := primary.Standby(t)
			way := postgrestest.NewProxy(t, standby.URL)
			store := openWithReplicas(t, driver, primary.URL, []string{way.URL})
			u := storetest.NewUser(t, "ada")
			if err := store.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			serving(t, store, 0, true)
			var failed, slow atomic.Int64
			end := make(chan struct{})
			var readers sync.WaitGroup
			for range 4 {
				readers.Go(func() {
					for {
						select {
						case <-end:
							return
						case <-time.After(time.Millisecond):
						}
						ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
						began := time.Now()
						if _, err := store.FindByID(ctx, u.ID()); err != nil {
							failed.Add(1)
							t.Errorf("a read: %v", err)
						}
						cancel()
						slow.Store(max(slow.Load(), time.Since(began).Milliseconds()))
					}
				})
			}
			used := func(what string) {
				t.Helper()
				serving(t, store, 0, true)
				before := replicaHealth(t, store)[0].Reads
				postgrestest.Await(t, "the replica answers reads "+what, func() bool { return replicaHealth(t, store)[0].Reads > before+10 })
			}
			used("at first")
			standby.Freeze()
			serving(t, store, 0, false)
			standby.Thaw()
			used("after it was frozen")
			way.Silent.Store(true)
			serving(t, store, 0, false)
			way.Silent.Store(false)
			used("after its network was silent")
			standby.Kill()
			serving(t, store, 0, false)
			standby.Restart(t)
			way.LeadTo(t, standby.URL)
			used("after it was killed")
			standby.Exec(t, "SELECT pg_wal_replay_pause()")
			for range 3 { // which the replica does not get
				_, err := store.SetNames(t.Context(), u.ID(), domain.Names{First: strconv.FormatInt(time.Now().UnixNano(), 10)})
				if err != nil {
					t.Error(err)
				}
			}
			before := replicaHealth(t, store)[0].Reads
			time.Sleep(500 * time.Millisecond)
			if now := replicaHealth(t, store)[0].Reads; now > before+4 { // reads that had begun
				t.Errorf("a replica that replays nothing has answered %d reads after a change", now-before)
			}
			standby.Exec(t, "SELECT pg_wal_replay_resume()")
			used("after its replay was paused")
			primary.Kill() // what replicas can answer, they answer
			for range 100 {
				if _, err := store.FindByID(t.Context(), u.ID()); err != nil {
					t.Errorf("a read without a primary: %v", err)
					break
				}
			}
			close(end)
			readers.Wait()
			t.Logf("longest read %d ms", slow.Load())
			if slow.Load() > 6000 {
				t.Errorf("a read took %d ms", slow.Load())
			}
		})
	}
}

// Behind one URL may be another server than before: what the first one has replayed says nothing of the second.
func TestReplicaURLThatMoves(t *testing.T) {
	for driver := range withReplicas {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			primary := postgrestest.NewCluster(t)
			storetest.OpenPostgres(t, primary.URL)
			current, old := primary.Standby(t), primary.Standby(t)
			way := postgrestest.NewProxy(t, current.URL)
			store := openWithReplicas(t, driver, primary.URL, []string{way.URL})
			u := storetest.NewUser(t, "ada")
			if err := store.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			admin := old.DB(t)
			postgrestest.Await(t, "both have the account", func() bool {
				var n int
				return admin.QueryRow("SELECT count(*) FROM users").Scan(&n) == nil && n == 1
			})
			old.Exec(t, "SELECT pg_wal_replay_pause()")
			changed, err := store.SetNames(t.Context(), u.ID(), domain.Names{First: "Ada"})
			if err != nil {
				t.Fatal(err)
			}
			postgrestest.Await(t, "the replica answers", func() bool {
				_, err := store.FindByID(t.Context(), u.ID())
				return err == nil && replicaHealth(t, store)[0].Reads > 0
			})
			// New connections lead to the old server, while those to the current one go on.
			way.LeadTo(t, old.URL)
			stale := func() {
				t.Helper()
				var readers sync.WaitGroup
				for range 30 { // more than there are connections
					readers.Go(func() {
						for range 20 {
							found, err := store.FindByID(t.Context(), u.ID())
							if err != nil || found.Version() < changed.Version() {
								t.Errorf("a read: %v, %v", found, err)
								return
							}
						}
					})
				}
				readers.Wait()
			}
			stale()
			current.Kill()
			for range 10 {
				stale()
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}

// After a failover the log of the old primary and that of the new one have positions in common that mean different things. A replica that goes on along the old
// one gets no reads, however far it is.
func TestReplicasAfterAFailover(t *testing.T) {
	for driver := range withReplicas {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			primary := postgrestest.NewCluster(t, "full_page_writes=on") // for a copy of a standby
			storetest.OpenPostgres(t, primary.URL)
			next, ahead := primary.Standby(t), primary.Standby(t)
			follower := next.Standby(t) // which will be on the new timeline
			store := openWithReplicas(t, driver, hosts(t, primary.URL, next.URL), []string{primary.URL, next.URL, ahead.URL, follower.URL})
			u := storetest.NewUser(t, "ada")
			if err := store.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				serving(t, store, i, i > 0) // the primary is none
			}
			next.Exec(t, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
			admin := primary.DB(t)
			postgrestest.Await(t, "it is cut off", func() bool {
				var n int
				return admin.QueryRow("SELECT count(*) FROM pg_stat_replication").Scan(&n) == nil && n == 1
			})
			for range 200 {
				if _, err := store.SetNames(t.Context(), u.ID(), domain.Names{First: strconv.FormatInt(time.Now().UnixNano(), 10)}); err != nil {
					t.Fatal(err)
				}
			}
			far := ahead.DB(t)
			var lsn string
			if err := admin.QueryRow("SELECT pg_current_wal_lsn()::text").Scan(&lsn); err != nil {
				t.Fatal(err)
			}
			postgrestest.Await(t, "the other one has all", func() bool {
				var yes bool
				return far.QueryRow("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", lsn).Scan(&yes) == nil && yes
			})
			primary.Kill()
			next.Promote(t)
			var changed *domain.User
			postgrestest.Await(t, "the new primary takes writes", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var err error
				changed, err = store.SetNames(ctx, u.ID(), domain.Names{First: "Ada"})
				return err == nil
			})
			before := replicaHealth(t, store)[2].Reads
			deadline := time.Now().Add(5 * time.Second)
			for time.Now().Before(deadline) {
				found, err := store.FindByID(t.Context(), u.ID())
				if err != nil || found.FirstName() != "Ada" || found.Version() < changed.Version() {
					t.Fatalf("a read after the failover: %v, %v", found, err)
				}
			}
			h := replicaHealth(t, store)
			if h[2].Reads != before || h[2].Serves {
				t.Errorf("a replica of the old primary serves: %+v", h[2])
			}
			serving(t, store, 1, false) // it is the primary
			serving(t, store, 3, true)
			if _, err := store.FindByID(t.Context(), u.ID()); err != nil {
				t.Error(err)
			}
			t.Logf("%+v", replicaHealth(t, store))
		})
	}
}

// Inside transactions, for a decision, and after a change in a transaction of the application, reads go to the primary.
func TestReadsThatReplicasDoNotAnswer(t *testing.T) {
	for driver := range withReplicas {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			primary := postgrestest.NewCluster(t)
			storetest.OpenPostgres(t, primary.URL)
			standby := primary.Standby(t)
			store := openWithReplicas(t, driver, primary.URL, []string{standby.URL})
			u := storetest.NewUser(t, "ada")
			if err := store.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			grant, err := store.IssueToken(t.Context(), u.ID(), domain.SessionPolicy{})
			if err != nil {
				t.Fatal(err)
			}
			postgrestest.Await(t, "a replica answers", func() bool {
				_, err := store.FindByID(t.Context(), u.ID())
				return err == nil && replicaHealth(t, store)[0].Reads > 10
			})
			reads := replicaHealth(t, store)[0].Reads
			for name, read := range map[string]func(ctx context.Context) error{
				"a read for a decision": func(ctx context.Context) error { _, err := store.FindByID(domain.ReadCurrent(ctx), u.ID()); return err },
				"a token":               func(ctx context.Context) error { _, _, err := store.FindByToken(ctx, grant.Token); return err },
				"a transaction": func(ctx context.Context) error {
					return store.InTx(ctx, func(tx *infra.Tx) error { _, err := tx.FindByID(ctx, u.ID()); return err })
				},
				"a change of the application": func(ctx context.Context) error {
					tx, err := store.DB().Begin()
					if err != nil {
						return err
					}
					if _, err := store.WithTx(tx).SetNames(ctx, u.ID(), domain.Names{First: "Ada"}); err != nil {
						return err
					}
					if err := tx.Commit(); err != nil {
						return err
					}
					for range 20 {
						if _, err := store.FindByID(ctx, u.ID()); err != nil {
							return err
						}
						time.Sleep(10 * time.Millisecond)
					}
					return nil
				},
			} {
				if err := read(t.Context()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if now := replicaHealth(t, store)[0].Reads; now != reads {
				t.Errorf("a replica answered %d of them", now-reads)
			}
			if _, err := withReplicas[driver](t.Context(), primary.URL, []string{hosts(t, primary.URL, standby.URL)}); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("a replica with two hosts: %v; want %s", err, domain.ErrInvalid)
			}
			u2, err := url.Parse(standby.URL)
			if err != nil {
				t.Fatal(err)
			}
			absent, err := withReplicas[driver](t.Context(), primary.URL, []string{"postgres://u:p@127.0.0.1:1" + u2.Path + "?" + u2.RawQuery})
			if err != nil {
				t.Fatalf("a replica that is not there: %v", err)
			}
			defer absent.Close()
			if _, err := absent.FindByID(t.Context(), u.ID()); err != nil {
				t.Error(err)
			}
		})
	}
}

// BenchmarkReplicas finds accounts by their IDs, by a store without replicas and by one with two. All servers, and the client, have the processors of one machine, so
// that the time is that of the machine. What replicas take off the primary is its time of processors for 10,000 reads.
func BenchmarkReplicas(b *testing.B) {
	primary := postgrestest.NewCluster(b)
	storetest.OpenPostgres(b, primary.URL)
	one, two := primary.Standby(b), primary.Standby(b)
	urls := []string{one.URL, two.URL}
	for driver, open := range withReplicas {
		for _, n := range []int{0, 2} {
			b.Run(fmt.Sprintf("%s, %d replicas", driver, n), func(b *testing.B) {
				store, err := open(b.Context(), primary.URL, urls[:n])
				if err != nil {
					b.Fatal(err)
				}
				defer store.Close()
				u := storetest.NewUser(b, "user"+strconv.FormatUint(rand.Uint64(), 36))
				if err := store.Create(b.Context(), u); err != nil {
					b.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				b.ResetTimer()
				before := []time.Duration{primary.CPU(), one.CPU() + two.CPU()}
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if _, err := store.FindByID(b.Context(), u.ID()); err != nil {
							b.Error(err)
							return
						}
					}
				})
				h, _ := store.Health(b.Context())
				var reads int64
				for _, r := range h.Replicas {
					reads += r.Reads
				}
				b.ReportMetric(100*float64(reads)/float64(b.N), "%replicas")
				for i, now := range []time.Duration{primary.CPU(), one.CPU() + two.CPU()} {
					b.ReportMetric(float64((now-before[i]).Milliseconds())*10_000/float64(b.N), []string{"primary-ms/10000", "replicas-ms/10000"}[i])
				}
			})
		}
	}
}

// TestHealthOfAStandby: it is reachable and not writable, and says how far it is behind.
func TestHealthOfAStandby(t *testing.T) {
	primary := postgrestest.NewCluster(t)
	writing := storetest.OpenPostgres(t, primary.URL)
	standby := primary.Standby(t)
	store, err := postgres.Open(t.Context(), standby.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	health := func() infra.Health {
		t.Helper()
		h, err := store.Health(t.Context())
		if !errors.Is(err, domain.ErrUnavailable) || !h.Reachable || h.Writable || !h.Migrated || h.Server == "" {
			t.Fatalf("%+v, %v", h, err)
		}
		return h
	}
	postgrestest.Await(t, "the standby has replayed all", func() bool { return health().Lag == 0 })
	if _, err := store.DB().Exec("SELECT pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := writing.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
		t.Fatal(err)
	}
	postgrestest.Await(t, "the standby is behind", func() bool { return health().Lag >= time.Second })
	if _, err := store.DB().Exec("SELECT pg_wal_replay_resume()"); err != nil {
		t.Fatal(err)
	}
	postgrestest.Await(t, "the standby has caught up", func() bool { return health().Lag == 0 })
}
