package postgres

import (
	"context"
	"crypto/md5"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// TestUpdatesAreHOT demands that what sign-ins and rotations write needs no new entry in any index, nor a vacuum to give back
// its place. It runs alone in this process, and the best of three loads counts: a statement that waits for its turn on a busy
// machine keeps old versions in their pages, and so takes the place of new ones.
func TestUpdatesAreHOT(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	best := 0.0
	for range 3 {
		address := migrated(t)
		db := open(t, address)
		fill(t, db, 800)
		outcome := mixedLoad(t, address, db, 800, 4_000)
		t.Log(outcome)
		if best = max(best, outcome.hot); best >= 0.9 {
			return
		}
	}
	t.Errorf("%.1f %% of the updates are HOT; want 90 or more", 100*best)
}

// BenchmarkFillFactor shows what the fill factor does to HOT updates, size and throughput.
func BenchmarkFillFactor(b *testing.B) {
	for _, factor := range []int{100, 95, 90, 85, 80, 70} {
		b.Run(fmt.Sprint(factor), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				address := migrated(b)
				db := open(b, address)
				mustExec(b, db, fmt.Sprintf("ALTER TABLE users SET (fillfactor = %d)", factor))
				fill(b, db, 20_000)
				b.StartTimer()
				outcome := mixedLoad(b, address, db, 20_000, 60_000)
				b.ReportMetric(100*outcome.hot, "%HOT")
				b.ReportMetric(outcome.before, "MB-before")
				b.ReportMetric(outcome.after, "MB-after")
				b.ReportMetric(outcome.indexes, "MB-indexes")
				b.ReportMetric(outcome.rate, "ops/s")
			}
		})
	}
}

// BenchmarkVacuum shows what it does to size and throughput how soon the table is vacuumed: when the dead rows are a share of the
// live ones, which is autovacuum's scale factor. It vacuums by itself, since autovacuum looks once a minute.
func BenchmarkVacuum(b *testing.B) {
	const accounts, operations = 20_000, 240_000
	for _, share := range []float64{0, 0.2, 0.05, 0.02} {
		b.Run(fmt.Sprint(share), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				address := migrated(b)
				db := open(b, address)
				fill(b, db, accounts)
				ctx, stop := context.WithCancel(b.Context())
				vacuums := make(chan int)
				go func() { vacuums <- vacuum(ctx, b, address, int(share*accounts)) }()
				b.StartTimer()
				outcome := mixedLoad(b, address, db, accounts, operations)
				stop()
				b.ReportMetric(float64(<-vacuums), "vacuums")
				b.ReportMetric(100*outcome.hot, "%HOT")
				b.ReportMetric(outcome.before, "MB-before")
				b.ReportMetric(outcome.after, "MB-after")
				b.ReportMetric(outcome.indexes, "MB-indexes")
				b.ReportMetric(outcome.rate, "ops/s")
			}
		})
	}
}

// vacuum vacuums each time that there are enough dead rows, until ctx ends, and returns how often; never if enough is 0.
func vacuum(ctx context.Context, b *testing.B, address string, enough int) (n int) {
	db := open(b, address+"&application_name=vacuum")
	for {
		select {
		case <-ctx.Done():
			return n
		case <-time.After(100 * time.Millisecond):
		}
		var dead int
		if err := db.QueryRow("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'users'").Scan(&dead); err != nil {
			b.Error(err)
			return n
		}
		if enough > 0 && dead >= enough {
			if _, err := db.Exec("VACUUM users"); err != nil {
				b.Error(err)
				return n
			}
			n++
		}
	}
}

type loadOutcome struct {
	hot           float64 // share of the updates
	before, after float64 // MB of the table, without indexes
	indexes       float64
	rate          float64 // operations per second
}

// mixedLoad works on the first n accounts of a table that fill has filled: of its operations 70 % are rotations, 12 % sign-ins
// with a new session, 10 % failed ones, 6 % ended sessions and 2 % new accounts.
func mixedLoad(t testing.TB, address string, db *sql.DB, n, operations int) loadOutcome {
	t.Helper()
	size := func(function string) float64 {
		var bytes float64
		if err := db.QueryRow("SELECT " + function).Scan(&bytes); err != nil {
			t.Fatal(err)
		}
		return bytes / 1e6
	}
	mustExec(t, db, "SELECT pg_stat_reset()")
	outcome := loadOutcome{before: size("pg_relation_size('users')")}
	store, err := Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}

	const workers = 8
	start := time.Now()
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			l := load{store: store, random: rand.New(rand.NewPCG(1, uint64(worker))), users: n}
			for range operations / workers {
				if err := l.next(t); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	outcome.rate = float64(operations) / time.Since(start).Seconds()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	// The server counts what a session did when that ends, which it does some time after it was closed; PostgreSQL 14 counts in another process.
	var updated, hot float64
	counted := func() bool { return updated >= float64(operations)*0.9 }
	for deadline := time.Now().Add(10 * time.Second); !counted() && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if sessions := queryInt(t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "+
			"AND backend_type = 'client backend' AND application_name <> 'vacuum'"); sessions > 0 {
			continue
		}
		if err := db.QueryRow("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'users'").Scan(&updated, &hot); err != nil {
			t.Fatal(err)
		}
	}
	if !counted() {
		t.Fatalf("%.0f updates were counted, of %d operations", updated, operations)
	}
	outcome.hot = hot / updated
	outcome.after, outcome.indexes = size("pg_relation_size('users')"), size("pg_indexes_size('users')")
	return outcome
}

// load is one worker's.
type load struct {
	store  *infra.Store
	random *rand.Rand
	users  int
	grants []domain.Grant
}

func (l *load) next(t testing.TB) error {
	ctx, dice := t.Context(), l.random.IntN(100)
	id := filledID(1 + l.random.IntN(l.users))
	switch {
	case dice < 2:
		return l.store.Create(ctx, newUser(t))
	case dice < 12:
		_, err := l.store.RecordFailure(ctx, id, domain.LockPolicy{Attempts: 100})
		return err
	case dice < 24 || len(l.grants) == 0:
		_, err := l.store.RecordSuccess(ctx, id, passwordHash(t, "a"), domain.PasswordHash{})
		grant, issueErr := l.store.IssueToken(ctx, id, domain.SessionPolicy{})
		if issueErr == nil {
			l.grants = append(l.grants, grant)
		}
		return errors.Join(err, issueErr)
	}
	at := l.random.IntN(len(l.grants))
	grant := l.grants[at]
	if dice < 30 {
		l.grants[at] = l.grants[len(l.grants)-1]
		l.grants = l.grants[:len(l.grants)-1]
		_, err := l.store.RevokeSession(ctx, grant.UserID, grant.Session.ID)
		return err
	}
	next, err := l.store.RotateToken(ctx, grant.Token, domain.SessionPolicy{})
	if errors.Is(err, domain.ErrTokenInvalid) { // its session was the oldest of more than twenty
		l.grants = append(l.grants[:at], l.grants[at+1:]...)
		return nil
	}
	l.grants[at] = next
	return err
}

// TestSessionsNeedNoTOAST demands that a row with the default number of sessions, each just rotated, is read and written in
// one piece.
func TestSessionsNeedNoTOAST(t *testing.T) {
	t.Parallel()
	address := migrated(t)
	store, err := Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	db := open(t, address)
	u := newUser(t)
	if err := store.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	var grants []domain.Grant
	for range domain.DefaultSessionCap {
		grant, err := store.IssueToken(t.Context(), u.ID(), domain.SessionPolicy{Label: strings.Repeat("x", 40)})
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, grant)
	}
	stored := func(state string) {
		t.Helper()
		var json, list, row, toast int
		if err := db.QueryRow(`SELECT octet_length(refresh_tokens::text), pg_column_size(refresh_tokens), pg_column_size(u),
				pg_relation_size((SELECT reltoastrelid FROM pg_class WHERE oid = 'users'::regclass)) FROM users u`).
			Scan(&json, &list, &row, &toast); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes of JSON, stored in %d; the row takes %d", state, json, list, row)
		if toast != 0 {
			t.Errorf("%s: %d bytes in TOAST", state, toast)
		}
		if list < json {
			t.Errorf("%s: the list is compressed, which costs time at every rotation", state)
		}
	}
	stored("20 sessions")
	for _, grant := range grants {
		if _, err := store.RotateToken(t.Context(), grant.Token, domain.SessionPolicy{}); err != nil {
			t.Fatal(err)
		}
	}
	stored("20 sessions, each just rotated")
}

// filledID is the ID of the i-th account that fill has stored.
func filledID(i int) domain.ID { return domain.IDFromUUID(md5.Sum([]byte(strconv.Itoa(i)))) }
