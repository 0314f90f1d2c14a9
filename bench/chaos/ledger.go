//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// outcome is what the store said of a change.
type outcome string

const (
	acknowledged outcome = "acknowledged"
	notDone      outcome = "not done" // for certain
	unknown      outcome = "unknown"
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return acknowledged
	case domain.OutcomeUnknown(err):
		return unknown
	}
	return notDone
}

// call is one of a worker's, written down before it is made and when it has ended.
type call struct {
	Worker  int // unique among all processes; it makes one call at a time
	Op      string
	Account domain.ID
	Partner domain.ID        `json:",omitzero"` // the account that is made in the same transaction
	Session domain.SessionID `json:",omitzero"`
	Began   time.Time
	Limit   time.Duration // of its context

	Done     bool      `json:",omitzero"`
	Ended    time.Time `json:",omitzero"`
	Outcome  outcome   `json:",omitzero"`
	Kind     domain.Kind
	Error    string `json:",omitzero"`
	Read     bool   `json:",omitzero"` // the account came back, as follows
	Failures int    `json:",omitzero"`
	Edits    int    `json:",omitzero"`
	Torn     bool   `json:",omitzero"` // one edit was half done
	Token    string `json:",omitzero"` // of the session, after it
}

// tally counts the changes of one sort. What is stored is at least those that were acknowledged, and at most those that were begun and not
// refused.
type tally struct{ begun, acknowledged, notDone int }

func (t *tally) unknown() int { return t.begun - t.acknowledged - t.notDone }

func (t *tally) settle(o outcome) {
	switch o {
	case acknowledged:
		t.acknowledged++
	case notDone:
		t.notDone++
	case unknown:
	}
}

// account is what the ledger knows of one.
type account struct {
	created  outcome
	partner  domain.ID
	failures tally // of sign-ins
	edits    tally
	issued   tally // sessions
	sessions map[domain.SessionID]*session
}

type session struct {
	token  string // that was acknowledged last
	ending bool   // a call that ends it was made, and did not say that it had
}

// open is a call that has not ended, with what had been acknowledged when it began.
type open struct {
	call
	failures, edits int
}

// ledger is what the workers were answered. Calls come in the order in which they began and ended, over all processes.
type ledger struct {
	mu       sync.Mutex
	accounts map[domain.ID]*account
	open     map[int]open
	spans    []span // of the calls that failed because the database was unavailable
	kinds    map[string]int
	samples  map[string]string

	calls, acknowledged, notDone, unknown int
	lost, doubled, stale, torn, unkind    int
	beyond                                time.Duration // the longest that a call took beyond its context
	findings                              []string
}

type span struct{ began, ended time.Time }

func newLedger() *ledger {
	return &ledger{accounts: make(map[domain.ID]*account), open: make(map[int]open), kinds: make(map[string]int), samples: make(map[string]string)}
}

func (l *ledger) account(id domain.ID) *account {
	a := l.accounts[id]
	if a == nil {
		a = &account{sessions: make(map[domain.SessionID]*session)}
		l.accounts[id] = a
	}
	return a
}

// find counts something that must not be.
func (l *ledger) find(n *int, format string, args ...any) {
	*n++
	if len(l.findings) < 20 {
		l.findings = append(l.findings, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) record(c call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Done {
		l.end(c)
	} else {
		l.begin(c)
	}
}

func (l *ledger) begin(c call) {
	a := l.account(c.Account)
	l.open[c.Worker] = open{c, a.failures.acknowledged, a.edits.acknowledged}
	if t := a.tally(c.Op); t != nil {
		t.begun++
	}
	switch c.Op {
	case opCreate:
		a.created = unknown
	case opPair:
		a.created, a.partner = unknown, c.Partner
		l.account(c.Partner).created = unknown
	case opRevoke:
		if s := a.sessions[c.Session]; s != nil {
			s.ending = true
		}
	}
}

func (a *account) tally(op string) *tally {
	switch op {
	case opFailure:
		return &a.failures
	case opEdit:
		return &a.edits
	case opIssue:
		return &a.issued
	}
	return nil
}

func (l *ledger) end(c call) {
	before := l.open[c.Worker]
	delete(l.open, c.Worker)
	l.calls++
	switch c.Outcome {
	case acknowledged:
		l.acknowledged++
	case notDone:
		l.notDone++
	case unknown:
		l.unknown++
	}
	l.beyond = max(l.beyond, c.Ended.Sub(c.Began)-c.Limit)
	if c.Outcome != acknowledged {
		key := fmt.Sprintf("%s, %s", c.Kind, c.Outcome)
		l.kinds[key]++
		if l.samples[key] == "" {
			l.samples[key] = c.Op + ": " + c.Error
		}
		switch c.Kind {
		case domain.ErrUnavailable:
			l.spans = append(l.spans, span{c.Began, c.Ended})
		case "", domain.ErrInternal:
			l.find(&l.unkind, "%s: an error of the kind %q: %s", c.Op, c.Kind, c.Error)
		}
	}
	a := l.account(c.Account)
	if t := a.tally(c.Op); t != nil {
		t.settle(c.Outcome)
	}
	if c.Read {
		l.compare(c.Op, "failed sign-ins", c.Failures, before.failures, c.Op == opFailure, a.failures)
		l.compare(c.Op, "edits", c.Edits, before.edits, c.Op == opEdit, a.edits)
		if c.Torn {
			l.find(&l.torn, "%s: an edit of %s is half done", c.Op, c.Account)
		}
	}
	switch c.Op {
	case opCreate:
		a.created = c.Outcome
	case opPair:
		a.created = c.Outcome
		l.account(c.Partner).created = c.Outcome
	case opIssue:
		if c.Outcome == acknowledged {
			a.sessions[c.Session] = &session{token: c.Token}
		}
	case opRotate:
		switch s := a.sessions[c.Session]; {
		case s == nil || s.ending:
		case c.Outcome == acknowledged:
			s.token = c.Token
		case c.Kind == domain.ErrTokenInvalid || c.Kind == domain.ErrTokenReused || c.Kind == domain.ErrTokenExpired:
			l.find(&l.lost, "session %s: its token is refused: %s", c.Session, c.Error)
			s.ending = true
		}
	case opRevoke:
		if c.Outcome == acknowledged {
			delete(a.sessions, c.Session) // if it is there in the end, no worker holds it
		}
	}
}

// compare holds what a call read against what was acknowledged when it began and what can have been done when it ended. One that changes
// reads its own change, too.
func (l *ledger) compare(op, what string, read, floor int, own bool, now tally) {
	if own {
		floor++
	}
	if read < floor {
		l.find(&l.stale, "%s read %d %s when %d had been acknowledged", op, read, what, floor)
	}
	if most := now.begun - now.notDone; read > most {
		l.find(&l.doubled, "%s read %d %s when at most %d had been made", op, read, what, most)
	}
}

// abandon takes the open calls of a process that is gone for unknown.
func (l *ledger) abandon(process int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for worker := range l.open {
		if worker/workersOfAProcess == process {
			delete(l.open, worker)
			l.calls++
			l.unknown++
		}
	}
}

// running returns the calls that have not ended.
func (l *ledger) running() (calls []call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.open {
		calls = append(calls, o.call)
	}
	return calls
}

// recovery is the time from the end of a fault to the end of the last call that failed, was begun after it and ended before the next; the longest of all.
func (l *ledger) recovery(faults []span) (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.spans {
		for i := len(faults) - 1; i >= 0; i-- {
			if s.began.Before(faults[i].ended) {
				continue
			}
			if i == len(faults)-1 || s.ended.Before(faults[i+1].began) {
				longest = max(longest, s.ended.Sub(faults[i].ended))
			}
			break
		}
	}
	return longest
}

// check holds the database against the ledger.
func (l *ledger) check(ctx context.Context, store *infra.Store) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]domain.ID, 0, len(l.accounts))
	for id := range l.accounts {
		ids = append(ids, id)
	}
	stored := make(map[domain.ID]*domain.User, len(ids))
	for some := range slices.Chunk(ids, 1000) {
		found, err := store.FindByIDs(ctx, some)
		if err != nil {
			return err
		}
		for i, u := range found {
			stored[some[i]] = u
		}
	}
	for id, a := range l.accounts {
		u := stored[id]
		switch {
		case u == nil && a.created == acknowledged:
			l.find(&l.lost, "account %s was acknowledged and is not there", id)
		case u != nil && a.created == notDone:
			l.find(&l.doubled, "account %s is there, though it was said not to be made", id)
		}
		if !a.partner.IsZero() && (u == nil) != (stored[a.partner] == nil) {
			l.find(&l.torn, "of accounts %s and %s, made in one transaction, one is there", id, a.partner)
		}
		if u == nil {
			continue
		}
		l.within(id, "failed sign-ins", u.FailedLoginAttempts(), a.failures)
		l.within(id, "edits", int(u.Version())-1, a.edits)
		if u.FirstName() != editName(u.Version()) {
			l.find(&l.torn, "account %s: an edit is half done: version %d, name %q", id, u.Version(), u.FirstName())
		}
		if err := l.checkSessions(ctx, store, id, a); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) within(id domain.ID, what string, stored int, t tally) {
	if stored < t.acknowledged {
		l.find(&l.lost, "account %s: %d %s, and %d were acknowledged", id, stored, what, t.acknowledged)
	}
	if most := t.begun - t.notDone; stored > most {
		l.find(&l.doubled, "account %s: %d %s, and at most %d were made", id, stored, what, most)
	}
}

// checkSessions looks for each session that was acknowledged, rotates its token, and counts those that no worker was given.
func (l *ledger) checkSessions(ctx context.Context, store *infra.Store, id domain.ID, a *account) error {
	if len(a.sessions) == 0 && a.issued.begun == 0 {
		return nil
	}
	found, err := store.Sessions(ctx, id)
	if err != nil {
		return err
	}
	live := make(map[domain.SessionID]bool, len(found))
	strangers := 0
	for _, s := range found {
		live[s.ID] = true
		if a.sessions[s.ID] == nil {
			strangers++
		}
	}
	if strangers > a.issued.unknown() {
		l.find(&l.doubled, "account %s: %d sessions that no worker holds, and at most %d can be", id, strangers, a.issued.unknown())
	}
	for sid, s := range a.sessions {
		if s.ending {
			continue
		}
		if !live[sid] {
			l.find(&l.lost, "account %s: session %s is not there", id, sid)
			continue
		}
		token, err := domain.ParseRefreshToken(s.token)
		if err != nil {
			return err
		}
		if _, err := store.RotateToken(ctx, token, sessionPolicy); errors.Is(err, domain.ErrUnavailable) {
			return err
		} else if err != nil {
			l.find(&l.lost, "account %s: the token of session %s is refused: %v", id, sid, err)
		}
	}
	return nil
}
