package libpq

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/fault"
	"github.com/softbee/accounts/infra/internal/postgrestest"
)

// poolOf returns the handle over at most n connections.
func (w way) poolOf(t testing.TB, address string, n int) infra.Handle {
	t.Helper()
	return Handle(w.open(t, address, n))
}

// pooledInt runs a query that returns one number.
func pooledInt(ctx context.Context, p infra.Handle, query string, args ...any) (n int, err error) {
	rows, err := p.Query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	for rows.Next() {
		err = errors.Join(err, rows.Scan(&n))
	}
	return n, errors.Join(err, rows.Err(), rows.Close())
}

// The end of a context ends the statement on the server too, and no other one.
func TestContextEndsStatement(t *testing.T) {
	t.Parallel()
	address := postgrestest.Database(t)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		t.Run(name, func(t *testing.T) {
			p, other := w.poolOf(t, address, 1), plain.open(t, address, 1)
			endsWithContext(t, p, other, func(ctx context.Context, p infra.Handle) error {
				_, err := pooledInt(ctx, p, "SELECT $1::int FROM pg_sleep(60)", 1)
				return err
			})
			endsWithContext(t, p, other, func(ctx context.Context, p infra.Handle) error {
				_, err := p.Exec(ctx, "SELECT pg_sleep($1)", 60)
				return err
			})
			endsWithContext(t, p, other, func(ctx context.Context, p infra.Handle) error {
				_, err := p.Exec(ctx, "SELECT pg_sleep(60)")
				return err
			})
		})
	}
}

// endsWithContext demands that sleep, which sleeps on the server, ends with its context, and that p works on.
func endsWithContext(t *testing.T, p infra.Handle, other querier, sleep func(context.Context, infra.Handle) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	go callWhenSleeping(t, other, cancel)
	if err := sleep(ctx, p); err == nil {
		t.Error("it ended by itself")
	}
	for range 3 {
		if n, err := pooledInt(t.Context(), p, "SELECT $1::int", 7); n != 7 || err != nil {
			t.Errorf("after it: %d, %v", n, err)
		}
	}
	if n := queryInt(t, other, sleeping); n != 0 {
		t.Errorf("%d statements go on", n)
	}
}

// sleeping counts the statements of the database that are in pg_sleep.
const sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep' AND state = 'active'"

// callWhenSleeping calls then when a statement sleeps, or when that cannot be seen.
func callWhenSleeping(t *testing.T, q querier, then func()) {
	defer then()
	for queryInt(t, q, sleeping) == 0 {
	}
}

// A context that ends while rows are read ends the reading.
func TestContextEndsRows(t *testing.T) {
	t.Parallel()
	p := cached.poolOf(t, postgrestest.Schema(t), 1)
	ctx, cancel := context.WithCancel(t.Context())
	rows, err := p.Query(ctx, "SELECT generate_series(1, $1::int)", 100_000_000)
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	cancel()
	for rows.Next() { // ends
	}
	if rows.Err() == nil {
		t.Error("all rows were read")
	}
	_ = rows.Close()
	if n, err := pooledInt(t.Context(), p, "SELECT $1::int", 7); n != 7 || err != nil {
		t.Errorf("after it: %d, %v", n, err)
	}
}

// A call ends with its context, though nothing comes back from the network.
func TestContextEndsOnASilentNetwork(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, postgrestest.Schema(t))
	p := cached.poolOf(t, proxy.URL, 1)
	if _, err := pooledInt(t.Context(), p, "SELECT $1::int", 1); err != nil {
		t.Fatal(err)
	}
	proxy.Silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := pooledInt(ctx, p, "SELECT $1::int", 1)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a reply came from nowhere")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the call goes on")
	}
	proxy.Silent.Store(false)
	if n, err := pooledInt(t.Context(), p, "SELECT $1::int", 7); n != 7 || err != nil {
		t.Errorf("after it: %d, %v", n, err)
	}
}

// A statement is not hit by the end of the context of one that ran before it on its connection.
func TestContextsEndAnyTime(t *testing.T) {
	t.Parallel()
	p := cached.poolOf(t, postgrestest.Database(t), 4) // others look whether something sleeps in theirs
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range rounds(40, 400) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(600))*time.Microsecond)
				_, err := pooledInt(ctx, p, "SELECT $1::int FROM pg_sleep(0.0002)", i)
				if end, _ := ctx.Deadline(); err != nil && time.Now().Before(end) {
					t.Errorf("within its time: %v", err)
				}
				cancel()
				if n, err := pooledInt(t.Context(), p, "SELECT $1::int", g*1000+i); n != g*1000+i || err != nil {
					t.Errorf("without an end: %d, %v; want %d", n, err, g*1000+i)
				}
			}
		})
	}
	group.Wait()
}

// Statements start no goroutines, and a connection's ends with it.
func TestGoroutines(t *testing.T) { // not parallel: it counts all
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := postgrestest.Schema(t)
	before := runtime.NumGoroutine()
	db := cached.open(t, address, 1)
	p := Handle(db)
	if _, err := pooledInt(ctx, p, "SELECT $1::int", 1); err != nil {
		t.Fatal(err)
	}
	idle := runtime.NumGoroutine()
	rows, err := p.Query(ctx, "SELECT $1::int", 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine(); n > idle {
		t.Errorf("a statement has %d goroutines", n-idle)
	}
	for range 2 { // the second time does nothing
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
		}
	}
}

// Preparing is tried again on another connection, and executing is not.
func TestPoolTriesAgain(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, postgrestest.Schema(t))
	p := cached.poolOf(t, proxy.URL, 1)
	if _, err := p.Exec(t.Context(), "CREATE SEQUENCE executions"); err != nil {
		t.Fatal(err)
	}
	const query = "SELECT nextval($1::regclass)"
	proxy.Cut.Store(true)
	if n, err := pooledInt(t.Context(), p, query, "executions"); n != 1 || err != nil {
		t.Errorf("a lost reply to the preparation: %d, %v", n, err)
	}
	proxy.Cut.Store(true)
	if _, err := pooledInt(t.Context(), p, query, "executions"); fault.Of(err).Class != fault.Unavailable {
		t.Errorf("a lost reply to the execution: %v", err)
	}
	if n, err := pooledInt(t.Context(), p, query, "executions"); n != 3 || err != nil {
		t.Errorf("after it: %d, %v; want 3", n, err)
	}
}

// plainHandle executes statements as database/sql does.
type plainHandle struct{ *sql.DB }

func (h plainHandle) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	return h.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
}

func (h plainHandle) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := h.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// BenchmarkContext measures what it costs that a statement can be cancelled: by database/sql and lib/pq, and here.
func BenchmarkContext(b *testing.B) {
	db := cached.open(b, postgrestest.Database(b), 1)
	endless := context.Background()
	ending, cancel := context.WithCancel(endless)
	defer cancel()
	for _, way := range []struct {
		name   string
		ctx    context.Context
		handle infra.Handle
	}{
		{"database sql, a context without end", endless, plainHandle{db}},
		{"database sql", ending, plainHandle{db}},
		{"pool", ending, Handle(db)},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pooledInt(way.ctx, way.handle, "SELECT $1::int", 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
