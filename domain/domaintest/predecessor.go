package domaintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// predecessor is what the system that this one succeeds was observed to get wrong. What concerns migrations is tested with
// those.
var predecessor = []behaviour{
	{"a token added to a list that is not empty is stored", func(r *contractTest) {
		id := r.add("ana")
		first := r.issue(id, domain.SessionPolicy{})
		second := r.issue(id, domain.SessionPolicy{})
		r.live(true, first, second)
	}},
	{"a token that was removed is no longer stored", func(r *contractTest) {
		id := r.add("ana")
		first, second := r.issue(id, domain.SessionPolicy{}), r.issue(id, domain.SessionPolicy{})
		must(r.RevokeSession(r.Context(), id, first.SessionID()))(r)
		r.live(false, first)
		r.live(true, second)
		if n := len(r.state(id).Sessions); n != 1 {
			r.Errorf("%d entries are stored", n)
		}
	}},
	{"after a rotation the new token works and the old one does not", func(r *contractTest) {
		id := r.add("ana")
		before := r.issue(id, domain.SessionPolicy{})
		after := r.rotate(before, domain.SessionPolicy{})
		r.live(false, before)
		r.live(true, after)
		r.live(true, r.rotate(after, domain.SessionPolicy{}))
	}},
	{"of two overlapping additions none is lost", func(r *contractTest) {
		id := r.add("ana")
		tokens := make([]domain.RefreshToken, 2)
		for range 10 {
			r.noErrors("issue", concurrently(2, func(i int) error {
				g, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{Cap: 1000})
				tokens[i] = g.Token
				return err
			}))
			r.live(true, tokens...)
		}
	}},
	{"of 8 times 25 additions at once all are kept", func(r *contractTest) {
		id := r.add("ana")
		r.noErrors("issue", concurrently(8, func(int) error {
			for range 25 {
				if _, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{Cap: 1000}); err != nil {
					return err
				}
			}
			return nil
		}))
		if n := len(r.ids(id)); n != 200 {
			r.Errorf("%d of 200 are kept", n)
		}
	}},
	{"of 8 times 25 failed sign-ins at once each is counted, or met by the lock", func(r *contractTest) {
		id := r.add("ana")
		policy := domain.LockPolicy{Attempts: 100}
		locked := make([]int, 8)
		r.noErrors("failure", concurrently(8, func(i int) error {
			for range 25 {
				_, err := r.RecordFailure(r.Context(), id, policy)
				if errors.Is(err, domain.ErrLocked) {
					locked[i]++
				} else if err != nil {
					return err
				}
			}
			return nil
		}))
		refused := 0
		for _, n := range locked {
			refused += n
		}
		if counted := r.state(id).FailedLoginAttempts; counted != 100 || refused != 100 {
			r.Errorf("%d of 200 were counted and %d refused, want 100 and 100", counted, refused)
		}
	}},
	{"saving an account that was read earlier erases no token stored meanwhile", func(r *contractTest) {
		id := r.add("ana")
		var token domain.RefreshToken
		change, result := overlap(func(u *domain.User) error { return u.Rename("Ana", "Roa") }, func() error {
			g, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{})
			token = g.Token
			return err
		})
		must(r.Update(r.Context(), id, change))(r)
		if err := result(); err != nil {
			r.Fatal(err)
		}
		r.live(true, token)
		if got := r.state(id).FirstName; got != "Ana" {
			r.Errorf("the name is %q", got)
		}
	}},
	{"an address in capitals is taken by the one in small letters", func(r *contractTest) {
		s := r.newAccount("ana")
		s.Email = r.email("case@example.com")
		r.create(s)
		other := r.newAccount("eva")
		other.Email = r.email("Case@Example.com")
		r.changesNothing("in capitals", domain.ErrTaken, "email", func() error {
			return r.Create(r.Context(), must(domain.RestoreUser(other))(r))
		})
	}},
	{"no account is stored under capitals, where its canonical address would not find it", func(r *contractTest) {
		s := r.newAccount("ana")
		s.Email = r.email("Case@Example.com")
		r.create(s)
		r.equal("found", must(r.FindByEmail(r.Context(), r.email("case@example.com")))(r).State(), s)
		for field, spoil := range map[string]func(*domain.UserState){
			"email":    func(s *domain.UserState) { s.Email = must(domain.RestoreEmail("Capital@Example.com"))(r) },
			"username": func(s *domain.UserState) { s.Username = must(domain.RestoreUsername("Capital"))(r) },
		} {
			s := r.newAccount("eva")
			spoil(&s)
			r.changesNothing("capitals", domain.ErrInvalid, field, func() error {
				return r.Create(r.Context(), must(domain.RestoreUser(s))(r))
			})
		}
	}},
	{"an account's address is the stored one", func(r *contractTest) {
		u := must(domain.NewUser(domain.Registration{
			Email: r.email("Jörg@Müller.example"), Username: r.username("Jörg"), PasswordHash: r.hash("x"),
		}, r.clock.Now()))(r)
		if err := r.Create(r.Context(), u); err != nil {
			r.Fatal(err)
		}
		if got := r.state(u.ID()); got.Email != u.Email() || got.Email.String() != "jörg@xn--mller-kva.example" || got.Username != u.Username() {
			r.Errorf("stored %q, %q; the account has %q, %q", got.Email, got.Username, u.Email(), u.Username())
		}
	}},
	{"a time keeps its instant, whatever its zone", func(r *contractTest) {
		id := r.add("ana")
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("", -5*3600), time.FixedZone("", 5*3600+45*60), time.Local} {
			expiry := time.Date(2026, time.October, 25, 2, 30, 0, 1000, zone)
			must(r.IssueReset(r.Context(), id, domain.NewOneTimeToken().Digest(), expiry))(r)
			if got := r.state(id).ResetTokenExpiry; !got.Equal(expiry) || got.Location() != time.UTC {
				r.Errorf("%v came back as %v", expiry, got)
			}
		}
	}},
	{"a time that comes back can be compared with the present", func(r *contractTest) {
		id := r.add("ana")
		must(r.RecordSignIn(r.Context(), id))(r)
		s := r.state(id)
		for name, got := range map[string]time.Time{"created_at": s.CreatedAt, "updated_at": s.UpdatedAt, "last_login": s.LastLogin} {
			if ago := r.clock.Now().Sub(got); ago < 0 || ago >= time.Microsecond || got != r.clock.stored() {
				r.Errorf("%s %v is %v ago", name, got, ago)
			}
		}
	}},
	{"of two overlapping rotations of one token one is accepted", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, noGrace)
		r.winner("rotate", concurrently(2, func(int) error {
			_, err := r.RotateToken(r.Context(), token, noGrace)
			return err
		}), domain.ErrTokenReused, domain.ErrTokenInvalid)
	}},
	{"of 4 rotations of one token at once one is accepted, in 40 rounds of 40", func(r *contractTest) {
		id := r.add("ana")
		for range 40 {
			token := r.issue(id, noGrace)
			r.winner("rotate", concurrently(4, func(int) error {
				_, err := r.RotateToken(r.Context(), token, noGrace)
				return err
			}), domain.ErrTokenReused, domain.ErrTokenInvalid)
		}
	}},
	{"every method takes the ID that the account carries", func(r *contractTest) {
		id := r.add("ana")
		u := must(r.FindByID(r.Context(), id))(r)
		for _, carried := range []domain.ID{u.ID(), domain.IDFromUUID(u.ID().UUID()), must(domain.ParseID(strings.ToUpper(u.ID().String())))(r)} {
			must(r.FindByID(r.Context(), carried))(r)
			must(r.SetNames(r.Context(), carried, domain.Names{First: "Ana"}))(r)
			must(r.IssueToken(r.Context(), carried, domain.SessionPolicy{}))(r)
		}
	}},
	{"a reset token of a known account is stored", func(r *contractTest) {
		id := r.add("ana")
		token := domain.NewOneTimeToken()
		must(r.IssueReset(r.Context(), id, token.Digest(), r.clock.Now().Add(time.Hour)))(r)
		if got := r.state(id).ResetToken; got != token.Digest() {
			r.Error("it is not")
		}
		must(r.ConsumeReset(r.Context(), must(domain.ParseOneTimeToken(token.Reveal()))(r).Digest(), r.hash("new")))(r)
	}},
	{"a duplicate address gives a typed error, in which nothing is of the driver or of the row", func(r *contractTest) {
		r.add("ana")
		s := r.newAccount("eva")
		s.Email = r.email("ana@example.org")
		err := r.Create(r.Context(), must(domain.RestoreUser(s))(r))
		r.refused("create", err, domain.ErrTaken, "email")
		for _, foreign := range []string{"ana", "eva", "SQL", "pq:", "constraint", "duplicate", "23505", "INSERT", s.PasswordHash.Stored(), s.ID.String()} {
			if strings.Contains(err.Error(), foreign) {
				r.Errorf("%q contains %q", err, foreign)
			}
		}
	}},
	{"a sign-in with an unknown address is refused as one with a wrong password", func(r *contractTest) {
		s := r.newAccount("ana")
		s.PasswordHash = must(plainHasher{}.Hash(r.Context(), "correct horse battery staple"))(r)
		r.create(s)
		authenticator := must(domain.NewAuthenticator(r, plainHasher{}, domain.AuthenticationPolicy{}))(r)
		must(authenticator.Authenticate(r.Context(), "ANA@example.org", "correct horse battery staple"))(r)
		var texts []string
		for _, identifier := range []string{"ana@example.org", "ana", "eva@example.org", "eva", "no such thing", ""} {
			_, err := authenticator.Authenticate(r.Context(), identifier, "wrong password")
			if !errors.Is(err, domain.ErrBadCredentials) {
				r.Errorf("%q: %v", identifier, err)
			}
			texts = append(texts, fmt.Sprint(err))
		}
		if slices.ContainsFunc(texts, func(text string) bool { return text != texts[0] }) {
			r.Errorf("the errors differ: %q", texts)
		}
	}},
}

// plainHasher stands for a hasher where hashing is not what is tested.
type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, password string) (domain.PasswordHash, error) {
	return domain.ParsePasswordHash("plain$" + password)
}

func (plainHasher) Verify(_ context.Context, hash domain.PasswordHash, password string) (domain.Verification, error) {
	return domain.Verification{Match: hash.Stored() == "plain$"+password}, nil
}
