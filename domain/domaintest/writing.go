package domaintest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// repeated are the changes that change something each time.
var repeated = []string{
	"RecordSignIn", "RecordFailure", "RecordSuccess", "RecordSuccess: better hash", "SetPassword", "SetPassword: keeping an unknown session",
	"IssueReset", "IssueVerification", "RequestEmail", "IssuePhoneCode", "RecordFailure: lock",
}

var writing = []behaviour{
	{"Create refuses a taken address, name or number, and names it", func(r *contractTest) {
		s, _ := r.full("ana")
		s.Email, s.Username, s.Phone = r.email("ana@example.org"), r.username("ana"), r.phone("+573001112233")
		r.create(s)
		for field, take := range map[string]func(*domain.UserState){
			"email":    func(o *domain.UserState) { o.Email = r.email("ANA@Example.ORG") },
			"username": func(o *domain.UserState) { o.Username = r.username("ＡＮＡ") },
			"phone":    func(o *domain.UserState) { o.Phone = r.phone("+57 (300) 111-22-33") },
		} {
			other := r.newAccount("eva")
			take(&other)
			r.changesNothing(field, domain.ErrTaken, field, func() error {
				return r.Create(r.Context(), must(domain.RestoreUser(other))(r))
			})
		}
	}},
	{"Create names one of several that are taken", func(r *contractTest) {
		taken := map[string]domain.UserState{}
		for _, name := range []string{"ana", "eva", "ida"} {
			s, _ := r.full(name)
			taken[name] = r.create(s)
		}
		for _, test := range []struct{ email, username, phone string }{
			{"ana", "ana", ""}, {"ana", "eva", ""}, {"eva", "", "ana"}, {"", "ida", "ana"}, {"ana", "eva", "ida"}, {"ida", "ida", "ida"},
		} {
			s := r.newAccount("uma")
			var fields []string
			if test.email != "" {
				s.Email, fields = taken[test.email].Email, append(fields, "email")
			}
			if test.username != "" {
				s.Username, fields = taken[test.username].Username, append(fields, "username")
			}
			if test.phone != "" {
				s.Phone, fields = taken[test.phone].Phone, append(fields, "phone")
			}
			before := r.accounts()
			err := r.Create(r.Context(), must(domain.RestoreUser(s))(r))
			var e *domain.Error
			if !errors.As(err, &e) || e.Kind != domain.ErrTaken || !strings.Contains(strings.Join(fields, " "), e.Field) || e.Field == "" {
				r.Errorf("%+v: %#v, want taken on one of %v", test, err, fields)
			}
			r.equalAll("after", r.accounts(), before)
		}
	}},
	{"Create refuses an ID that exists", func(r *contractTest) {
		id := r.add("ana")
		s := r.newAccount("eva")
		s.ID = id
		r.changesNothing("ID", domain.ErrConflict, "id", func() error { return r.Create(r.Context(), must(domain.RestoreUser(s))(r)) })
	}},
	{"Create refuses an account without a password hash", func(r *contractTest) {
		r.add("ana")
		listed := must(r.List(r.Context(), domain.ListQuery{}))(r).Users[0].State()
		listed.ID, listed.Email, listed.Username = domain.NewID(), r.email("eva@example.org"), r.username("eva")
		r.changesNothing("as it was listed", domain.ErrInvalid, "hashed_password", func() error {
			return r.Create(r.Context(), must(domain.RestoreUser(listed))(r))
		})
	}},
	{"Create keeps any number of accounts without a telephone number", func(r *contractTest) {
		for i := range 5 {
			r.add(fmt.Sprintf("name-%d", i))
		}
		if n := must(r.Count(r.Context(), domain.Filter{}))(r); n != 5 {
			r.Errorf("%d accounts, want 5", n)
		}
	}},
	{"Create of one address by 32 at once succeeds once", func(r *contractTest) {
		errs := concurrently(32, func(i int) error {
			s := r.newAccount(fmt.Sprintf("name-%d", i))
			s.Email = r.email([]string{"same@example.org", "SAME@Example.org"}[i%2])
			return r.Create(r.Context(), must(domain.RestoreUser(s))(r))
		})
		for i, err := range errs {
			if err != nil {
				r.refused(fmt.Sprint("call ", i), err, domain.ErrTaken, "email")
			}
		}
		winner := r.winner("create", errs, domain.ErrTaken)
		if got := must(r.FindByEmail(r.Context(), r.email("same@example.org")))(r); got.Username() != r.username(fmt.Sprintf("name-%d", winner)) || len(r.accounts()) != 1 {
			r.Errorf("%v is stored beside %d others", got, len(r.accounts())-1)
		}
	}},
	{"Update returns what it stored", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		r.clock.Advance(time.Minute)
		u := must(r.Update(r.Context(), s.ID, func(u *domain.User) error {
			r.equal("in the closure", u.State(), s)
			return u.Rename("Eva", "")
		}))(r)
		s.FirstName, s.LastName = "Eva", ""
		s.Version++
		s.UpdatedAt = r.clock.stored()
		r.equal("returned", u.State(), s)
		r.equal("stored", r.state(s.ID), s)
	}},
	{"Update returns the closure's error and stores nothing", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		wanted := errors.New("the closure's")
		before := r.accounts()
		u, err := r.Update(r.Context(), s.ID, func(u *domain.User) error {
			u.Deactivate()
			return errors.Join(u.Rename("Eva", "Roa"), u.ChangeEmail(r.email("eva@example.org")), wanted)
		})
		if !errors.Is(err, wanted) || u != nil {
			r.Errorf("Update returned %v, %v", u, err)
		}
		r.equalAll("after", r.accounts(), before)
	}},
	{"Update refuses what is taken, and stores nothing", func(r *contractTest) {
		other, _ := r.full("eva")
		r.create(other)
		s, _ := r.full("ana")
		r.create(s)
		for field, take := range map[string]func(*domain.User) error{
			"email":    func(u *domain.User) error { return u.ChangeEmail(other.Email) },
			"username": func(u *domain.User) error { return u.ChangeUsername(other.Username) },
			"phone":    func(u *domain.User) error { u.ChangePhone(other.Phone); return nil },
		} {
			r.changesNothing(field, domain.ErrTaken, field, func() error {
				_, err := r.Update(r.Context(), s.ID, func(u *domain.User) error { return errors.Join(u.Rename("Half", "Written"), take(u)) })
				return err
			})
		}
	}},
	{"Update of a version that is no longer there is a conflict", func(r *contractTest) {
		id := r.add("ana")
		form := r.state(id).Version
		must(r.SetNames(r.Context(), id, domain.Names{First: "Ana"}))(r)
		stale := func(u *domain.User) error { return errors.Join(u.ExpectVersion(form), u.Rename("Eva", "")) }
		r.changesNothing("stale", domain.ErrConflict, "version", func() error {
			_, err := r.Update(r.Context(), id, stale)
			return err
		})
		form = r.state(id).Version
		must(r.Update(r.Context(), id, stale))(r)
		if got := r.state(id).FirstName; got != "Eva" {
			r.Errorf("the name is %q", got)
		}
	}},
	{"Update by 32 at once on one account loses none", func(r *contractTest) {
		s := r.newAccount("ana")
		r.create(s)
		r.noErrors("update", concurrently(32, func(int) error {
			_, err := r.Update(r.Context(), s.ID, func(u *domain.User) error { return u.Rename(u.FirstName()+"x", u.LastName()+"yz") })
			return err
		}))
		s.FirstName, s.LastName, s.Version = strings.Repeat("x", 32), strings.Repeat("yz", 32), 33
		r.equal("after", r.state(s.ID), s)
	}},
	{"Update loses nothing that another method stores meanwhile", func(r *contractTest) {
		for i, other := range []struct {
			edits bool
			do    func(id domain.ID) error
		}{
			{false, func(id domain.ID) error { _, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{}); return err }},
			{false, func(id domain.ID) error { _, err := r.RecordFailure(r.Context(), id, domain.LockPolicy{}); return err }},
			{true, func(id domain.ID) error { _, err := r.SetPhone(r.Context(), id, r.phone("+573001112233")); return err }},
			{true, func(id domain.ID) error {
				_, err := r.Update(r.Context(), id, func(u *domain.User) error { u.Verify(); return nil })
				return err
			}},
		} {
			id := r.add(fmt.Sprintf("name-%d", i))
			calls := 0
			change, result := overlap(func(u *domain.User) error { calls++; return u.Rename("Ana", "") }, func() error { return other.do(id) })
			u := must(r.Update(r.Context(), id, change))(r)
			if err := result(); err != nil {
				r.Fatal(err)
			}
			s := r.state(id)
			if want := int64(2); s.Version != want && !other.edits || s.Version != want+1 && other.edits || calls > 1 && !other.edits {
				r.Errorf("case %d: version %d after %d calls of the closure", i, s.Version, calls)
			}
			if s.FirstName != "Ana" || len(s.Sessions) == 0 && s.FailedLoginAttempts == 0 && s.Phone.IsZero() && !s.Verified {
				r.Errorf("case %d: after %d calls of the closure, %+v", i, calls, s)
			}
			if u.FirstName() != "Ana" {
				r.Errorf("case %d: returned %+v", i, u.State())
			}
		}
	}},
	{"Update of an account that is deleted meanwhile does not bring it back", func(r *contractTest) {
		id := r.add("ana")
		change, result := overlap(func(u *domain.User) error { return u.Rename("Ana", "") }, func() error { return r.Delete(r.Context(), id) })
		if _, err := r.Update(r.Context(), id, change); err != nil {
			r.refused("Update", err, domain.ErrNotFound, "")
		}
		if err := result(); err != nil {
			r.Error(err)
		}
		if n := len(r.accounts()); n != 0 {
			r.Errorf("%d accounts are left", n)
		}
	}},
	{"many methods at once on one account each leave their mark", func(r *contractTest) {
		s := r.newAccount("ana")
		r.create(s)
		const n = 8
		r.noErrors("call", concurrently(4*n, func(i int) (err error) {
			switch i % 4 {
			case 0:
				_, err = r.Update(r.Context(), s.ID, func(u *domain.User) error { return u.Rename(u.FirstName()+"x", "") })
			case 1:
				_, err = r.IssueToken(r.Context(), s.ID, domain.SessionPolicy{})
			case 2:
				_, err = r.RecordFailure(r.Context(), s.ID, domain.LockPolicy{Attempts: 100})
			case 3:
				_, err = r.RecordSignIn(r.Context(), s.ID)
			}
			return err
		}))
		got := r.state(s.ID)
		if got.FirstName != strings.Repeat("x", n) || len(got.Sessions) != n || got.FailedLoginAttempts != n || got.LastLogin.IsZero() || got.Version != 1+n {
			r.Errorf("after %d of each: %+v", n, got)
		}
	}},
	{"SetEmail to another address takes back the confirmation and the pending tokens", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		u := must(r.SetEmail(r.Context(), s.ID, r.email("Eva@Example.org")))(r)
		want := s
		want.Email, want.PendingEmail, want.Verified = r.email("eva@example.org"), domain.Email{}, false
		want.ResetToken, want.ResetTokenExpiry = domain.TokenDigest{}, time.Time{}
		want.VerificationToken, want.VerificationTokenExpiry = domain.TokenDigest{}, time.Time{}
		want.PhoneCode, want.PhoneCodeExpiry, want.PhoneCodeAttempts = domain.TokenDigest{}, time.Time{}, 0
		want.Version, want.UpdatedAt = s.Version+1, r.clock.stored()
		r.equal("after", u.State(), want)
		hash := r.hash("other")
		r.changesNothing("reset", domain.ErrTokenInvalid, "token", func() error {
			_, err := r.ConsumeReset(r.Context(), s.ResetToken, hash)
			return err
		})
		must(r.SetEmail(r.Context(), s.ID, s.Email))(r)
		r.changesNothing("verification, back at the old address", domain.ErrTokenInvalid, "token", func() error {
			_, err := r.ConsumeVerification(r.Context(), s.VerificationToken)
			return err
		})
	}},
	{"SetEmail to the same address, in another spelling, changes nothing", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		r.equal("after", must(r.SetEmail(r.Context(), s.ID, r.email("ＡＮＡ@EXAMPLE.org")))(r).State(), s)
		r.equal("stored", r.state(s.ID), s)
	}},
	{"SetEmail, SetUsername and SetPhone refuse what another account has", func(r *contractTest) {
		other, _ := r.full("eva")
		r.create(other)
		s, _ := r.full("ana")
		r.create(s)
		for field, take := range map[string]func() (*domain.User, error){
			"email":    func() (*domain.User, error) { return r.SetEmail(r.Context(), s.ID, r.email("EVA@example.org")) },
			"username": func() (*domain.User, error) { return r.SetUsername(r.Context(), s.ID, r.username("Eva")) },
			"phone":    func() (*domain.User, error) { return r.SetPhone(r.Context(), s.ID, other.Phone) },
		} {
			r.changesNothing(field, domain.ErrTaken, field, func() error { _, err := take(); return err })
		}
	}},
	{"SetEmail and SetUsername refuse what is absent", func(r *contractTest) {
		id := r.add("ana")
		r.changesNothing("zero Email", domain.ErrInvalid, "email", func() error {
			_, err := r.SetEmail(r.Context(), id, domain.Email{})
			return err
		})
		r.changesNothing("zero Username", domain.ErrInvalid, "username", func() error {
			_, err := r.SetUsername(r.Context(), id, domain.Username{})
			return err
		})
	}},
	{"SetEmail of 16 accounts to one address at once succeeds once", func(r *contractTest) {
		var ids []domain.ID
		for i := range 16 {
			ids = append(ids, r.add(fmt.Sprintf("name-%d", i)))
		}
		email := r.email("same@example.org")
		winner := r.winner("set", concurrently(len(ids), func(i int) error {
			_, err := r.SetEmail(r.Context(), ids[i], email)
			return err
		}), domain.ErrTaken)
		if got := must(r.FindByEmail(r.Context(), email))(r).ID(); got != ids[winner] {
			r.Error("another account than the winner's has the address")
		}
	}},
	{"SetNames refuses names that break the rules", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		for field, names := range map[string]domain.Names{
			"first_name": {First: strings.Repeat("é", 51), Last: "Roa"},
			"last_name":  {First: "Eva", Last: "Roa\x00"},
		} {
			r.changesNothing(field, domain.ErrInvalid, field, func() error {
				_, err := r.SetNames(r.Context(), s.ID, names)
				return err
			})
		}
	}},
	{"Deactivate ends all sessions, for good", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		u := must(r.Deactivate(r.Context(), s.ID))(r)
		if u.IsActive() || len(u.State().Sessions) != 0 || r.isLive(token) {
			r.Errorf("deactivated: %+v", u.State())
		}
		r.changesNothing("rotate, inactive", domain.ErrInactive, "", func() error {
			_, err := r.RotateToken(r.Context(), token, domain.SessionPolicy{})
			return err
		})
		r.changesNothing("issue, inactive", domain.ErrInactive, "", func() error {
			_, err := r.IssueToken(r.Context(), s.ID, domain.SessionPolicy{})
			return err
		})
		if u := must(r.Activate(r.Context(), s.ID))(r); !u.IsActive() {
			r.Error("still inactive")
		}
		r.changesNothing("rotate, active again", domain.ErrTokenInvalid, "token", func() error {
			_, err := r.RotateToken(r.Context(), token, domain.SessionPolicy{})
			return err
		})
		must(r.IssueToken(r.Context(), s.ID, domain.SessionPolicy{}))(r)
	}},
	{"RecordSignIn sets the present", func(r *contractTest) {
		id := r.add("ana")
		r.clock.Advance(time.Hour + 777*time.Microsecond)
		if got := must(r.RecordSignIn(r.Context(), id))(r); !got.Equal(r.clock.stored()) || !r.state(id).LastLogin.Equal(got) {
			r.Errorf("last sign-in %v, want %v", got, r.clock.stored())
		}
	}},
	{"Delete removes the account, and frees what was its", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		r.add("eva")
		if err := r.Delete(r.Context(), s.ID); err != nil {
			r.Fatal(err)
		}
		_, err := r.FindByID(r.Context(), s.ID)
		r.refused("find", err, domain.ErrNotFound, "")
		if must(r.ExistsByEmail(r.Context(), s.Email))(r) || r.isLive(token) || len(r.accounts()) != 1 {
			r.Error("something of it is left")
		}
		r.changesNothing("delete again", domain.ErrNotFound, "", func() error { return r.Delete(r.Context(), s.ID) })
		r.changesNothing("rotate", domain.ErrTokenInvalid, "token", func() error {
			_, err := r.RotateToken(r.Context(), token, domain.SessionPolicy{})
			return err
		})
		r.found(r.create(s))
	}},
	{"Delete by 8 at once succeeds once", func(r *contractTest) {
		id := r.add("ana")
		r.winner("delete", concurrently(8, func(int) error { return r.Delete(r.Context(), id) }), domain.ErrNotFound)
	}},
	{"DeleteAt removes the account at that version alone", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		form := s.Version
		for range 3 { // bookkeeping moves it not
			must(r.RecordSignIn(r.Context(), s.ID))(r)
			token = r.rotate(token, domain.SessionPolicy{})
		}
		must(r.SetNames(r.Context(), s.ID, domain.Names{First: "Eva"}))(r)
		for _, version := range []int64{form, form + 2, 0, -1} {
			r.changesNothing("another version", domain.ErrConflict, "version", func() error { return r.DeleteAt(r.Context(), s.ID, version) })
		}
		if err := r.DeleteAt(r.Context(), s.ID, form+1); err != nil {
			r.Error(err)
		}
		r.changesNothing("again", domain.ErrNotFound, "", func() error { return r.DeleteAt(r.Context(), s.ID, form+1) })
	}},
	{"an edit of the version that was read before 100 sign-ins, failures and rotations succeeds", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, domain.SessionPolicy{})
		form := r.state(id).Version
		for range 100 {
			r.clock.Advance(time.Hour)
			must(r.RecordFailure(r.Context(), id, domain.LockPolicy{}))(r)
			must(r.RecordSignIn(r.Context(), id))(r)
			must(r.RecordSuccess(r.Context(), id, r.hash("ana"), domain.PasswordHash{}))(r)
			token = r.rotate(token, domain.SessionPolicy{})
		}
		u := must(r.Update(r.Context(), id, func(u *domain.User) error { return errors.Join(u.ExpectVersion(form), u.Rename("Ana", "")) }))(r)
		if u.Version() != form+1 || r.state(id).FirstName != "Ana" {
			r.Errorf("%q at version %d", r.state(id).FirstName, u.Version())
		}
		r.live(true, token)
	}},
	{"people's edits raise the version, the machine's bookkeeping does not, and what changes nothing writes nothing", func(r *contractTest) {
		books := []string{
			"RecordSignIn", "RecordFailure", "RecordFailure: lock", "RecordSuccess", "RecordSuccess: better hash", "Unlock", "IssueReset",
			"IssueVerification", "CancelReset", "CancelVerification", "IssuePhoneCode", "CancelPhoneCode", "LockUntil", "RevokeSession", "RevokeOtherSessions: than an unknown one", "RevokeSessions",
		}
		nothing := []string{
			"Update: nothing", "SetEmail: the same", "SetUsername: the same", "Activate", "RevokeSession: unknown", "RevokeSession: none",
			"RevokeOtherSessions", "Update: Deactivate, Activate, without sessions",
		}
		for i, c := range r.changes() {
			s, token := r.full(fmt.Sprintf("name-%d", i))
			if c.name == "Verify" || c.name == "Update: Verify" || c.name == "ConsumeVerification" {
				s.Verified = false
			}
			if c.name == "ConsumePhoneCode" {
				s.PhoneVerifiedAt = time.Time{}
			}
			s.Version = domain.MaxVersion // the first group looks at another one
			r.create(s)
			r.clock.Advance(time.Minute)
			must(c.do(r.Context(), r, s, token))(r)
			after := r.state(s.ID)
			switch {
			case slices.Contains(nothing, c.name):
				r.equal(c.name, after, s)
			case !after.UpdatedAt.Equal(r.clock.stored()):
				r.Errorf("%s: updated at %v, now it is %v", c.name, after.UpdatedAt, r.clock.stored())
			case slices.Contains(books, c.name):
				if after.Version != s.Version {
					r.Errorf("%s: version %d after %d", c.name, after.Version, s.Version)
				}
			case after.Version != s.Version%domain.MaxVersion+1: // behind the greatest comes 1
				r.Errorf("%s: version %d after %d", c.name, after.Version, s.Version)
			}
			r.clock.Advance(time.Minute)
			if again, err := c.do(r.Context(), r, s, token); err == nil && !slices.Contains(repeated, c.name) {
				r.equal(c.name+", again", again.State(), after)
				r.equal(c.name+", again", r.state(s.ID), after)
			}
			if err := r.Delete(r.Context(), s.ID); err != nil {
				r.Fatal(err)
			}
		}
	}},
	{"each change sets updated_at to the present, and none sets created_at", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		for i, wait := range []time.Duration{time.Microsecond, time.Hour, 90 * 24 * time.Hour} {
			r.clock.Advance(wait)
			s = r.changed("change", must(r.SetNames(r.Context(), s.ID, domain.Names{First: fmt.Sprint(i)}))(r), s)
		}
		if want := storedTime(NewClock().Now()); !s.CreatedAt.Equal(want) {
			r.Errorf("created at %v, want %v", s.CreatedAt, want)
		}
	}},
}
