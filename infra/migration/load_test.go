package migration_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// BenchmarkLoad applies the files of docs/migrations.md to a large table under 200 updates a second, and fails if any update took
// longer than a second, counted from when it was due. The number of rows is ACCOUNTS_MIGRATION_LOAD, by default 100,000. Five
// million take a quarter of an hour, and 5 GB:
//
//	ACCOUNTS_MIGRATION_LOAD=5000000 ACCOUNTS_TEST_POSTGRES=postgres://… \
//	go test ./infra/migration -run '^$' -bench '^BenchmarkLoad$' -benchtime 1x -v -timeout 2h
//
// Without ACCOUNTS_TEST_POSTGRES the server is a throw-away one, which does not wait for its disk.
func BenchmarkLoad(t *testing.B) {
	rows, err := strconv.Atoi(cmp.Or(os.Getenv("ACCOUNTS_MIGRATION_LOAD"), "100000"))
	if err != nil {
		t.Fatal("ACCOUNTS_MIGRATION_LOAD is not a number of rows")
	}
	d := databases[0]
	url := d.url(t)
	db := d.open(t, url)
	mustUp(t, d.runner(t, db, d.embedded(t)))
	begun := time.Now()
	mustExec(t, db, fmt.Sprintf(`INSERT INTO users (email, username, hashed_password, first_name, last_name, refresh_tokens)
		SELECT 'user' || n || '@example.org', 'user' || n, repeat('h', 97), 'First' || n, CASE WHEN n %% 3 = 0 THEN 'Last' || n END,
			jsonb_build_array(repeat('t', 80), repeat('t', 80))
		FROM generate_series(1, %d) n`, rows))
	mustExec(t, db, "VACUUM ANALYZE users")
	t.Logf("%d rows in %v, %s", rows, time.Since(begun).Round(time.Second),
		queryString(t, db, "SELECT pg_size_pretty(pg_total_relation_size('users'))"))

	load := newLoad(d.open(t, url), rows)
	load.phase("nothing else")
	stop := load.start(t)
	wait := time.NewTimer(15 * time.Second)
	<-wait.C
	runner := d.runner(t, db, and(t, d.embedded(t), documentedFiles(t)))
	_, err = runner.Up(t.Context(), migration.UpOptions{Progress: func(s migration.Step) {
		words := strings.Fields(s.SQL)
		load.phase(s.File.Version[:8] + " " + strings.Join(words[:min(9, len(words))], " "))
		if s.Attempt > 1 {
			t.Logf("attempt %d of %s", s.Attempt, s.SQL)
		}
	}})
	load.phase("nothing else, afterwards")
	wait.Reset(15 * time.Second)
	<-wait.C
	stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + load.String())
	if worst := load.worst(); worst > time.Second {
		t.Errorf("an update took %v", worst)
	}
	if err := plan.Verify(t.Context(), runner, withColumns(d.desired(t)), nil); err != nil {
		t.Error(err)
	}
}

const (
	updatesPerSecond = 200
	loadConnections  = 32 // more than can wait at once, if none waits for long
)

// load measures updates while something else happens.
type load struct {
	db   *sql.DB
	rows int

	mu     sync.Mutex
	phases []*loadPhase
}

type loadPhase struct {
	name   string
	begun  time.Time
	took   time.Duration
	waited []time.Duration // of each update that was due in the phase
}

func newLoad(db *sql.DB, rows int) *load {
	db.SetMaxOpenConns(loadConnections)
	db.SetMaxIdleConns(loadConnections)
	return &load{db: db, rows: rows}
}

func (l *load) phase(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if n := len(l.phases); n > 0 {
		if l.phases[n-1].name == name {
			return
		}
		l.phases[n-1].took = now.Sub(l.phases[n-1].begun)
	}
	l.phases = append(l.phases, &loadPhase{name: name, begun: now})
}

// start updates random rows until stop is called, which waits for the last ones. An update that is late does not delay the
// next one, so that a stall is felt by all that fall into it, as it would be by callers.
func (l *load) start(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var updates sync.WaitGroup
	updates.Go(func() {
		for n, begun := 0, time.Now(); ctx.Err() == nil; n++ {
			due := begun.Add(time.Duration(n) * (time.Second / updatesPerSecond))
			timer := time.NewTimer(time.Until(due))
			<-timer.C
			l.mu.Lock()
			phase := l.phases[len(l.phases)-1]
			l.mu.Unlock()
			updates.Go(func() {
				_, err := l.db.ExecContext(t.Context(),
					"UPDATE users SET last_login = now(), version = version + 1, updated_at = now() WHERE username = $1",
					"user"+strconv.Itoa(1+rand.IntN(l.rows)))
				if err != nil {
					t.Error(err)
				}
				l.mu.Lock()
				defer l.mu.Unlock()
				phase.waited = append(phase.waited, time.Since(due))
			})
		}
	})
	return func() {
		cancel()
		updates.Wait()
		l.phase("")
	}
}

func (l *load) worst() (worst time.Duration) {
	for _, p := range l.phases {
		for _, w := range p.waited {
			worst = max(worst, w)
		}
	}
	return worst
}

func (l *load) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%10s %8s %9s %9s %9s\n", "seconds", "updates", "median", "99 %", "longest")
	for _, p := range l.phases {
		if len(p.waited) == 0 {
			continue
		}
		slices.Sort(p.waited)
		at := func(share float64) string {
			return fmt.Sprintf("%.1f ms", float64(p.waited[int(share*float64(len(p.waited)-1))].Microseconds())/1000)
		}
		fmt.Fprintf(&text, "%10.2f %8d %9s %9s %9s  %s\n", p.took.Seconds(), len(p.waited), at(0.5), at(0.99), at(1), p.name)
	}
	return text.String()
}
