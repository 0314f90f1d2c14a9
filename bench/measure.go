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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/storetest"
)

var operationNames = []string{
	"find_id", "find_email", "exists_email", "find_token", "create", "issue_token", "rotate_token", "login", "last_login", failureOperation, setNamesOperation, setPasswordOperation, revokeOperation,
	"list_page", "list_first", "list_10000th",
}

// lastPage is the one that list_10000th reads.
const lastPage = 10_000

// measure fills a table of each size and lets the systems take turns on it.
func measure(ctx context.Context, p plan, out io.Writer) error {
	if p.url == "" {
		var tb program
		defer func() { tb.end() }()
		p.url = storetest.PostgresServer(&tb)
	}
	server, err := url.Parse(p.url)
	if err != nil {
		return errors.New("the URL is not one")
	}
	for _, rows := range p.rows {
		if err := measureRows(ctx, p, *server, rows, out); err != nil {
			return err
		}
	}
	return nil
}

func measureRows(ctx context.Context, p plan, address url.URL, rows int, out io.Writer) error {
	admin, err := sql.Open("postgres", p.url)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	name := fmt.Sprintf("accounts_bench_%d_%d", os.Getpid(), rows)
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		return err
	}
	defer func() {
		_, _ = admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
	}()
	address.Path = "/" + name

	if rows < lastPage*pageSize && slices.Contains(p.operations, "list_10000th") {
		fmt.Fprintf(os.Stderr, "%d rows: no list_10000th, they are fewer than %d pages\n", rows, lastPage)
		p.operations = slices.DeleteFunc(slices.Clone(p.operations), func(name string) bool { return name == "list_10000th" })
	}
	fmt.Fprintf(os.Stderr, "%d rows: filling", rows)
	start := time.Now()
	if err := fill(ctx, address.String(), rows, p.ids); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, " took %v\n", time.Since(start).Round(time.Second))
	if err := writeSizes(ctx, address.String(), rows, p.ids, out); err != nil {
		return err
	}
	for _, latency := range p.latencies {
		n := network{direct: address, far: address}
		if latency > 0 {
			var stop func()
			if n, stop, err = openNetwork(ctx, address, latency); err != nil {
				return err
			}
			defer stop()
		}
		for _, workers := range p.workers {
			if p.full && latency > 0 && workers > 1 {
				continue
			}
			if err := measureTurns(ctx, p, n, rows, workers, out); err != nil {
				return err
			}
		}
	}
	return writeSizes(ctx, address.String(), rows, p.ids, out)
}

func writeSizes(ctx context.Context, address string, rows int, v ids, out io.Writer) error {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	all, err := sizes(ctx, db, rows, v)
	if err != nil {
		return err
	}
	for _, s := range all {
		fmt.Fprintf(os.Stderr, "%d accounts: %s takes %.1f MB\n", s.Accounts, s.Relation, float64(s.Bytes)/1e6)
		if err := write(out, s); err != nil {
			return err
		}
	}
	return nil
}

// measureTurns lets each system do each operation once in each round, in an order that changes.
func measureTurns(
	ctx context.Context, p plan, n network, rows, workers int, out io.Writer,
) error {
	systems := make(map[string]system)
	for _, name := range p.systems {
		opened, err := openSystem(ctx, name, n.far.String(), workers)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer opened.close()
		systems[name] = opened
	}
	type turn struct{ operation, system string }
	samples := make(map[turn][]sample)
	loads := make(map[string][]*load)
	for i, name := range p.systems {
		for worker := range workers { // no two of them draw the same accounts
			l := &load{system: systems[name], rows: rows, ids: p.ids, random: rand.New(rand.NewPCG(uint64(i), uint64(worker)))}
			if err := l.prepare(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			loads[name] = append(loads[name], l)
		}
	}
	server, err := sql.Open("postgres", n.direct.String())
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	var added []time.Duration
	order := slices.Clone(p.systems)
	for round := range p.rounds + 1 { // the first one warms up
		fmt.Fprintf(os.Stderr, "%d rows, %v, %d workers: round %d of %d\n", rows, n.latency, workers, round, p.rounds)
		if n.latency > 0 {
			mean, _, err := n.measure(ctx)
			if err != nil {
				return err
			}
			added = append(added, mean)
		}
		for _, operation := range p.operations {
			rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, name := range order {
				if !supports(systems[name], operation) {
					continue
				}
				before, err := walPosition(ctx, server)
				if err != nil {
					return err
				}
				s, err := work(ctx, loads[name], operation, p.slice)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", name, operation, err)
				}
				after, err := walPosition(ctx, server)
				if err != nil {
					return err
				}
				s.wal = (after - before) / s.operations
				if round > 0 {
					samples[turn{operation, name}] = append(samples[turn{operation, name}], s)
				}
			}
		}
	}
	var measured time.Duration
	if n.latency > 0 {
		slices.Sort(added)
		measured = added[len(added)/2]
		fmt.Fprintf(os.Stderr, "latency of %v: an empty statement took %v longer\n", n.latency, measured)
	}
	for _, operation := range p.operations {
		for _, name := range p.systems {
			taken := samples[turn{operation, name}]
			if len(taken) == 0 {
				continue
			}
			middle := func(value func(sample) float64) []float64 {
				var values []float64
				for _, s := range taken {
					values = append(values, value(s))
				}
				slices.Sort(values)
				return values
			}
			median := func(value func(sample) float64) float64 { v := middle(value); return v[len(v)/2] }
			means := middle(func(s sample) float64 { return s.mean })
			mean := means[len(means)/2]
			r := result{
				Operation: operation, System: name, Workers: workers, Rows: rows, IDs: p.ids,
				LatencyMS: milliseconds(n.latency), MeasuredMS: milliseconds(measured),
				OpsPerS: median(func(s sample) float64 { return s.rate }),
				Mean:    mean, Spread: (means[len(means)*3/4] - means[len(means)/4]) / mean,
				P50: median(func(s sample) float64 { return s.p50 }), P99: median(func(s sample) float64 { return s.p99 }),
				CPU: median(func(s sample) float64 { return s.cpu }), Allocs: median(func(s sample) float64 { return s.allocs }),
				WAL: median(func(s sample) float64 { return s.wal }), Rounds: len(taken),
			}
			if err := write(out, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// walPosition is how many bytes the server has ever written to its write-ahead log.
func walPosition(ctx context.Context, server *sql.DB) (position float64, err error) {
	err = server.QueryRowContext(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").Scan(&position)
	return position, err
}

type sample struct{ operations, rate, mean, p50, p99, cpu, allocs, wal float64 }

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
	var sum time.Duration // workers x elapsed, but for the end, where one worker is still at it and the others are not
	for _, t := range all {
		sum += t
	}
	n := float64(len(all))
	micro := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return sample{
		operations: n, rate: n / elapsed.Seconds(), mean: micro(sum) / n, p50: micro(all[len(all)/2]), p99: micro(all[len(all)*99/100]),
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
	ids    ids
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

// id draws an account that keeps its password, nine tenths of all.
func (l *load) id() domain.ID { return l.ids.filled(1 + l.random.IntN(l.rows-l.rows/10)) }

// spare draws an account that nothing else is done to.
func (l *load) spare() domain.ID { return l.ids.filled(l.rows - l.random.IntN(max(1, l.rows/10))) }

// hash returns another hash each time.
func (l *load) hash() domain.PasswordHash {
	salt := strings.Repeat(string(rune('a'+l.next%26)), 22)
	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat(string(rune('a'+l.random.IntN(26))), 43))
	if err != nil {
		panic(err)
	}
	return hash
}

// listAfter lists the page after the i-th account.
func (l *load) listAfter(ctx context.Context, i int) error {
	return l.system.listPage(ctx, filledAt(i), l.ids.filled(i))
}

func (l *load) do(ctx context.Context, operation string) (err error) {
	l.next = (l.next + 1) % len(l.tokens)
	switch operation {
	case "find_id":
		return l.system.findID(ctx, l.id())
	case "find_email":
		return l.system.findEmail(ctx, filledEmail(1+l.random.IntN(l.rows)))
	case "exists_email":
		return l.system.existsEmail(ctx, filledEmail(1+l.random.IntN(l.rows)))
	case "find_token":
		return l.system.findToken(ctx, l.tokens[l.next])
	case "create":
		u, err := l.ids.newUser()
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
	case failureOperation:
		return l.system.(writer).failure(ctx, l.id())
	case setNamesOperation:
		return l.system.(writer).setNames(ctx, l.id(), domain.Names{First: "Ada", Last: strconv.Itoa(l.random.IntN(1e6))})
	case setPasswordOperation:
		return l.system.(writer).setPassword(ctx, l.spare(), l.hash())
	case revokeOperation:
		token, err := l.system.issueToken(ctx, l.id())
		if err != nil {
			return err
		}
		return l.system.(writer).revokeToken(ctx, token)
	case "list_page":
		return l.listAfter(ctx, 1+l.random.IntN(l.rows))
	case "list_first":
		return l.system.listPage(ctx, time.Time{}, domain.ID{})
	case "list_10000th":
		return l.listAfter(ctx, (lastPage-1)*pageSize)
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
