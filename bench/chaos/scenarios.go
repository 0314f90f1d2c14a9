//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // for what locks a file
)

// scenario is one thing that goes wrong, under load.
type scenario struct {
	name     string
	drivers  string        // by which stores it runs
	short    string        // by which of them in continuous integration
	defect   bool          // the ledger must find something
	recovers time.Duration // bound of the recovery; 3 s unless it says otherwise
	run      func(t *trial)
}

const bothDrivers = "pq pgx"

func all() []scenario {
	return []scenario{
		{name: "nothing", drivers: "pq pgx sqlite", run: nothing},

		// The ledger sees what it must see.
		{name: "a store that repeats what may have been done", drivers: bothDrivers, short: "pq", defect: true, run: mutant},
		{name: "a server that acknowledges before it writes", drivers: bothDrivers, short: "pgx", defect: true, run: asynchronous},

		// One server.
		{name: "server killed and started again, 3 times", drivers: bothDrivers, short: "pq", run: each(3, func(s *server) { s.kill(); s.start() })},
		{name: "server restarted, 3 times", drivers: bothDrivers, run: each(3, func(s *server) { s.stop(syscall.SIGINT); s.start() })},
		{name: "server restarted without a checkpoint, 3 times", drivers: bothDrivers, run: each(3, func(s *server) { s.stop(syscall.SIGQUIT); s.start() })},
		{name: "a process of the server killed, 3 times", drivers: bothDrivers, run: each(3, killBackend)},
		{name: "sessions terminated, 20 a second", drivers: bothDrivers, short: "pgx", run: storm("pg_terminate_backend")},
		{name: "statements cancelled, 100 a second", drivers: bothDrivers, run: storm("pg_cancel_backend")},
		{name: "server frozen for 4 s, twice", drivers: bothDrivers, run: each(2, func(s *server) { s.freeze(); s.t.wait(4 * time.Second); s.thaw() })},
		{name: "server has no connection left for 3 s, twice", drivers: bothDrivers, run: full},
		{name: "table locked for 3 s, twice", drivers: bothDrivers, run: each(2, lockTable)},
		{name: "serializable transactions on 4 accounts", drivers: bothDrivers, run: serializable},
		{name: "contexts that end at any time within 40 ms", drivers: bothDrivers, run: anyTime},
		{name: "2,000 callers and 10 connections", drivers: bothDrivers, run: crowd},

		// The network.
		{name: "network silent for 3 s, twice", drivers: bothDrivers, short: "pq", run: network(2, func(t *trial, p *proxy) { t.during(3*time.Second, &p.silent) })},
		{name: "all connections silent for ever, and new ones for 3 s, twice", drivers: bothDrivers, run: network(2, func(t *trial, p *proxy) {
			p.deaden()
			t.during(3*time.Second, &p.mute)
		})},
		{name: "new connections silent for ever, for 3 s, twice", drivers: bothDrivers, run: network(2, func(t *trial, p *proxy) {
			p.reset()
			t.during(3*time.Second, &p.mute)
		})},
		{name: "new connections silent once the session has begun, for 3 s, twice", drivers: bothDrivers, run: network(2, func(t *trial, p *proxy) {
			p.greeting.Store(true)
			p.reset()
			t.wait(3 * time.Second)
			p.greeting.Store(false)
		})},
		{name: "connections refused for 2 s, twice", drivers: bothDrivers, run: network(2, func(t *trial, p *proxy) {
			p.refusing.Store(true)
			p.reset()
			t.wait(2 * time.Second)
			p.refusing.Store(false)
		})},
		{name: "replies lost, 2 of 100", drivers: bothDrivers, short: bothDrivers, run: network(1, func(t *trial, p *proxy) { t.rate(20, &p.lose) })},
		{name: "requests cut in two, 2 of 100", drivers: bothDrivers, run: network(1, func(t *trial, p *proxy) { t.rate(20, &p.halve) })},
		{name: "replies cut in two, 2 of 100", drivers: bothDrivers, run: network(1, func(t *trial, p *proxy) { t.rate(20, &p.truncate) })},
		{name: "network slow, up to 60 ms each way", drivers: bothDrivers, run: network(1, func(t *trial, p *proxy) {
			t.rate(int64(60*time.Millisecond), &p.delay)
		})},

		// A primary, and a standby that is promoted.
		{name: "primary killed, 10 connections", drivers: bothDrivers, short: "pq", run: failover(10, func(f *pair) { f.primary.kill() })},
		{name: "primary killed, 32 connections", drivers: bothDrivers, run: failover(32, func(f *pair) { f.primary.kill() })},
		{name: "primary frozen, 10 connections", drivers: bothDrivers, short: "pgx", run: failover(10, func(f *pair) { f.primary.freeze() })},
		{name: "primary frozen, 32 connections", drivers: bothDrivers, run: failover(32, func(f *pair) { f.primary.freeze() })},
		{name: "primary demoted, 10 connections", drivers: bothDrivers, run: failover(10, demote)},
		{name: "primary demoted, 32 connections", drivers: bothDrivers, short: "pgx", run: failover(32, demote)},
		{name: "primary partitioned, 10 connections", drivers: bothDrivers, run: failover(10, partition)},
		{name: "primary partitioned, 32 connections", drivers: bothDrivers, run: failover(32, partition)},
		{name: "standby cut off for 3 s, then failover", drivers: bothDrivers, short: "pq", run: failover(10, func(f *pair) {
			f.standby.cutOff()
			f.primary.t.wait(3 * time.Second)
			f.primary.kill()
		})},
		{name: "standby cut off, waits cancelled, then failover", drivers: bothDrivers, run: failover(10, cancelWaits)},

		// Two replicas that answer reads.
		{name: "a store that reads from replicas without care", drivers: bothDrivers, defect: true, run: func(t *trial) {
			t.job.Careless = true
			replicated(pauseReplay)(t)
		}},
		{name: "a replica replays nothing for 3 s, twice", drivers: bothDrivers, short: "pq", run: replicated(pauseReplay)},
		{name: "a replica killed and started again, twice", drivers: bothDrivers, run: replicated(func(s *server) { s.kill(); s.start() })},
		{name: "a replica frozen for 3 s, twice", drivers: bothDrivers, run: replicated(func(s *server) { s.freeze(); s.t.wait(3 * time.Second); s.thaw() })},
		{name: "primary killed, a replica promoted", drivers: bothDrivers, run: promoteReplica},

		// PgBouncer.
		{name: "PgBouncer killed and started again, 3 times", drivers: bothDrivers, run: pooled(3, func(b *bouncer) { b.kill(); b.start() })},
		{name: "PgBouncer paused for 3 s, twice", drivers: bothDrivers, run: pooled(2, func(b *bouncer) {
			b.admin("PAUSE")
			b.t.wait(3 * time.Second)
			b.admin("RESUME")
		})},
		{name: "server behind PgBouncer restarted, twice", drivers: bothDrivers, run: pooled(2, func(b *bouncer) { b.server.stop(syscall.SIGINT); b.server.start() })},

		// SQLite.
		{name: "8 processes, one killed each half second, 20 times", drivers: "sqlite", short: "sqlite", run: processes},
		{name: "file locked for 3 s, twice", drivers: "sqlite", run: lockFile},
		{name: "disk of 12 MB full for 2 s, twice", drivers: "sqlite", short: "sqlite", recovers: 100 * time.Millisecond, run: fullDisk("12m")},
		{name: "disk of 3 MB full for 2 s, twice", drivers: "sqlite", recovers: 100 * time.Millisecond, run: fullDisk("3m")},
		{name: "contexts that end at any time within 40 ms", drivers: "sqlite", run: func(t *trial) {
			t.job.AnyTime, t.job.Timeout = true, 40*time.Millisecond
			t.load(t.path("accounts.db"))
			t.wait(8 * time.Second)
		}},
	}
}

func nothing(t *trial) {
	address := t.path("accounts.db")
	if t.driver != "sqlite" {
		address = t.server().url
	}
	t.load(address)
	t.wait(6 * time.Second)
}

// each breaks one server a number of times.
func each(times int, breaks func(*server)) func(*trial) {
	return func(t *trial) {
		s := t.server()
		t.load(s.url)
		for range times {
			t.wait(2 * time.Second)
			t.fault(func() { breaks(s) })
		}
		t.wait(4 * time.Second)
	}
}

// network is each for the network before a server.
func network(times int, breaks func(*trial, *proxy)) func(*trial) {
	return func(t *trial) {
		p := t.proxy(t.server().url)
		t.load(p.url)
		for range times {
			t.wait(2 * time.Second)
			t.fault(func() { breaks(t, p) })
		}
		t.wait(4 * time.Second)
	}
}

// rate sets a number for a while.
func (t *trial) rate(n int64, set interface{ Store(int64) }) {
	set.Store(n)
	t.wait(6 * time.Second)
	set.Store(0)
}

func mutant(t *trial) {
	t.job.Repeat = true
	network(1, func(t *trial, p *proxy) { t.rate(50, &p.lose) })(t)
}

func asynchronous(t *trial) {
	s := t.server("synchronous_commit=off", "wal_writer_delay=10s")
	t.load(s.url)
	for range 2 {
		t.wait(2 * time.Second)
		t.fault(func() { s.kill(); s.start() })
	}
	t.wait(time.Second)
}

// workersOf is the condition for the sessions of the workers in pg_stat_activity.
const workersOf = "backend_type = 'client backend' AND pid <> pg_backend_pid() AND query LIKE '%users%'"

// killBackend kills one process, whereupon the server ends all and recovers.
func killBackend(s *server) {
	var pid int
	db := s.db()
	s.t.must(db.QueryRowContext(s.t.ctx, "SELECT pid FROM pg_stat_activity WHERE "+workersOf+" ORDER BY random() LIMIT 1").Scan(&pid))
	s.t.must(db.Close())
	_ = syscall.Kill(pid, syscall.SIGKILL)
	time.Sleep(50 * time.Millisecond)
	s.await("SELECT true")
}

// storm calls a function of PostgreSQL on sessions of the workers.
func storm(function string) func(*trial) {
	return func(t *trial) {
		s := t.server()
		db := s.db()
		t.load(s.url)
		t.wait(time.Second)
		t.fault(func() { t.must(attack(t, db, function, 6*time.Second)) })
		t.wait(4 * time.Second)
	}
}

func attack(t *trial, db *sql.DB, function string, d time.Duration) error {
	condition, pause := workersOf, 50*time.Millisecond
	if function == "pg_cancel_backend" {
		condition, pause = condition+" AND state = 'active'", 10*time.Millisecond
	}
	hit := 0
	for end := time.Now().Add(d); time.Now().Before(end); t.wait(pause) {
		var n int
		if err := db.QueryRowContext(t.ctx, "SELECT count("+function+"(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE "+condition+
			" ORDER BY random() LIMIT 1) AS picked").Scan(&n); err != nil {
			return err
		}
		hit += n
	}
	t.note("%s: %d", function, hit)
	return nil
}

// full takes all connections of the server but those of superusers.
func full(t *trial) {
	s := t.server("max_connections=24", "superuser_reserved_connections=3")
	s.exec("CREATE ROLE app LOGIN PASSWORD 'app'", "GRANT ALL ON SCHEMA public TO app", "GRANT CREATE ON DATABASE postgres TO app")
	app := strings.Replace(s.url, s.url[len("postgres://"):strings.Index(s.url, "@")], "app:app", 1)
	t.load(app)
	for range 2 {
		t.wait(2 * time.Second)
		t.fault(func() {
			db, err := sql.Open("postgres", app)
			t.must(err)
			defer db.Close()
			s.exec("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'")
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end); t.wait(5 * time.Millisecond) {
				if conn, err := db.Conn(t.ctx); err == nil {
					defer conn.Close()
				}
			}
		})
	}
	t.wait(4 * time.Second)
}

func lockTable(s *server) {
	db := s.db()
	defer db.Close()
	tx, err := db.BeginTx(s.t.ctx, nil)
	s.t.must(err)
	_, err = tx.ExecContext(s.t.ctx, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
	s.t.must(err)
	s.t.wait(3 * time.Second)
	s.t.must(tx.Rollback())
}

func serializable(t *trial) {
	s := t.server("default_transaction_isolation=serializable")
	t.load(s.url)
	t.wait(8 * time.Second)
}

func anyTime(t *trial) {
	t.job.AnyTime, t.job.Timeout = true, 40*time.Millisecond
	t.load(t.server().url)
	t.wait(8 * time.Second)
}

func crowd(t *trial) {
	t.job.Workers = 2000
	t.load(t.server().url)
	t.wait(8 * time.Second)
}

// pair is a primary and its standby, and the network before the primary.
type pair struct {
	primary, standby *server
	way              *proxy
}

// failover breaks the primary and promotes the standby, both of which the store knows.
func failover(connections int, breaks func(*pair)) func(*trial) {
	return func(t *trial) {
		primary := t.server()
		f := &pair{primary, primary.standby(), t.proxy(primary.url)}
		t.job.Pool, t.job.Workers = connections, connections
		t.load(hosts(f.way.url, f.standby.url))
		t.wait(2 * time.Second)
		t.fault(func() {
			breaks(f)
			f.standby.promote()
		})
		t.wait(6 * time.Second)
		t.check = f.standby.url
	}
}

// demote makes the primary read-only, as a cluster's manager does that does not stop it.
func demote(f *pair) {
	f.primary.exec("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
}

// partition takes the primary's network away.
func partition(f *pair) {
	f.way.silent.Store(true)
	f.standby.cutOff()
}

// cancelWaits ends the waits for the standby, as an administrator may: the changes are made, and no standby has them.
func cancelWaits(f *pair) {
	t := f.primary.t
	f.standby.cutOff()
	db := f.primary.db()
	n := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); t.wait(20 * time.Millisecond) {
		var some int
		t.must(db.QueryRowContext(t.ctx, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&some))
		n += some
	}
	t.note("%d waits were cancelled", n)
	f.primary.kill()
}

// replicas starts a primary with two replicas, from which the store reads. Most calls are reads: where there is a change at every moment, few get to a replica.
func (t *trial) replicas() (primary, one, two *server) {
	primary = t.server()
	one, two = primary.standby(), primary.standby()
	t.job.Finds, t.job.Replicas = 95, []string{one.url, two.url}
	return primary, one, two
}

// replicated breaks a replica twice.
func replicated(breaks func(*server)) func(*trial) {
	return func(t *trial) {
		primary, one, _ := t.replicas()
		primary.exec("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()") // changes do not wait for a replica
		t.load(primary.url)
		for range 2 {
			t.wait(2 * time.Second)
			t.fault(func() { breaks(one) })
		}
		t.wait(4 * time.Second)
	}
}

func pauseReplay(replica *server) {
	replica.exec("SELECT pg_wal_replay_pause()")
	replica.t.wait(3 * time.Second)
	replica.exec("SELECT pg_wal_replay_resume()")
}

// promoteReplica has one replica take the place of the primary, while the other one goes on along the old log.
func promoteReplica(t *trial) {
	primary, one, _ := t.replicas()
	primary.exec("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 2 (*)'", "SELECT pg_reload_conf()")
	primary.await("SELECT count(*) = 2 FROM pg_stat_replication WHERE sync_state = 'sync'")
	t.load(hosts(primary.url, one.url))
	t.wait(2 * time.Second)
	t.fault(func() {
		primary.kill()
		one.promote()
	})
	t.wait(6 * time.Second)
	t.check = one.url
}

// bouncer is a PgBouncer in transaction mode before a server.
type bouncer struct {
	t       *trial
	server  *server
	program string
	port    int
	cmd     *exec.Cmd
	exited  chan struct{}
}

func pooled(times int, breaks func(*bouncer)) func(*trial) {
	return func(t *trial) {
		b := t.bouncer()
		// Without max_prepared_statements, which PgBouncer has since 1.21.
		without := map[string]string{"pq": "&statement_cache=0", "pgx": "&default_query_exec_mode=exec"}[t.driver]
		t.load(b.url("postgres") + without)
		t.check = b.server.url
		for range times {
			t.wait(2 * time.Second)
			t.fault(func() { breaks(b) })
		}
		t.wait(5 * time.Second)
	}
}

func (t *trial) bouncer() *bouncer {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // where Debian puts it
	}
	if !exists(program) {
		t.skip("PgBouncer is not installed")
	}
	b := &bouncer{t: t, server: t.server(), program: program}
	b.port, err = freePort()
	t.must(err)
	i, err := installed()
	t.must(err)
	config := fmt.Sprintf("[databases]\npostgres = host=127.0.0.1 port=%d user=postgres password=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
		"unix_socket_dir =\nauth_type = any\nadmin_users = postgres\npool_mode = transaction\ndefault_pool_size = 10\nmax_client_conn = 200\nserver_login_retry = 1\n",
		b.server.port, i.password, b.port)
	path := b.server.dir + "/pgbouncer.ini"
	t.must(os.WriteFile(path, []byte(config), 0o600))
	t.must(i.own(path))
	t.cleanup(b.kill)
	b.start()
	return b
}

func (b *bouncer) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", b.port, database)
}

func (b *bouncer) start() {
	i, err := installed()
	b.t.must(err)
	b.cmd = i.cmd(context.Background(), b.program, "-q", b.server.dir+"/pgbouncer.ini")
	var log bytes.Buffer
	b.cmd.Stdout, b.cmd.Stderr = &log, &log
	b.t.must(b.cmd.Start())
	exited := make(chan struct{})
	b.exited = exited
	go func() {
		_ = b.cmd.Wait()
		close(exited)
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		db, err := sql.Open("postgres", b.url("postgres"))
		b.t.must(err)
		err = db.PingContext(b.t.ctx)
		_ = db.Close()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.t.must(fmt.Errorf("PgBouncer does not answer: %w", err))
		}
	}
}

func (b *bouncer) kill() {
	if b.cmd != nil {
		_ = b.cmd.Process.Kill()
		<-b.exited
	}
}

func (b *bouncer) admin(command string) {
	db, err := sql.Open("postgres", b.url("pgbouncer"))
	b.t.must(err)
	defer db.Close()
	_, err = db.ExecContext(b.t.ctx, command)
	b.t.must(err)
}

// processes kills one of 8 processes that share a file, and starts another in its place.
func processes(t *trial) {
	t.job.Workers, t.job.Timeout = 2, 12*time.Second // a statement waits up to 10 s for the others
	t.load(t.path("accounts.db"))
	for range 7 {
		t.start()
	}
	t.wait(time.Second)
	for range 20 {
		t.wait(500 * time.Millisecond)
		for number := range t.processes { // any
			t.fault(func() { t.kill(number) })
			break
		}
		t.start()
	}
	t.wait(2 * time.Second)
}

// lockFile has another connection hold the lock of writers.
func lockFile(t *trial) {
	path := t.path("accounts.db")
	t.load(path)
	for range 2 {
		t.wait(2 * time.Second)
		t.fault(func() {
			db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(10000)")
			t.must(err)
			defer db.Close()
			tx, err := db.BeginTx(t.ctx, nil)
			t.must(err)
			t.wait(3 * time.Second)
			t.must(tx.Rollback())
		})
	}
	t.wait(4 * time.Second)
}

// fullDisk fills the file system on which the database is. On a small one the write-ahead log alone would fill it, if nothing was done about that.
func fullDisk(size string) func(*trial) {
	return func(t *trial) {
		dir := t.path("disk")
		t.must(os.Mkdir(dir, 0o700))
		if out, err := t.cmd("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
			t.skip("a disk that fills up takes root: " + strings.TrimSpace(string(out)))
		}
		t.cleanup(func() {
			_ = exec.Command("umount", dir).Run() //nolint:gosec,noctx // it ends at once
		})
		t.job.Workers, t.job.NoNew = 4, true // accounts, which would fill it for good
		t.load(dir + "/accounts.db")
		for range 2 {
			t.wait(2 * time.Second)
			t.fault(func() {
				fill, err := os.Create(dir + "/fill")
				t.must(err)
				block := make([]byte, 4096)
				for err == nil {
					_, err = fill.Write(block)
				}
				t.wait(2 * time.Second)
				t.must(fill.Close())
				t.must(os.Remove(fill.Name()))
			})
		}
		t.wait(2 * time.Second)
	}
}

// soak breaks one server at random for a long time, and looks whether memory stays as it is.
func soak(t *trial, length, every time.Duration) {
	s := t.server()
	p := t.proxy(s.url)
	db := s.db()
	faults := []struct {
		name   string
		breaks func()
	}{
		{"killed", func() { s.kill(); s.start() }},
		{"restarted", func() { s.stop(syscall.SIGINT); s.start() }},
		{"frozen", func() { s.freeze(); t.wait(2 * time.Second); s.thaw() }},
		{"terminated", func() { _ = attack(t, db, "pg_terminate_backend", time.Second) }},
		{"cancelled", func() { _ = attack(t, db, "pg_cancel_backend", time.Second) }},
		{"silent", func() { t.during(2*time.Second, &p.silent) }},
		{"dead", func() { p.deaden(); t.during(2*time.Second, &p.mute) }},
		{"reset", p.reset},
		{"losing", func() { p.lose.Store(50); t.wait(2 * time.Second); p.lose.Store(0) }},
		{"truncating", func() { p.truncate.Store(50); t.wait(2 * time.Second); p.truncate.Store(0) }},
	}
	t.job.Think = 30 * time.Millisecond
	t.load(p.url)
	for end := time.Now().Add(length); time.Now().Before(end); {
		f := faults[rand.IntN(len(faults))]
		t.wait(every)
		t.fault(f.breaks)
		t.notes = t.notes[:0] // of the attacks
	}
	t.wait(every)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flat()
}

// flat compares the memory at the beginning and at the end of a soak. Whatever the size of a pool and its caches, the one is not above the other by half.
func (t *trial) flat() {
	n := len(t.memory)
	if n < 8 {
		t.note("too short to compare memory")
		return
	}
	mean := func(some []memory) (heap, goroutines float64) {
		for _, m := range some {
			heap += float64(m.Heap) / float64(len(some)) / (1 << 20)
			goroutines += float64(m.Goroutines) / float64(len(some))
		}
		return heap, goroutines
	}
	t.note("minute   heap in MB   goroutines")
	for i := 0; i+n/8 <= n; i += n / 8 {
		heap, goroutines := mean(t.memory[i : i+n/8])
		t.note("%6.1f %12.2f %12.1f", float64(i)/6, heap, goroutines)
	}
	heap, goroutines := mean(t.memory[n/8 : n/4])
	heapEnd, goroutinesEnd := mean(t.memory[n-n/8:])
	if heapEnd > heap*1.5+1 || goroutinesEnd > goroutines*1.5+5 {
		t.problem("the heap grew from %.1f MB to %.1f MB, goroutines from %.0f to %.0f", heap, heapEnd, goroutines, goroutinesEnd)
	}
}
