package domain_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/softbee/accounts/domain"
)

// What the authenticator asks of its repository and its hasher, in their order. Two sign-ins with one journal cost the same.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(entry string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
}

// take returns what happened since it was last called.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := j.entries
	j.entries = nil
	return entries
}

// accounts is a repository of what the authenticator needs, in memory. Whether the real ones are atomic is for the contract
// suite to tell; this one shows what the authenticator asks them, and lets something happen in between.
type accounts struct {
	*journal
	clock func() time.Time

	mu     sync.Mutex
	states map[domain.ID]domain.UserState
	before map[string]func() // called before the step of that name
	fail   map[string]error  // what the step of that name returns instead of doing anything
}

func (a *accounts) step(ctx context.Context, name string) error {
	a.add(name)
	if before := a.before[name]; before != nil {
		before()
	}
	if err := a.fail[name]; err != nil {
		return err
	}
	return ctx.Err()
}

func (a *accounts) find(ctx context.Context, matches func(domain.UserState) bool) (*domain.User, error) {
	if err := a.step(ctx, "find"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, state := range a.states {
		if matches(state) {
			return domain.RestoreUser(state)
		}
	}
	return nil, domain.ErrNotFound
}

func (a *accounts) Now() time.Time { return a.clock() }

func (a *accounts) IssueToken(context.Context, domain.ID, domain.SessionPolicy) (domain.Grant, error) {
	return domain.Grant{}, domain.ErrNotFound
}

func (a *accounts) RotateToken(context.Context, domain.RefreshToken, domain.SessionPolicy) (domain.Grant, error) {
	return domain.Grant{}, domain.ErrTokenInvalid
}

func (a *accounts) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	return a.find(ctx, func(s domain.UserState) bool { return s.ID == id })
}

func (a *accounts) FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error) {
	return a.find(ctx, func(s domain.UserState) bool { return s.Email == email })
}

func (a *accounts) FindByUsername(ctx context.Context, username domain.Username) (*domain.User, error) {
	return a.find(ctx, func(s domain.UserState) bool { return s.Username == username })
}

func (a *accounts) FindByPhone(ctx context.Context, phone domain.Phone) (*domain.User, error) {
	return a.find(ctx, func(s domain.UserState) bool { return s.Phone == phone })
}

// change does what a statement of the real stores does: it checks and changes one account at once.
func (a *accounts) change(
	ctx context.Context, name string, matches func(domain.UserState) bool, change func(*domain.UserState) error,
) (*domain.User, error) {
	if err := a.step(ctx, name); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, state := range a.states {
		if !matches(state) {
			continue
		}
		if err := change(&state); err != nil {
			return nil, err
		}
		state.Version++
		a.states[id] = state
		return domain.RestoreUser(state)
	}
	return nil, domain.ErrNotFound
}

func is(id domain.ID) func(domain.UserState) bool {
	return func(s domain.UserState) bool { return s.ID == id }
}

func (a *accounts) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	return a.change(ctx, "failure", is(id), func(s *domain.UserState) error {
		if s.LockedUntil.After(a.clock()) {
			return &domain.Error{Kind: domain.ErrLocked, Until: s.LockedUntil}
		}
		if !s.LockedUntil.IsZero() {
			s.FailedLoginAttempts, s.LockedUntil = 0, time.Time{}
		}
		if s.FailedLoginAttempts++; s.FailedLoginAttempts >= policy.Attempts {
			s.LockedUntil = a.clock().Add(policy.Duration)
		}
		return nil
	})
}

func (a *accounts) RecordSuccess(ctx context.Context, id domain.ID, checked, better domain.PasswordHash) (time.Time, error) {
	u, err := a.change(ctx, "success", is(id), func(s *domain.UserState) error {
		switch {
		case s.PasswordHash != checked:
			return domain.ErrConflict
		case s.LockedUntil.After(a.clock()):
			return &domain.Error{Kind: domain.ErrLocked, Until: s.LockedUntil}
		case !s.Active:
			return domain.ErrInactive
		}
		s.FailedLoginAttempts, s.LockedUntil, s.LastLogin = 0, time.Time{}, a.clock()
		if !better.IsZero() {
			s.PasswordHash = better
		}
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return u.LastLogin(), nil
}

func (a *accounts) SetPassword(
	ctx context.Context, id domain.ID, checked, hash domain.PasswordHash, _ domain.SessionID,
) (*domain.User, error) {
	return a.change(ctx, "set", is(id), func(s *domain.UserState) error {
		if !checked.IsZero() && s.PasswordHash != checked {
			return domain.ErrConflict
		}
		s.PasswordHash, s.FailedLoginAttempts, s.LockedUntil = hash, 0, time.Time{}
		return nil
	})
}

func (a *accounts) Unlock(ctx context.Context, id domain.ID) (*domain.User, error) {
	return a.change(ctx, "unlock", is(id), func(s *domain.UserState) error {
		s.FailedLoginAttempts, s.LockedUntil = 0, time.Time{}
		return nil
	})
}

func (a *accounts) IssueReset(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	return a.change(ctx, "issue reset", is(id), func(s *domain.UserState) error {
		s.ResetToken, s.ResetTokenExpiry = digest, expiry
		return nil
	})
}

func (a *accounts) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	user, err := a.change(ctx, "reset", func(s domain.UserState) bool { return s.ResetToken == digest }, func(s *domain.UserState) error {
		if !s.ResetTokenExpiry.After(a.clock()) {
			return domain.ErrTokenExpired
		}
		s.PasswordHash, s.ResetToken, s.ResetTokenExpiry = hash, domain.TokenDigest{}, time.Time{}
		return nil
	})
	return user, tokenInvalidIfNotFound(err)
}

func (a *accounts) IssueVerification(
	ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time,
) (*domain.User, error) {
	return a.change(ctx, "issue verification", is(id), func(s *domain.UserState) error {
		s.VerificationToken, s.VerificationTokenExpiry = digest, expiry
		return nil
	})
}

func (a *accounts) RequestEmail(
	ctx context.Context, id domain.ID, email domain.Email, digest domain.TokenDigest, expiry time.Time,
) (*domain.User, error) {
	return a.change(ctx, "request email", is(id), func(s *domain.UserState) error {
		s.PendingEmail, s.VerificationToken, s.VerificationTokenExpiry = email, digest, expiry
		return nil
	})
}

func (a *accounts) ConsumeVerification(ctx context.Context, digest domain.TokenDigest) (domain.Confirmation, error) {
	hasToken := func(s domain.UserState) bool { return s.VerificationToken == digest }
	var already bool
	user, err := a.change(ctx, "confirm", hasToken, func(s *domain.UserState) error {
		already = s.VerificationTokenExpiry.IsZero()
		if !already && !s.VerificationTokenExpiry.After(a.clock()) {
			return domain.ErrTokenExpired
		}
		s.Verified, s.VerificationTokenExpiry = true, time.Time{}
		if !s.PendingEmail.IsZero() {
			s.Email, s.PendingEmail = s.PendingEmail, domain.Email{}
		}
		return nil
	})
	if err != nil {
		return domain.Confirmation{}, tokenInvalidIfNotFound(err)
	}
	return domain.Confirmation{User: user, Email: user.Email(), Already: already}, nil
}

func (a *accounts) IssuePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	return a.change(ctx, "issue phone code", is(id), func(s *domain.UserState) error {
		s.PhoneCode, s.PhoneCodeExpiry = digest, expiry
		return nil
	})
}

func (a *accounts) ConsumePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest) (domain.PhoneConfirmation, error) {
	u, err := a.change(ctx, "confirm phone", is(id), func(s *domain.UserState) error {
		if s.PhoneCode != digest {
			return domain.ErrTokenInvalid
		}
		s.PhoneVerifiedAt = a.clock()
		return nil
	})
	if err != nil {
		return domain.PhoneConfirmation{}, err
	}
	return domain.PhoneConfirmation{User: u, Phone: u.Phone()}, nil
}

func tokenInvalidIfNotFound(err error) error {
	if errors.Is(err, domain.ErrNotFound) {
		return domain.ErrTokenInvalid
	}
	return err
}

// hasher makes worthless hashes, "today$…", and verifies them and stale ones, "formerly$…", which carry up to 72 bytes.
type hasher struct {
	*journal
	fail func(ctx context.Context) error // what a hash fails with, if anything
}

func (h *hasher) compute(ctx context.Context, name string) error {
	h.add(name)
	if h.fail != nil {
		if err := h.fail(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (h *hasher) Hash(ctx context.Context, password string) (domain.PasswordHash, error) {
	if err := h.compute(ctx, "hash"); err != nil {
		return domain.PasswordHash{}, err
	}
	return hashed("today", password), nil
}

func (h *hasher) Verify(ctx context.Context, hash domain.PasswordHash, password string) (domain.Verification, error) {
	scheme, sum, _ := strings.Cut(hash.Stored(), "$")
	if scheme != "today" && scheme != "formerly" {
		return domain.Verification{}, &domain.Error{Kind: domain.ErrInvalid, Field: "hashed_password", Reason: "is unknown"}
	}
	if len(password) > 1024 || scheme == "formerly" && len(password) > 72 {
		return domain.Verification{}, &domain.Error{Kind: domain.ErrInvalid, Field: "password", Reason: "is too long"}
	}
	if err := h.compute(ctx, "verify"); err != nil {
		return domain.Verification{}, err
	}
	match := "formerly$"+sum == hashed("formerly", password).Stored()
	return domain.Verification{Match: match, Stale: match && scheme == "formerly"}, nil
}

func hashed(scheme, password string) domain.PasswordHash {
	sum := sha256.Sum256([]byte(password))
	hash, err := domain.ParsePasswordHash(scheme + "$" + hex.EncodeToString(sum[:]))
	if err != nil {
		panic(err)
	}
	return hash
}

const (
	right = "the right password"
	wrong = "the wrong password"
	other = "quite another password"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is an authenticator on one account, ana@example.org or "ana_de_cali", whose password is right.
type fixture struct {
	*domain.Authenticator
	store  *accounts
	hasher *hasher
	ana    domain.ID
	now    time.Time
}

// newFixture has made the decoy already, and emptied the journal.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := newColdFixture(t)
	if _, err := f.Authenticate(t.Context(), "unknown@example.org", wrong); !errors.Is(err, domain.ErrBadCredentials) {
		t.Fatal(err)
	}
	f.store.take()
	return f
}

func newColdFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{now: start}
	clock := func() time.Time { return f.now }
	journal := &journal{}
	f.hasher = &hasher{journal: journal}
	f.store = &accounts{
		journal: journal, clock: clock, states: map[domain.ID]domain.UserState{},
		before: map[string]func(){}, fail: map[string]error{},
	}
	email, err := domain.ParseEmail("ana@example.org")
	if err != nil {
		t.Fatal(err)
	}
	username, err := domain.ParseUsername("ana_de_cali")
	if err != nil {
		t.Fatal(err)
	}
	user, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hashed("today", right)}, start)
	if err != nil {
		t.Fatal(err)
	}
	f.ana = user.ID()
	f.store.states[f.ana] = user.State()
	f.Authenticator, err = domain.NewAuthenticator(f.store, f.hasher, domain.AuthenticationPolicy{
		Lock: domain.LockPolicy{Attempts: 3, Duration: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) state() domain.UserState {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	return f.store.states[f.ana]
}

func (f *fixture) set(change func(*domain.UserState)) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	state := f.store.states[f.ana]
	change(&state)
	f.store.states[f.ana] = state
}

func (f *fixture) wantJournal(t *testing.T, want ...string) {
	t.Helper()
	if got := f.store.take(); !slices.Equal(got, want) {
		t.Errorf("the authenticator did %q, want %q", got, want)
	}
}

func wantKind(t *testing.T, err error, want domain.Kind) {
	t.Helper()
	if got := domain.KindOf(err); got != want || want == "" && err != nil {
		t.Errorf("error: %v, want %q", err, want)
	}
}

func TestAuthenticate(t *testing.T) {
	for _, identifier := range []string{"ana@example.org", " Ana@EXAMPLE.org", "ana_de_cali", "ANA_de_Cali"} {
		f := newFixture(t)
		f.set(func(s *domain.UserState) { s.FailedLoginAttempts = 2 })
		user, err := f.Authenticate(t.Context(), identifier, right)
		wantKind(t, err, "")
		f.wantJournal(t, "find", "verify", "success")
		if user.ID() != f.ana || user.FailedLoginAttempts() != 0 || user.LastLogin() != start || user.State().PasswordHash != hashed("today", right) {
			t.Errorf("%q gets %+v", identifier, user.State())
		}
	}
}

// A guess costs the same hash, whatever is wrong with it.
func TestAuthenticateRefusalsCostTheSame(t *testing.T) {
	junk, err := domain.ParsePasswordHash("junk")
	if err != nil {
		t.Fatal(err)
	}
	stored := func(hash domain.PasswordHash) func(*domain.UserState) {
		return func(s *domain.UserState) { s.PasswordHash = hash }
	}
	nothing := func(*domain.UserState) {}
	tests := []struct {
		name                 string
		identifier, password string
		set                  func(*domain.UserState)
		steps                []string
	}{
		{"wrong password", "ana_de_cali", wrong, nothing, []string{"find", "verify", "failure"}},
		{"wrong password, stale hash", "ana_de_cali", wrong, stored(hashed("formerly", right)), []string{"find", "verify", "failure"}},
		{"wrong password, inactive", "ana_de_cali", wrong, func(s *domain.UserState) { s.Active = false }, []string{"find", "verify", "failure"}},
		{"hash that cannot be verified", "ana_de_cali", right, stored(junk), []string{"find", "verify", "failure"}},
		{"no password", "ana_de_cali", right, stored(domain.NoPassword()), []string{"find", "verify", "failure"}},
		{"no password, as it is stored", "ana_de_cali", domain.NoPassword().Stored(), stored(domain.NoPassword()), []string{"find", "verify", "failure"}},
		{"hash absent", "ana_de_cali", right, stored(domain.PasswordHash{}), []string{"find", "verify", "failure"}},
		{
			"password that the hash cannot carry", "ana_de_cali", strings.Repeat("x", 73), stored(hashed("formerly", right)),
			[]string{"find", "verify", "failure"},
		},
		{"unknown username", "unknown", wrong, nothing, []string{"find", "verify"}},
		{"unknown address", "unknown@example.org", wrong, nothing, []string{"find", "verify"}},
		{"right password of another", "unknown", right, nothing, []string{"find", "verify"}},
		// A sender of these knows that no account has them, so there is nothing to find.
		{"malformed address", "unknown@", wrong, nothing, []string{"verify"}},
		{"malformed username", "no body", wrong, nothing, []string{"verify"}},
		{"empty identifier", "", wrong, nothing, []string{"verify"}},
		{"an id", domain.NewID().String(), wrong, nothing, []string{"verify"}},
		{"endless identifier", strings.Repeat("x", 1<<20), wrong, nothing, []string{"verify"}},
		// No hash is made of these.
		{"endless password", "ana_de_cali", strings.Repeat("x", 1025), nothing, []string{"find", "failure"}},
		{"endless password, stale hash", "ana_de_cali", strings.Repeat("x", 1025), stored(hashed("formerly", right)), []string{"find", "failure"}},
		{"endless password, unknown username", "unknown", strings.Repeat("x", 1025), nothing, []string{"find"}},
	}
	var text string
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.set(test.set)
			user, err := f.Authenticate(t.Context(), test.identifier, test.password)
			wantKind(t, err, domain.ErrBadCredentials)
			if user != nil {
				t.Errorf("an account was returned: %v", user)
			}
			if text == "" {
				text = err.Error()
			}
			if err.Error() != text {
				t.Errorf("error: %q, but others read %q", err, text)
			}
			f.wantJournal(t, test.steps...)
			counted := 0
			if test.identifier == "ana_de_cali" {
				counted = 1
			}
			if got := f.state().FailedLoginAttempts; got != counted {
				t.Errorf("%d failures counted, want %d", got, counted)
			}
		})
	}
}

// The first sign-in makes the decoy, also of an unknown account.
func TestFirstSignInMakesTheDecoy(t *testing.T) {
	steps := map[string][]string{"ana_de_cali": {"find", "verify", "success"}, "unknown": {"find", "verify"}}
	for identifier, steps := range steps {
		f := newColdFixture(t)
		_, _ = f.Authenticate(t.Context(), identifier, right)
		f.wantJournal(t, append([]string{"hash"}, steps...)...)
		_, _ = f.Authenticate(t.Context(), identifier, right)
		f.wantJournal(t, steps...)
	}
}

func TestDecoyIsMadeOnce(t *testing.T) {
	f := newColdFixture(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.hasher.fail = func(context.Context) error {
		once.Do(func() {
			close(begun)
			<-finish
		})
		return nil
	}
	var group sync.WaitGroup
	group.Go(func() {
		_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
		wantKind(t, err, "")
	})
	<-begun

	// While it is being made, a sign-in whose context has ended does not wait for it.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Authenticate(ended, "ana_de_cali", right); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v, want %v", err, context.Canceled)
	}
	for range 8 {
		group.Go(func() {
			_, err := f.Authenticate(t.Context(), "unknown", right)
			wantKind(t, err, domain.ErrBadCredentials)
		})
	}
	close(finish)
	group.Wait()
	hashes := 0
	for _, step := range f.store.take() {
		if step == "hash" {
			hashes++
		}
	}
	if hashes != 1 {
		t.Errorf("%d decoys were made", hashes)
	}
}

func TestDecoyIsMadeAgainAfterAFailure(t *testing.T) {
	f := newColdFixture(t)
	full := errors.New("no memory")
	f.hasher.fail = func(context.Context) error { return full }
	if _, err := f.Authenticate(t.Context(), "ana_de_cali", right); !errors.Is(err, full) {
		t.Errorf("error: %v, want %v", err, full)
	}
	f.wantJournal(t, "hash")
	f.hasher.fail = nil
	_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
	wantKind(t, err, "")
	f.wantJournal(t, "hash", "find", "verify", "success")
}

// Counting a failure takes a statement, which is waited for where there is nothing to count too.
func TestUnknownAccountTakesAsLongAsAWrongPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		refused := func(ctx context.Context, identifier string) (time.Duration, error) {
			begin := time.Now()
			_, err := f.Authenticate(ctx, identifier, wrong)
			return time.Since(begin), err
		}
		for _, statement := range []time.Duration{7 * time.Millisecond, 3 * time.Millisecond} {
			f.store.before["failure"] = func() { time.Sleep(statement) }
			for _, identifier := range []string{"ana_de_cali", "unknown", "unknown@"} {
				took, err := refused(t.Context(), identifier)
				wantKind(t, err, domain.ErrBadCredentials)
				if took != statement {
					t.Errorf("%q was refused after %v, want %v", identifier, took, statement)
				}
			}
		}

		// One slow statement does not make every mistyped name as slow.
		f.store.before["success"] = func() { time.Sleep(time.Minute) }
		_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
		wantKind(t, err, "")
		if took, _ := refused(t.Context(), "unknown"); took != 100*time.Millisecond {
			t.Errorf("refused after %v, want 100ms", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if took, err := refused(ctx, "unknown"); took != time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error after %v: %v, want %v", took, err, context.DeadlineExceeded)
		}
	})
}

// With RefusalTime every refusal takes that long, whatever was computed; nothing else does.
func TestRefusalTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var err error
		f.Authenticator, err = domain.NewAuthenticator(f.store, f.hasher, domain.AuthenticationPolicy{RefusalTime: time.Second})
		wantKind(t, err, "")
		_, err = f.Authenticate(t.Context(), "ana_de_cali", right) // makes the decoy
		wantKind(t, err, "")
		costs := map[string]time.Duration{"ana_de_cali": 700 * time.Millisecond, "unknown": 30 * time.Millisecond, "unknown@": 0}
		for identifier, cost := range costs {
			f.hasher.fail = func(context.Context) error { time.Sleep(cost); return nil }
			begin := time.Now()
			_, err := f.Authenticate(t.Context(), identifier, wrong)
			wantKind(t, err, domain.ErrBadCredentials)
			if took := time.Since(begin); took != time.Second {
				t.Errorf("%q was refused after %v, want 1s", identifier, took)
			}
		}
		f.hasher.fail = nil
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := f.Authenticate(ctx, "unknown@", wrong); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 500*time.Millisecond {
			t.Errorf("error after %v: %v", time.Since(begin), err)
		}
		f.hasher.fail = func(context.Context) error { time.Sleep(2 * time.Second); return nil }
		begin = time.Now()
		_, err = f.Authenticate(t.Context(), "unknown", wrong)
		wantKind(t, err, domain.ErrBadCredentials)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("a slow refusal took %v, want 2s", took)
		}
		f.hasher.fail = nil
		begin = time.Now()
		_, err = f.Authenticate(t.Context(), "ana_de_cali", right)
		wantKind(t, err, "")
		if took := time.Since(begin); took != 0 {
			t.Errorf("a sign-in took %v", took)
		}
	})
}

func TestLock(t *testing.T) {
	f := newFixture(t)
	for range 3 { // the third one sets the lock
		_, err := f.Authenticate(t.Context(), "ana_de_cali", wrong)
		wantKind(t, err, domain.ErrBadCredentials)
		f.wantJournal(t, "find", "verify", "failure")
	}
	until := start.Add(time.Minute)
	for _, password := range []string{wrong, right} {
		_, err := f.Authenticate(t.Context(), "ana_de_cali", password)
		var refusal *domain.Error
		if !errors.As(err, &refusal) || refusal.Kind != domain.ErrLocked || refusal.Until != until {
			t.Errorf("error: %#v, want %s until %v", err, domain.ErrLocked, until)
		}
		f.wantJournal(t, "find")
	}
	if got := f.state().FailedLoginAttempts; got != 3 {
		t.Errorf("%d failures counted, want 3", got)
	}

	f.now = until
	user, err := f.Authenticate(t.Context(), "ana_de_cali", right)
	wantKind(t, err, "")
	if user.FailedLoginAttempts() != 0 || !user.LockedUntil().IsZero() {
		t.Errorf("after the lock: %+v", user.State())
	}
}

// A guess that was under way when another one set the lock gets the lock's answer, wrong or right.
func TestLockDuringVerification(t *testing.T) {
	for password, step := range map[string]string{wrong: "failure", right: "success"} {
		f := newFixture(t)
		until := start.Add(time.Hour)
		f.store.before[step] = func() { f.set(func(s *domain.UserState) { s.LockedUntil = until }) }
		_, err := f.Authenticate(t.Context(), "ana_de_cali", password)
		var refusal *domain.Error
		if !errors.As(err, &refusal) || refusal.Kind != domain.ErrLocked || refusal.Until != until {
			t.Errorf("error: %#v, want %s until %v", err, domain.ErrLocked, until)
		}
		f.wantJournal(t, "find", "verify", step)
	}
}

func TestInactive(t *testing.T) {
	f := newFixture(t)
	f.set(func(s *domain.UserState) { s.Active, s.FailedLoginAttempts = false, 2 })
	_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
	wantKind(t, err, domain.ErrInactive)
	if got := f.state(); got.FailedLoginAttempts != 2 || !got.LastLogin.IsZero() {
		t.Errorf("changed: %+v", got)
	}
}

func TestStaleHashIsReplaced(t *testing.T) {
	f := newFixture(t)
	f.set(func(s *domain.UserState) { s.PasswordHash = hashed("formerly", right) })
	user, err := f.Authenticate(t.Context(), "ana_de_cali", right)
	wantKind(t, err, "")
	f.wantJournal(t, "find", "verify", "hash", "success")
	if user.State().PasswordHash != hashed("today", right) || f.state().PasswordHash != hashed("today", right) {
		t.Errorf("stored: %+v", user.State())
	}
}

func TestHashReplacedMeanwhile(t *testing.T) {
	t.Run("by a sign-in", func(t *testing.T) {
		f := newFixture(t)
		f.set(func(s *domain.UserState) { s.PasswordHash = hashed("formerly", right) })
		f.store.before["success"] = func() { f.set(func(s *domain.UserState) { s.PasswordHash = hashed("today", right) }) }
		_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
		wantKind(t, err, "")
		f.wantJournal(t, "find", "verify", "hash", "success", "find", "verify", "success")
	})
	t.Run("by another password", func(t *testing.T) {
		f := newFixture(t)
		f.store.before["success"] = func() { f.set(func(s *domain.UserState) { s.PasswordHash = hashed("today", other) }) }
		_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
		wantKind(t, err, domain.ErrBadCredentials)
		f.wantJournal(t, "find", "verify", "success", "find", "verify", "failure")
	})
	t.Run("all the time", func(t *testing.T) {
		f := newFixture(t)
		f.store.fail["success"] = fmt.Errorf("record sign-in: %w", domain.ErrConflict)
		_, err := f.Authenticate(t.Context(), "ana_de_cali", right)
		wantKind(t, err, domain.ErrConflict)
		f.wantJournal(t, "find", "verify", "success", "find", "verify", "success", "find", "verify", "success")
	})
}

func TestAccountDeletedDuringSignIn(t *testing.T) {
	for password, step := range map[string]string{wrong: "failure", right: "success"} {
		f := newFixture(t)
		f.store.before[step] = func() {
			f.store.mu.Lock()
			defer f.store.mu.Unlock()
			delete(f.store.states, f.ana)
		}
		_, err := f.Authenticate(t.Context(), "ana_de_cali", password)
		wantKind(t, err, domain.ErrBadCredentials)
		f.wantJournal(t, "find", "verify", step)
	}
}

// What is not about the credentials is no refusal of them.
func TestOtherErrorsPass(t *testing.T) {
	for _, step := range []string{"find", "failure"} {
		f := newFixture(t)
		f.store.fail[step] = fmt.Errorf("%s: %w", step, domain.ErrUnavailable)
		_, err := f.Authenticate(t.Context(), "ana_de_cali", wrong)
		wantKind(t, err, domain.ErrUnavailable)
	}
	for _, identifier := range []string{"ana_de_cali", "unknown"} {
		f := newFixture(t)
		ctx, cancel := context.WithCancel(t.Context())
		f.hasher.fail = func(context.Context) error { cancel(); return nil }
		if _, err := f.Authenticate(ctx, identifier, wrong); !errors.Is(err, context.Canceled) || domain.KindOf(err) != "" {
			t.Errorf("error: %v, want %v", err, context.Canceled)
		}
		f.wantJournal(t, "find", "verify")
	}
}

func TestChangePassword(t *testing.T) {
	f := newFixture(t)
	user, err := f.ChangePassword(t.Context(), f.ana, right, other, domain.SessionID{})
	wantKind(t, err, "")
	f.wantJournal(t, "find", "verify", "success", "hash", "set")
	if user.State().PasswordHash != hashed("today", other) || f.state().PasswordHash != hashed("today", other) {
		t.Errorf("stored: %+v", f.state())
	}
}

func TestChangePasswordRefused(t *testing.T) {
	tests := []struct {
		name          string
		set           func(*domain.UserState)
		current, next string
		kind          domain.Kind
		steps         []string
		counted       int
	}{
		{"wrong current one", func(*domain.UserState) {}, wrong, other, domain.ErrBadCredentials, []string{"find", "verify", "failure"}, 1},
		{
			"locked", func(s *domain.UserState) { s.LockedUntil = start.Add(time.Hour) }, right, other,
			domain.ErrLocked, []string{"find"}, 0,
		},
		{
			"inactive", func(s *domain.UserState) { s.Active = false }, right, other,
			domain.ErrInactive, []string{"find", "verify", "success"}, 0,
		},
		{"too short", func(*domain.UserState) {}, wrong, "short", domain.ErrInvalid, []string{"find"}, 0},
		{"own name", func(*domain.UserState) {}, right, "Ana_de_Cali", domain.ErrInvalid, []string{"find"}, 0},
		{"own address", func(*domain.UserState) {}, right, "ANA@example.org", domain.ErrInvalid, []string{"find"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.set(test.set)
			_, err := f.ChangePassword(t.Context(), f.ana, test.current, test.next, domain.SessionID{})
			wantKind(t, err, test.kind)
			f.wantJournal(t, test.steps...)
			if got := f.state(); got.PasswordHash != hashed("today", right) || got.FailedLoginAttempts != test.counted {
				t.Errorf("stored: %+v", got)
			}
		})
	}
	t.Run("unknown", func(t *testing.T) {
		f := newFixture(t)
		_, err := f.ChangePassword(t.Context(), domain.NewID(), right, other, domain.SessionID{})
		wantKind(t, err, domain.ErrNotFound)
	})
	t.Run("changed meanwhile", func(t *testing.T) {
		f := newFixture(t)
		f.store.before["set"] = func() { f.set(func(s *domain.UserState) { s.PasswordHash = hashed("today", "a third password") }) }
		_, err := f.ChangePassword(t.Context(), f.ana, right, other, domain.SessionID{})
		wantKind(t, err, domain.ErrConflict)
		if f.state().PasswordHash != hashed("today", "a third password") {
			t.Errorf("stored: %+v", f.state())
		}
	})
}

func TestSetPassword(t *testing.T) {
	f := newFixture(t)
	f.set(func(s *domain.UserState) { s.LockedUntil = start.Add(time.Hour) })
	_, err := f.SetPassword(t.Context(), f.ana, other)
	wantKind(t, err, "")
	f.wantJournal(t, "find", "hash", "set")
	_, err = f.Authenticate(t.Context(), "ana_de_cali", other)
	wantKind(t, err, "")

	f.store.take()
	_, err = f.SetPassword(t.Context(), f.ana, "ana_de_cali")
	wantInvalid(t, err, "password", "is the account's own e-mail address or username")
	_, err = f.SetPassword(t.Context(), domain.NewID(), other)
	wantKind(t, err, domain.ErrNotFound)
	f.wantJournal(t, "find", "find")
}

func TestHashPassword(t *testing.T) {
	f := newFixture(t)
	hash, err := f.HashPassword(t.Context(), other, "ana_de_cali")
	wantKind(t, err, "")
	if hash != hashed("today", other) {
		t.Error("another hash")
	}
	f.store.take()
	_, err = f.HashPassword(t.Context(), "ana_de_cali", "ana_de_cali")
	wantKind(t, err, domain.ErrInvalid)
	f.wantJournal(t)
}

func TestReset(t *testing.T) {
	f := newFixture(t)
	issued, err := f.IssueReset(t.Context(), f.ana, 0)
	wantKind(t, err, "")
	if want := start.Add(15 * time.Minute); issued.ExpiresAt != want || f.state().ResetTokenExpiry != want {
		t.Errorf("expires at %v, stored %v, want %v", issued.ExpiresAt, f.state().ResetTokenExpiry, want)
	}
	if issued.Email != f.state().Email {
		t.Errorf("belongs to %s", issued.Email)
	}
	f.wantJournal(t, "issue reset")

	_, err = f.Reset(t.Context(), issued.Token, "password1")
	wantInvalid(t, err, "password", "is a common password")
	f.wantJournal(t)
	user, err := f.Reset(t.Context(), issued.Token, other)
	wantKind(t, err, "")
	f.wantJournal(t, "hash", "reset")
	if user.State().PasswordHash != hashed("today", other) {
		t.Errorf("stored: %+v", user.State())
	}
	_, err = f.Reset(t.Context(), issued.Token, right)
	wantKind(t, err, domain.ErrTokenInvalid)

	issued, err = f.IssueReset(t.Context(), f.ana, time.Minute)
	wantKind(t, err, "")
	f.now = start.Add(time.Minute)
	_, err = f.Reset(t.Context(), issued.Token, right)
	wantKind(t, err, domain.ErrTokenExpired)

	f.store.take()
	_, err = f.Reset(t.Context(), domain.OneTimeToken{}, other)
	wantKind(t, err, domain.ErrTokenInvalid)
	f.wantJournal(t)
}

func TestVerification(t *testing.T) {
	f := newFixture(t)
	issued, err := f.IssueVerification(t.Context(), f.ana, 0)
	wantKind(t, err, "")
	if want := start.Add(24 * time.Hour); issued.ExpiresAt != want || f.state().VerificationTokenExpiry != want {
		t.Errorf("expires at %v, stored %v, want %v", issued.ExpiresAt, f.state().VerificationTokenExpiry, want)
	}
	confirmed, err := f.ConfirmEmail(t.Context(), issued.Token)
	wantKind(t, err, "")
	if !confirmed.User.IsVerified() || confirmed.Already || confirmed.Email != issued.Email || issued.Email != f.state().Email {
		t.Errorf("confirmed %+v of %s", confirmed, issued.Email)
	}
	confirmed, err = f.ConfirmEmail(t.Context(), issued.Token)
	wantKind(t, err, "")
	if !confirmed.Already || confirmed.Email != issued.Email {
		t.Errorf("confirmed again %+v", confirmed)
	}
	f.wantJournal(t, "issue verification", "confirm", "confirm")
	for token, steps := range map[domain.OneTimeToken][]string{{}: nil, domain.NewOneTimeToken(): {"confirm"}} {
		_, err = f.ConfirmEmail(t.Context(), token)
		wantKind(t, err, domain.ErrTokenInvalid)
		f.wantJournal(t, steps...)
	}
}

func TestRequestEmail(t *testing.T) {
	f := newFixture(t)
	email, err := domain.ParseEmail("next@example.org")
	if err != nil {
		t.Fatal(err)
	}
	present := f.state().Email
	issued, err := f.RequestEmail(t.Context(), f.ana, email, time.Hour)
	wantKind(t, err, "")
	if issued.Email != email || issued.ExpiresAt != start.Add(time.Hour) || f.state().Email != present {
		t.Errorf("issued for %s until %v; the address is %s", issued.Email, issued.ExpiresAt, f.state().Email)
	}
	again, err := f.IssueVerification(t.Context(), f.ana, 0)
	wantKind(t, err, "")
	if again.Email != email {
		t.Errorf("issued again for %s", again.Email)
	}
	_, err = f.ConfirmEmail(t.Context(), issued.Token)
	wantKind(t, err, domain.ErrTokenInvalid)
	confirmed, err := f.ConfirmEmail(t.Context(), again.Token)
	wantKind(t, err, "")
	if confirmed.Email != email || f.state().Email != email {
		t.Errorf("confirmed %s; the address is %s", confirmed.Email, f.state().Email)
	}
}

// The address is the one that the step that stored the token has seen, not one that was read before.
func TestAnIssuedTokenBelongsToTheAddressOfTheStepThatStoredIt(t *testing.T) {
	f := newFixture(t)
	next, err := domain.ParseEmail("next@example.org")
	if err != nil {
		t.Fatal(err)
	}
	change := func() { f.set(func(s *domain.UserState) { s.Email = next }) }
	f.store.before["issue reset"], f.store.before["issue verification"] = change, change
	for _, issue := range []func(context.Context, domain.ID, time.Duration) (domain.IssuedToken, error){f.IssueReset, f.IssueVerification} {
		if issued, err := issue(t.Context(), f.ana, 0); err != nil || issued.Email != next {
			t.Errorf("issued for %s, %v", issued.Email, err)
		}
	}
}

// The number is the one that the step that stored the code has seen, and a code is good for its account alone.
func TestPhoneCode(t *testing.T) {
	f := newFixture(t)
	numbers := make([]domain.Phone, 2)
	for i, text := range []string{"+573001112233", "+573001112234"} {
		var err error
		if numbers[i], err = domain.ParsePhone(text); err != nil {
			t.Fatal(err)
		}
	}
	f.set(func(s *domain.UserState) { s.Phone = numbers[0] })
	f.store.before["issue phone code"] = func() { f.set(func(s *domain.UserState) { s.Phone = numbers[1] }) }
	issued, err := f.IssuePhoneCode(t.Context(), f.ana, 0)
	wantKind(t, err, "")
	if issued.Phone != numbers[1] || issued.ExpiresAt != start.Add(10*time.Minute) || f.state().PhoneCode != issued.Code.Digest(f.ana) {
		t.Errorf("issued for %s until %v", issued.Phone, issued.ExpiresAt)
	}
	confirmed, err := f.ConfirmPhone(t.Context(), f.ana, issued.Code)
	wantKind(t, err, "")
	if confirmed.Phone != numbers[1] || confirmed.User.PhoneVerifiedAt() != start {
		t.Errorf("confirmed %+v", confirmed)
	}
	f.wantJournal(t, "issue phone code", "confirm phone")
	_, err = f.ConfirmPhone(t.Context(), f.ana, domain.PhoneCode{})
	wantKind(t, err, domain.ErrTokenInvalid)
	for _, ttl := range []time.Duration{-1, 10*time.Minute + 1} {
		_, err = f.IssuePhoneCode(t.Context(), f.ana, ttl)
		wantInvalid(t, err, "ttl", "is not more than 0 and at most 10 minutes")
	}
	f.wantJournal(t)
	_, err = f.IssuePhoneCode(t.Context(), domain.NewID(), 0)
	wantKind(t, err, domain.ErrNotFound)
}

func TestTokenTTL(t *testing.T) {
	f := newFixture(t)
	issuers := []func(context.Context, domain.ID, time.Duration) (domain.IssuedToken, error){
		f.IssueReset, f.IssueVerification,
		func(ctx context.Context, id domain.ID, ttl time.Duration) (domain.IssuedToken, error) {
			return f.RequestEmail(ctx, id, f.state().Email, ttl)
		},
	}
	for _, issue := range issuers {
		for ttl, reason := range map[time.Duration]string{-1: "is negative", 7*24*time.Hour + 1: "is longer than 7 days"} {
			issued, err := issue(t.Context(), f.ana, ttl)
			wantInvalid(t, err, "ttl", reason)
			if !issued.Token.IsZero() {
				t.Error("a token was returned")
			}
		}
		f.wantJournal(t)
		issued, err := issue(t.Context(), f.ana, 7*24*time.Hour)
		wantKind(t, err, "")
		if want := start.Add(7 * 24 * time.Hour); issued.ExpiresAt != want {
			t.Errorf("expires at %v, want %v", issued.ExpiresAt, want)
		}
		issued, err = issue(t.Context(), domain.NewID(), 0)
		wantKind(t, err, domain.ErrNotFound)
		if !issued.Token.IsZero() {
			t.Error("a token was returned")
		}
		f.store.take()
	}
}

func TestAddPassword(t *testing.T) {
	f := newFixture(t)
	_, err := f.AddPassword(t.Context(), f.ana, other, domain.SessionID{})
	wantKind(t, err, domain.ErrConflict)
	f.wantJournal(t, "find")
	f.set(func(s *domain.UserState) { s.PasswordHash = domain.NoPassword() })
	_, err = f.AddPassword(t.Context(), f.ana, "password1", domain.SessionID{})
	wantInvalid(t, err, "password", "is a common password")
	f.store.take()
	f.store.before["set"] = func() { f.set(func(s *domain.UserState) { s.PasswordHash = hashed("today", right) }) }
	_, err = f.AddPassword(t.Context(), f.ana, other, domain.SessionID{})
	wantKind(t, err, domain.ErrConflict)
	f.set(func(s *domain.UserState) { s.PasswordHash = domain.NoPassword() })
	delete(f.store.before, "set")
	user, err := f.AddPassword(t.Context(), f.ana, other, domain.SessionID{})
	wantKind(t, err, "")
	if user.State().PasswordHash != hashed("today", other) {
		t.Errorf("stored: %+v", user.State())
	}
	_, err = f.AddPassword(t.Context(), domain.NewID(), other, domain.SessionID{})
	wantKind(t, err, domain.ErrNotFound)
}

// A telephone number in international form is an identifier too, however it is written.
func TestSignInByPhone(t *testing.T) {
	f := newFixture(t)
	phone, err := domain.ParsePhone("+573001112233")
	if err != nil {
		t.Fatal(err)
	}
	f.set(func(s *domain.UserState) { s.Phone = phone })
	for _, identifier := range []string{"+573001112233", " +57 (300) 111-22-33 "} {
		user, err := f.Authenticate(t.Context(), identifier, right)
		wantKind(t, err, "")
		if user.ID() != f.ana {
			t.Errorf("%q signs in to %s", identifier, user)
		}
	}
	f.store.take()
	for _, identifier := range []string{"573001112233", "+573001112234", "+57 300", "+"} {
		_, err := f.Authenticate(t.Context(), identifier, right)
		wantKind(t, err, domain.ErrBadCredentials)
	}
}

func TestAuthenticationPolicyBounds(t *testing.T) {
	tests := []struct {
		policy domain.AuthenticationPolicy
		field  string
	}{
		{domain.AuthenticationPolicy{Lock: domain.LockPolicy{Attempts: 101}}, "attempts"},
		{domain.AuthenticationPolicy{Lock: domain.LockPolicy{Duration: -1}}, "lock_for"},
		{domain.AuthenticationPolicy{Password: domain.PasswordPolicy{MinLength: 6}}, "min_length"},
		{domain.AuthenticationPolicy{ResetTTL: -1}, "reset_ttl"},
		{domain.AuthenticationPolicy{RefusalTime: -1}, "refusal_time"},
		{domain.AuthenticationPolicy{RefusalTime: 10*time.Second + 1}, "refusal_time"},
		{domain.AuthenticationPolicy{ResetTTL: 8 * 24 * time.Hour}, "reset_ttl"},
		{domain.AuthenticationPolicy{VerificationTTL: 8 * 24 * time.Hour}, "verification_ttl"},
		{domain.AuthenticationPolicy{PhoneCodeTTL: 10*time.Minute + 1}, "phone_code_ttl"},
		{domain.AuthenticationPolicy{PhoneCodeTTL: -1}, "phone_code_ttl"},
	}
	for _, test := range tests {
		_, err := domain.NewAuthenticator(&accounts{}, &hasher{}, test.policy)
		var refusal *domain.Error
		if !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != test.field {
			t.Errorf("%+v: %v, want %s on %s", test.policy, err, domain.ErrInvalid, test.field)
		}
	}
}

func TestAnAuthenticatorDemandsARepositoryAndAHasher(t *testing.T) {
	_, err := domain.NewAuthenticator(nil, &hasher{}, domain.AuthenticationPolicy{})
	refused(t, err, "repository")
	_, err = domain.NewAuthenticator(&accounts{}, nil, domain.AuthenticationPolicy{})
	refused(t, err, "hasher")
	_, err = domain.NewAuthenticator(nil, nil, domain.AuthenticationPolicy{})
	refused(t, err, "repository")
}

func refused(t *testing.T, err error, field string) {
	t.Helper()
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != field {
		t.Errorf("%v, want %s on %s", err, domain.ErrInvalid, field)
	}
}

// Neither errors nor logs, however they are written, hold a password, a token or a hash.
func TestSecretsAreNotTold(t *testing.T) {
	f := newFixture(t)
	var printed bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&printed, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tell := func(value any) {
		fmt.Fprintf(&printed, "%v\n%+v\n%#v\n%s\n%q\n%x\n", value, value, value, value, value, value)
		log.Debug("printed", "value", value)
	}
	common := "iloveyou"
	reset, err := f.IssueReset(t.Context(), f.ana, 0)
	tell([]any{reset, err})
	confirmation, err := f.IssueVerification(t.Context(), f.ana, 0)
	tell([]any{confirmation, err})
	token, verification := reset.Token, confirmation.Token
	secrets := []string{
		right, wrong, other, common, token.Reveal(), token.Digest().Stored(), verification.Reveal(), verification.Digest().Stored(),
		hashed("today", right).Stored(), hashed("today", other).Stored(),
	}
	for range 4 {
		user, err := f.Authenticate(t.Context(), "ana_de_cali", wrong)
		tell([]any{user, err})
		tell(err)
	}
	attempts := []func() (*domain.User, error){
		func() (*domain.User, error) {
			return f.ChangePassword(t.Context(), f.ana, right, other, domain.SessionID{}) // locked
		},
		func() (*domain.User, error) { return f.SetPassword(t.Context(), f.ana, common) },
		func() (*domain.User, error) { return f.SetPassword(t.Context(), f.ana, other) },
		func() (*domain.User, error) { return f.Authenticate(t.Context(), wrong, other) },
		func() (*domain.User, error) { return f.Authenticate(t.Context(), "ana_de_cali", other) },
		func() (*domain.User, error) { return f.Reset(t.Context(), token, common) },
		func() (*domain.User, error) { return f.Reset(t.Context(), domain.NewOneTimeToken(), other) },
		func() (*domain.User, error) { c, err := f.ConfirmEmail(t.Context(), token); return c.User, err },
		func() (*domain.User, error) { c, err := f.ConfirmEmail(t.Context(), verification); return c.User, err },
	}
	for _, attempt := range attempts {
		user, err := attempt()
		tell([]any{user, err})
		tell(err)
		tell(user)
	}
	hash, err := f.HashPassword(t.Context(), other)
	tell([]any{hash, err})
	tell(f.state())

	for _, secret := range secrets {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret))} {
			if strings.Contains(printed.String(), form) {
				t.Errorf("%q was printed", secret)
			}
		}
	}
	if !strings.Contains(printed.String(), "no such account, or a wrong password") || !strings.Contains(printed.String(), "[redacted]") {
		t.Error("nothing was printed at all")
	}
}
