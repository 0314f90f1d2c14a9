package infra_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/storetest"
)

type idleObserver struct{}

func (idleObserver) Begin(ctx context.Context, _ string) context.Context { return ctx }
func (idleObserver) End(context.Context, domain.Observation)             {}

// BenchmarkOverhead compares, in turns and in one process, a store with nothing on with one that has an observer, a hook or the trail: finding an account,
// rotating a token, and the bookkeeping of a sign-in.
func BenchmarkOverhead(b *testing.B) {
	observer, err := otel.Observer(trace.NewTracerProvider(), metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
	if err != nil {
		b.Fatal(err)
	}
	insert := func(ctx context.Context, tx *infra.Tx, event domain.Event) error {
		_, err := tx.Exec(ctx, "note", "INSERT INTO notes (kind) VALUES (?)", string(event.Kind))
		return err
	}
	onEachDatabase(b, nil, func(b *testing.B, plain *infra.Store) {
		if _, err := plain.DB().Exec("CREATE TABLE notes (kind varchar(40))"); err != nil {
			b.Fatal(err)
		}
		ctx := b.Context()
		u := storetest.NewUser(b, "ana")
		if err := plain.Create(ctx, u); err != nil {
			b.Fatal(err)
		}
		operations := map[string]func(*infra.Store) func() error{
			"find_id": func(store *infra.Store) func() error {
				return func() error { return of(store.FindByID(ctx, u.ID())) }
			},
			"rotate": func(store *infra.Store) func() error {
				policy := domain.SessionPolicy{Grace: domain.NoGrace}
				grant, err := plain.IssueToken(ctx, u.ID(), policy)
				if err != nil {
					b.Fatal(err)
				}
				return func() (err error) {
					grant, err = store.RotateToken(ctx, grant.Token, policy)
					return err
				}
			},
			"sign_in": func(store *infra.Store) func() error {
				return func() error {
					return of(store.RecordSuccess(ctx, u.ID(), u.State().PasswordHash, domain.PasswordHash{}))
				}
			},
		}
		for _, on := range []struct {
			name   string
			option infra.Option
		}{
			{"a hook for another kind", infra.WithHook(insert, domain.EventPurged)},
			{"observer", infra.WithObserver(idleObserver{})},
			{"otel", infra.WithObserver(observer)},
			{"trail", audit.WithTrail(audit.Options{})},
			{"hook with an INSERT", infra.WithHook(insert)},
		} {
			nothing, with := sibling(b, plain), sibling(b, plain, on.option)
			for _, name := range slices.Sorted(maps.Keys(operations)) {
				inTurns(b, on.name+", "+name, operations[name](nothing), operations[name](with))
				if _, err := plain.RevokeSessions(ctx, u.ID()); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkNothingOn compares, in turns and in one process, the store without observers, hooks and the trail with the same operations from which all that
// looks for them is taken out. "no database" answers at once, and so shows the difference alone.
func BenchmarkNothingOn(b *testing.B) {
	compare := func(b *testing.B, store *infra.Store) {
		ctx, bare := b.Context(), infra.Bare{Store: store}
		u := storetest.NewUser(b, "ana")
		if err := store.Create(ctx, u); err != nil {
			b.Fatal(err)
		}
		id, hash := u.ID(), u.State().PasswordHash
		inTurns(b, "find_id",
			func() error { return of(bare.FindByID(ctx, id)) },
			func() error { return of(store.FindByID(ctx, id)) })
		policy := domain.SessionPolicy{Grace: domain.NoGrace}
		rotating := func(rotate func(context.Context, domain.RefreshToken, domain.SessionPolicy) (domain.Grant, error)) func() error {
			grant, err := store.IssueToken(ctx, id, policy)
			if err != nil {
				b.Fatal(err)
			}
			return func() (err error) {
				grant, err = rotate(ctx, grant.Token, policy)
				return err
			}
		}
		inTurns(b, "rotate", rotating(bare.RotateToken), rotating(store.RotateToken))
		inTurns(b, "sign_in",
			func() error { return of(bare.RecordSuccess(ctx, id, hash)) },
			func() error { return of(store.RecordSuccess(ctx, id, hash, domain.PasswordHash{})) })
	}
	onEachDatabase(b, nil, compare)
	b.Run("no database", func(b *testing.B) {
		source := storetest.OpenSQLite(b, ":memory:")
		if err := source.Create(b.Context(), storetest.NewUser(b, "ana")); err != nil {
			b.Fatal(err)
		}
		handle := answering{make([]any, 25)}
		pointers := make([]any, len(handle.row))
		for i := range pointers {
			pointers[i] = &handle.row[i]
		}
		if err := source.DB().QueryRow("SELECT * FROM users").Scan(pointers...); err != nil {
			b.Fatal(err)
		}
		store, err := infra.New(b.Context(), infra.Database{Dialect: migration.Postgres, DB: source.DB(), Handle: handle}, infra.WithSchema("none"))
		if err != nil {
			b.Fatal(err)
		}
		compare(b, store)
	})
}

// answering is a handle that returns one row, and says of each change that it changed one.
type answering struct{ row []any }

func (a answering) Query(context.Context, string, ...any) (infra.Rows, error) {
	return &answer{row: a.row}, nil
}

func (answering) Exec(context.Context, string, ...any) (int64, error) { return 1, nil }

type answer struct {
	row  []any
	read bool
}

func (a *answer) Next() bool {
	first := !a.read
	a.read = true
	return first
}

func (a *answer) Scan(to ...any) error {
	for i := range to {
		if err := to[i].(stdsql.Scanner).Scan(a.row[i]); err != nil {
			return err
		}
	}
	return nil
}

func (*answer) Err() error   { return nil }
func (*answer) Close() error { return nil }

// BenchmarkTrail compares, in turns on PostgreSQL, the bookkeeping of a sign-in: without a trail and with one; with the smallest entry that the statement
// could have and with the trail's; and with an entry in its statement and in a transaction.
func BenchmarkTrail(b *testing.B) {
	plain := storetest.OpenPostgres(b, storetest.PostgresURL(b))
	ctx, bare := b.Context(), infra.Bare{Store: plain}
	idle := func(context.Context, *infra.Tx, domain.Event) error { return nil }
	inStatement := sibling(b, plain, audit.WithTrail(audit.Options{}))
	inTransaction := sibling(b, plain, audit.WithTrail(audit.Options{}), infra.WithHook(idle))
	u := storetest.NewUser(b, "ana")
	if err := plain.Create(ctx, u); err != nil {
		b.Fatal(err)
	}
	id, hash := u.ID(), u.State().PasswordHash
	signIn := func(store *infra.Store) func() error {
		return func() error { return of(store.RecordSuccess(ctx, id, hash, domain.PasswordHash{})) }
	}
	inTurns(b, "none, trail", signIn(plain), signIn(inStatement))
	inTurns(b, "smallest, trail", func() error { return of(bare.RecordSuccessEntered(ctx, id, hash)) }, signIn(inStatement))
	inTurns(b, "statement, transaction", signIn(inStatement), signIn(inTransaction))
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

// inTurns measures two operations in one run: calls of each follow one another, the first one first in every other pair. It reports the median time of
// each, how many percent the second takes longer, by the median of the differences in each pair, with the bounds between which that lies in 95 of 100
// cases, and the allocations that the second has more.
func inTurns(b *testing.B, name string, first, second func() error) {
	b.Run(name, func(b *testing.B) {
		pair := [2]func() error{first, second}
		var took [2][]float64
		var more []float64
		round := 0
		for b.Loop() {
			var now [2]float64
			for i := range pair {
				which := (i + round) % 2
				began := time.Now()
				if err := pair[which](); err != nil {
					b.Fatal(err)
				}
				now[which] = float64(time.Since(began))
				took[which] = append(took[which], now[which])
			}
			more = append(more, now[1]-now[0])
			round++
		}
		b.StopTimer()
		slices.Sort(took[0])
		slices.Sort(took[1])
		slices.Sort(more)
		n := float64(len(more))
		of := func(place float64) float64 { return more[min(max(int(place), 0), len(more)-1)] }
		percent := func(difference float64) float64 { return 100 * difference / took[0][len(more)/2] }
		var allocations [2]float64
		for turn := range 5 { // the least counts: others in the process, such as the goroutines that await the end of a context, allocate too
			for i := range pair {
				n := testing.AllocsPerRun(100, func() { _ = pair[i]() })
				if turn == 0 || n < allocations[i] {
					allocations[i] = n
				}
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(took[0][len(more)/2], "ns/first")
		b.ReportMetric(took[1][len(more)/2], "ns/second")
		b.ReportMetric(percent(of(n/2)), "%/more")
		b.ReportMetric(percent(of(n/2-0.98*math.Sqrt(n))), "%/least")
		b.ReportMetric(percent(of(n/2+0.98*math.Sqrt(n))), "%/most")
		b.ReportMetric(allocations[1]-allocations[0], "allocs/more")
	})
}

func onEachDatabase(b *testing.B, options []infra.Option, bench func(b *testing.B, store *infra.Store)) {
	b.Run("sqlite", func(b *testing.B) {
		bench(b, storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "accounts.db"), options...))
	})
	b.Run("postgres", func(b *testing.B) { bench(b, storetest.OpenPostgres(b, storetest.PostgresURL(b), options...)) })
}
