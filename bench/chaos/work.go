//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

// workArgument makes the program a process of workers.
const workArgument = "work"

// workersOfAProcess is more than one has; worker n of process p has the number p*workersOfAProcess+n.
const workersOfAProcess = 10_000

// job is what a process of workers does. It reads it from its standard input, at whose end it stops.
type job struct {
	Process  int
	Driver   string // pq, pgx or sqlite
	URL      string
	Replicas []string
	Careless bool // finds go to the first replica, whatever it has replayed: a defect
	Finds    int  // so many of 100 calls are finds, whatever the weights say
	Pool     int  // connections
	Workers  int
	Timeout  time.Duration // of each call
	AnyTime  bool          // contexts end at any time from 1 ms up to the timeout
	Think    time.Duration // pause of a worker between two calls, on average
	NoNew    bool          // without creating accounts
	Repeat   bool          // with a store that repeats what may have been done
	Prefix   string        // of the names of accounts
	Accounts []domain.ID   // on which all work
}

// message is one line that a process of workers writes to its standard output.
type message struct {
	Call   *call   `json:",omitzero"`
	Memory *memory `json:",omitzero"`
	Gone   int     `json:",omitzero"` // the number of a process of which there will be no more
	Reads  int64   `json:",omitzero"` // that replicas have answered
}

// memory is what a process takes now and then, and at its end without a store.
type memory struct {
	Process    int
	Heap       uint64 // bytes that are in use after a collection
	Goroutines int
	Closed     bool
}

// The operations.
const (
	opFind    = "find"
	opCreate  = "create"
	opPair    = "create two"
	opFailure = "failed sign-in"
	opEdit    = "edit"
	opIssue   = "issue"
	opRotate  = "rotate"
	opRevoke  = "revoke"
)

// sessionPolicy lets no session end by itself, and a client whose reply was lost come back after each fault.
var sessionPolicy = domain.SessionPolicy{Cap: 1000, Grace: 10 * time.Minute}

const (
	sessionsOfAWorker  = 3
	rotationsOfSession = 8 // fewer than may be within their grace interval at once
)

// editName is the first name of an account after so many edits: two columns, which one edit changes both.
func editName(version int64) string { return strconv.FormatInt(version, 10) }

// repository is what workers work with.
type repository interface {
	domain.Repository
	InTx(ctx context.Context, fn func(*infra.Tx) error, options ...infra.TxOption) error
}

// repeating is a store with a defect that the ledger must find: it repeats what may have been done.
type repeating struct{ *infra.Store }

func (s repeating) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	u, err := s.Store.RecordFailure(ctx, id, policy)
	if domain.OutcomeUnknown(err) {
		return s.Store.RecordFailure(ctx, id, policy)
	}
	return u, err
}

func (s repeating) IssueToken(ctx context.Context, id domain.ID, policy domain.SessionPolicy) (domain.Grant, error) {
	g, err := s.Store.IssueToken(ctx, id, policy)
	if domain.OutcomeUnknown(err) {
		return s.Store.IssueToken(ctx, id, policy)
	}
	return g, err
}

// careless is a store with another one: it reads from a replica that may not have replayed what was written.
type careless struct {
	*infra.Store
	replica *infra.Store
}

func (s careless) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	return s.replica.FindByID(ctx, id)
}

func openStore(ctx context.Context, driver, address string, pool int, replicas ...string) (*infra.Store, error) {
	var options []infra.Option
	switch driver {
	case "sqlite":
		return sqlite.Open(ctx, address)
	case "pgx":
		if len(replicas) > 0 {
			options = append(options, pgx.WithReplicas(replicas...))
		}
		separator := "?"
		if strings.Contains(address, "?") {
			separator = "&"
		}
		return pgx.Open(ctx, address+separator+url.Values{"pool_max_conns": {strconv.Itoa(pool)}}.Encode(), options...)
	}
	if len(replicas) > 0 {
		options = append(options, postgres.WithReplicas(replicas...))
	}
	return postgres.OpenWithPool(ctx, address, postgres.Pool{MaxOpen: pool}, options...)
}

// work is a process of workers.
func work(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	var j job
	if err := decoder.Decode(&j); err != nil {
		return err
	}
	goroutines := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	store, err := openStore(ctx, j.Driver, j.URL, j.Pool, j.Replicas...)
	if err != nil {
		return err
	}
	w := workers{job: j, store: store, out: out}
	if j.Repeat {
		w.store = repeating{store}
	}
	var replica *infra.Store
	if j.Careless {
		if replica, err = openStore(ctx, j.Driver, j.Replicas[0], j.Pool); err != nil {
			return err
		}
		w.store = careless{store, replica}
	}
	var group sync.WaitGroup
	for n := range j.Workers {
		group.Go(func() { w.loop(j.Process*workersOfAProcess + n) })
	}
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.measure(0)
			case <-ended:
				return
			}
		}
	}()
	_ = decoder.Decode(new(job)) // returns at the end of the input
	w.stop.Store(true)
	group.Wait()
	close(ended)
	if len(j.Replicas) > 0 {
		var reads int64
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		health, _ := store.Health(ctx) // whatever the primary says
		cancel()
		for _, replica := range health.Replicas {
			reads += replica.Reads
		}
		w.write(message{Reads: reads})
	}
	if replica != nil {
		err = replica.Close()
	}
	if err := errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	w.measure(goroutines)
	return w.failure()
}

// workers share a store.
type workers struct {
	job
	store repository
	out   io.Writer
	stop  atomic.Bool
	err   atomic.Pointer[error]
}

func (w *workers) failure() error {
	if err := w.err.Load(); err != nil {
		return *err
	}
	return nil
}

// write writes a line by one call: lines of all processes go into one pipe, which keeps each whole (PIPE_BUF) and all in order.
func (w *workers) write(m message) {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = w.out.Write(append(line, '\n'))
	}
	if err != nil {
		w.err.Store(&err)
		w.stop.Store(true)
	}
}

// measure reports the memory. With the number of goroutines before the store was opened, it reports how many more there are.
func (w *workers) measure(goroutines int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.write(message{Memory: &memory{w.Process, m.HeapAlloc, runtime.NumGoroutine() - goroutines, goroutines > 0}})
}

// worker makes one call after the other.
type worker struct {
	*workers
	number, made int
	held         []*held
}

// held is a session that a worker holds.
type held struct {
	account   domain.ID
	token     domain.RefreshToken
	rotations int
}

func (w *workers) loop(number int) {
	one := &worker{workers: w, number: number}
	for !w.stop.Load() {
		one.step()
		time.Sleep(rand.N(2*w.Think + 1))
	}
}

// operations are what a worker does, each as often as its weight says. A function fills in the call as far as it is known before it is made, and
// returns what makes it; nil for nothing.
var operations = []struct {
	weight  int
	prepare func(*worker, *call) func(context.Context) error
}{
	{15, (*worker).find},
	{8, (*worker).create},
	{5, (*worker).pair},
	{22, (*worker).fail},
	{15, (*worker).edit},
	{10, (*worker).issue},
	{20, (*worker).rotate},
	{5, (*worker).revoke},
}

func (w *worker) step() {
	n := rand.IntN(100)
	if rand.IntN(100) < w.Finds {
		n = 0
	}
	for _, o := range operations {
		if n -= o.weight; n < 0 {
			c := call{Worker: w.number, Account: w.Accounts[rand.IntN(len(w.Accounts))], Limit: w.Timeout}
			if w.AnyTime {
				c.Limit = time.Millisecond + rand.N(w.Timeout)
			}
			if do := o.prepare(w, &c); do != nil {
				w.call(c, do, &c)
			}
			return
		}
	}
}

// call makes a call. What do fills into result comes on top of what was written before.
func (w *worker) call(c call, do func(context.Context) error, result *call) {
	c.Began = time.Now().Round(0)
	result.Began = c.Began
	w.write(message{Call: &c})
	ctx, cancel := context.WithTimeout(context.Background(), c.Limit)
	err := do(ctx)
	cancel()
	result.Done, result.Ended, result.Outcome = true, time.Now().Round(0), outcomeOf(err)
	if err != nil {
		result.Kind, result.Error = domain.KindOf(err), err.Error()
	}
	w.write(message{Call: result})
	if errors.Is(err, domain.ErrUnavailable) {
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *call) read(u *domain.User, err error) error {
	if err == nil {
		c.Read, c.Failures, c.Edits = true, u.FailedLoginAttempts(), int(u.Version())-1
		c.Torn = u.FirstName() != editName(u.Version())
	}
	return err
}

func (w *worker) find(c *call) func(context.Context) error {
	c.Op = opFind
	return func(ctx context.Context) error { return c.read(w.store.FindByID(ctx, c.Account)) }
}

func (w *worker) user() *domain.User {
	w.made++
	return newUser(fmt.Sprintf("%s-%d-%d", w.Prefix, w.number, w.made))
}

func (w *worker) create(c *call) func(context.Context) error {
	if w.NoNew {
		return w.fail(c)
	}
	u := w.user()
	c.Op, c.Account = opCreate, u.ID()
	return func(ctx context.Context) error { return w.store.Create(ctx, u) }
}

func (w *worker) pair(c *call) func(context.Context) error {
	if w.NoNew {
		return w.fail(c)
	}
	one, two := w.user(), w.user()
	c.Op, c.Account, c.Partner = opPair, one.ID(), two.ID()
	return func(ctx context.Context) error {
		return w.store.InTx(ctx, func(tx *infra.Tx) error {
			if err := tx.Create(ctx, one); err != nil {
				return err
			}
			return tx.Create(ctx, two)
		})
	}
}

func (w *worker) fail(c *call) func(context.Context) error {
	c.Op = opFailure
	return func(ctx context.Context) error {
		return c.read(w.store.RecordFailure(ctx, c.Account, domain.LockPolicy{Attempts: domain.NoLock}))
	}
}

func (w *worker) edit(c *call) func(context.Context) error {
	c.Op = opEdit
	return func(ctx context.Context) error {
		return c.read(w.store.Update(ctx, c.Account, func(u *domain.User) error { return u.Rename(editName(u.Version()+1), "") }))
	}
}

func (w *worker) issue(c *call) func(context.Context) error {
	if len(w.held) >= sessionsOfAWorker {
		return w.rotate(c)
	}
	c.Op = opIssue
	return func(ctx context.Context) error {
		g, err := w.store.IssueToken(ctx, c.Account, sessionPolicy)
		if err == nil {
			c.Session, c.Token = g.Session.ID, g.Token.Reveal()
			w.held = append(w.held, &held{account: c.Account, token: g.Token})
		}
		return err
	}
}

func (w *worker) rotate(c *call) func(context.Context) error {
	if len(w.held) == 0 {
		return w.issue(c)
	}
	h := w.held[rand.IntN(len(w.held))]
	if h.rotations >= rotationsOfSession {
		return w.revoke(c)
	}
	c.Op, c.Account, c.Session = opRotate, h.account, h.token.SessionID()
	return func(ctx context.Context) error {
		g, err := w.store.RotateToken(ctx, h.token, sessionPolicy)
		if err == nil {
			h.token = g.Token
			h.rotations++
			c.Token = g.Token.Reveal()
		}
		return err
	}
}

// revoke ends the oldest session, of which the worker then knows no more.
func (w *worker) revoke(c *call) func(context.Context) error {
	if len(w.held) == 0 {
		return nil
	}
	h := w.held[0]
	w.held = w.held[1:]
	c.Op, c.Account, c.Session = opRevoke, h.account, h.token.SessionID()
	return func(ctx context.Context) error {
		_, err := w.store.RevokeSession(ctx, h.account, c.Session)
		return err
	}
}

// newUser returns an account that is not stored.
func newUser(name string) *domain.User {
	email, err := domain.ParseEmail(name + "@example.org")
	if err != nil {
		panic(err)
	}
	username, err := domain.ParseUsername(name)
	if err != nil {
		panic(err)
	}
	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err != nil {
		panic(err)
	}
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash, FirstName: editName(1)}, time.Now())
	if err != nil {
		panic(err)
	}
	return u
}
