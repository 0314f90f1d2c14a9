package infra_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/storetest"
)

type idleObserver struct{}

func (idleObserver) Begin(ctx context.Context, _ string) context.Context { return ctx }
func (idleObserver) End(context.Context, domain.Observation)             {}

// BenchmarkOverhead measures what observers and hooks add to finding an account, to rotating a token and to recording a sign-in.
func BenchmarkOverhead(b *testing.B) {
	observer, err := otel.Observer(trace.NewTracerProvider(), metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
	if err != nil {
		b.Fatal(err)
	}
	insert := func(ctx context.Context, tx *infra.Tx, event domain.Event) error {
		_, err := tx.Exec(ctx, "note", "INSERT INTO notes (kind) VALUES (?)", string(event.Kind))
		return err
	}
	for _, database := range []string{"sqlite", "postgres"} {
		for _, on := range []struct {
			name    string
			options []infra.Option
		}{
			{"nothing", nil},
			{"a hook for another kind", []infra.Option{infra.WithHook(insert, domain.EventPurged)}},
			{"observer", []infra.Option{infra.WithObserver(idleObserver{})}},
			{"otel", []infra.Option{infra.WithObserver(observer)}},
			{"audit", []infra.Option{infra.WithHook(audit.Hook(audit.Options{}))}},
			{"hook with an INSERT", []infra.Option{infra.WithHook(insert)}},
		} {
			b.Run(database+"/"+on.name, func(b *testing.B) {
				var store *infra.Store
				if database == "sqlite" {
					store = storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "accounts.db"), on.options...)
				} else {
					store = storetest.OpenPostgres(b, storetest.PostgresURL(b), on.options...)
				}
				if _, err := store.DB().Exec("CREATE TABLE notes (kind varchar(40))"); err != nil {
					b.Fatal(err)
				}
				ctx := b.Context()
				u := storetest.NewUser(b, "ana")
				if err := store.Create(ctx, u); err != nil {
					b.Fatal(err)
				}
				grant, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
				if err != nil {
					b.Fatal(err)
				}
				for _, operation := range []struct {
					name string
					run  func() error
				}{
					{"find_id", func() error { return of(store.FindByID(ctx, u.ID())) }},
					{"rotate", func() error {
						next, err := store.RotateToken(ctx, grant.Token, domain.SessionPolicy{Grace: domain.NoGrace})
						grant = next
						return err
					}},
					{"sign_in", func() error {
						return of(store.RecordSuccess(ctx, u.ID(), u.State().PasswordHash, domain.PasswordHash{}))
					}},
				} {
					b.Run(operation.name, func(b *testing.B) {
						b.ReportAllocs()
						for b.Loop() {
							if err := operation.run(); err != nil {
								b.Fatal(fmt.Errorf("%s: %w", operation.name, err))
							}
						}
					})
				}
			})
		}
	}
}

// BenchmarkNothingOn compares, in turns and in one process, the store without observers and hooks with the bare statements, which lack all that was
// added for them: by medians, and by allocations.
func BenchmarkNothingOn(b *testing.B) {
	onEachDatabase(b, nil, func(b *testing.B, store *infra.Store) {
		ctx := b.Context()
		u := storetest.NewUser(b, "ana")
		if err := store.Create(ctx, u); err != nil {
			b.Fatal(err)
		}
		id, hash := u.ID(), u.State().PasswordHash
		inTurns(b, "find_id",
			func() error { return of(infra.FindBare(ctx, store, id)) },
			func() error { return of(store.FindByID(ctx, id)) })
		inTurns(b, "sign_in",
			func() error { return of(infra.SignInBare(ctx, store, id, hash)) },
			func() error { return of(store.RecordSuccess(ctx, id, hash, domain.PasswordHash{})) })
	})
}

// BenchmarkTrail compares, in turns, the trail's entry in the statement of the change, as PostgreSQL alone could store it, with the entry of the
// hook, which takes a transaction.
func BenchmarkTrail(b *testing.B) {
	store := storetest.OpenPostgres(b, storetest.PostgresURL(b), infra.WithHook(audit.Hook(audit.Options{})))
	ctx := b.Context()
	u := storetest.NewUser(b, "ana")
	if err := store.Create(ctx, u); err != nil {
		b.Fatal(err)
	}
	id, hash := u.ID(), u.State().PasswordHash
	inTurns(b, "sign_in",
		func() error { return of(infra.SignInNoted(ctx, store, id, hash)) },
		func() error { return of(store.RecordSuccess(ctx, id, hash, domain.PasswordHash{})) })
}

// BenchmarkChecks compares, in turns, writes on a table without checks with those on ours: an account that is created, and a token that is rotated among 20
// sessions.
func BenchmarkChecks(b *testing.B) {
	onEachDatabase(b, nil, func(b *testing.B, store *infra.Store) {
		var bare *infra.Store
		if store.Schema() == "" {
			bare = storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "bare.db"))
			if _, err := bare.DB().Exec("PRAGMA ignore_check_constraints = on"); err != nil { // the one connection that writes
				b.Fatal(err)
			}
		} else {
			bare = storetest.OpenPostgres(b, storetest.PostgresURL(b))
			const drop = `DO $$ DECLARE name text; BEGIN
				FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'c' LOOP
					EXECUTE format('ALTER TABLE users DROP CONSTRAINT %I', name);
				END LOOP; END $$`
			if _, err := bare.DB().Exec(drop); err != nil {
				b.Fatal(err)
			}
		}
		ctx := b.Context()
		n := 0
		create := func(store *infra.Store) func() error {
			return func() error {
				n++
				return store.Create(ctx, storetest.NewUser(b, fmt.Sprintf("user%d", n)))
			}
		}
		inTurns(b, "create", create(bare), create(store))
		rotate := func(store *infra.Store) func() error {
			u := storetest.NewUser(b, "ana")
			if err := store.Create(ctx, u); err != nil {
				b.Fatal(err)
			}
			var grant domain.Grant
			for range domain.DefaultSessionCap {
				var err error
				if grant, err = store.IssueToken(ctx, u.ID(), domain.SessionPolicy{}); err != nil {
					b.Fatal(err)
				}
			}
			return func() error {
				next, err := store.RotateToken(ctx, grant.Token, domain.SessionPolicy{Grace: domain.NoGrace})
				grant = next
				return err
			}
		}
		inTurns(b, "rotate", rotate(bare), rotate(store))
	})
}

// inTurns measures two operations in one run: rounds of each follow one another, the first one first in every other round. It reports the median time of
// one call of each, their ratio, and the allocations that the second has more.
func inTurns(b *testing.B, name string, first, second func() error) {
	b.Run(name, func(b *testing.B) {
		const calls = 20
		pair := [2]func() error{first, second}
		var took [2][]time.Duration
		round := 0
		for b.Loop() {
			for i := range pair {
				which := (i + round) % 2
				began := time.Now()
				for range calls {
					if err := pair[which](); err != nil {
						b.Fatal(err)
					}
				}
				took[which] = append(took[which], time.Since(began)/calls)
			}
			round++
		}
		b.StopTimer()
		var median [2]float64
		for i := range took {
			slices.Sort(took[i])
			median[i] = float64(took[i][len(took[i])/2])
		}
		var allocations [2]float64
		for i := range pair {
			allocations[i] = testing.AllocsPerRun(200, func() { _ = pair[i]() })
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median[0], "ns/first")
		b.ReportMetric(median[1], "ns/second")
		b.ReportMetric(median[1]/median[0], "ratio")
		b.ReportMetric(allocations[1]-allocations[0], "allocs/more")
	})
}

func onEachDatabase(b *testing.B, options []infra.Option, bench func(b *testing.B, store *infra.Store)) {
	b.Run("sqlite", func(b *testing.B) {
		bench(b, storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "accounts.db"), options...))
	})
	b.Run("postgres", func(b *testing.B) { bench(b, storetest.OpenPostgres(b, storetest.PostgresURL(b), options...)) })
}
