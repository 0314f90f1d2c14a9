//go:build unix

package postgrestest

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Cluster is a server of the test's own, or a standby of one, which it may break. It is not the one of ACCOUNTS_TEST_POSTGRES.
type Cluster struct {
	URL      string
	binDir   string
	dir      string
	password string
	owner    account
	postgres *os.Process
}

// NewCluster starts a server with settings such as "max_connections=10", which commits synchronously, for as long as the test runs.
func NewCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c := &Cluster{binDir: BinDir(t, "initdb", "postgres", "pg_basebackup"), password: randomHex(16)}
	c.makeDir(t)
	if err := initdb(c.binDir, c.dir, c.password, c.owner); err != nil {
		t.Fatal(err)
	}
	c.run(t, settings)
	return c
}

// Standby starts a standby that streams from the server, with the name "standby".
func (c *Cluster) Standby(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	s := &Cluster{binDir: c.binDir, password: c.password}
	s.makeDir(t)
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	backup := c.owner.command(filepath.Join(c.binDir, "pg_basebackup"), "-D", filepath.Join(s.dir, "data"), "-R", "-X", "stream", "--no-sync",
		"-c", "fast", "-d", fmt.Sprintf("host=%s port=%s user=postgres application_name=standby", c.dir, u.Port()))
	backup.Dir = s.dir
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.run(t, settings)
	return s
}

// Restart starts the server again after [Cluster.Kill]; URL has another port then.
func (c *Cluster) Restart(t testing.TB, settings ...string) {
	t.Helper()
	time.Sleep(100 * time.Millisecond) // until the memory of the old one is free
	c.run(t, settings)
}

func (c *Cluster) makeDir(t testing.TB) {
	t.Helper()
	var err error
	if c.owner, err = serverUser(); err != nil {
		t.Fatal(err)
	}
	if c.dir, err = makeDir(c.owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(c.dir) })
}

func (c *Cluster) run(t testing.TB, settings []string) {
	t.Helper()
	address, process, stop, err := runServerWith(c.binDir, c.dir, c.password, c.owner, settings...)
	if err != nil {
		t.Fatal(err)
	}
	c.URL, c.postgres = address, process
	t.Cleanup(func() {
		c.signal(syscall.SIGCONT)
		stop()
	})
}

// Exec executes statements on a connection of its own, as an administrator.
func (c *Cluster) Exec(t testing.TB, statements ...string) {
	t.Helper()
	db, err := open(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// DB opens a pool on the server.
func (c *Cluster) DB(t testing.TB) *sql.DB {
	t.Helper()
	db, err := open(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Freeze stops all processes of the server, as if its machine were gone without a word: connections stay, and nothing is answered.
func (c *Cluster) Freeze() { c.signal(syscall.SIGSTOP) }

// Thaw lets them go on.
func (c *Cluster) Thaw() { c.signal(syscall.SIGCONT) }

// Kill ends the server by SIGKILL.
func (c *Cluster) Kill() { c.signal(syscall.SIGKILL) }

// Promote makes a standby the primary.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.Exec(t, "SELECT pg_promote(true, 30)")
}

// signal reaches the postmaster and its children.
func (c *Cluster) signal(s syscall.Signal) {
	_ = c.postgres.Signal(s)
	for pid, stat := range c.processes() {
		if stat[parent] == strconv.Itoa(c.postgres.Pid) {
			_ = syscall.Kill(pid, s)
		}
	}
}

// CPU returns the time of processors that the server has taken, to 10 ms.
func (c *Cluster) CPU() time.Duration {
	ticks := 0
	for pid, stat := range c.processes() {
		times := stat[userTime : userTime+2]
		if pid == c.postgres.Pid { // which has the times of those that have ended, too
			times = stat[userTime : userTime+4]
		}
		for _, one := range times {
			n, _ := strconv.Atoi(one)
			ticks += n
		}
	}
	const ofATick = 10 * time.Millisecond // on all architectures, man 5 proc_pid_stat
	return time.Duration(ticks) * ofATick
}

// Fields of /proc/PID/stat, from the third on (man 5 proc_pid_stat).
const (
	parent   = 4 - 3
	userTime = 14 - 3 // with the system's, and those of children that have ended, behind it
)

// processes returns what /proc says of the postmaster and its children.
func (c *Cluster) processes() map[int][]string {
	found := make(map[int][]string)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		after := string(text)
		fields := strings.Fields(after[strings.LastIndex(after, ")")+1:])
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && len(fields) > userTime+4 && (pid == c.postgres.Pid || fields[parent] == strconv.Itoa(c.postgres.Pid)) {
			found[pid] = fields
		}
	}
	return found
}

// Await waits until a condition holds, for half a minute.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
