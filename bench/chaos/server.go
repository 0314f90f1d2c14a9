//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/lib/pq" // for what breaks a server and looks at it
)

// server is a PostgreSQL server that may be broken.
type server struct {
	t        *trial
	dir      string
	port     int
	url      string
	settings []string
	process  *os.Process
	exited   chan struct{}
}

// installation is where PostgreSQL's programs are, who may run them, and a new cluster that servers are copied from.
type installation struct {
	bin        string
	credential *syscall.Credential // nil where this process's user may
	cluster    string
	password   string // of the user postgres, whom all users of the machine can reach
}

var installed = sync.OnceValues(func() (i installation, err error) {
	if i.bin, err = binaries(); err != nil {
		return i, err
	}
	if os.Geteuid() == 0 { // whom PostgreSQL refuses
		if i.credential, err = unprivileged(); err != nil {
			return i, err
		}
	}
	dir, err := os.MkdirTemp("", "chaos-cluster-*")
	if err != nil {
		return i, err
	}
	if err := i.own(dir); err != nil {
		return i, err
	}
	i.cluster, i.password = filepath.Join(dir, "data"), rand.Text()
	passwordFile := filepath.Join(dir, "password")
	if err := errors.Join(os.WriteFile(passwordFile, []byte(i.password), 0o600), i.own(passwordFile)); err != nil {
		return i, err
	}
	out, err := i.cmd(context.Background(), "initdb", "-D", i.cluster, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256",
		"--pwfile="+passwordFile, "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("initdb: %w %s", err, out)
	}
	return i, err
})

func binaries() (string, error) {
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil { //nolint:noctx // it ends at once
		if dir := strings.TrimSpace(string(out)); exists(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("there is no user postgres or nobody, and PostgreSQL refuses root")
}

func (i installation) own(path string) error {
	if i.credential == nil {
		return nil
	}
	return os.Chown(path, int(i.credential.Uid), int(i.credential.Gid))
}

func (i installation) cmd(ctx context.Context, program string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(program) {
		program = filepath.Join(i.bin, program)
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = "/"
	c.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: i.credential, Setpgid: true} // an interrupt from the terminal is not for it
	return c
}

// removeCluster removes what servers are copied from.
func removeCluster() {
	if i, err := installed(); err == nil {
		_ = os.RemoveAll(filepath.Dir(i.cluster))
	}
}

// given are the ports that a trial has.
var given sync.Map

// freePort returns a port that is free, and that no other trial has.
func freePort() (int, error) {
	for {
		l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // it ends at once
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, err
		}
		if _, taken := given.LoadOrStore(port, true); !taken {
			return port, nil
		}
	}
}

// server starts a new server with settings such as "max_connections=20".
func (t *trial) server(settings ...string) *server {
	i, err := installed()
	t.must(err)
	s := t.newServer(settings)
	out, err := i.cmd(t.ctx, "/bin/cp", "-a", i.cluster, s.data()).CombinedOutput()
	if err != nil {
		t.must(fmt.Errorf("cp: %w %s", err, out))
	}
	s.start()
	return s
}

func (t *trial) newServer(settings []string) *server {
	i, err := installed()
	t.must(err)
	s := &server{t: t, settings: settings}
	s.dir, err = os.MkdirTemp("", "chaos-pg-*") // short, for the path of a socket
	t.must(err)
	t.cleanup(func() { _ = os.RemoveAll(s.dir) })
	t.must(i.own(s.dir))
	s.port, err = freePort()
	t.must(err)
	s.url = fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", i.password, s.port)
	t.cleanup(s.kill)
	return s
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// start starts the server and waits until it takes connections. The memory of one that was killed may be in use for a moment.
func (s *server) start() {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		log := s.launch()
		for s.alive() {
			if err := s.ping(); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log)
			s.t.must(fmt.Errorf("the server does not start: %s", text))
		}
	}
}

func (s *server) launch() string {
	i, err := installed()
	s.t.must(err)
	args := []string{"-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "shared_buffers=32MB", "max_connections=100", "fsync=off", "autovacuum=off", "wal_keep_size=64MB",
		"wal_sender_timeout=5s", "log_checkpoints=off",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	logPath := filepath.Join(s.dir, "log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.t.must(err)
	defer log.Close()
	c := i.cmd(context.Background(), "postgres", args...)
	c.Stdout, c.Stderr = log, log
	s.t.must(c.Start())
	exited := make(chan struct{})
	s.process, s.exited = c.Process, exited
	go func() {
		_ = c.Wait()
		close(exited)
	}()
	return logPath
}

func (s *server) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

func (s *server) ping() error {
	db, err := sql.Open("postgres", s.url)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(s.t.ctx, time.Second)
	defer cancel()
	return db.PingContext(ctx)
}

// db opens a pool on the server, as an administrator.
func (s *server) db() *sql.DB {
	db, err := sql.Open("postgres", s.url)
	s.t.must(err)
	db.SetMaxOpenConns(2)
	s.t.cleanup(func() { _ = db.Close() })
	return db
}

func (s *server) exec(statements ...string) {
	db, err := sql.Open("postgres", s.url)
	s.t.must(err)
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(s.t.ctx, statement); err != nil {
			s.t.must(fmt.Errorf("%s: %w", statement, err))
		}
	}
}

// await waits until a query returns true.
func (s *server) await(query string) {
	db, err := sql.Open("postgres", s.url)
	s.t.must(err)
	defer db.Close()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var holds bool
		err := db.QueryRowContext(s.t.ctx, query).Scan(&holds)
		if holds {
			return
		}
		if time.Now().After(end) {
			s.t.must(fmt.Errorf("waited in vain for %s: %w", query, errors.Join(err, errors.New("false"))))
		}
	}
}

// stop shuts the server down: by SIGINT it ends the connections, by SIGQUIT without a checkpoint.
func (s *server) stop(how syscall.Signal) {
	_ = s.process.Signal(how)
	<-s.exited
}

// kill ends all processes of the server by SIGKILL.
func (s *server) kill() {
	if s.process != nil {
		s.signal(syscall.SIGKILL)
		<-s.exited
	}
}

// freeze stops all processes, as if the machine were gone without a word: connections stay, and nothing is answered.
func (s *server) freeze() { s.signal(syscall.SIGSTOP) }
func (s *server) thaw()   { s.signal(syscall.SIGCONT) }

func (s *server) signal(how syscall.Signal) {
	if !s.alive() {
		return
	}
	_ = s.process.Signal(how)                                       // first, so that it makes no new process
	out, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output() //nolint:noctx // it ends at once
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == strconv.Itoa(s.process.Pid) {
			if pid, err := strconv.Atoi(f[0]); err == nil {
				_ = syscall.Kill(pid, how)
			}
		}
	}
}

// standby starts a standby, whose confirmation the server waits for from then on.
func (s *server) standby() *server {
	i, err := installed()
	s.t.must(err)
	standby := s.t.newServer(s.settings)
	out, err := i.cmd(s.t.ctx, "pg_basebackup", "-D", standby.data(), "-R", "-X", "stream", "--no-sync", "-c", "fast",
		"-d", fmt.Sprintf("host=%s port=%d user=postgres application_name=standby", s.dir, s.port)).CombinedOutput()
	if err != nil {
		s.t.must(fmt.Errorf("pg_basebackup: %w %s", err, out))
	}
	standby.start()
	s.exec("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'", "SELECT pg_reload_conf()")
	s.await("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
	return standby
}

func (s *server) promote() { s.exec("SELECT pg_promote(true, 30)") }

// cutOff ends the streaming to a standby.
func (s *server) cutOff() {
	s.exec("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
}

// hosts is a URL of several servers.
func hosts(urls ...string) string {
	first, rest, _ := strings.Cut(urls[0], "/postgres?")
	for _, address := range urls[1:] {
		if u, err := url.Parse(address); err == nil {
			first += "," + u.Host
		}
	}
	return first + "/postgres?" + rest
}
