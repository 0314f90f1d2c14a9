//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/softbee/accounts/domain"
)

// The bounds, before patience.
const (
	maxBeyond   = 2 * time.Second // that a call may take beyond its context
	maxRecovery = 3 * time.Second // after the end of a fault
	maxHanging  = 20 * time.Second
)

// trial is one scenario with one driver.
type trial struct {
	scenario
	settings settings
	driver   string
	ctx      context.Context
	dir      string
	job      job
	ledger   *ledger
	begun    time.Time

	faults    []span
	cleanups  []func()
	skipped   string
	problems  []string // each of which fails it
	notes     []string
	check     string // the URL where the database is in the end, if not the job's
	lines     *os.File
	read      chan struct{} // closed when all lines have been read
	processes map[int]*process
	next      int
	mu        sync.Mutex // of the following
	memory    []memory
	reads     int64 // that replicas have answered
}

// process is one of workers.
type process struct {
	cmd   *exec.Cmd
	input io.Closer
	ended chan error
}

func newTrial(ctx context.Context, sc scenario, driver string, s settings) *trial {
	return &trial{
		scenario: sc, settings: s, driver: driver, ctx: ctx, begun: time.Now(), ledger: newLedger(), processes: make(map[int]*process),
		job: job{Driver: driver, Pool: 10, Workers: 10, Timeout: time.Second, Think: 10 * time.Millisecond},
	}
}

// stopped is what ends a scenario early: a skip, an error, an interrupt.
type stopped struct{}

func (t *trial) must(err error) {
	if err != nil {
		t.problem("%v", err)
		panic(stopped{})
	}
}

func (t *trial) problem(format string, args ...any) {
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
}

func (t *trial) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *trial) skip(reason string) {
	t.skipped = reason
	panic(stopped{})
}

func (t *trial) cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// wait lets the load go on.
func (t *trial) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
		t.must(t.ctx.Err())
	}
}

// fault brackets what breaks something and repairs it.
func (t *trial) fault(f func()) {
	began := time.Now().Round(0)
	f()
	t.faults = append(t.faults, span{began, time.Now().Round(0)})
}

// run runs the scenario, and clears up.
func (t *trial) run() {
	defer func() {
		for i := len(t.cleanups) - 1; i >= 0; i-- {
			t.cleanups[i]()
		}
	}()
	defer func() {
		if r := recover(); r != nil && r != any(stopped{}) {
			panic(r)
		}
	}()
	dir, err := os.MkdirTemp("", "chaos-*")
	t.must(err)
	t.cleanup(func() { _ = os.RemoveAll(dir) })
	t.must(os.Chmod(dir, 0o755)) //nolint:gosec // servers run as another user
	t.dir = dir
	defer t.killAll()
	t.scenario.run(t)
	t.finish()
}

// load migrates the database at a URL, makes the accounts that are worked on, and starts a process of workers.
func (t *trial) load(address string) {
	t.job.URL = address
	ctx, cancel := context.WithTimeout(t.ctx, time.Minute)
	defer cancel()
	store, err := openStore(ctx, t.driver, address, 2)
	t.must(err)
	t.must(store.Migrate(ctx))
	t.job.Prefix = fmt.Sprintf("c%d", time.Now().UnixNano()/1000)
	for i := range 20 {
		u := newUser(fmt.Sprintf("%s-shared-%d", t.job.Prefix, i))
		t.must(store.Create(ctx, u))
		t.job.Accounts = append(t.job.Accounts, u.ID())
		t.ledger.account(u.ID()).created = acknowledged
	}
	t.must(store.Close())
	lines, out, err := os.Pipe()
	t.must(err)
	t.lines, t.read = out, make(chan struct{})
	go t.readLines(lines)
	t.start()
}

// start starts one more process of workers.
func (t *trial) start() int {
	t.next++
	j := t.job
	j.Process = t.next
	input, err := json.Marshal(j)
	t.must(err)
	program, err := os.Executable()
	t.must(err)
	p := &process{cmd: exec.Command(program, workArgument), ended: make(chan error, 1)} //nolint:noctx // it is ended below
	var failure strings.Builder
	p.cmd.Stdout, p.cmd.Stderr = t.lines, &failure
	stdin, err := p.cmd.StdinPipe()
	t.must(err)
	t.must(p.cmd.Start())
	_, err = stdin.Write(input)
	t.must(err)
	p.input = stdin
	t.processes[j.Process] = p
	go func() {
		err := p.cmd.Wait()
		if err != nil {
			err = fmt.Errorf("the workers: %w %s", err, failure.String())
		}
		t.announce(message{Gone: j.Process})
		p.ended <- err
	}()
	return j.Process
}

// announce writes a line into the pipe of the workers.
func (t *trial) announce(m message) {
	line, _ := json.Marshal(m)
	_, _ = t.lines.Write(append(line, '\n'))
}

// kill ends a process of workers by SIGKILL.
func (t *trial) kill(number int) {
	p := t.processes[number]
	_ = p.cmd.Process.Kill()
	<-p.ended
	delete(t.processes, number)
}

func (t *trial) killAll() {
	for number := range t.processes {
		t.kill(number)
	}
}

func (t *trial) readLines(lines *os.File) {
	defer close(t.read)
	defer lines.Close()
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		var m message
		if err := json.Unmarshal(scanner.Bytes(), &m); err != nil {
			t.mu.Lock()
			t.problem("a line of the workers: %v: %s", err, scanner.Text())
			t.mu.Unlock()
			continue
		}
		switch {
		case m.Call != nil:
			t.ledger.record(*m.Call)
		case m.Memory != nil:
			t.mu.Lock()
			t.memory = append(t.memory, *m.Memory)
			t.mu.Unlock()
		case m.Reads > 0:
			t.mu.Lock()
			t.reads += m.Reads
			t.mu.Unlock()
		case m.Gone > 0:
			t.ledger.abandon(m.Gone)
		}
	}
}

// finish stops the workers and checks the database.
func (t *trial) finish() {
	for _, p := range t.processes {
		_ = p.input.Close()
	}
	patience := time.After(t.job.Timeout + maxBeyond + maxHanging)
	for number, p := range t.processes {
		select {
		case err := <-p.ended:
			if err != nil {
				t.problem("%v", err)
			}
			delete(t.processes, number)
		case <-patience:
			for _, c := range t.ledger.running() {
				t.problem("%s hangs %v after its beginning", c.Op, time.Since(c.Began).Round(time.Second))
			}
			t.stacks(p)
			delete(t.processes, number)
		}
	}
	_ = t.lines.Close()
	<-t.read
	for _, m := range t.memory {
		if m.Closed && m.Goroutines > 0 {
			t.problem("%d goroutines more after Close than before Open", m.Goroutines)
		}
	}
	if len(t.job.Replicas) > 0 && !t.defect {
		t.note("replicas have answered %d reads", t.reads)
		if t.reads < 50 {
			t.problem("replicas have answered %d reads; the scenario shows nothing", t.reads)
		}
	}
	address := t.job.URL
	if t.check != "" {
		address = t.check
	}
	ctx, cancel := context.WithTimeout(t.ctx, time.Minute)
	defer cancel()
	for {
		err := t.compare(ctx, address)
		if err == nil {
			return
		}
		if !errors.Is(err, domain.ErrUnavailable) || ctx.Err() != nil {
			t.must(err)
		}
		t.wait(100 * time.Millisecond)
	}
}

// stacks has a process that does not end print its goroutines.
func (t *trial) stacks(p *process) {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	t.note("%v", <-p.ended)
}

func (t *trial) compare(ctx context.Context, address string) error {
	store, err := openStore(ctx, t.driver, address, 2)
	if err != nil {
		return err
	}
	return errors.Join(t.ledger.check(ctx, store), store.Close())
}

// passed tells whether all is as it must be.
func (t *trial) passed() bool { return t.skipped != "" || t.verdict() == "" }

// verdict says what is not as it must be.
func (t *trial) verdict() string {
	l := t.ledger
	wrong := append([]string(nil), t.problems...)
	if t.defect {
		if l.lost+l.doubled+l.stale == 0 && len(wrong) == 0 {
			wrong = append(wrong, "the ledger has not noticed the defect")
		}
		return strings.Join(wrong, "; ")
	}
	for what, n := range map[string]int{"torn": l.torn, "stale": l.stale, "without a kind": l.unkind, "lost": l.lost, "doubled": l.doubled} {
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", n, what))
		}
	}
	if l.acknowledged == 0 {
		wrong = append(wrong, "nothing was acknowledged")
	}
	if limit := t.patient(maxBeyond); l.beyond > limit {
		wrong = append(wrong, fmt.Sprintf("a call took %v beyond its context", l.beyond.Round(time.Millisecond)))
	}
	limit := t.recovers
	if limit == 0 {
		limit = maxRecovery
	}
	if took := l.recovery(t.faults); took > t.patient(limit) {
		wrong = append(wrong, fmt.Sprintf("calls failed until %v after the fault", took.Round(time.Millisecond)))
	}
	return strings.Join(wrong, "; ")
}

func (t *trial) patient(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(1, t.settings.patience))
}

// row is the line of the table.
func (t *trial) row() string {
	l := t.ledger
	result := "PASS"
	switch {
	case t.skipped != "":
		return fmt.Sprintf("| %s | %s | | | | | | | | | skipped: %s |", t.name, t.driver, t.skipped)
	case t.verdict() != "":
		result = "**FAIL**: " + t.verdict()
	case t.defect:
		result = "PASS: caught"
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | %d ms | %d ms | %s |", t.name, t.driver, l.calls, l.acknowledged, l.notDone, l.unknown,
		l.lost, l.doubled, max(0, l.beyond).Milliseconds(), l.recovery(t.faults).Milliseconds(), result)
}

// details are what the table has no place for.
func (t *trial) details() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %v\n", t.name, t.driver, time.Since(t.begun).Round(100*time.Millisecond))
	for kind, n := range t.ledger.kinds {
		fmt.Fprintf(&b, "  %6d %s, such as %s\n", n, kind, t.ledger.samples[kind])
	}
	for _, text := range append(t.ledger.findings, t.notes...) {
		fmt.Fprintf(&b, "  %s\n", text)
	}
	return b.String()
}

// cmd is a command that ends with the trial.
func (t *trial) cmd(name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(t.ctx, name, args...)
	c.Dir = t.dir
	return c
}

func (t *trial) path(name string) string { return filepath.Join(t.dir, name) }
