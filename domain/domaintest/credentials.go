package domaintest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/softbee/accounts/domain"
)

// locked demands the refusal of a lock that ends then.
func (r *contractTest) locked(what string, err error, until time.Time) {
	r.Helper()
	r.refused(what, err, domain.ErrLocked, "")
	var e *domain.Error
	if errors.As(err, &e) && (!e.Until.Equal(until) || e.Until != storedTime(e.Until)) {
		r.Errorf("%s: locked until %v, want %v in UTC", what, e.Until, until)
	}
}

// fail records failures and returns the account after the last.
func (r *contractTest) fail(id domain.ID, policy domain.LockPolicy, times int) (s domain.UserState) {
	r.Helper()
	for range times {
		s = must(r.RecordFailure(r.Context(), id, policy))(r).State()
	}
	return s
}

// oneTime is a kind of one-time token.
type oneTime struct {
	name    string
	issue   func(id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error)
	consume func(digest domain.TokenDigest) (*domain.User, error)
}

func (r *contractTest) oneTimeTokens() []oneTime {
	return []oneTime{
		{"reset", func(id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
			return r.IssueReset(r.Context(), id, digest, expiry)
		}, func(digest domain.TokenDigest) (*domain.User, error) {
			return r.ConsumeReset(r.Context(), digest, r.hash("of-the-reset"))
		}},
		{"verification", func(id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
			return r.IssueVerification(r.Context(), id, digest, expiry)
		}, func(digest domain.TokenDigest) (*domain.User, error) {
			c, err := r.ConsumeVerification(r.Context(), digest)
			return c.User, err
		}},
	}
}

// issued returns the digest of a new one-time token of an account, good for an hour.
func (r *contractTest) issued(kind oneTime, id domain.ID) domain.TokenDigest {
	r.Helper()
	digest := domain.NewOneTimeToken().Digest()
	must(kind.issue(id, digest, r.clock.Now().Add(time.Hour)))(r)
	return digest
}

// dead demands that a one-time token is not accepted and changes nothing.
func (r *contractTest) dead(what string, kind oneTime, digest domain.TokenDigest) {
	r.Helper()
	r.changesNothing(kind.name+" token "+what, domain.ErrTokenInvalid, "token", func() error {
		u, err := kind.consume(digest)
		if u != nil {
			r.Errorf("an account and %v", err)
		}
		return err
	})
}

var credentials = []behaviour{
	{"RecordFailure counts up to the lock, which refuses more and counts nothing", func(r *contractTest) {
		id := r.add("ana")
		policy := domain.LockPolicy{Attempts: 3, Duration: time.Hour}
		for n := 1; n <= 2; n++ {
			if s := r.fail(id, policy, 1); s.FailedLoginAttempts != n || !s.LockedUntil.IsZero() {
				r.Errorf("failure %d: %d counted, locked until %v", n, s.FailedLoginAttempts, s.LockedUntil)
			}
		}
		until := storedTime(r.clock.Now().Add(time.Hour))
		if s := r.fail(id, policy, 1); s.FailedLoginAttempts != 3 || !s.LockedUntil.Equal(until) {
			r.Errorf("failure 3: %d counted, locked until %v, want %v", s.FailedLoginAttempts, s.LockedUntil, until)
		}
		for _, wait := range []time.Duration{0, time.Minute, time.Hour - time.Minute - time.Microsecond} {
			r.clock.Advance(wait)
			r.changesNothing("locked", domain.ErrLocked, "", func() error {
				_, err := r.RecordFailure(r.Context(), id, policy)
				r.locked("failure", err, until)
				return err
			})
		}
	}},
	{"RecordFailure counts from one once the lock has ended, and can lock again", func(r *contractTest) {
		id := r.add("ana")
		policy := domain.LockPolicy{Attempts: 2, Duration: time.Hour}
		for range 3 {
			until := r.fail(id, policy, 2).LockedUntil
			r.clock.Advance(time.Hour)
			if r.state(id).LockedUntil != until || r.clock.stored() != until {
				r.Fatalf("now it is %v, and not the end %v of the lock", r.clock.stored(), until)
			}
			if s := r.fail(id, policy, 1); s.FailedLoginAttempts != 1 || !s.LockedUntil.IsZero() {
				r.Errorf("%d counted, locked until %v", s.FailedLoginAttempts, s.LockedUntil)
			}
			must(r.Unlock(r.Context(), id))(r)
		}
		policy.Attempts = 1
		r.fail(id, policy, 1)
		r.clock.Advance(time.Hour)
		if s := r.fail(id, policy, 1); s.FailedLoginAttempts != 1 || !s.LockedUntil.Equal(storedTime(r.clock.Now().Add(time.Hour))) {
			r.Errorf("one attempt: %d counted, locked until %v", s.FailedLoginAttempts, s.LockedUntil)
		}
	}},
	{"RecordFailure locks at five for 15 minutes unless the policy says otherwise", func(r *contractTest) {
		id := r.add("ana")
		if s := r.fail(id, domain.LockPolicy{}, 4); !s.LockedUntil.IsZero() {
			r.Error("locked at four")
		}
		if s := r.fail(id, domain.LockPolicy{}, 1); !s.LockedUntil.Equal(storedTime(r.clock.Now().Add(15 * time.Minute))) {
			r.Errorf("locked until %v", s.LockedUntil)
		}
	}},
	{"RecordFailure locks at once where a stricter policy is exceeded", func(r *contractTest) {
		id := r.add("ana")
		r.fail(id, domain.LockPolicy{Attempts: 100}, 7)
		if s := r.fail(id, domain.LockPolicy{Attempts: 3}, 1); s.FailedLoginAttempts != 8 || s.LockedUntil.IsZero() {
			r.Errorf("%d counted, locked until %v", s.FailedLoginAttempts, s.LockedUntil)
		}
	}},
	{"RecordFailure counts those of an inactive account too", func(r *contractTest) {
		id := r.add("ana")
		must(r.Deactivate(r.Context(), id))(r)
		if s := r.fail(id, domain.LockPolicy{}, 5); s.FailedLoginAttempts != 5 || s.LockedUntil.IsZero() {
			r.Errorf("%d counted, locked until %v", s.FailedLoginAttempts, s.LockedUntil)
		}
	}},
	{"RecordFailure counts no further than the counter goes, and locks there", func(r *contractTest) {
		for i, failures := range []int{domain.MaxFailedLoginAttempts - 1, domain.MaxFailedLoginAttempts} {
			s := r.newAccount(fmt.Sprintf("name-%d", i))
			s.FailedLoginAttempts = failures
			r.create(s)
			policy := domain.LockPolicy{Attempts: 5, Duration: time.Hour}
			for n := range 7 {
				u, err := r.RecordFailure(r.Context(), s.ID, policy)
				if n == 0 && (err != nil || u.FailedLoginAttempts() != domain.MaxFailedLoginAttempts || !u.IsLocked(r.clock.Now())) {
					r.Fatalf("the first guess: %v, %v", u, err)
				}
				if n > 0 {
					r.locked("another guess", err, storedTime(r.clock.Now().Add(time.Hour)))
				}
			}
		}
	}},
	{"RecordFailure counts and never locks where locking is off, and leaves a lock that is in force", func(r *contractTest) {
		id := r.add("ana")
		off := domain.LockPolicy{Attempts: domain.NoLock}
		if s := r.fail(id, off, 150); s.FailedLoginAttempts != 150 || !s.LockedUntil.IsZero() {
			r.Errorf("%d counted, locked until %v", s.FailedLoginAttempts, s.LockedUntil)
		}
		until := r.fail(id, domain.LockPolicy{}, 1).LockedUntil
		r.changesNothing("locked", domain.ErrLocked, "", func() error {
			_, err := r.RecordFailure(r.Context(), id, off)
			r.locked("failure", err, until)
			return err
		})
	}},
	{"LockUntil locks until then, whatever was counted, and refuses no time", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		until := storedTime(r.clock.Now().Add(48 * time.Hour))
		r.fail(s.ID, domain.LockPolicy{}, 2)
		if u := must(r.LockUntil(r.Context(), s.ID, until.In(time.FixedZone("", 3600)).Add(999)))(r); !u.LockedUntil().Equal(until) || u.FailedLoginAttempts() != 2 {
			r.Errorf("locked until %v after %d failures", u.LockedUntil(), u.FailedLoginAttempts())
		}
		r.changesNothing("sign in", domain.ErrLocked, "", func() error {
			_, err := r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, domain.PasswordHash{})
			r.locked("sign in", err, until)
			return err
		})
		r.changesNothing("no time", domain.ErrInvalid, "locked_until", func() error {
			_, err := r.LockUntil(r.Context(), s.ID, time.Time{})
			return err
		})
		r.clock.Advance(48 * time.Hour)
		must(r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, domain.PasswordHash{}))(r)
	}},
	{"an account without a password is stored as such, and gets one once", func(r *contractTest) {
		s := r.newAccount("ana")
		s.PasswordHash = domain.NoPassword()
		r.create(s)
		if u := must(r.FindByID(r.Context(), s.ID))(r); u.HasPassword() {
			r.Error("it has a password")
		}
		if u := must(r.List(r.Context(), domain.ListQuery{}))(r).Users[0]; u.HasPassword() {
			r.Error("it has a password in a list")
		}
		r.changesNothing("sign in", domain.ErrConflict, "hashed_password", func() error {
			_, err := r.RecordSuccess(r.Context(), s.ID, domain.NoPassword(), domain.PasswordHash{})
			return err
		})
		winner := r.winner("add", concurrently(16, func(i int) error {
			_, err := r.SetPassword(r.Context(), s.ID, domain.NoPassword(), r.hash(fmt.Sprint(i)), domain.SessionID{})
			return err
		}), domain.ErrConflict)
		if got := r.state(s.ID); got.PasswordHash != r.hash(fmt.Sprint(winner)) {
			r.Error("another hash than the winner's is stored")
		}
		if u := must(r.List(r.Context(), domain.ListQuery{}))(r).Users[0]; !u.HasPassword() || !u.State().PasswordHash.IsZero() {
			r.Error("the list tells the hash, or that there is none")
		}
		for what, set := range map[string]func() error{
			"SetPassword": func() error {
				_, err := r.SetPassword(r.Context(), s.ID, domain.PasswordHash{}, domain.NoPassword(), domain.SessionID{})
				return err
			},
			"ConsumeReset": func() error {
				_, err := r.ConsumeReset(r.Context(), r.issued(r.oneTimeTokens()[0], s.ID), domain.NoPassword())
				return err
			},
		} {
			r.refused(what, set(), domain.ErrInvalid, "hashed_password")
		}
	}},
	{"RecordFailure refuses a policy out of bounds", func(r *contractTest) {
		id := r.add("ana")
		for _, test := range []struct {
			field  string
			policy domain.LockPolicy
		}{
			{"attempts", domain.LockPolicy{Attempts: -2}},
			{"attempts", domain.LockPolicy{Attempts: 101}},
			{"lock_for", domain.LockPolicy{Duration: -1}},
		} {
			r.changesNothing(fmt.Sprintf("%+v", test.policy), domain.ErrInvalid, test.field, func() error {
				_, err := r.RecordFailure(r.Context(), id, test.policy)
				return err
			})
		}
	}},
	{"RecordFailure by 64 at once, five times each, is exact up to the lock", func(r *contractTest) {
		id := r.add("ana")
		policy := domain.LockPolicy{Attempts: 100, Duration: time.Hour}
		until := storedTime(r.clock.Now().Add(time.Hour))
		counted := make([]int, 64)
		r.noErrors("failure", concurrently(64, func(i int) error {
			for range 5 {
				_, err := r.RecordFailure(r.Context(), id, policy)
				switch {
				case err == nil:
					counted[i]++
				case errors.Is(err, domain.ErrLocked):
					r.locked("failure", err, until)
				default:
					return err
				}
			}
			return nil
		}))
		total := 0
		for _, n := range counted {
			total += n
		}
		if s := r.state(id); total != 100 || s.FailedLoginAttempts != 100 || !s.LockedUntil.Equal(until) || s.Version != 1 {
			r.Errorf("%d of 320 were counted, %d are stored, at version %d, locked until %v; want 100", total, s.FailedLoginAttempts, s.Version, s.LockedUntil)
		}
	}},
	{"RecordSuccess clears the counter, and keeps sessions and tokens", func(r *contractTest) {
		s, token := r.full("ana")
		s.LockedUntil = time.Time{}
		r.create(s)
		better := r.hash("better")
		at := must(r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, better))(r)
		want := s
		want.PasswordHash, want.FailedLoginAttempts, want.LastLogin = better, 0, r.clock.stored()
		want.UpdatedAt = at
		r.equal("after", r.state(s.ID), want)
		if !r.isLive(token) {
			r.Error("the session has ended")
		}
	}},
	{"RecordSuccess is refused to a hash that is no longer there, a locked account and an inactive one", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		better := r.hash("better")
		for _, checked := range []domain.PasswordHash{better, {}, r.hash("ANA"), domain.NoPassword()} {
			r.changesNothing("hash", domain.ErrConflict, "hashed_password", func() error {
				_, err := r.RecordSuccess(r.Context(), s.ID, checked, better)
				return err
			})
		}
		must(r.Deactivate(r.Context(), s.ID))(r)
		r.changesNothing("inactive", domain.ErrInactive, "", func() error {
			_, err := r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, better)
			return err
		})
		must(r.Activate(r.Context(), s.ID))(r)
		until := r.fail(s.ID, domain.LockPolicy{Attempts: 1}, 1).LockedUntil
		r.changesNothing("locked", domain.ErrLocked, "", func() error {
			_, err := r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, better)
			r.locked("success", err, until)
			return err
		})
		r.clock.Advance(domain.DefaultLockDuration)
		must(r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, domain.PasswordHash{}))(r)
		if got := r.state(s.ID); !got.LockedUntil.IsZero() || got.FailedLoginAttempts != 0 {
			r.Errorf("when the lock has ended: %d failures, locked until %v", got.FailedLoginAttempts, got.LockedUntil)
		}
	}},
	{"RecordSuccess never puts back a hash that was replaced meanwhile", func(r *contractTest) {
		old, better := r.hash("old"), r.hash("better")
		for i := range 20 {
			s := r.newAccount(fmt.Sprintf("name-%d", i))
			s.PasswordHash = old
			r.create(s)
			hash := r.hash(fmt.Sprint("new-", i))
			r.noErrors("call", concurrently(2, func(i int) error {
				if i == 0 {
					_, err := r.SetPassword(r.Context(), s.ID, domain.PasswordHash{}, hash, domain.SessionID{})
					return err
				}
				_, err := r.RecordSuccess(r.Context(), s.ID, old, better)
				if errors.Is(err, domain.ErrConflict) {
					return nil
				}
				return err
			}))
			if r.state(s.ID).PasswordHash != hash {
				r.Error("the new hash was lost")
			}
		}
	}},
	{"RecordSuccess beside 32 failures lets none in once the lock is set", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		policy := domain.LockPolicy{Attempts: 5}
		errs := concurrently(33, func(i int) error {
			if i < 32 {
				_, err := r.RecordFailure(r.Context(), s.ID, policy)
				return err
			}
			_, err := r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, domain.PasswordHash{})
			return err
		})
		counted := 0
		for _, err := range errs[:32] {
			if err == nil {
				counted++
			} else {
				r.refused("failure", err, domain.ErrLocked, "")
			}
		}
		if errs[32] != nil {
			r.refused("success", errs[32], domain.ErrLocked, "")
		}
		switch got := r.state(s.ID); {
		case got.FailedLoginAttempts != 5 || got.LockedUntil.IsZero():
			r.Errorf("%d failures are stored, locked until %v", got.FailedLoginAttempts, got.LockedUntil)
		case errs[32] != nil && counted != 5, counted < 5 || counted > 9: // those before the success, and five
			r.Errorf("%d of 32 failures were counted; the success %v", counted, errs[32])
		}
	}},
	{"SetPassword ends all sessions but one, drops the pending tokens and clears the lock", func(r *contractTest) {
		s, mine := r.full("ana")
		r.create(s)
		other := must(r.IssueToken(r.Context(), s.ID, domain.SessionPolicy{}))(r).Token
		r.fail(s.ID, domain.LockPolicy{Attempts: 1}, 1)
		hash := r.hash("new")
		u := must(r.SetPassword(r.Context(), s.ID, s.PasswordHash, hash, mine.SessionID()))(r)
		if got := u.State(); got.PasswordHash != hash || got.FailedLoginAttempts != 0 || !got.LockedUntil.IsZero() || !got.Verified || !got.LastLogin.Equal(s.LastLogin) {
			r.Errorf("after: %+v", got)
		}
		if !r.isLive(mine) || r.isLive(other) {
			r.Error("the wrong session has ended")
		}
		kinds := r.oneTimeTokens()
		r.dead("after a change of password", kinds[0], s.ResetToken)
		r.dead("after a change of password", kinds[1], s.VerificationToken)
		must(r.SetPassword(r.Context(), s.ID, domain.PasswordHash{}, r.hash("newer"), domain.SessionID{}))(r)
		if r.isLive(mine) {
			r.Error("a session was kept that was not to be kept")
		}
	}},
	{"SetPassword refuses a checked hash that is no longer there, and the absent hash", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		for _, checked := range []domain.PasswordHash{r.hash("other"), r.hash("ANA"), r.hash("an_")} {
			r.changesNothing("hash", domain.ErrConflict, "hashed_password", func() error {
				_, err := r.SetPassword(r.Context(), s.ID, checked, r.hash("new"), token.SessionID())
				return err
			})
		}
		r.changesNothing("no hash", domain.ErrInvalid, "hashed_password", func() error {
			_, err := r.SetPassword(r.Context(), s.ID, domain.PasswordHash{}, domain.PasswordHash{}, domain.SessionID{})
			return err
		})
	}},
	{"SetPassword in place of one checked hash by 32 at once succeeds once", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		winner := r.winner("set", concurrently(32, func(i int) error {
			_, err := r.SetPassword(r.Context(), s.ID, s.PasswordHash, r.hash(fmt.Sprint(i)), domain.SessionID{})
			return err
		}), domain.ErrConflict)
		if got := r.state(s.ID); got.PasswordHash != r.hash(fmt.Sprint(winner)) || got.Version != 2 {
			r.Error("another hash than the winner's is stored")
		}
	}},
	{"Unlock lets a locked account in at once", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		r.fail(s.ID, domain.LockPolicy{Attempts: 1, Duration: math.MaxInt64}, 1)
		if u := must(r.Unlock(r.Context(), s.ID))(r); u.FailedLoginAttempts() != 0 || !u.LockedUntil().IsZero() {
			r.Errorf("unlocked: %+v", u.State())
		}
		must(r.RecordSuccess(r.Context(), s.ID, s.PasswordHash, domain.PasswordHash{}))(r)
	}},
	{"a one-time token is good once, until it expires", func(r *contractTest) {
		r.create(func() domain.UserState { s, _ := r.full("eva"); return s }())
		for _, kind := range r.oneTimeTokens() {
			id := r.add(kind.name)
			expiry := r.clock.Now().Add(time.Hour)
			digest := domain.NewOneTimeToken().Digest()
			must(kind.issue(id, digest, expiry))(r)
			r.dead("of no account", kind, domain.NewOneTimeToken().Digest())
			r.dead("that is absent", kind, domain.TokenDigest{})
			r.clock.Advance(time.Hour - time.Microsecond)
			if u := must(kind.consume(digest))(r); u.ID() != id {
				r.Errorf("it changed the account %v", u.ID())
			}
			if kind.name == "verification" { // the tests of confirming tell what becomes of it
				must(r.CancelVerification(r.Context(), id))(r)
			}
			r.dead("used before", kind, digest)

			must(kind.issue(id, digest, expiry))(r)
			r.clock.Advance(time.Microsecond)
			for range 2 {
				r.changesNothing("expired", domain.ErrTokenExpired, "token", func() error { _, err := kind.consume(digest); return err })
				r.clock.Advance(1000 * time.Hour)
			}
		}
	}},
	{"a one-time token is dead once a newer one is issued, and when the account is gone", func(r *contractTest) {
		for _, kind := range r.oneTimeTokens() {
			id := r.add(kind.name)
			first, second := r.issued(kind, id), r.issued(kind, id)
			r.dead("replaced", kind, first)
			must(kind.consume(second))(r)
			third := r.issued(kind, id)
			if err := r.Delete(r.Context(), id); err != nil {
				r.Fatal(err)
			}
			r.dead("of a deleted account", kind, third)
		}
	}},
	{"a one-time token of one kind, or of one account, is none of another", func(r *contractTest) {
		kinds := r.oneTimeTokens()
		ana, eva := r.add("ana"), r.add("eva")
		reset, verification := r.issued(kinds[0], ana), r.issued(kinds[1], ana)
		others := r.issued(kinds[0], eva)
		r.dead("used to verify", kinds[1], reset)
		r.dead("used to reset", kinds[0], verification)
		if u := must(kinds[0].consume(others))(r); u.ID() != eva {
			r.Error("it changed another account")
		}
		must(kinds[1].consume(verification))(r)
		must(kinds[0].consume(reset))(r)
	}},
	{"a one-time token is kept as a digest and with its expiry, as the same instant", func(r *contractTest) {
		zone := time.FixedZone("", -5*3600)
		for _, kind := range r.oneTimeTokens() {
			id := r.add(kind.name)
			digest := domain.NewOneTimeToken().Digest()
			expiry := time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, zone)
			s := must(kind.issue(id, digest, expiry))(r).State()
			want := r.state(id)
			if kind.name == "reset" {
				want.ResetToken, want.ResetTokenExpiry = digest, storedTime(expiry)
			} else {
				want.VerificationToken, want.VerificationTokenExpiry = digest, storedTime(expiry)
			}
			r.equal(kind.name, s, want)
			r.changesNothing("no digest", domain.ErrInvalid, kind.name+"_token", func() error {
				_, err := kind.issue(id, domain.TokenDigest{}, expiry)
				return err
			})
		}
	}},
	{"ConsumeReset does what SetPassword does", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		r.fail(s.ID, domain.LockPolicy{Attempts: 1}, 1)
		hash := r.hash("new")
		u := must(r.ConsumeReset(r.Context(), s.ResetToken, hash))(r)
		if got := u.State(); got.PasswordHash != hash || len(got.Sessions) != 0 || !got.Verified || !got.PendingEmail.IsZero() || got.FailedLoginAttempts != 0 || !got.LockedUntil.IsZero() || !got.LastLogin.Equal(s.LastLogin) {
			r.Errorf("after: %+v", got)
		}
		if r.isLive(token) {
			r.Error("a session is left")
		}
		r.dead("after a reset", r.oneTimeTokens()[1], s.VerificationToken)
	}},
	{"ConsumeReset refuses the absent hash", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		r.changesNothing("no hash", domain.ErrInvalid, "hashed_password", func() error {
			_, err := r.ConsumeReset(r.Context(), s.ResetToken, domain.PasswordHash{})
			return err
		})
	}},
	{"ConsumeReset by 64 at once succeeds once, with the winner's password", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		winner := r.winner("consume", concurrently(64, func(i int) error {
			_, err := r.ConsumeReset(r.Context(), s.ResetToken, r.hash(fmt.Sprint(i)))
			return err
		}), domain.ErrTokenInvalid)
		if got := r.state(s.ID); got.PasswordHash != r.hash(fmt.Sprint(winner)) || got.Version != s.Version+1 {
			r.Error("another hash than the winner's is stored")
		}
	}},
	{"of two one-time tokens issued at once one is good", func(r *contractTest) {
		for _, kind := range r.oneTimeTokens() {
			id := r.add(kind.name)
			digests := []domain.TokenDigest{domain.NewOneTimeToken().Digest(), domain.NewOneTimeToken().Digest()}
			r.noErrors("issue", concurrently(2, func(i int) error {
				_, err := kind.issue(id, digests[i], r.clock.Now().Add(time.Hour))
				return err
			}))
			good := 0
			for _, digest := range digests {
				if _, err := kind.consume(digest); err == nil {
					good++
				} else {
					r.refused("consume", err, domain.ErrTokenInvalid, "token")
				}
			}
			if good != 1 {
				r.Errorf("%d of two %s tokens are good", good, kind.name)
			}
		}
	}},
	{"a verification that races with a change of address never confirms the new one", func(r *contractTest) {
		kind := r.oneTimeTokens()[1]
		for i := range 20 {
			id := r.add(fmt.Sprintf("name-%d", i))
			digest := r.issued(kind, id)
			email := r.email(fmt.Sprintf("other-%d@example.org", i))
			r.noErrors("call", concurrently(2, func(i int) error {
				if i == 0 {
					_, err := r.SetEmail(r.Context(), id, email)
					return err
				}
				if _, err := kind.consume(digest); !errors.Is(err, domain.ErrTokenInvalid) {
					return err
				}
				return nil
			}))
			if s := r.state(id); s.Verified || s.Email != email {
				r.Errorf("%s is verified: %t", s.Email, s.Verified)
			}
		}
	}},
	{"a reset that races with another change of password is done before it or not at all", func(r *contractTest) {
		kind := r.oneTimeTokens()[0]
		hash := r.hash("of-the-owner")
		for i := range 20 {
			id := r.add(fmt.Sprintf("name-%d", i))
			digest := r.issued(kind, id)
			r.noErrors("call", concurrently(2, func(i int) error {
				if i == 0 {
					_, err := r.SetPassword(r.Context(), id, domain.PasswordHash{}, hash, domain.SessionID{})
					return err
				}
				if _, err := kind.consume(digest); !errors.Is(err, domain.ErrTokenInvalid) {
					return err
				}
				return nil
			}))
			if r.state(id).PasswordHash != hash {
				r.Error("the reset came after the change of password that had killed its token")
			}
		}
	}},
}
