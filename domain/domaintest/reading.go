package domaintest

import (
	"fmt"

	"github.com/softbee/accounts/domain"
)

var reading = []behaviour{
	{"finds what Create stored, nothing of it absent", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		r.add("eva")
		r.found(s)
	}},
	{"finds what Create stored, all of it absent that may be", func(r *contractTest) {
		r.create(func() domain.UserState { s, _ := r.full("eva"); return s }())
		s := r.create(r.newAccount("ana"))
		r.found(s)
		if u := must(r.FindByID(r.Context(), s.ID))(r); !u.IsActive() || u.IsVerified() || u.Version() != 1 || len(u.Sessions(r.clock.Now())) != 0 {
			r.Errorf("a new account is %+v", u.State())
		}
	}},
	{"finds an account with the widest of values", func(r *contractTest) {
		s, _ := r.full("ana")
		wide := func(char string, n int) (text string) {
			for range n {
				text += char
			}
			return text
		}
		s.Email = r.email(wide("é", 32) + "@" + wide("abcde.", 31) + "org")
		s.Username = r.username(wide("𐐨", 50))
		s.PasswordHash = must(domain.ParsePasswordHash(wide("~", 255)))(r)
		s.FirstName, s.LastName = wide("😀", 50), wide("👩", 100)
		s.Phone = r.phone("+123456789012345")
		s.Version = 1<<62 + 1
		s.FailedLoginAttempts = 1<<31 - 1
		r.found(r.create(s))
	}},
	{"finds by any spelling of an address or name", func(r *contractTest) {
		s := r.newAccount("ana")
		s.Email, s.Username = r.email("Jörg@Müller.example"), r.username("ΩmegaΣ")
		r.create(s)
		for _, text := range []string{"jörg@müller.example", "JO\u0308RG@XN--MLLER-KVA.EXAMPLE", " ｊörg@müller。example"} {
			r.equal(text, must(r.FindByEmail(r.Context(), r.email(text)))(r).State(), s)
		}
		for _, text := range []string{"ωmegaσ", "ΩMEGAΣ", "ωＭＥＧＡσ"} {
			r.equal(text, must(r.FindByUsername(r.Context(), r.username(text)))(r).State(), s)
		}
	}},
	{"finds nothing where there is nothing", func(r *contractTest) {
		r.add("ana")
		for _, text := range []string{"eva@example.org", "an@example.org", "anaa@example.org", "ana@example.or", "%@example.org", "_na@example.org", "ána@example.org"} {
			_, err := r.FindByEmail(r.Context(), r.email(text))
			r.refused(text, err, domain.ErrNotFound, "")
			if must(r.ExistsByEmail(r.Context(), r.email(text)))(r) {
				r.Errorf("%s exists", text)
			}
		}
		for _, text := range []string{"eva", "anaa", "an_", "an%", "%ana", "aná"} {
			_, err := r.FindByUsername(r.Context(), r.username(text))
			r.refused(text, err, domain.ErrNotFound, "")
			if must(r.ExistsByUsername(r.Context(), r.username(text)))(r) {
				r.Errorf("%s exists", text)
			}
		}
		for range 3 {
			_, err := r.FindByID(r.Context(), domain.NewID())
			r.refused("unknown ID", err, domain.ErrNotFound, "")
		}
	}},
	{"finds nothing by what is absent", func(r *contractTest) {
		r.add("ana")
		_, err := r.FindByID(r.Context(), domain.ID{})
		r.refused("zero ID", err, domain.ErrNotFound, "")
		_, err = r.FindByEmail(r.Context(), domain.Email{})
		r.refused("zero Email", err, domain.ErrNotFound, "")
		_, err = r.FindByUsername(r.Context(), domain.Username{})
		r.refused("zero Username", err, domain.ErrNotFound, "")
		if must(r.ExistsByEmail(r.Context(), domain.Email{}))(r) || must(r.ExistsByUsername(r.Context(), domain.Username{}))(r) {
			r.Error("nothing exists")
		}
	}},
	{"finds many at once, each at the place of its key, and nothing at the place of an absent one", func(r *contractTest) {
		var states []domain.UserState
		for _, name := range []string{"ana", "o'neil", `a"b`, `a\b`, "龜va", "a{b", "eva"} {
			s, _ := r.full("full")
			s.ID, s.Username, s.Phone = domain.NewID(), r.username(name), domain.Phone{}
			s.Email = r.email(fmt.Sprintf("n%d'{}@example.org", len(states)))
			s.ResetToken, s.VerificationToken = domain.NewOneTimeToken().Digest(), domain.NewOneTimeToken().Digest()
			states = append(states, r.create(s))
		}
		places := []int{6, -1, 0, 1, 5, -2, 2, 6, 3, 4, 0} // below zero: nothing, and the absent value
		var ids []domain.ID
		var emails []domain.Email
		var usernames []domain.Username
		for _, place := range places {
			s := domain.UserState{ID: domain.NewID(), Email: r.email("unknown@example.org"), Username: r.username("unknown")}
			switch place {
			case -1:
			case -2:
				s = domain.UserState{}
			default:
				s = states[place]
			}
			ids, emails, usernames = append(ids, s.ID), append(emails, s.Email), append(usernames, s.Username)
		}
		for what, users := range map[string][]*domain.User{
			"by ID":       must(r.FindByIDs(r.Context(), ids))(r),
			"by e-mail":   must(r.FindByEmails(r.Context(), emails))(r),
			"by username": must(r.FindByUsernames(r.Context(), usernames))(r),
		} {
			if len(users) != len(places) {
				r.Fatalf("%s: %d of %d", what, len(users), len(places))
			}
			for i, place := range places {
				switch {
				case place < 0 && users[i] != nil:
					r.Errorf("%s: found %v at %d", what, users[i], i)
				case place >= 0 && users[i] == nil:
					r.Errorf("%s: found nothing at %d", what, i)
				case place >= 0:
					r.equal(fmt.Sprint(what, " at ", i), users[i].State(), states[place])
				}
			}
		}
	}},
	{"finds up to 10,000 at once, and none", func(r *contractTest) {
		s := r.create(r.newAccount("ana"))
		ids, emails, usernames := make([]domain.ID, domain.MaxBatch), make([]domain.Email, domain.MaxBatch), make([]domain.Username, domain.MaxBatch)
		for i := range ids {
			ids[i], emails[i], usernames[i] = domain.NewID(), r.email(fmt.Sprintf("x%d@example.org", i)), r.username(fmt.Sprintf("name%d", i))
		}
		last := domain.MaxBatch - 1
		ids[last], emails[last], usernames[last] = s.ID, s.Email, s.Username
		for what, users := range map[string][]*domain.User{
			"by ID":       must(r.FindByIDs(r.Context(), ids))(r),
			"by e-mail":   must(r.FindByEmails(r.Context(), emails))(r),
			"by username": must(r.FindByUsernames(r.Context(), usernames))(r),
		} {
			if users[0] != nil || users[last] == nil || users[last].ID() != s.ID {
				r.Errorf("%s: found %v and %v", what, users[0], users[last])
			}
		}
		_, err := r.FindByIDs(r.Context(), append(ids, s.ID))
		r.refused("too many IDs", err, domain.ErrInvalid, "id")
		_, err = r.FindByEmails(r.Context(), append(emails, s.Email))
		r.refused("too many addresses", err, domain.ErrInvalid, "email")
		_, err = r.FindByUsernames(r.Context(), append(usernames, s.Username))
		r.refused("too many names", err, domain.ErrInvalid, "username")
		if users := must(r.FindByIDs(r.Context(), nil))(r); len(users) != 0 {
			r.Errorf("found %v for none", users)
		}
	}},
	{"sees the address and the name that an account has now", func(r *contractTest) {
		id := r.add("ana")
		must(r.SetEmail(r.Context(), id, r.email("eva@example.org")))(r)
		must(r.SetUsername(r.Context(), id, r.username("eva")))(r)
		for text, want := range map[string]bool{"ana": false, "eva": true} {
			email, username := r.email(text+"@example.org"), r.username(text)
			_, emailErr := r.FindByEmail(r.Context(), email)
			_, usernameErr := r.FindByUsername(r.Context(), username)
			if (emailErr == nil) != want || (usernameErr == nil) != want ||
				must(r.ExistsByEmail(r.Context(), email))(r) != want || must(r.ExistsByUsername(r.Context(), username))(r) != want {
				r.Errorf("%s: want found and existing %t, got %v, %v", text, want, emailErr, usernameErr)
			}
		}
	}},
}

// found demands that an account is found by its ID, address and name, as it is.
func (r *contractTest) found(s domain.UserState) {
	r.Helper()
	r.equal("by ID", r.state(s.ID), s)
	r.equal("by e-mail", must(r.FindByEmail(r.Context(), s.Email))(r).State(), s)
	r.equal("by username", must(r.FindByUsername(r.Context(), s.Username))(r).State(), s)
	if !must(r.ExistsByEmail(r.Context(), s.Email))(r) || !must(r.ExistsByUsername(r.Context(), s.Username))(r) {
		r.Error("it does not exist")
	}
}
