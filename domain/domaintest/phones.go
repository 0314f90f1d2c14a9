package domaintest

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
)

// withPhone stores an account with a telephone number.
func (r *contractTest) withPhone(name, phone string) domain.UserState {
	r.Helper()
	s := r.newAccount(name)
	s.Phone = r.phone(phone)
	return r.create(s)
}

// code issues a code to the account, good for ten minutes, and returns its digest.
func (r *contractTest) code(id domain.ID) domain.TokenDigest {
	r.Helper()
	digest := domain.NewPhoneCode().Digest(id)
	must(r.IssuePhoneCode(r.Context(), id, digest, r.clock.Now().Add(10*time.Minute)))(r)
	return digest
}

// deadCode demands that a code confirms nothing.
func (r *contractTest) deadCode(what string, id domain.ID, digest domain.TokenDigest) {
	r.Helper()
	before := r.state(id).PhoneVerifiedAt
	c, err := r.ConsumePhoneCode(r.Context(), id, digest)
	r.refused("a code "+what, err, domain.ErrTokenInvalid, "code")
	if c.User != nil || !r.state(id).PhoneVerifiedAt.Equal(before) {
		r.Errorf("a code %s confirmed the number", what)
	}
}

var phones = []behaviour{
	{"a code confirms the number that it was sent to, and says so when it is used again", func(r *contractTest) {
		s := r.withPhone("ana", "+573001112233")
		expiry := r.clock.Now().Add(10 * time.Minute)
		digest := domain.NewPhoneCode().Digest(s.ID)
		u := must(r.IssuePhoneCode(r.Context(), s.ID, digest, expiry))(r)
		if got := u.State(); got.Phone != s.Phone || got.PhoneCode != digest || !got.PhoneCodeExpiry.Equal(storedTime(expiry)) || got.Version != s.Version {
			r.Errorf("issued: %+v", got)
		}
		r.clock.Advance(time.Minute)
		at := r.clock.stored()
		c := must(r.ConsumePhoneCode(r.Context(), s.ID, digest))(r)
		got := r.state(s.ID)
		r.equal("returned", c.User.State(), got)
		if c.Phone != s.Phone || c.Already || !c.User.PhoneVerifiedAt().Equal(at) || got.Version != s.Version+1 || got.Verified {
			r.Errorf("confirmed %s: %+v", c.Phone, got)
		}
		r.clock.Advance(time.Hour)
		before := r.accounts()
		for range domain.MaxPhoneCodeAttempts + 1 {
			if c := must(r.ConsumePhoneCode(r.Context(), s.ID, digest))(r); !c.Already || c.Phone != s.Phone {
				r.Errorf("again: %+v", c)
			}
		}
		r.equalAll("again", r.accounts(), before)
		r.deadCode("that was never issued", s.ID, domain.NewPhoneCode().Digest(domain.NewID()))
		// Another confirmation moves the time, and is no edit.
		digest = r.code(s.ID)
		if c := must(r.ConsumePhoneCode(r.Context(), s.ID, digest))(r); c.Already || !c.User.PhoneVerifiedAt().Equal(r.clock.stored()) || c.User.Version() != got.Version {
			r.Errorf("confirmed once more: %+v", c.User.State())
		}
	}},
	{"a code is good until it expires, and for its account alone", func(r *contractTest) {
		s := r.withPhone("ana", "+573001112233")
		other := r.withPhone("eva", "+573001112234")
		digest := r.code(s.ID)
		r.code(other.ID)
		r.deadCode("of another account", other.ID, digest)
		r.clock.Advance(10*time.Minute - time.Microsecond)
		wrong := domain.NewPhoneCode().Digest(domain.NewID())
		_, err := r.ConsumePhoneCode(r.Context(), s.ID, wrong)
		r.refused("just before", err, domain.ErrTokenInvalid, "code")
		r.clock.Advance(time.Microsecond)
		for _, presented := range []domain.TokenDigest{digest, wrong} {
			r.changesNothing("expired", domain.ErrTokenExpired, "code", func() error {
				_, err := r.ConsumePhoneCode(r.Context(), s.ID, presented)
				return err
			})
		}
	}},
	{"a code allows five attempts, however many come at once, and another code five more", func(r *contractTest) {
		s := r.withPhone("ana", "+573001112233")
		for range r.rounds(2, 200) {
			digest := r.code(s.ID)
			var counted atomic.Int32
			r.noErrors("guess", concurrently(64, func(int) error {
				_, err := r.ConsumePhoneCode(r.Context(), s.ID, domain.NewPhoneCode().Digest(domain.NewID()))
				if !errors.Is(err, domain.ErrTokenInvalid) {
					return fmt.Errorf("a guess: %w", err)
				}
				counted.Add(1)
				return nil
			}))
			if got := r.state(s.ID); got.PhoneCodeAttempts != domain.MaxPhoneCodeAttempts || counted.Load() != 64 {
				r.Errorf("%d of %d guesses counted", got.PhoneCodeAttempts, counted.Load())
			}
			r.changesNothing("the right one, after five", domain.ErrTokenInvalid, "code", func() error {
				_, err := r.ConsumePhoneCode(r.Context(), s.ID, digest)
				return err
			})
			digest = r.code(s.ID)
			for range domain.MaxPhoneCodeAttempts - 1 {
				r.deadCode("that is wrong", s.ID, domain.NewPhoneCode().Digest(domain.NewID()))
			}
			must(r.ConsumePhoneCode(r.Context(), s.ID, digest))(r)
		}
	}},
	{"a code that is presented 64 times at once confirms once", func(r *contractTest) {
		s := r.withPhone("ana", "+573001112233")
		digest := r.code(s.ID)
		var first atomic.Int32
		r.noErrors("confirm", concurrently(64, func(int) error {
			c, err := r.ConsumePhoneCode(r.Context(), s.ID, digest)
			if err == nil && !c.Already {
				first.Add(1)
			}
			return err
		}))
		if got := r.state(s.ID); first.Load() != 1 || got.Version != s.Version+1 {
			r.Errorf("%d confirmed; version %d after %d", first.Load(), got.Version, s.Version)
		}
	}},
	{"another number takes back confirmation and code, the same one does not", func(r *contractTest) {
		for i, change := range []func(domain.ID, domain.Phone) (*domain.User, error){
			func(id domain.ID, phone domain.Phone) (*domain.User, error) {
				return r.SetPhone(r.Context(), id, phone)
			},
			func(id domain.ID, phone domain.Phone) (*domain.User, error) {
				return r.Update(r.Context(), id, func(u *domain.User) error { u.ChangePhone(phone); return nil })
			},
		} {
			for j, next := range []domain.Phone{r.phone("+573001112299"), {}} {
				s, _ := r.full(fmt.Sprintf("name-%d-%d", i, j))
				r.create(s)
				r.equal("the same", must(change(s.ID, s.Phone))(r).State(), s)
				r.changed("another", must(change(s.ID, next))(r), s)
				if got := r.state(s.ID); got.Phone != next || !got.PhoneVerifiedAt.IsZero() || !got.PhoneCode.IsZero() || !got.PhoneCodeExpiry.IsZero() || got.PhoneCodeAttempts != 0 {
					r.Errorf("after: %+v", got)
				}
				r.deadCode("of the number before", s.ID, s.PhoneCode)
				must(change(s.ID, s.Phone))(r)
				r.deadCode("of the number, which is back", s.ID, s.PhoneCode)
				if err := r.Delete(r.Context(), s.ID); err != nil {
					r.Fatal(err)
				}
			}
		}
	}},
	{"no code is issued to an account that is inactive or has no number, nor an absent one", func(r *contractTest) {
		s := r.withPhone("ana", "+573001112233")
		without := r.add("eva")
		digest, expiry := domain.NewPhoneCode().Digest(s.ID), r.clock.Now().Add(time.Minute)
		for what, test := range map[string]struct {
			id     domain.ID
			digest domain.TokenDigest
			kind   domain.Kind
			field  string
		}{
			"no number": {without, digest, domain.ErrInvalid, "phone"},
			"no code":   {s.ID, domain.TokenDigest{}, domain.ErrInvalid, "phone_code"},
			"unknown":   {domain.NewID(), digest, domain.ErrNotFound, ""},
		} {
			r.changesNothing(what, test.kind, test.field, func() error {
				_, err := r.IssuePhoneCode(r.Context(), test.id, test.digest, expiry)
				return err
			})
		}
		r.changesNothing("confirm without a code", domain.ErrTokenInvalid, "code", func() error {
			_, err := r.ConsumePhoneCode(r.Context(), s.ID, domain.TokenDigest{})
			return err
		})
		digest = r.code(s.ID)
		must(r.Deactivate(r.Context(), s.ID))(r)
		r.changesNothing("inactive", domain.ErrInactive, "", func() error {
			_, err := r.IssuePhoneCode(r.Context(), s.ID, digest, expiry)
			return err
		})
		r.changesNothing("inactive", domain.ErrInactive, "", func() error {
			_, err := r.ConsumePhoneCode(r.Context(), s.ID, digest)
			return err
		})
		must(r.Activate(r.Context(), s.ID))(r)
		r.deadCode("from before the deactivation", s.ID, digest)
	}},
	{"what drops all that is pending drops the code, and leaves the confirmation", func(r *contractTest) {
		for what, drop := range map[string]func(domain.UserState) error{
			"CancelPhoneCode": func(s domain.UserState) error { _, err := r.CancelPhoneCode(r.Context(), s.ID); return err },
			"SetEmail": func(s domain.UserState) error {
				_, err := r.SetEmail(r.Context(), s.ID, r.email("next@example.org"))
				return err
			},
			"SetPassword": func(s domain.UserState) error {
				_, err := r.SetPassword(r.Context(), s.ID, domain.PasswordHash{}, r.hash("new"), domain.SessionID{})
				return err
			},
			"ConsumeReset": func(s domain.UserState) error {
				_, err := r.ConsumeReset(r.Context(), s.ResetToken, r.hash("new"))
				return err
			},
			"RemovePassword": func(s domain.UserState) error {
				_, err := r.RemovePassword(r.Context(), s.ID, domain.SessionID{}, true)
				return err
			},
			"Deactivate and Activate": func(s domain.UserState) error {
				_, err := r.Deactivate(r.Context(), s.ID)
				_, activateErr := r.Activate(r.Context(), s.ID)
				return errors.Join(err, activateErr)
			},
		} {
			s, _ := r.full("ana")
			r.create(s)
			r.noErrors(what, []error{drop(s)})
			if got := r.state(s.ID); !got.PhoneVerifiedAt.Equal(s.PhoneVerifiedAt) || !got.PhoneCode.IsZero() || !got.PhoneCodeExpiry.IsZero() || got.PhoneCodeAttempts != 0 {
				r.Errorf("%s: %+v", what, got)
			}
			r.deadCode("after "+what, s.ID, s.PhoneCode)
			if err := r.Delete(r.Context(), s.ID); err != nil {
				r.Fatal(err)
			}
		}
	}},
	{"a code says which number it belongs to, and never confirms another, in races of issue, change and confirmation", func(r *contractTest) {
		for i := range r.rounds(40, 1000) {
			s := r.withPhone(fmt.Sprintf("acc-%d", i), fmt.Sprintf("+5730011%05d", i))
			next := r.phone(fmt.Sprintf("+5730022%05d", i))
			digest, sent := domain.NewPhoneCode().Digest(s.ID), domain.Phone{}
			early := r.code(s.ID)
			r.noErrors("issue, change or confirm", concurrently(3, func(j int) error {
				switch {
				case j == 0:
					u, err := r.IssuePhoneCode(r.Context(), s.ID, digest, r.clock.Now().Add(time.Minute))
					if err == nil {
						sent = u.Phone()
					}
					return err
				case j == 1:
					c, err := r.ConsumePhoneCode(r.Context(), s.ID, early)
					if err == nil && c.Phone != s.Phone {
						return fmt.Errorf("a code that was sent to %s confirmed %s", s.Phone, c.Phone)
					}
					if errors.Is(err, domain.ErrTokenInvalid) {
						return nil
					}
					return err
				case i%2 == 0:
					_, err := r.SetPhone(r.Context(), s.ID, next)
					return err
				}
				_, err := r.Update(r.Context(), s.ID, func(u *domain.User) error { u.ChangePhone(next); return nil })
				return err
			}))
			if before := r.state(s.ID); before.Phone != next || !before.PhoneVerifiedAt.IsZero() {
				r.Errorf("round %d: %s is confirmed by a code that was sent to %s", i, before.Phone, s.Phone)
			}
			switch c, err := r.ConsumePhoneCode(r.Context(), s.ID, digest); {
			case errors.Is(err, domain.ErrTokenInvalid):
			case err != nil:
				r.Error(err)
			case c.Phone != sent || c.User.Phone() != sent:
				r.Errorf("round %d: a code that was sent to %s confirmed %s", i, sent, c.Phone)
			}
		}
	}},
	{"Update drops what was issued meanwhile for what it replaces", func(r *contractTest) {
		belongsTo := func(s domain.UserState) domain.Email { return cmp.Or(s.PendingEmail, s.Email) }
		for what, change := range map[string]func(*domain.User) error{
			"ChangeEmail":  func(u *domain.User) error { return u.ChangeEmail(r.email("next@example.org")) },
			"RequestEmail": func(u *domain.User) error { return u.RequestEmail(r.email("next@example.org")) },
			"ChangePhone":  func(u *domain.User) error { u.ChangePhone(r.phone("+573001112299")); return nil },
			"Deactivate":   func(u *domain.User) error { u.Deactivate(); return nil },
		} {
			s := r.withPhone("ana", "+573001112233")
			reset, verification, code := domain.NewOneTimeToken().Digest(), domain.NewOneTimeToken().Digest(), domain.NewPhoneCode().Digest(s.ID)
			var sent domain.UserState // as of the statements that issued
			var grant domain.Grant
			closure, result := overlap(change, func() error {
				expiry := r.clock.Now().Add(time.Minute)
				_, err := r.IssueReset(r.Context(), s.ID, reset, expiry)
				_, verifyErr := r.IssueVerification(r.Context(), s.ID, verification, expiry)
				u, codeErr := r.IssuePhoneCode(r.Context(), s.ID, code, expiry)
				if codeErr == nil {
					sent = u.State()
				}
				var grantErr error
				grant, grantErr = r.IssueToken(r.Context(), s.ID, domain.SessionPolicy{})
				return errors.Join(err, verifyErr, codeErr, grantErr)
			})
			must(r.Update(r.Context(), s.ID, closure))(r)
			if err := result(); err != nil && !errors.Is(err, domain.ErrInactive) {
				r.Fatal(err)
			}
			after := r.state(s.ID)
			if !after.ResetToken.IsZero() && after.Email != sent.Email || !after.VerificationToken.IsZero() && belongsTo(after) != belongsTo(sent) {
				r.Errorf("%s: a token that was sent to %s is in force at %s", what, belongsTo(sent), belongsTo(after))
			}
			if !after.PhoneCode.IsZero() && after.Phone != sent.Phone {
				r.Errorf("%s: a code that was sent to %s is in force at %s", what, sent.Phone, after.Phone)
			}
			if !after.Active && (len(after.Sessions) > 0 || !after.ResetToken.IsZero() || !after.VerificationToken.IsZero() || !after.PhoneCode.IsZero()) {
				r.Errorf("%s: an inactive account has %+v", what, after)
			}
			if after.Active && !r.isLive(grant.Token) {
				r.Errorf("%s: ended a session", what)
			}
			if err := r.Delete(r.Context(), s.ID); err != nil {
				r.Fatal(err)
			}
		}
	}},
}

// onPhone does an operation on the confirmation of a telephone number.
func (q *sequence) onPhone(id domain.ID) string {
	ctx := q.Context()
	type (
		repo = domain.Repository
		user = *domain.User
	)
	switch q.random.IntN(8) {
	case 0:
		return q.both("CancelPhoneCode()", func(r repo) (user, error) { return r.CancelPhoneCode(ctx, id) })
	case 1, 2, 3:
		digest, expiry := domain.NewPhoneCode().Digest(id), q.clock.Now().Add(pick(q, time.Minute, time.Hour, -time.Second))
		q.codes = append(q.codes, digest)
		return q.both("IssuePhoneCode()", func(r repo) (user, error) { return r.IssuePhoneCode(ctx, id, digest, expiry) })
	default:
		digest := recent(q, q.codes)
		if q.random.IntN(3) == 0 {
			digest = q.model.users[id].PhoneCode
		}
		var already []bool
		return q.both("ConsumePhoneCode()", func(r repo) (user, error) {
			c, err := r.ConsumePhoneCode(ctx, id, digest)
			if already = append(already, c.Already); len(already) == 2 && already[0] != already[1] {
				q.Errorf("confirmed before: %t, want %t", already[0], already[1])
			}
			return c.User, err
		})
	}
}
