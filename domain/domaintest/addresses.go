package domaintest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
)

// requested makes an address pending and returns the digest of its token, good for an hour.
func (r *contractTest) requested(id domain.ID, email domain.Email) domain.TokenDigest {
	r.Helper()
	digest := domain.NewOneTimeToken().Digest()
	must(r.RequestEmail(r.Context(), id, email, digest, r.clock.Now().Add(time.Hour)))(r)
	return digest
}

var addresses = []behaviour{
	{"finds by the telephone number", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		r.add("eva")
		r.equal("found", must(r.FindByPhone(r.Context(), s.Phone))(r).State(), s)
		for _, phone := range []domain.Phone{r.phone("+15550001111"), {}} {
			_, err := r.FindByPhone(r.Context(), phone)
			r.refused("another number", err, domain.ErrNotFound, "")
		}
	}},
	{"a pending address changes nothing until it is confirmed", func(r *contractTest) {
		s, _ := r.full("ana")
		s.PendingEmail = domain.Email{}
		r.create(s)
		next := r.email("next@example.org")
		digest := r.requested(s.ID, next)
		if got := r.state(s.ID); got.Email != s.Email || got.PendingEmail != next || !got.Verified || got.ResetToken != s.ResetToken ||
			got.VerificationToken != digest || got.Version != s.Version+1 {
			r.Errorf("requested: %+v", got)
		}
		r.dead("replaced by the request", r.oneTimeTokens()[1], s.VerificationToken)
		_, err := r.FindByEmail(r.Context(), next)
		r.refused("find", err, domain.ErrNotFound, "")
		if must(r.ExistsByEmail(r.Context(), next))(r) {
			r.Error("a pending address counts as taken")
		}
		r.equal("found", must(r.FindByEmail(r.Context(), s.Email))(r).State(), r.state(s.ID))

		c := must(r.ConsumeVerification(r.Context(), digest))(r)
		got := r.state(s.ID)
		r.equal("returned", c.User.State(), got)
		if c.Email != next || c.Already || got.Email != next || !got.PendingEmail.IsZero() || !got.Verified || !got.ResetToken.IsZero() || got.Version != s.Version+2 {
			r.Errorf("confirmed %s: %+v", c.Email, got)
		}
		_, err = r.FindByEmail(r.Context(), s.Email)
		r.refused("find the old address", err, domain.ErrNotFound, "")
		r.dead("sent to the old address", r.oneTimeTokens()[0], s.ResetToken)
		r.newAccount("eva")
		r.create(func() domain.UserState { e := r.newAccount("eva"); e.Email = s.Email; return e }()) // the old one is free
	}},
	{"a token that has confirmed says so, until it is replaced or dropped, and changes nothing", func(r *contractTest) {
		id := r.add("ana")
		other := r.add("eva")
		kind := r.oneTimeTokens()[1]
		already := func(what string, digest domain.TokenDigest, email domain.Email) {
			r.Helper()
			before := r.accounts()
			c := must(r.ConsumeVerification(r.Context(), digest))(r)
			if !c.Already || c.Email != email {
				r.Errorf("%s: %+v, already %t", what, c.Email, c.Already)
			}
			r.equal(what, c.User.State(), before[id])
			r.equalAll(what, r.accounts(), before)
		}
		digest := r.issued(kind, id)
		if c := must(r.ConsumeVerification(r.Context(), digest))(r); c.Already || c.Email != r.state(id).Email {
			r.Errorf("the first time: %+v", c)
		}
		r.clock.Advance(1000 * time.Hour)
		already("the second time", digest, r.state(id).Email)

		next := r.email("next@example.org")
		second := r.requested(id, next)
		r.dead("replaced by another request", kind, digest)
		must(r.ConsumeVerification(r.Context(), second))(r)
		already("a change, the second time", second, next)
		r.dead("of another account", kind, domain.NewOneTimeToken().Digest())
		must(r.SetNames(r.Context(), id, domain.Names{First: "Ana"}))(r)
		already("after another change", second, next)
		must(r.SetEmail(r.Context(), id, r.email("third@example.org")))(r)
		r.dead("of an address that is no longer the account's", kind, second)

		for what, drop := range map[string]func(domain.ID) (*domain.User, error){
			"CancelVerification": func(id domain.ID) (*domain.User, error) { return r.CancelVerification(r.Context(), id) },
			"Deactivate":         func(id domain.ID) (*domain.User, error) { return r.Deactivate(r.Context(), id) },
			"SetPassword": func(id domain.ID) (*domain.User, error) {
				return r.SetPassword(r.Context(), id, domain.PasswordHash{}, r.hash("new"), domain.SessionID{})
			},
		} {
			must(r.Activate(r.Context(), other))(r)
			digest := r.issued(kind, other)
			must(r.ConsumeVerification(r.Context(), digest))(r)
			must(drop(other))(r)
			r.dead("after "+what, kind, digest)
		}
	}},
	{"ConsumeVerification by 64 at once confirms once, and tells the others that it did", func(r *contractTest) {
		s, _ := r.full("ana")
		s.Verified = false
		r.create(s)
		var first atomic.Int32
		r.noErrors("confirm", concurrently(64, func(int) error {
			c, err := r.ConsumeVerification(r.Context(), s.VerificationToken)
			if err == nil && !c.Already {
				first.Add(1)
			}
			if err == nil && c.Email != s.PendingEmail {
				r.Errorf("confirmed %s, want %s", c.Email, s.PendingEmail)
			}
			return err
		}))
		if got := r.state(s.ID); first.Load() != 1 || !got.Verified || got.Email != s.PendingEmail || got.Version != s.Version+1 {
			r.Errorf("%d confirmed; verified %t at version %d", first.Load(), got.Verified, got.Version)
		}
	}},
	{"RequestEmail refuses an address that is taken, absent or the present one, and an absent token", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		eva := r.create(r.newAccount("eva"))
		digest, expiry := domain.NewOneTimeToken().Digest(), r.clock.Now().Add(time.Hour)
		for _, test := range []struct {
			kind   domain.Kind
			field  string
			email  domain.Email
			digest domain.TokenDigest
		}{
			{domain.ErrTaken, "email", eva.Email, digest},
			{domain.ErrInvalid, "pending_email", domain.Email{}, digest},
			{domain.ErrInvalid, "pending_email", s.Email, digest},
			{domain.ErrInvalid, "verification_token", r.email("next@example.org"), domain.TokenDigest{}},
		} {
			r.changesNothing(fmt.Sprintf("%s on %s", test.kind, test.field), test.kind, test.field, func() error {
				_, err := r.RequestEmail(r.Context(), s.ID, test.email, test.digest, expiry)
				return err
			})
		}
		// Two may ask for one address; the first to confirm it has it.
		next := r.email("next@example.org")
		first, second := r.requested(s.ID, next), r.requested(eva.ID, next)
		must(r.ConsumeVerification(r.Context(), second))(r)
		for range 2 {
			r.changesNothing("taken meanwhile", domain.ErrTaken, "email", func() error {
				_, err := r.ConsumeVerification(r.Context(), first)
				return err
			})
		}
	}},
	{"CancelEmail and CancelVerification withdraw what was sent", func(r *contractTest) {
		id := r.add("ana")
		kinds := r.oneTimeTokens()
		digest := r.requested(id, r.email("next@example.org"))
		if u := must(r.CancelEmail(r.Context(), id))(r); !u.PendingEmail().IsZero() {
			r.Errorf("%s is pending", u.PendingEmail())
		}
		r.dead("of a cancelled change", kinds[1], digest)

		digest = r.issued(kinds[1], id)
		before := r.state(id)
		r.equal("CancelEmail without a change", must(r.CancelEmail(r.Context(), id))(r).State(), before)
		must(r.CancelVerification(r.Context(), id))(r)
		r.dead("that was cancelled", kinds[1], digest)

		digest = r.requested(id, r.email("next@example.org"))
		if u := must(r.CancelVerification(r.Context(), id))(r); u.PendingEmail() != r.email("next@example.org") {
			r.Error("CancelVerification gave up the pending address")
		}
		r.dead("of a change, that was cancelled", kinds[1], digest)
		must(r.ConsumeVerification(r.Context(), r.issued(kinds[1], id)))(r)
		if u := must(r.FindByID(r.Context(), id))(r); u.Email() != r.email("next@example.org") {
			r.Errorf("a second token of the change confirmed %s", u.Email())
		}

		reset := r.issued(kinds[0], id)
		must(r.CancelReset(r.Context(), id))(r)
		r.dead("that was cancelled", kinds[0], reset)
	}},
	{"Deactivate drops all that is pending, and nothing is issued to an inactive account", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		must(r.Deactivate(r.Context(), s.ID))(r)
		expiry := r.clock.Now().Add(time.Hour)
		r.changesNothing("request", domain.ErrInactive, "", func() error {
			_, err := r.RequestEmail(r.Context(), s.ID, r.email("next@example.org"), domain.NewOneTimeToken().Digest(), expiry)
			return err
		})
		for _, kind := range r.oneTimeTokens() {
			r.changesNothing(kind.name, domain.ErrInactive, "", func() error {
				_, err := kind.issue(s.ID, domain.NewOneTimeToken().Digest(), expiry)
				return err
			})
		}
		u := must(r.Activate(r.Context(), s.ID))(r)
		if !u.PendingEmail().IsZero() {
			r.Errorf("%s is pending", u.PendingEmail())
		}
		r.dead("from before", r.oneTimeTokens()[0], s.ResetToken)
		r.dead("from before", r.oneTimeTokens()[1], s.VerificationToken)
	}},
	{"a reset verifies the address that it was sent to", func(r *contractTest) {
		id := r.add("ana")
		u := must(r.ConsumeReset(r.Context(), r.issued(r.oneTimeTokens()[0], id), r.hash("new")))(r)
		if !u.IsVerified() {
			r.Error("it is not verified")
		}
	}},
	{"a token says which address it belongs to, and never confirms, or resets for, another, in races of issue, change and confirmation", func(r *contractTest) {
		expiry := func() time.Time { return r.clock.Now().Add(time.Hour) }
		for i := range r.rounds(40, 1000) {
			s := r.create(r.newAccount(fmt.Sprintf("acc-%d", i)))
			id := s.ID
			next := r.email(fmt.Sprintf("next-%d@example.org", i))
			digest, mailed := domain.NewOneTimeToken().Digest(), domain.Email{}
			reset, resetTo := domain.NewOneTimeToken().Digest(), domain.Email{}
			change := domain.NewOneTimeToken().Digest()
			r.noErrors("issue or change", concurrently(3, func(j int) error {
				switch {
				case j == 0:
					u, err := r.IssueVerification(r.Context(), id, digest, expiry())
					if err == nil {
						if mailed = u.PendingEmail(); mailed.IsZero() {
							mailed = u.Email()
						}
					}
					return err
				case j == 1:
					u, err := r.IssueReset(r.Context(), id, reset, expiry())
					if err == nil {
						resetTo = u.Email()
					}
					return err
				case i%2 == 0:
					_, err := r.SetEmail(r.Context(), id, next)
					return err
				}
				if _, err := r.RequestEmail(r.Context(), id, next, change, expiry()); err != nil {
					return err
				}
				_, err := r.ConsumeVerification(r.Context(), change)
				if errors.Is(err, domain.ErrTokenInvalid) { // a verification was issued between the two
					return nil
				}
				return err
			}))
			before := r.state(id)
			switch c, err := r.ConsumeVerification(r.Context(), digest); {
			case errors.Is(err, domain.ErrTokenInvalid):
			case err != nil:
				r.Error(err)
			case c.Email != mailed || c.User.Email() != mailed || !c.User.IsVerified():
				r.Errorf("round %d: a token that was mailed to %s confirmed %s", i, mailed, c.Email)
			}
			switch u, err := r.ConsumeReset(r.Context(), reset, r.hash("new")); {
			case errors.Is(err, domain.ErrTokenInvalid):
			case err != nil:
				r.Error(err)
			case u.Email() != resetTo:
				r.Errorf("round %d: a token that was mailed to %s reset the password of %s", i, resetTo, u.Email())
			}
			if after := r.state(id); after.Verified && after.Email != mailed && after.Email != resetTo && (!before.Verified || before.Email != after.Email) {
				r.Errorf("round %d: %s is verified by tokens that were mailed to %s and %s", i, after.Email, mailed, resetTo)
			}
		}
	}},
	{"of confirmations of one address by several accounts at once one succeeds", func(r *contractTest) {
		for i := range r.rounds(10, 1000) {
			next := r.email(fmt.Sprintf("next-%d@example.org", i))
			var digests []domain.TokenDigest
			for j := range 4 {
				digests = append(digests, r.requested(r.add(fmt.Sprintf("acc-%d-%d", i, j)), next))
			}
			r.winner("confirm", concurrently(4, func(j int) error {
				_, err := r.ConsumeVerification(r.Context(), digests[j])
				return err
			}), domain.ErrTaken)
		}
	}},
	{"a change that is cancelled and confirmed at once is done or not, and no more", func(r *contractTest) {
		for i := range r.rounds(20, 1000) {
			s := r.create(r.newAccount(fmt.Sprintf("acc-%d", i)))
			next := r.email(fmt.Sprintf("next-%d@example.org", i))
			digest := r.requested(s.ID, next)
			confirmed := false
			r.noErrors("call", concurrently(2, func(j int) error {
				if j == 0 {
					_, err := r.CancelEmail(r.Context(), s.ID)
					return err
				}
				_, err := r.ConsumeVerification(r.Context(), digest)
				if confirmed = err == nil; errors.Is(err, domain.ErrTokenInvalid) {
					return nil
				}
				return err
			}))
			if got := r.state(s.ID); !got.PendingEmail.IsZero() || confirmed != (got.Email == next) || confirmed != got.Verified {
				r.Errorf("confirmed: %t, and the address is %s, pending %s", confirmed, got.Email, got.PendingEmail)
			}
		}
	}},
}
