package postgrestest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const supervisorVariable = "ACCOUNTS_POSTGRESTEST_SUPERVISOR"

// startTimeout is ample: initdb and the start take about one second on a laptop.
const startTimeout = 2 * time.Minute

func init() {
	if os.Getenv(supervisorVariable) != "" {
		supervise(os.Stdin, os.Stdout)
		os.Exit(0)
	}
}

// request and reply are one line of JSON each, from the test process to its supervisor and back.
type (
	request struct {
		Prefix string // names the databases to drop from the server at URL
		URL    string // of a running server; empty: start one
		BinDir string // with the programs to start it
	}
	reply struct {
		URL   string
		Error string
	}
)

// supervisor is the test process's end of the other process. Its input is never written to again nor closed, and must
// not be collected: it ends when the test process does, and that is what the supervisor waits for.
type supervisor struct {
	input io.WriteCloser
}

func startSupervisor(r request) (*supervisor, string, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(executable)
	// A name of its own, so that killing the test process by name does not kill the one that cleans up after it.
	cmd.Args = []string{"accounts-postgrestest-supervisor"}
	cmd.Env = append(os.Environ(), supervisorVariable+"=1")
	cmd.SysProcAttr = ownSession()
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start the supervisor: %w", err)
	}

	if err := json.NewEncoder(input).Encode(r); err != nil {
		return nil, "", fmt.Errorf("tell the supervisor: %w", err)
	}
	var answer reply
	if err := json.NewDecoder(output).Decode(&answer); err != nil {
		return nil, "", fmt.Errorf("hear from the supervisor: %w", err)
	}
	if answer.Error != "" {
		return nil, "", errors.New(answer.Error)
	}
	return &supervisor{input: input}, answer.URL, nil
}

// supervise provides a server, says so, waits for the end of the input, and clears up.
func supervise(in io.Reader, out io.Writer) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// Without this, answering a test process that is gone would end this one before it has cleared up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		ended <- syscall.SIGHUP
	}()

	var r request
	answer := reply{}
	if err := json.Unmarshal(line, &r); err != nil {
		answer.Error = err.Error()
	} else if r.URL != "" {
		answer.URL = r.URL
		defer dropAll(r.URL, r.Prefix)
	} else {
		address, stop, err := startServer(r.BinDir)
		if err != nil {
			answer.Error = err.Error()
		} else {
			answer.URL = address
			defer stop()
		}
	}
	if err := json.NewEncoder(out).Encode(answer); err != nil || answer.Error != "" {
		return
	}
	<-ended
}

// dropAll drops every database of the server whose name begins with prefix.
func dropAll(address, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := open(address)
	if err != nil {
		return
	}
	defer db.Close()
	var names []string
	if err := db.QueryRowContext(ctx, `SELECT array_agg(datname) FROM pg_database WHERE starts_with(datname, $1)`, prefix).
		Scan(pq.Array(&names)); err != nil {
		return
	}
	for _, name := range names {
		_ = drop(ctx, db, name)
	}
}

func open(address string) (*sql.DB, error) {
	connector, err := pq.NewConnector(address)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// startServer makes a database cluster in a new directory and runs a server on it, which listens on a Unix socket in
// that directory (open to this user only, no password) and on a free port of 127.0.0.1 (with a password, because every
// user of the machine can reach it).
func startServer(binDir string) (address string, stop func(), err error) {
	owner, err := serverUser()
	if err != nil {
		return "", nil, err
	}
	dir, err := makeDir(owner)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()

	password, cached, err := makeCluster(binDir, dir, owner)
	if err != nil {
		return "", nil, err
	}

	// The port is found free and then taken, so that somebody else may be faster.
	for range 3 {
		if address, stop, err = runServer(binDir, dir, password, owner); !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil && cached != "" {
		_ = os.RemoveAll(cached)
		err = fmt.Errorf("%w\nThe prepared cluster %s is removed: the next run makes a new one", err, cached)
	}
	return address, stop, err
}

// makeCluster makes a database cluster in dir, and returns the password of its user postgres: a copy of the one that is cached, since initdb
// takes ten times as much processor time. The first call for an installation of PostgreSQL puts it there, and returns no cached directory.
func makeCluster(binDir, dir string, owner account) (password, cached string, err error) {
	keep, err := cachedCluster(binDir)
	if err == nil {
		if password, err = copyCluster(keep, dir, owner); err == nil {
			return password, keep, nil
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		return "", "", err
	}
	password = randomHex(16)
	if err := initdb(binDir, dir, password, owner); err != nil {
		return "", "", err
	}
	if keep != "" {
		keepCluster(dir, password, keep)
	}
	return password, "", nil
}

// cachedCluster is the directory for the prepared cluster of an installation of PostgreSQL, in the cache of this user. There is none without a home.
func cachedCluster(binDir string) (string, error) {
	parent, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	program, err := os.Stat(filepath.Join(binDir, "postgres"))
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", binDir, program.Size(), program.ModTime().UnixNano()))
	return filepath.Join(parent, "accounts-postgrestest", hex.EncodeToString(key[:8])), nil
}

// copyCluster copies the directory data, and returns the password that is in the file beside it.
func copyCluster(from, to string, owner account) (password string, err error) {
	content, err := os.ReadFile(filepath.Join(from, "password"))
	if err != nil {
		return "", err
	}
	data := filepath.Join(to, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return "", err
	}
	if err := os.CopyFS(data, os.DirFS(filepath.Join(from, "data"))); err != nil {
		return "", err
	}
	return string(content), filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		return cmp.Or(err, owner.own(path))
	})
}

// keepCluster puts a copy of the cluster in dir to where [copyCluster] finds it: whole, or, if that fails or another process is faster, not at all.
func keepCluster(dir, password, cached string) {
	parent := filepath.Dir(cached)
	if os.MkdirAll(parent, 0o700) != nil {
		return
	}
	temporary, err := os.MkdirTemp(parent, "new-*")
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	if os.CopyFS(filepath.Join(temporary, "data"), os.DirFS(filepath.Join(dir, "data"))) == nil &&
		os.WriteFile(filepath.Join(temporary, "password"), []byte(password), 0o600) == nil {
		_ = os.Rename(temporary, cached)
	}
}

func initdb(binDir, dir, password string, owner account) error {
	secret, err := scramSecret(password)
	if err != nil {
		return err
	}
	passwordFile := filepath.Join(dir, "password")
	if err := errors.Join(os.WriteFile(passwordFile, []byte(secret+"\n"), 0o600), owner.own(passwordFile)); err != nil {
		return err
	}
	var out []byte
	// C.UTF-8 sorts by code point and knows the letters of all scripts; not every system has it.
	for _, locale := range []string{"C.UTF-8", "en_US.UTF-8"} {
		cmd := owner.command(filepath.Join(binDir, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres",
			"--locale="+locale, "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256",
			"--pwfile="+passwordFile, "--no-sync")
		cmd.Dir = dir
		if out, err = cmd.CombinedOutput(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("initdb: %w\n%s", err, out)
}

// scramSecret returns what PostgreSQL stores of a password (RFC 5803), with 1000 iterations, the fewest that lib/pq takes: with the
// usual 4096, connecting would be a good part of what tests do.
func scramSecret(password string) (string, error) {
	const iterations = 1000
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	key := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(key("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(key("Server Key"))), nil
}

var errExited = errors.New("it exited")

func runServer(binDir, dir, password string, owner account) (string, func(), error) {
	address, _, stop, err := runServerWith(binDir, dir, password, owner, "synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0", "jit=off")
	return address, stop, err
}

func runServerWith(binDir, dir, password string, owner account, settings ...string) (string, *os.Process, func(), error) {
	port, err := freePort()
	if err != nil {
		return "", nil, nil, err
	}
	logFile := filepath.Join(dir, "log")
	log, err := os.Create(logFile)
	if err != nil {
		return "", nil, nil, err
	}
	defer log.Close()

	arguments := []string{"-D", filepath.Join(dir, "data"), "-k", dir, "-p", strconv.Itoa(port)}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=64MB", "fsync=off", "full_page_writes=off", "autovacuum=off",
	}, settings...) {
		arguments = append(arguments, "-c", setting)
	}
	cmd := owner.command(filepath.Join(binDir, "postgres"), arguments...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", nil, nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown: there is nothing to save
		<-exited
		_ = os.RemoveAll(dir)
	}

	address := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	if err := awaitServer(address.String(), exited); err != nil {
		_ = cmd.Process.Kill()
		<-exited
		messages, _ := os.ReadFile(logFile)
		return "", nil, nil, fmt.Errorf("start postgres: %w\n%s", err, messages)
	}
	return address.String(), cmd.Process, stop, nil
}

// awaitServer returns as soon as the server answers, or has exited.
func awaitServer(address string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	db, err := open(address)
	if err != nil {
		return err
	}
	defer db.Close()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-exited:
			return errExited
		case <-ctx.Done():
			return err
		}
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// makeDir makes the server's directory, in memory if there is room, where its user can reach it and the path of the socket is not too long.
func makeDir(owner account) (string, error) {
	parent := cmp.Or(memoryDir(), os.TempDir())
	const longestSocketPath = 103 // sockaddr_un on macOS; Linux has 107
	socket := filepath.Join(parent, "accounts-postgres-0123456789", ".s.PGSQL.65535")
	if len(socket) > longestSocketPath || owner.foreign() && !openToAll(parent) {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "accounts-postgres-*")
	if err != nil {
		return "", err
	}
	if err := owner.own(dir); err != nil {
		_ = os.Remove(dir)
		return "", err
	}
	return dir, nil
}

// openToAll reports whether every user can pass through dir and the directories above it.
func openToAll(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// environment is this process's without what would steer PostgreSQL's programs.
func environment() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, supervisorVariable) {
			env = append(env, variable)
		}
	}
	return append(env, "LC_ALL=C", "TZ=UTC")
}
