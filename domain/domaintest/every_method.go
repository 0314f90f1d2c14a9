package domaintest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain"
)

// call is a call of one method on the account of that state, whose live token is given. It returns the account that the
// method returned, if it returns one.
type call struct {
	name string
	do   func(ctx context.Context, repo domain.Repository, s domain.UserState, token domain.RefreshToken) (*domain.User, error)
}

// recorded returns the account of which a sign-in was recorded, at the time that the method returned.
func recorded(ctx context.Context, r domain.Repository, id domain.ID) func(time.Time, error) (*domain.User, error) {
	return func(at time.Time, err error) (*domain.User, error) {
		if err != nil {
			return nil, err
		}
		u, err := r.FindByID(ctx, id)
		if err == nil && !u.LastLogin().Equal(at) {
			return nil, fmt.Errorf("returned %v, stored %v", at, u.LastLogin())
		}
		return u, err
	}
}

// changes are calls of all methods that change one account, but for those that mint a token; several of a method that does
// different things.
func (r *contractTest) changes() []call {
	email, username, phone, hash := r.email("Other@Example.org"), r.username("Other"), r.phone("+1 555 000 1111"), r.hash("other")
	digest, expiry := domain.NewOneTimeToken().Digest(), r.clock.Now().Add(time.Hour)
	pending := r.email("pending@example.org")
	unknown := must(domain.ParseSessionID("AAAAAAAAAAAAAAAAAAAAAA"))(r)
	type (
		state = domain.UserState
		token = domain.RefreshToken
		ctx   = context.Context
		repo  = domain.Repository
		user  = *domain.User
	)
	update := func(change func(*domain.User) error) func(ctx, repo, state, token) (user, error) {
		return func(c ctx, r repo, s state, _ token) (user, error) { return r.Update(c, s.ID, change) }
	}
	return []call{
		{"Update: nothing", update(func(*domain.User) error { return nil })},
		{"Update: all", update(func(u *domain.User) error {
			u.ChangePhone(phone)
			return errors.Join(u.ChangeEmail(email), u.ChangeUsername(username), u.Rename(" Eva ", ""))
		})},
		{"Update: Verify", update(func(u *domain.User) error { u.Verify(); return nil })},
		{"Update: RequestEmail", update(func(u *domain.User) error { return u.RequestEmail(pending) })},
		{"Update: CancelEmail", update(func(u *domain.User) error { u.CancelEmail(); return nil })},
		{"Update: Deactivate", update(func(u *domain.User) error { u.Deactivate(); return nil })},
		{"Update: Deactivate, Activate", update(func(u *domain.User) error { u.Deactivate(); u.Activate(); return nil })},
		{"SetEmail: another", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetEmail(c, s.ID, email) }},
		{"SetEmail: the same", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetEmail(c, s.ID, s.Email) }},
		{"SetUsername: another", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetUsername(c, s.ID, username) }},
		{"SetUsername: the same", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetUsername(c, s.ID, s.Username) }},
		{"SetNames", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.SetNames(c, s.ID, domain.Names{First: " Eva", Last: "Ri\u0301os"})
		}},
		{"SetNames: none", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetNames(c, s.ID, domain.Names{}) }},
		{"SetPhone", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetPhone(c, s.ID, phone) }},
		{"SetPhone: none", func(c ctx, r repo, s state, _ token) (user, error) { return r.SetPhone(c, s.ID, domain.Phone{}) }},
		{"Activate", func(c ctx, r repo, s state, _ token) (user, error) { return r.Activate(c, s.ID) }},
		{"Deactivate", func(c ctx, r repo, s state, _ token) (user, error) { return r.Deactivate(c, s.ID) }},
		{"Verify", func(c ctx, r repo, s state, _ token) (user, error) { return r.Verify(c, s.ID) }},
		{"RecordSignIn", func(c ctx, r repo, s state, _ token) (user, error) {
			return recorded(c, r, s.ID)(r.RecordSignIn(c, s.ID))
		}},
		{"RecordFailure", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.RecordFailure(c, s.ID, domain.LockPolicy{})
		}},
		{"RecordFailure: lock", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.RecordFailure(c, s.ID, domain.LockPolicy{Attempts: 1, Duration: time.Minute + 1})
		}},
		{"RecordSuccess", func(c ctx, r repo, s state, _ token) (user, error) {
			return recorded(c, r, s.ID)(r.RecordSuccess(c, s.ID, s.PasswordHash, domain.PasswordHash{}))
		}},
		{"RecordSuccess: better hash", func(c ctx, r repo, s state, _ token) (user, error) {
			return recorded(c, r, s.ID)(r.RecordSuccess(c, s.ID, s.PasswordHash, hash))
		}},
		{"SetPassword", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.SetPassword(c, s.ID, domain.PasswordHash{}, hash, domain.SessionID{})
		}},
		{"SetPassword: of a checked one, keeping a session", func(c ctx, r repo, s state, t token) (user, error) {
			return r.SetPassword(c, s.ID, s.PasswordHash, hash, t.SessionID())
		}},
		{"SetPassword: keeping an unknown session", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.SetPassword(c, s.ID, domain.PasswordHash{}, hash, unknown)
		}},
		{"Unlock", func(c ctx, r repo, s state, _ token) (user, error) { return r.Unlock(c, s.ID) }},
		{"IssueReset", func(c ctx, r repo, s state, _ token) (user, error) { return r.IssueReset(c, s.ID, digest, expiry) }},
		{"IssueVerification", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.IssueVerification(c, s.ID, digest, expiry)
		}},
		{"ConsumeReset", func(c ctx, r repo, s state, _ token) (user, error) { return r.ConsumeReset(c, s.ResetToken, hash) }},
		{"ConsumeVerification", func(c ctx, r repo, s state, _ token) (user, error) {
			confirmed, err := r.ConsumeVerification(c, s.VerificationToken)
			return confirmed.User, err
		}},
		{"CancelReset", func(c ctx, r repo, s state, _ token) (user, error) { return r.CancelReset(c, s.ID) }},
		{"CancelVerification", func(c ctx, r repo, s state, _ token) (user, error) { return r.CancelVerification(c, s.ID) }},
		{"RequestEmail", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.RequestEmail(c, s.ID, pending, digest, expiry)
		}},
		{"CancelEmail", func(c ctx, r repo, s state, _ token) (user, error) { return r.CancelEmail(c, s.ID) }},
		{"IssuePhoneCode", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.IssuePhoneCode(c, s.ID, digest, expiry)
		}},
		{"ConsumePhoneCode", func(c ctx, r repo, s state, _ token) (user, error) {
			confirmed, err := r.ConsumePhoneCode(c, s.ID, s.PhoneCode)
			return confirmed.User, err
		}},
		{"CancelPhoneCode", func(c ctx, r repo, s state, _ token) (user, error) { return r.CancelPhoneCode(c, s.ID) }},
		{"LockUntil", func(c ctx, r repo, s state, _ token) (user, error) { return r.LockUntil(c, s.ID, expiry) }},
		{"RemovePassword", func(c ctx, r repo, s state, t token) (user, error) {
			return r.RemovePassword(c, s.ID, t.SessionID(), true)
		}},
		{"RevokeSession", func(c ctx, r repo, s state, t token) (user, error) { return r.RevokeSession(c, s.ID, t.SessionID()) }},
		{"RevokeSession: unknown", func(c ctx, r repo, s state, _ token) (user, error) { return r.RevokeSession(c, s.ID, unknown) }},
		{"RevokeSession: none", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.RevokeSession(c, s.ID, domain.SessionID{})
		}},
		{"RevokeOtherSessions", func(c ctx, r repo, s state, t token) (user, error) {
			return r.RevokeOtherSessions(c, s.ID, t.SessionID())
		}},
		{"RevokeOtherSessions: than an unknown one", func(c ctx, r repo, s state, _ token) (user, error) {
			return r.RevokeOtherSessions(c, s.ID, unknown)
		}},
		{"RevokeSessions", func(c ctx, r repo, s state, _ token) (user, error) { return r.RevokeSessions(c, s.ID) }},
	}
}

// others are calls of all other methods.
func (r *contractTest) others() []call {
	fresh := must(domain.RestoreUser(r.newAccount("fresh")))(r)
	identity := r.identity("of-every-method")
	type (
		state = domain.UserState
		token = domain.RefreshToken
		ctx   = context.Context
		repo  = domain.Repository
		user  = *domain.User
	)
	return []call{
		{"FindByID", func(c ctx, r repo, s state, _ token) (user, error) { return r.FindByID(c, s.ID) }},
		{"FindByEmail", func(c ctx, r repo, s state, _ token) (user, error) { return r.FindByEmail(c, s.Email) }},
		{"FindByUsername", func(c ctx, r repo, s state, _ token) (user, error) { return r.FindByUsername(c, s.Username) }},
		{"FindByPhone", func(c ctx, r repo, s state, _ token) (user, error) { return r.FindByPhone(c, s.Phone) }},
		{"FindByIdentity", func(c ctx, r repo, _ state, _ token) (user, error) { return r.FindByIdentity(c, identity) }},
		{"RecordIdentitySignIn", func(c ctx, r repo, _ state, _ token) (user, error) {
			return r.RecordIdentitySignIn(c, identity)
		}},
		{"Identities", func(c ctx, r repo, s state, _ token) (user, error) { _, err := r.Identities(c, s.ID); return nil, err }},
		{"LinkIdentity", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.LinkIdentity(c, s.ID, identity)
			return nil, err
		}},
		{"UnlinkIdentity", func(c ctx, r repo, s state, _ token) (user, error) {
			return nil, r.UnlinkIdentity(c, s.ID, identity, false)
		}},
		{"ExistsByEmail", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.ExistsByEmail(c, s.Email)
			return nil, err
		}},
		{"ExistsByUsername", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.ExistsByUsername(c, s.Username)
			return nil, err
		}},
		{"List", func(c ctx, r repo, _ state, _ token) (user, error) {
			_, err := r.List(c, domain.ListQuery{})
			return nil, err
		}},
		{"Count", func(c ctx, r repo, _ state, _ token) (user, error) {
			_, err := r.Count(c, domain.Filter{})
			return nil, err
		}},
		{"FindByIDs", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.FindByIDs(c, []domain.ID{s.ID})
			return nil, err
		}},
		{"FindByEmails", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.FindByEmails(c, []domain.Email{s.Email})
			return nil, err
		}},
		{"FindByUsernames", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.FindByUsernames(c, []domain.Username{s.Username})
			return nil, err
		}},
		{"ActivateMany", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.ActivateMany(c, []domain.ID{s.ID})
			return nil, err
		}},
		{"DeactivateMany", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.DeactivateMany(c, []domain.ID{s.ID})
			return nil, err
		}},
		{"RevokeMany", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.RevokeMany(c, []domain.ID{s.ID})
			return nil, err
		}},
		{"Purge", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.Purge(c, domain.ListQuery{Filter: domain.Filter{CreatedBefore: s.CreatedAt.Add(time.Microsecond)}})
			return nil, err
		}},
		{"Create", func(c ctx, r repo, _ state, _ token) (user, error) { return nil, r.Create(c, fresh) }},
		{"Delete", func(c ctx, r repo, s state, _ token) (user, error) { return nil, r.Delete(c, s.ID) }},
		{"DeleteAt", func(c ctx, r repo, s state, _ token) (user, error) { return nil, r.DeleteAt(c, s.ID, s.Version) }},
		{"IssueToken", func(c ctx, r repo, s state, _ token) (user, error) {
			_, err := r.IssueToken(c, s.ID, domain.SessionPolicy{})
			return nil, err
		}},
		{"RotateToken", func(c ctx, r repo, _ state, t token) (user, error) {
			_, err := r.RotateToken(c, t, domain.SessionPolicy{})
			return nil, err
		}},
		{"FindByToken", func(c ctx, r repo, _ state, t token) (user, error) {
			u, _, err := r.FindByToken(c, t)
			return u, err
		}},
		{"Sessions", func(c ctx, r repo, s state, _ token) (user, error) { _, err := r.Sessions(c, s.ID); return nil, err }},
		{"CountSessions", func(c ctx, r repo, _ state, _ token) (user, error) { _, err := r.CountSessions(c); return nil, err }},
		{"SweepSessions", func(c ctx, r repo, _ state, _ token) (user, error) {
			_, err := r.SweepSessions(c, domain.ID{}, 10)
			return nil, err
		}},
		{"RevokeEverybody", func(c ctx, r repo, _ state, _ token) (user, error) {
			_, err := r.RevokeEverybody(c, domain.ID{}, 10)
			return nil, err
		}},
	}
}

var everyMethod = []behaviour{
	{"changes what it says and nothing else, and returns it", func(r *contractTest) {
		bystander := r.create(r.newAccount("bystander"))
		for i, c := range r.changes() {
			model := newModel(r.clock.Now)
			s, token := r.full(fmt.Sprintf("name-%d", i))
			r.clock.Advance(time.Second + time.Microsecond)
			s.Sessions, _ = r.begin(s.Sessions, s.ID, domain.SessionPolicy{})
			r.create(s)
			for _, stored := range []domain.UserState{bystander, s} {
				if err := model.Create(r.Context(), must(domain.RestoreUser(stored))(r)); err != nil {
					r.Fatal(err)
				}
			}
			r.clock.Advance(time.Second + time.Nanosecond)

			u, err := c.do(r.Context(), r, s, token)
			if err != nil || u == nil {
				r.Errorf("%s: %v", c.name, err)
				continue
			}
			if _, err := c.do(r.Context(), model, s, token); err != nil {
				r.Fatal(err)
			}
			stored := r.accounts()
			r.equal(c.name+": returned", u.State(), stored[s.ID])
			r.equalAll(c.name, stored, model.users)
			if err := r.Delete(r.Context(), s.ID); err != nil {
				r.Fatal(err)
			}
		}
	}},
	{"that takes an ID returns not_found where there is no such account", func(r *contractTest) {
		r.add("ana")
		absent, token := r.full("eva")
		for _, id := range []domain.ID{absent.ID, {}} {
			absent.ID = id
			before := r.accounts()
			for _, c := range append(r.changes(), r.others()...) {
				kind, field := domain.ErrNotFound, ""
				switch c.name {
				case "ExistsByEmail", "ExistsByUsername", "List", "Count", "Create", "CountSessions", "SweepSessions", "RevokeEverybody",
					"FindByIDs", "FindByEmails", "FindByUsernames", "ActivateMany", "DeactivateMany", "RevokeMany", "Purge":
					continue
				case "ConsumeReset", "ConsumeVerification", "RotateToken", "FindByToken":
					kind, field = domain.ErrTokenInvalid, "token"
				case "IssueToken":
					if id.IsZero() {
						kind, field = domain.ErrInvalid, "id"
					}
				}
				u, err := c.do(r.Context(), r, absent, token)
				if u != nil {
					r.Errorf("%s: an account and %v", c.name, err)
				}
				r.refused(c.name, err, kind, field)
			}
			r.equalAll("after all", r.accounts(), before)
		}
	}},
	{"returns the error of a context that has ended, and changes nothing", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		expired, cancel := context.WithDeadline(r.Context(), time.Now().Add(-time.Second))
		defer cancel()
		before := r.accounts()
		for _, c := range append(r.changes(), r.others()...) {
			if u, err := c.do(ended(), r, s, token); !errors.Is(err, context.Canceled) || u != nil {
				r.Errorf("%s, cancelled: %v, %v", c.name, u, err)
			}
			if u, err := c.do(expired, r, s, token); !errors.Is(err, context.DeadlineExceeded) || u != nil {
				r.Errorf("%s, too late: %v, %v", c.name, u, err)
			}
		}
		r.equalAll("after all", r.accounts(), before)
	}},
	{"is atomic when its context ends meanwhile", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		hash := r.hash("other")
		rounds := r.rounds(12, 40)
		for i := range rounds {
			before := r.state(s.ID)
			if before.ResetToken.IsZero() {
				token := domain.NewOneTimeToken().Digest()
				before = must(r.IssueReset(r.Context(), s.ID, token, r.clock.Now().Add(time.Hour)))(r).State()
			}
			ctx, cancel := context.WithTimeout(r.Context(), time.Duration(i)*800*time.Microsecond/time.Duration(rounds))
			_, err := r.ConsumeReset(ctx, before.ResetToken, hash)
			cancel()
			after := r.state(s.ID)
			if err == nil || after.Version != before.Version { // its reply may be lost, but not half of its work
				want := before
				newPassword(&want, r.clock.stored(), hash, domain.SessionID{})
				want.Version, want.UpdatedAt = before.Version+1, r.clock.stored()
				r.equal("done", after, want)
			} else {
				r.equal("not done", after, before)
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				r.Errorf("error %v", err)
			}
		}
	}},
	{"gives its caller an account that shares nothing with the stored one", func(r *contractTest) {
		s, token := r.full("ana")
		u := must(domain.RestoreUser(s))(r)
		if err := r.Create(r.Context(), u); err != nil {
			r.Fatal(err)
		}
		spoil := func(u *domain.User) {
			if err := errors.Join(u.Rename("Spoilt", "Spoilt"), u.ChangeEmail(r.email("spoilt@example.org"))); err != nil {
				r.Fatal(err)
			}
			u.Deactivate()
		}
		spoil(u)
		r.equal("created", r.state(s.ID), s)
		spoil(must(r.FindByID(r.Context(), s.ID))(r))
		r.equal("found", r.state(s.ID), s)
		spoil(must(r.SetNames(r.Context(), s.ID, domain.Names{First: "Ana"}))(r))
		s.FirstName, s.LastName, s.Version, s.UpdatedAt = "Ana", "", s.Version+1, r.clock.stored()
		r.equal("changed", r.state(s.ID), s)
		spoil(must(r.List(r.Context(), domain.ListQuery{}))(r).Users[0])
		r.equal("listed", r.state(s.ID), s)
		var kept *domain.User
		spoil(must(r.Update(r.Context(), s.ID, func(u *domain.User) error { kept = u; return nil }))(r))
		spoil(kept)
		r.equal("updated", r.state(s.ID), s)
		r.live(true, token)
	}},
}
