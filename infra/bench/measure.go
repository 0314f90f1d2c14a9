package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/postgres/postgrestest"
)

var operationNames = []string{
	"find_id", "find_email", "exists_email", "has_token", "create", "issue_token", "rotate_token", "login", "last_login", "list_page",
}

// measure fills a table of each size and lets the systems take turns on it.
func measure(ctx context.Context, p plan, out io.Writer) error {
	if p.url == "" {
		var tb program
		defer func() { tb.end() }()
		p.url = postgrestest.Server(&tb)
	}
	for _, rows := range p.rows {
		if err := measureRows(ctx, p, rows, out); err != nil {
			return err
		}
	}
	return nil
}

func measureRows(ctx context.Context, p plan, rows int, out io.Writer) error {
	address, err := url.Parse(p.url)
	if err != nil {
		return errors.New("the URL is not one")
	}
	admin, err := sql.Open("postgres", p.url)
	if err != nil {
		return err
	}
	defer admin.Close()
	name := fmt.Sprintf("accounts_bench_%d_%d", os.Getpid(), rows)
	if _, err := admin.Exec("CREATE DATABASE " + pq.QuoteIdentifier(name) + " TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		return err
	}
	defer func() { _, _ = admin.Exec("DROP DATABASE " + pq.QuoteIdentifier(name) + " WITH (FORCE)") }()
	address.Path = "/" + name

	fmt.Fprintf(os.Stderr, "%d rows: filling", rows)
	start := time.Now()
	if err := fill(ctx, address.String(), rows); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, " took %v\n", time.Since(start).Round(time.Second))
	texts, err := capture(ctx, address.String())
	if err != nil {
		return err
	}
	for _, latency := range p.latencies {
		near := *address
		if latency > 0 {
			host, stop, err := startProxy(address.Host, latency)
			if err != nil {
				return err
			}
			defer stop()
			near.Host = host
		}
		for _, workers := range p.workers {
			if err := measureTurns(ctx, p, near.String(), texts, rows, workers, latency, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureTurns lets each system do each operation once in each round, in an order that changes.
func measureTurns(
	ctx context.Context, p plan, address string, texts statements, rows, workers int, latency time.Duration, out io.Writer,
) error {
	systems := make(map[string]system)
	for _, name := range p.systems {
		opened, err := openSystem(ctx, name, address, workers, texts)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer opened.close()
		systems[name] = opened
	}
	type turn struct{ operation, system string }
	samples := make(map[turn][]sample)
	loads := make(map[string][]*load)
	for name, s := range systems {
		for range workers {
			l := &load{system: s, rows: rows, random: rand.New(rand.NewPCG(uint64(len(loads)), uint64(rows)))}
			if err := l.prepare(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			loads[name] = append(loads[name], l)
		}
	}
	order := slices.Clone(p.systems)
	for round := range p.rounds + 1 { // the first one warms up
		fmt.Fprintf(os.Stderr, "%d rows, %v, %d workers: round %d of %d\n", rows, latency, workers, round, p.rounds)
		for _, operation := range p.operations {
			rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, name := range order {
				s, err := work(ctx, loads[name], operation, p.slice)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", name, operation, err)
				}
				if round > 0 {
					samples[turn{operation, name}] = append(samples[turn{operation, name}], s)
				}
			}
		}
	}
	for _, operation := range p.operations {
		for _, name := range p.systems {
			taken := samples[turn{operation, name}]
			middle := func(value func(sample) float64) []float64 {
				var values []float64
				for _, s := range taken {
					values = append(values, value(s))
				}
				slices.Sort(values)
				return values
			}
			median := func(value func(sample) float64) float64 { v := middle(value); return v[len(v)/2] }
			rates := middle(func(s sample) float64 { return s.rate })
			r := result{
				Operation: operation, System: name, Workers: workers, Rows: rows, LatencyMS: float64(latency.Microseconds()) / 1000,
				OpsPerS: rates[len(rates)/2], Spread: (rates[len(rates)*3/4] - rates[len(rates)/4]) / rates[len(rates)/2],
				P50: median(func(s sample) float64 { return s.p50 }), P99: median(func(s sample) float64 { return s.p99 }),
				CPU: median(func(s sample) float64 { return s.cpu }), Allocs: median(func(s sample) float64 { return s.allocs }),
				Rounds: len(taken),
			}
			if err := write(out, r); err != nil {
				return err
			}
		}
	}
	return nil
}

type sample struct{ rate, p50, p99, cpu, allocs float64 }

// work lets each load do an operation again and again for some time.
func work(ctx context.Context, loads []*load, operation string, slice time.Duration) (sample, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	start := time.Now()
	errs := make([]error, len(loads))
	taken := make([][]time.Duration, len(loads))
	var group sync.WaitGroup
	for i, l := range loads {
		group.Go(func() {
			for began := start; began.Sub(start) < slice; {
				if errs[i] = l.do(ctx, operation); errs[i] != nil {
					return
				}
				ended := time.Now()
				taken[i] = append(taken[i], ended.Sub(began))
				began = ended
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	if err := errors.Join(errs...); err != nil {
		return sample{}, err
	}
	all := slices.Concat(taken...)
	slices.Sort(all)
	n := float64(len(all))
	micro := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return sample{
		rate: n / elapsed.Seconds(), p50: micro(all[len(all)/2]), p99: micro(all[len(all)*99/100]),
		cpu: micro(cpu) / n, allocs: float64(after.Mallocs-before.Mallocs) / n,
	}, nil
}

// cpuTime is the time that this process has kept processors busy.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // cannot fail with these arguments
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// load is what one worker works on.
type load struct {
	system system
	rows   int
	random *rand.Rand
	tokens []domain.RefreshToken
	next   int
}

// policy lets a rotated token expire at once, so that a list stays as long as it was however fast its token is rotated.
var policy = domain.SessionPolicy{Grace: time.Millisecond}

const tokensOfWorker = 100

func (l *load) prepare(ctx context.Context) error {
	for range tokensOfWorker {
		token, err := l.system.issueToken(ctx, l.id())
		if err != nil {
			return err
		}
		l.tokens = append(l.tokens, token)
	}
	return nil
}

func (l *load) id() domain.ID { return filledID(1 + l.random.IntN(l.rows)) }

func (l *load) do(ctx context.Context, operation string) (err error) {
	l.next = (l.next + 1) % len(l.tokens)
	switch operation {
	case "find_id":
		return l.system.findID(ctx, l.id())
	case "find_email":
		return l.system.findEmail(ctx, filledEmail(1+l.random.IntN(l.rows)))
	case "exists_email":
		return l.system.existsEmail(ctx, filledEmail(1+l.random.IntN(l.rows)))
	case "has_token":
		return l.system.hasToken(ctx, l.tokens[l.next])
	case "create":
		u, err := newUser()
		if err != nil {
			return err
		}
		return l.system.create(ctx, u)
	case "issue_token":
		_, err := l.system.issueToken(ctx, l.id())
		return err
	case "rotate_token":
		l.tokens[l.next], err = l.system.rotateToken(ctx, l.tokens[l.next])
		return err
	case "login":
		return l.system.login(ctx, l.id())
	case "last_login":
		return l.system.lastLogin(ctx, l.id())
	case "list_page":
		return l.system.listPage(ctx, filledAt(1+l.random.IntN(l.rows)), l.id())
	}
	return fmt.Errorf("no operation %s", operation)
}

// program stands for the test that postgrestest wants: the server belongs to the process.
type program struct {
	testing.TB
	cleanups []func()
}

func (*program) Helper()                        {}
func (p *program) Cleanup(f func())             { p.cleanups = append(p.cleanups, f) }
func (*program) Skip(args ...any)               { panic(fmt.Sprint(args...)) }
func (*program) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func (p *program) end() {
	for _, f := range slices.Backward(p.cleanups) {
		f()
	}
}

// fill migrates a database and stores accounts with two sessions each.
func fill(ctx context.Context, address string, rows int) error {
	store, err := postgres.Open(ctx, address)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	const entry = `$2 || '.' || left(md5(i || '%[1]d') || md5(i || '.'), 22) || '.' || md5(i || '%[1]d!') || left(md5(i || '%[1]d?'), 11)
		|| '.' || $3 || '.' || $2 || '.' || $3`
	at := func(d time.Duration) string { return domain.EntryTime(time.Now().Add(d)) }
	const batch = 500_000
	for first := 1; first <= rows; first += batch {
		if _, err := store.DB().ExecContext(ctx, `INSERT INTO users (id, email, username, hashed_password, refresh_tokens, created_at, updated_at)
			SELECT md5(i::text)::uuid, 'user' || i || '@example.org', 'user' || i, $4,
				jsonb_build_array(`+fmt.Sprintf(entry, 1)+`, `+fmt.Sprintf(entry, 2)+`), made, made
			FROM generate_series($1::int, $6::int) AS i, LATERAL (SELECT $5::timestamptz + i * interval '1 s' AS made) AS m`,
			first, at(30*24*time.Hour), at(-time.Hour), passwordHash, filledFrom, min(first+batch-1, rows)); err != nil {
			return err
		}
	}
	_, err = store.DB().ExecContext(ctx, "VACUUM ANALYZE users")
	return err
}
