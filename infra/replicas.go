package infra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
)

// A read may be answered by a replica if that has replayed all that this store has written, and what the caller's position says. For that
//
//   - every change of the store is counted when it has ended. The first read after it goes to the primary, and has the primary asked for its position, so that the
//     change itself costs nothing. Later reads need a replica that has replayed up to there;
//   - each replica is asked for its position now and then, and at once when a read waits for it. What it has replayed it keeps, so that a read on it needs no
//     question of its own. To ask in the statement of the read would prove nothing: its snapshot is older than the answer;
//   - a connection leads to the server that was asked, and to no other: each new one says which it is. When a server is lost, reads on it are ended, and all
//     connections to it are given up before another is asked behind the same URL;
//   - positions are compared within one timeline only. After a promotion the primary is asked again, and a replica is used when it is known to
//     follow the new primary.

const (
	replicaPause   = 250 * time.Millisecond // between two questions to a replica while no read waits for it
	replicaSilence = 500 * time.Millisecond // a replica that has not answered for so long gets no reads
	replicaTimeout = time.Second            // one that does not answer within it is lost
	replicaRest    = time.Second            // how long one gets no reads after it has failed one
	replicaMaxLag  = 10 * time.Second       // behind it a replica gets no reads, even if this store has written nothing
	replicaWait    = 20 * time.Millisecond  // how long a read waits for a replica
	replicaVain    = time.Second            // how long no read waits for a replica for which one has waited in vain
	primaryPause   = time.Second            // between two questions to the primary while no read needs its position
	unknownHold    = 10 * time.Second       // how long all reads go to the primary after a change whose outcome is unknown
	boundHold      = time.Minute            // likewise after a change in a transaction of the application, whose end the store does not see
)

// ReplicaPool is the pool of a replica.
type ReplicaPool struct {
	Handle Handle
	Reset  func() // no connection that was made before is used again
	Close  func() error
}

// ServerIdentity is a query for a text that differs between two servers, and between two starts of one.
const ServerIdentity = "SELECT s.system_identifier::text || ' ' || extract(epoch FROM pg_postmaster_start_time())::text FROM pg_control_system() AS s"

// WithReplicas has the store read from replicas. Applications call the WithReplicas of their driver's package. Open makes a pool of connections to one
// server, without connecting. A new connection runs the query [ServerIdentity], gives the text to admit, and is closed if that returns an error.
func WithReplicas(open func(databaseURL string, admit func(identity string) error) (ReplicaPool, error), databaseURLs ...string) Option {
	return func(s *settings) {
		for _, databaseURL := range databaseURLs {
			if open == nil {
				s.replicas = append(s.replicas, nil) // which is refused
				continue
			}
			s.replicas = append(s.replicas, func(admit func(string) error) (ReplicaPool, error) { return open(databaseURL, admit) })
		}
	}
}

// openPool opens a pool to one replica.
type openPool func(admit func(identity string) error) (ReplicaPool, error)

// replicas are those of a store.
type replicas struct {
	dialect *dialect
	primary Handle
	servers []*replica
	pools   []ReplicaPool // all that were opened
	next    atomic.Uint32 // which of them is tried first
	written atomic.Int64  // how many changes have ended
	held    atomic.Int64  // until when all reads go to the primary, in Unix nanoseconds
	wake    chan struct{} // the primary's position is needed

	mu      sync.Mutex              // of writing the following
	floor   atomic.Pointer[floor]   // behind this store's changes
	history atomic.Pointer[[]floor] // of the last seconds, the newest last

	end     context.CancelFunc
	running sync.WaitGroup
}

// floor is where the primary was.
type floor struct {
	primary
	changes int64 // of the store, that are before it
	asked   time.Time
}

// openReplicas opens the pools and begins to ask.
func openReplicas(d *dialect, primary Handle, open []openPool) (*replicas, error) {
	r := &replicas{dialect: d, primary: primary, wake: make(chan struct{}, 1)}
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	for _, open := range open {
		s := &replica{all: r, wake: make(chan struct{}, 1), changed: make(chan struct{})}
		for _, pool := range []*ReplicaPool{&s.pool, &s.questions} {
			var err error
			if *pool, err = open(s.admit); err != nil {
				return nil, errors.Join(err, r.close())
			}
			r.pools = append(r.pools, *pool)
		}
		r.servers = append(r.servers, s)
	}
	r.running.Go(func() { repeat(ctx, primaryPause, r.wake, func() { _ = r.ask(ctx) }) })
	for _, s := range r.servers {
		r.running.Go(func() { repeat(ctx, replicaPause, s.wake, func() { s.ask(ctx) }) })
	}
	return r, nil
}

func (r *replicas) close() error {
	r.end()
	r.running.Wait()
	var errs []error
	for _, pool := range r.pools {
		errs = append(errs, pool.Close())
	}
	return errors.Join(errs...)
}

// repeat calls ask, and again after a pause, or when it is woken.
func repeat(ctx context.Context, pause time.Duration, wake <-chan struct{}, ask func()) {
	const least = time.Millisecond // so that those who wait do not keep a server busy
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ask()
		select {
		case <-ctx.Done():
			return
		case <-time.After(least):
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
	}
}

func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// changed is called when a change has ended, with its error, before its caller hears of it.
func (r *replicas) changed(err error) {
	r.written.Add(1)
	if err != nil && (fault.Of(err).Unknown || domain.OutcomeUnknown(err)) {
		r.hold(unknownHold) // it may still be going on
	}
}

// hold sends all reads to the primary for some time.
func (r *replicas) hold(d time.Duration) {
	until := time.Now().Add(d).UnixNano()
	for {
		held := r.held.Load()
		if held >= until || r.held.CompareAndSwap(held, until) {
			return
		}
	}
}

// ask asks the primary for its position.
func (r *replicas) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	changes := r.written.Load()
	p, err := askOne(ctx, r.primary, r.dialect.position, scanPrimary)
	if err != nil {
		return err
	}
	r.raise(p, changes)
	return nil
}

// raise takes a position of the primary that is behind so many changes. An older server's does not count.
func (r *replicas) raise(p primary, changes int64) {
	if !p.writable {
		return
	}
	next := &floor{p, changes, time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.floor.Load()
	if now != nil && p.position.timeline < now.position.timeline {
		return
	}
	r.remember(*next)
	switch {
	case now == nil, p.position.timeline > now.position.timeline:
	case changes <= now.changes: // what others have written since is none of this store's
		return
	default:
		next.position.lsn = max(next.position.lsn, now.position.lsn)
	}
	r.floor.Store(next)
}

// remember keeps where the primary was, once in a while, for as long as a replica may be behind.
func (r *replicas) remember(f floor) {
	var all []floor
	if h := r.history.Load(); h != nil {
		all = *h
	}
	if n := len(all); n > 0 && f.asked.Sub(all[n-1].asked) < primaryPause/2 && f.position.timeline == all[n-1].position.timeline {
		return
	}
	const most = 2 * int(replicaMaxLag/primaryPause)
	all = append(slices.Clone(all[max(0, len(all)-most+1):]), f)
	r.history.Store(&all)
}

// askOne runs a query that returns one row.
func askOne[T any](ctx context.Context, h Handle, query string, read func(Rows) (T, error)) (answer T, err error) {
	rows, err := h.Query(ctx, query)
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := false
	for rows.Next() {
		if answer, err = read(rows); err != nil {
			return answer, err
		}
		found = true
	}
	if err := rows.Err(); err != nil {
		return answer, err
	}
	if !found {
		return answer, errors.New("the server has not answered")
	}
	return answer, nil
}

// choose returns the replica on which a read may run, or nil for the primary. Where none has replayed enough yet, it waits a moment.
func (r *replicas) choose(ctx context.Context) *answer {
	now := time.Now()
	if domain.ReadsCurrent(ctx) || now.UnixNano() < r.held.Load() {
		return nil
	}
	written := r.written.Load()
	f := r.floor.Load()
	position, _ := ctx.Value(positionKey{}).(Position)
	if f == nil || f.changes < written || position.timeline > f.position.timeline {
		signal(r.wake)
		return nil
	}
	need := *f
	// What was written on an earlier timeline is on this one, or lost.
	if position.timeline == need.position.timeline {
		need.position.lsn = max(need.position.lsn, position.lsn)
	}
	first := int(r.next.Add(1) % uint32(len(r.servers)))
	for i := range r.servers {
		if a := r.servers[(first+i)%len(r.servers)].ready(&need, now); a != nil {
			return a
		}
	}
	for i := range r.servers {
		s := r.servers[(first+i)%len(r.servers)]
		if s.serves(now) && s.answer.Load().position.timeline == need.position.timeline && now.UnixNano() > s.vain.Load() {
			return s.await(ctx, &need)
		}
	}
	return nil
}

// replica is one server.
type replica struct {
	all       *replicas
	pool      ReplicaPool
	questions ReplicaPool            // which do not wait for reads
	answer    atomic.Pointer[answer] // the last one, nil while the server is lost
	failed    atomic.Int64           // until when it gets no reads, in Unix nanoseconds
	vain      atomic.Int64           // until when no read waits for it
	reads     atomic.Int64
	wake      chan struct{}

	mu       sync.Mutex
	identity string        // of the server to which the connections lead; "" if there are none
	changed  chan struct{} // closed when there is another answer
	err      error         // why it is lost
}

// answer is what a replica has said of itself.
type answer struct {
	position  Position
	cluster   string
	following bool // and not a primary
	identity  string

	of      *replica
	at      time.Time
	current time.Time       // all that was committed up to then is in it
	alive   context.Context // ends when the server is lost
	lose    context.CancelFunc
}

func scanReplica(rows Rows) (a answer, err error) {
	var lsn string
	var timeline int64
	if err := rows.Scan(&a.cluster, &a.identity, &a.following, &timeline, &lsn); err != nil || !a.following {
		return a, err
	}
	a.position.timeline = uint32(timeline)
	a.position.lsn, err = parseLSN(lsn)
	return a, err
}

var (
	errOtherServer = errors.New("the replica's URL leads to another server than before")
	errNoReplica   = errors.New("the server is no replica")
)

// admit is called with the identity of the server to which a new connection leads.
func (s *replica) admit(identity string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == "" {
		s.identity = identity
	}
	if s.identity != identity {
		signal(s.wake)
		return errOtherServer
	}
	return nil
}

// ask asks the replica how far it is.
func (s *replica) ask(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, replicaTimeout)
	a, err := askOne(limited, s.questions.Handle, s.all.dialect.replica, scanReplica)
	cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err == nil && !a.following:
		err = errNoReplica
	case err == nil && a.identity != s.identity: // a pooler in between has connected again
		err = errOtherServer
	}
	before := s.answer.Load()
	if s.err = err; err != nil {
		// In this order: who has chosen the server by its last answer must not come to a connection to another one.
		s.answer.Store(nil)
		if before != nil {
			before.lose()
		}
		if !errors.Is(err, errNoReplica) {
			s.pool.Reset()
			s.questions.Reset()
			s.identity = ""
		}
	} else {
		a.of, a.at = s, time.Now()
		if before != nil {
			a.alive, a.lose, a.current = before.alive, before.lose, before.current
			a.position.timeline = max(a.position.timeline, before.position.timeline) // it is known from different places
		} else {
			a.alive, a.lose = context.WithCancel(context.Background())
		}
		if h := s.all.history.Load(); h != nil {
			for _, f := range *h {
				if a.reached(&f) && f.asked.After(a.current) {
					a.current = f.asked
				}
			}
		}
		s.answer.Store(&a)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// reached tells whether the replica has replayed the log up to where the primary was.
func (a *answer) reached(f *floor) bool {
	return f != nil && a.cluster == f.cluster && a.position.timeline == f.position.timeline && a.position.lsn >= f.position.lsn
}

// serves tells whether the replica may get reads at all.
func (s *replica) serves(now time.Time) bool {
	a := s.answer.Load()
	return a != nil && now.Sub(a.at) < replicaSilence && now.Sub(a.current) < replicaMaxLag && now.UnixNano() > s.failed.Load()
}

// ready returns the replica's answer if it has replayed enough.
func (s *replica) ready(need *floor, now time.Time) *answer {
	if a := s.answer.Load(); a != nil && a.reached(need) && s.serves(now) {
		return a
	}
	return nil
}

// await waits until the replica has replayed enough, for a moment.
func (s *replica) await(ctx context.Context, need *floor) *answer {
	timer := time.NewTimer(replicaWait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if a := s.ready(need, time.Now()); a != nil {
			return a
		}
		signal(s.wake)
		select {
		case <-changed:
		case <-timer.C:
			s.vain.Store(time.Now().Add(replicaVain).UnixNano())
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// read calls execute with the replica, and a context that also ends when the replica is lost.
func (a *answer) read(ctx context.Context, execute func(context.Context, Handle) (int64, error)) (int64, error) {
	alive, cancel := context.WithCancel(a.alive)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	n, err := execute(replicaContext{alive, ctx}, a.of.pool.Handle) //nolint:contextcheck // it has the caller's values, and ends with the replica too
	switch {
	case err == nil:
		a.of.reads.Add(1)
	case ctx.Err() == nil:
		a.of.failed.Store(time.Now().Add(replicaRest).UnixNano())
		signal(a.of.wake)
	}
	return n, err
}

// replicaContext ends with one context, and has the values of another one besides.
type replicaContext struct {
	context.Context
	values context.Context
}

func (c replicaContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}

// watched is a handle whose changes are counted.
type watched struct {
	Handle
	changed func(error)
}

// Query implements [Handle]. The texts of reads begin with SELECT, of all others is a change to be expected.
func (w watched) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	rows, err := w.Handle.Query(ctx, query, args...)
	switch {
	case strings.HasPrefix(query, "SELECT"):
		return rows, err
	case err != nil:
		w.changed(err)
		return nil, err
	}
	return watchedRows{rows, w.changed}, nil
}

// Exec implements [Handle].
func (w watched) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := w.Handle.Exec(ctx, query, args...)
	w.changed(err)
	return n, err
}

// watchedRows are those of a statement that has made its changes when they are closed.
type watchedRows struct {
	Rows
	changed func(error)
}

func (r watchedRows) Close() error {
	failed := r.Err()
	err := r.Rows.Close()
	r.changed(errors.Join(failed, err))
	return err
}

// ReplicaHealth is how a replica is.
type ReplicaHealth struct {
	Serves bool          // reads whose positions it has reached
	Lag    time.Duration // at most so old is what it has replayed, to a second
	Reads  int64         // that it has answered
	Reason string        // why it does not serve
}

func (r *replicas) health() (all []ReplicaHealth) {
	now := time.Now()
	for _, s := range r.servers {
		s.mu.Lock()
		err := s.err
		s.mu.Unlock()
		h := ReplicaHealth{Reads: s.reads.Load()}
		a := s.answer.Load()
		if a != nil && !a.current.IsZero() {
			h.Lag = now.Sub(a.current)
		}
		var f *floor
		if history := r.history.Load(); history != nil {
			f = &(*history)[len(*history)-1]
		}
		switch {
		case errors.Is(err, errOtherServer), errors.Is(err, errNoReplica):
			h.Reason = err.Error()
		case err != nil:
			h.Reason = "is lost (" + fault.Of(err).Where + ")"
		case a == nil || f == nil:
			h.Reason = "has not been asked yet"
		case a.cluster != f.cluster:
			h.Reason = "belongs to another cluster than the primary"
		case a.position.timeline != f.position.timeline:
			h.Reason = fmt.Sprintf("is known to follow timeline %d; the primary is on %d", a.position.timeline, f.position.timeline)
		case now.UnixNano() <= s.failed.Load():
			h.Reason = "has failed a read"
		case !s.serves(now):
			h.Reason = "is too far behind, or has not answered"
		default:
			h.Serves = true
		}
		all = append(all, h)
	}
	return all
}
