package domaintest

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

var noGrace = domain.SessionPolicy{Grace: domain.NoGrace}

// issue begins a session and returns its token.
func (r *contractTest) issue(id domain.ID, policy domain.SessionPolicy) domain.RefreshToken {
	r.Helper()
	return must(r.IssueToken(r.Context(), id, policy))(r).Token
}

// rotate exchanges a token.
func (r *contractTest) rotate(token domain.RefreshToken, policy domain.SessionPolicy) domain.RefreshToken {
	r.Helper()
	return must(r.RotateToken(r.Context(), token, policy))(r).Token
}

func (r *contractTest) isLive(token domain.RefreshToken) bool {
	r.Helper()
	u, session, err := r.FindByToken(r.Context(), token)
	if kind := domain.KindOf(err); err != nil && kind != domain.ErrTokenInvalid && kind != domain.ErrTokenExpired && kind != domain.ErrInactive {
		r.Errorf("find by token: %v", err)
	}
	if err == nil && (u.ID() != token.UserID() || session != token.Session()) || err != nil && (u != nil || session != domain.Session{}) {
		r.Errorf("find by token: %v with %+v, %v", u, session, err)
	}
	return err == nil
}

// live demands that tokens are live, or that they are not.
func (r *contractTest) live(want bool, tokens ...domain.RefreshToken) {
	r.Helper()
	for i, token := range tokens {
		if got := r.isLive(token); got != want {
			r.Errorf("token %d is live: %t, want %t", i, got, want)
		}
	}
}

// ids returns the sessions of an account, in the order in which they are listed.
func (r *contractTest) ids(id domain.ID) (ids []domain.SessionID) {
	r.Helper()
	for _, s := range must(r.Sessions(r.Context(), id))(r) {
		ids = append(ids, s.ID)
	}
	return ids
}

// spent demands that a token is refused and that nothing changes.
func (r *contractTest) spent(what string, token domain.RefreshToken, policy domain.SessionPolicy, kind domain.Kind) {
	r.Helper()
	r.changesNothing(what, kind, "token", func() error {
		g, err := r.RotateToken(r.Context(), token, policy)
		if g != (domain.Grant{}) {
			r.Errorf("%s: a grant and %v", what, err)
		}
		return err
	})
}

// reused demands that a token is refused as reused, and that its session ends and nothing else.
func (r *contractTest) reused(what string, token domain.RefreshToken, policy domain.SessionPolicy) {
	r.Helper()
	before := r.accounts()
	g, err := r.RotateToken(r.Context(), token, policy)
	r.refused(what, err, domain.ErrTokenReused, "token")
	if g != (domain.Grant{}) {
		r.Errorf("%s: a grant and %v", what, err)
	}
	want := before[token.UserID()]
	want.Sessions = want.Sessions.Revoke(token.SessionID(), r.clock.Now())
	want.UpdatedAt = r.clock.stored()
	before[token.UserID()] = want
	r.equalAll(what, r.accounts(), before)
}

// converges demands that a token is exchanged for the live one of its session, and that nothing is written.
func (r *contractTest) converges(what string, token, live domain.RefreshToken, policy domain.SessionPolicy) {
	r.Helper()
	before := r.accounts()
	if g := must(r.RotateToken(r.Context(), token, policy))(r); g.Token != live || g.Session != live.Session() || g.UserID != live.UserID() {
		r.Errorf("%s: granted %+v, want %+v", what, g.Session, live.Session())
	}
	r.equalAll(what, r.accounts(), before)
}

var sessions = []behaviour{
	{"IssueToken grants a token and its session", func(r *contractTest) {
		s, other := r.full("ana")
		r.create(s)
		r.clock.Advance(time.Minute)
		policy := domain.SessionPolicy{Idle: time.Hour, Absolute: 5 * time.Hour, Label: " Firefox on Linux, Bogota\u0301."}
		g := must(r.IssueToken(r.Context(), s.ID, policy))(r)
		now := r.clock.stored().Truncate(time.Millisecond)
		want := domain.Session{
			ID: g.Token.SessionID(), Label: "Firefox on Linux, Bogotá.",
			IssuedAt: now, RotatedAt: now, ExpiresAt: now.Add(time.Hour), AbsoluteExpiry: now.Add(5 * time.Hour),
		}
		if g.Session != want || g.UserID != s.ID || g.Token.Session() != want || g.Token.UserID() != s.ID {
			r.Errorf("granted %+v, want %+v", g.Session, want)
		}
		after := r.state(s.ID)
		if len(after.Sessions) != 2 || after.Sessions[0] != s.Sessions[0] {
			r.Errorf("stored %q after %q", after.Sessions, s.Sessions)
		}
		s.Sessions, s.UpdatedAt = after.Sessions, r.clock.stored()
		r.equal("all but the sessions", after, s)
		r.live(true, g.Token, other)
		if got := must(r.Sessions(r.Context(), s.ID))(r); len(got) != 2 || got[1] != want {
			r.Errorf("listed %+v, want %+v last", got, want)
		}
		if parsed := must(domain.ParseRefreshToken(g.Token.Reveal()))(r); parsed != g.Token {
			r.Error("the token is not what its text says")
		}
	}},
	{"IssueToken keeps nothing of which a token could be made", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, domain.SessionPolicy{})
		rotated := r.rotate(token, domain.SessionPolicy{})
		text := strings.Join(r.state(id).Sessions, " ")
		for _, token := range []domain.RefreshToken{token, rotated} {
			raw := must(base64.RawURLEncoding.DecodeString(token.Reveal()))(r)
			secrets := raw[1+16 : 1+16+16+32] // after the version and the account's id
			for i := range len(secrets) - 8 {
				part := secrets[i:][:9] // of any 9 bytes base64 is part of that of the whole, or of one shifted
				if strings.Contains(text, base64.RawURLEncoding.EncodeToString(part)) || strings.Contains(text, hex.EncodeToString(part)) {
					r.Fatalf("bytes %d to %d of a token's secrets are stored", i, i+9)
				}
			}
		}
	}},
	{"IssueToken refuses an inactive account and a policy out of bounds", func(r *contractTest) {
		id := r.add("ana")
		for field, policy := range map[string]domain.SessionPolicy{
			"cap": {Cap: 1001}, "idle": {Idle: -1}, "absolute": {Absolute: 1}, "grace": {Grace: 2 * time.Hour}, "label": {Label: "\x00"},
		} {
			r.changesNothing(field, domain.ErrInvalid, field, func() error { _, err := r.IssueToken(r.Context(), id, policy); return err })
		}
		must(r.Deactivate(r.Context(), id))(r)
		r.changesNothing("inactive", domain.ErrInactive, "", func() error {
			_, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{})
			return err
		})
	}},
	{"a lock stands in the way of no session", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, domain.SessionPolicy{})
		must(r.RecordFailure(r.Context(), id, domain.LockPolicy{Attempts: 1}))(r)
		r.live(true, token, r.issue(id, domain.SessionPolicy{}))
		r.live(true, r.rotate(token, domain.SessionPolicy{}))
	}},
	{"IssueToken at the cap ends the oldest session", func(r *contractTest) {
		id := r.add("ana")
		var tokens []domain.RefreshToken
		for i := range 23 {
			if i%2 == 0 { // so that some begin in the same millisecond
				r.clock.Advance(time.Second)
			}
			tokens = append(tokens, r.issue(id, domain.SessionPolicy{}))
			if i == 10 {
				tokens[4] = r.rotate(tokens[4], domain.SessionPolicy{}) // which makes it no younger
			}
		}
		r.live(false, tokens[:3]...)
		r.live(true, tokens[3:]...)
		last := r.issue(id, domain.SessionPolicy{Cap: 1})
		r.live(false, tokens...)
		r.live(true, last)
		if n := len(r.state(id).Sessions); n != 1 {
			r.Errorf("%d entries are stored", n)
		}
	}},
	{"IssueToken by 200 at once at a cap of 1000 stores 200", func(r *contractTest) {
		id := r.add("ana")
		tokens := make([]domain.RefreshToken, 200)
		r.noErrors("issue", concurrently(len(tokens), func(i int) error {
			g, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{Cap: 1000})
			tokens[i] = g.Token
			return err
		}))
		s := r.state(id)
		if len(s.Sessions) != 200 || len(s.Sessions.Sessions(r.clock.Now())) != 200 || s.Version != 1 {
			r.Errorf("%d entries at version %d", len(s.Sessions), s.Version)
		}
		for _, token := range tokens {
			if _, err := s.Sessions.Find(token, r.clock.Now()); err != nil {
				r.Error("a token is lost")
			}
		}
		r.live(true, tokens[:20]...)
	}},
	{"IssueToken by 100 at once at a cap of 20 keeps 20", func(r *contractTest) {
		id := r.add("ana")
		grants := make([]domain.Grant, 100)
		r.noErrors("issue", concurrently(len(grants), func(i int) (err error) {
			grants[i], err = r.IssueToken(r.Context(), id, domain.SessionPolicy{Cap: 20})
			return err
		}))
		live := 0
		for _, g := range grants {
			if r.isLive(g.Token) {
				live++
			}
		}
		if n := len(r.state(id).Sessions); n != 20 || live != 20 {
			r.Errorf("%d entries are stored, of %d tokens", n, live)
		}
	}},
	{"RotateToken replaces a token by one of the same session", func(r *contractTest) {
		s, bystander := r.full("ana")
		r.create(s)
		first := must(r.IssueToken(r.Context(), s.ID, domain.SessionPolicy{Idle: time.Hour, Label: "Firefox"}))(r)
		r.clock.Advance(time.Minute)
		before := r.state(s.ID)
		g := must(r.RotateToken(r.Context(), first.Token, domain.SessionPolicy{Idle: 2 * time.Hour, Absolute: time.Minute, Cap: 1}))(r)
		now := r.clock.stored().Truncate(time.Millisecond)
		want := first.Session
		want.RotatedAt, want.ExpiresAt = now, now.Add(2*time.Hour)
		if g.Session != want || g.UserID != s.ID || g.Token.Session() != want || g.Token.UserID() != s.ID || g.Token == first.Token {
			r.Errorf("granted %+v, want %+v", g.Session, want)
		}
		after := r.state(s.ID)
		before.Sessions, before.UpdatedAt = after.Sessions, r.clock.stored()
		r.equal("all but the sessions", after, before)
		r.live(false, first.Token)
		r.live(true, g.Token, bystander)
		r.clock.Advance(time.Minute)
		g = must(r.RotateToken(r.Context(), g.Token, domain.SessionPolicy{Label: `"Chrome", \ é.`}))(r)
		if got := must(r.Sessions(r.Context(), s.ID))(r); g.Session.Label != `"Chrome", \ é.` || !slices.Contains(got, g.Session) {
			r.Errorf("granted %+v, listed %+v", g.Session, got)
		}
		r.live(true, g.Token, r.rotate(bystander, domain.SessionPolicy{}))
	}},
	{"RotateToken refuses a policy out of bounds", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		for field, policy := range map[string]domain.SessionPolicy{"idle": {Idle: 1}, "grace": {Grace: 1}, "cap": {Cap: -1}} {
			r.changesNothing(field, domain.ErrInvalid, field, func() error { _, err := r.RotateToken(r.Context(), token, policy); return err })
		}
	}},
	{"RotateToken of a rotated token within grace gives the live one, and writes nothing", func(r *contractTest) {
		id := r.add("ana")
		r.issue(id, domain.SessionPolicy{})
		tokens := []domain.RefreshToken{r.issue(id, domain.SessionPolicy{})}
		for i := range 4 {
			tokens = append(tokens, r.rotate(tokens[i], domain.SessionPolicy{}))
			r.clock.Advance(10 * time.Second)
			for _, token := range tokens[:i+1] {
				r.converges("replay", token, tokens[i+1], domain.SessionPolicy{Label: "not written"})
			}
		}
		r.live(false, tokens[:4]...)
		r.live(true, tokens[4])
		r.clock.Advance(domain.DefaultSessionGrace - 40*time.Second)
		r.converges("replay of the second", tokens[1], tokens[4], domain.SessionPolicy{})
		r.reused("replay of the first", tokens[0], domain.SessionPolicy{})
		r.live(false, tokens...)
	}},
	{"RotateToken more often than can be kept within grace gives the live token as it is", func(r *contractTest) {
		id := r.add("ana")
		first := r.issue(id, domain.SessionPolicy{})
		token := first
		for range domain.MaxGraceRotations {
			token = r.rotate(token, domain.SessionPolicy{})
		}
		r.converges("one more", token, token, domain.SessionPolicy{})
		r.converges("replay of the first", first, token, domain.SessionPolicy{})
		r.clock.Advance(domain.DefaultSessionGrace)
		if next := r.rotate(token, domain.SessionPolicy{}); next == token {
			r.Error("no rotation after grace")
		}
		if n := len(r.state(id).Sessions); n != 1 {
			r.Errorf("%d entries are stored", n)
		}
	}},
	{"owner and thief cannot go on side by side", func(r *contractTest) {
		policy := domain.SessionPolicy{Grace: 10 * time.Second}
		for i, after := range []time.Duration{0, 5 * time.Second, 9 * time.Second, 11 * time.Second} {
			id := r.add(fmt.Sprintf("name-%d", i))
			copied := r.issue(id, policy)
			first := r.rotate(copied, policy)
			r.clock.Advance(after)
			if after > policy.Grace {
				r.reused("replay after grace", copied, policy)
				r.live(false, first)
				continue
			}
			r.converges("replay", copied, first, policy)
			r.clock.Advance(24 * time.Hour)
			next := r.rotate(first, policy)
			r.clock.Advance(3 * time.Hour)
			r.reused("the other one goes on", first, policy)
			r.spent("the first one goes on", next, policy, domain.ErrTokenInvalid)
		}
	}},
	{"RotateToken of a token that was rotated before grace ends that session alone", func(r *contractTest) {
		for name, test := range map[string]struct {
			policy domain.SessionPolicy
			after  time.Duration
		}{
			"no-grace":    {noGrace, 0},
			"just-after":  {domain.SessionPolicy{}, domain.DefaultSessionGrace},
			"days-after":  {domain.SessionPolicy{}, 3 * 24 * time.Hour},
			"grace-ended": {domain.SessionPolicy{Grace: time.Hour}, time.Hour},
		} {
			id := r.add(name)
			bystander, stolen := r.issue(id, domain.SessionPolicy{}), r.issue(id, domain.SessionPolicy{})
			other := r.issue(r.add(name+"-other"), domain.SessionPolicy{})
			owners := r.rotate(stolen, test.policy)
			r.clock.Advance(test.after)
			r.reused(name, stolen, test.policy)
			r.live(false, stolen, owners)
			r.live(true, bystander, other)
			r.spent(name+": the owner's", owners, test.policy, domain.ErrTokenInvalid)
			r.spent(name+": the thief's again", stolen, test.policy, domain.ErrTokenInvalid)
		}
	}},
	{"RotateToken of a token that was never stored ends the session whose secret it knows", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, domain.SessionPolicy{})
		_, never, err := domain.SessionList{token.Entry()}.Rotate(token, r.clock.Now(), domain.SessionPolicy{})
		if err != nil {
			r.Fatal(err)
		}
		r.reused("never stored", never, domain.SessionPolicy{})
		r.live(false, token, never)
	}},
	{"RotateToken of a made-up token changes nothing, though the session's id is known", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		for range 3 { // the secrets are random: no token that is made of an account's ID alone belongs to one of its sessions
			_, madeUp := r.begin(nil, s.ID, domain.SessionPolicy{})
			r.spent("made up", madeUp, domain.SessionPolicy{}, domain.ErrTokenInvalid)
			r.live(false, madeUp)
		}
		_, err := domain.ParseRefreshToken(token.SessionID().String())
		r.refused("the session's id as a token", err, domain.ErrTokenInvalid, "token")
		r.live(true, token)
	}},
	{"RotateToken of an expired, a foreign or an absent token changes nothing", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, domain.SessionPolicy{Idle: time.Hour})
		lasting := r.issue(id, domain.SessionPolicy{})
		_, absent := r.begin(nil, domain.NewID(), domain.SessionPolicy{})
		r.spent("of an unknown account", absent, domain.SessionPolicy{}, domain.ErrTokenInvalid)
		r.spent("absent", domain.RefreshToken{}, domain.SessionPolicy{}, domain.ErrTokenInvalid)
		for kind, token := range map[domain.Kind]domain.RefreshToken{domain.ErrTokenInvalid: absent, "": token} {
			_, _, err := r.FindByToken(r.Context(), token)
			if domain.KindOf(err) != kind {
				r.Errorf("find by token: %v, want %q", err, kind)
			}
		}
		r.live(false, absent, domain.RefreshToken{})
		r.clock.Advance(time.Hour - 2*time.Millisecond)
		r.live(true, token)
		r.clock.Advance(2 * time.Millisecond)
		r.live(false, token)
		r.spent("expired", token, domain.SessionPolicy{}, domain.ErrTokenExpired)
		_, _, err := r.FindByToken(r.Context(), token)
		r.refused("find the expired", err, domain.ErrTokenExpired, "token")
		r.live(true, lasting)
	}},
	{"RotateToken is never reached by a truncated, altered or huge token", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		text := token.Reveal()
		for i, malformed := range []string{
			"", text[1:], text[:len(text)-1], text + "A", text[:50] + string(text[50]^1) + text[51:], strings.ToUpper(text), strings.Repeat(text, 1<<20/len(text)),
		} {
			r.changesNothing(fmt.Sprint("text ", i), domain.ErrTokenInvalid, "token", func() error {
				parsed, err := domain.ParseRefreshToken(malformed)
				if err == nil {
					_, err = r.RotateToken(r.Context(), parsed, domain.SessionPolicy{})
				}
				return err
			})
		}
		r.live(true, token)
	}},
	{"RotateToken of an inactive account changes nothing, whatever its list holds", func(r *contractTest) {
		s, token := r.full("ana")
		s.Active = false
		r.create(s)
		r.changesNothing("inactive", domain.ErrInactive, "", func() error {
			_, err := r.RotateToken(r.Context(), token, domain.SessionPolicy{})
			return err
		})
		r.changesNothing("find", domain.ErrInactive, "", func() error {
			_, _, err := r.FindByToken(r.Context(), token)
			return err
		})
	}},
	{"RotateToken by 4 at once without grace has one winner, and ends the session, in each of 40 rounds", func(r *contractTest) {
		id := r.add("ana")
		bystander := r.issue(id, domain.SessionPolicy{})
		for range 40 {
			token := r.issue(id, noGrace)
			grants := make([]domain.Grant, 4)
			errs := concurrently(len(grants), func(i int) (err error) {
				grants[i], err = r.RotateToken(r.Context(), token, noGrace)
				return err
			})
			winner := r.winner("rotate", errs, domain.ErrTokenReused, domain.ErrTokenInvalid)
			reused := 0
			for _, err := range errs {
				if errors.Is(err, domain.ErrTokenReused) {
					reused++
				}
			}
			if reused != 1 {
				r.Errorf("%d of 3 losers ended the session, want the first alone", reused)
			}
			r.live(false, token, grants[winner].Token)
			if got := r.ids(id); !slices.Equal(got, []domain.SessionID{bystander.SessionID()}) {
				r.Errorf("sessions %v are left", got)
			}
		}
	}},
	{"RotateToken by 64 at once within grace gives each the one live token, in each round", func(r *contractTest) {
		id := r.add("ana")
		token := r.issue(id, domain.SessionPolicy{})
		for range r.rounds(8, 200) {
			grants := make([]domain.Grant, 64)
			r.noErrors("rotate", concurrently(len(grants), func(i int) (err error) {
				grants[i], err = r.RotateToken(r.Context(), token, domain.SessionPolicy{})
				return err
			}))
			for _, g := range grants {
				if g.Token != grants[0].Token || g.Token == token || g.Session != g.Token.Session() {
					r.Fatalf("granted %+v and %+v", g.Session, grants[0].Session)
				}
			}
			r.live(true, grants[0].Token)
			if n := len(r.state(id).Sessions); n != 1 {
				r.Fatalf("%d entries are stored", n)
			}
			token = grants[0].Token
			r.clock.Advance(20 * time.Second)
		}
	}},
	{"a client of which every tenth reply is lost is never logged out", func(r *contractTest) {
		id := r.add("ana")
		lasting := domain.SessionPolicy{Absolute: 200_000 * time.Hour} // beyond the last round: no session ends by itself
		token := r.issue(id, lasting)
		random := rand.New(rand.NewPCG(seed(r), 0))
		for range r.rounds(200, 10_000) {
			r.clock.Advance(time.Duration(random.Int64N(int64(10 * time.Hour))))
			for {
				g := must(r.RotateToken(r.Context(), token, lasting))(r)
				if random.IntN(10) > 0 {
					token = g.Token
					break
				}
				r.clock.Advance(time.Duration(1+random.Int64N(3)) * time.Second) // then it tries again with the token that it has
			}
		}
		r.live(true, token)
		if n := len(r.state(id).Sessions); n != 1 {
			r.Errorf("%d sessions, want the one", n)
		}
	}},
	{"RotateToken of many sessions of one account at once loses none", func(r *contractTest) {
		id := r.add("ana")
		tokens := make([]domain.RefreshToken, 12)
		for i := range tokens {
			tokens[i] = r.issue(id, domain.SessionPolicy{})
			r.clock.Advance(time.Millisecond)
		}
		order := r.ids(id)
		r.noErrors("rotate", concurrently(len(tokens), func(i int) error {
			for range 5 {
				g, err := r.RotateToken(r.Context(), tokens[i], noGrace)
				if err != nil {
					return err
				}
				tokens[i] = g.Token
			}
			return nil
		}))
		r.live(true, tokens...)
		if got := r.ids(id); !slices.Equal(got, order) {
			r.Errorf("sessions %v, want %v: by time of issue, whatever was rotated last", got, order)
		}
	}},
	{"RotateToken moves the idle limit, never the absolute one", func(r *contractTest) {
		id := r.add("ana")
		policy := domain.SessionPolicy{Idle: 10 * time.Hour, Absolute: 24 * time.Hour, Grace: domain.NoGrace}
		first := must(r.IssueToken(r.Context(), id, policy))(r)
		end, token := first.Session.AbsoluteExpiry, first.Token
		policy.Absolute = 1000 * time.Hour
		for range 23 {
			r.clock.Advance(time.Hour)
			g := must(r.RotateToken(r.Context(), token, policy))(r)
			token = g.Token
			want := r.clock.stored().Truncate(time.Millisecond).Add(10 * time.Hour)
			if want.After(end) {
				want = end
			}
			if g.Session.AbsoluteExpiry != end || g.Session.ExpiresAt != want || !token.ExpiresAt().Equal(want) || g.Session.IssuedAt != first.Session.IssuedAt {
				r.Fatalf("session %+v, want its expiry %v and its end %v", g.Session, want, end)
			}
		}
		r.clock.Advance(time.Hour)
		r.live(false, token)
		r.spent("at the end", token, policy, domain.ErrTokenExpired)
		if got := r.ids(id); len(got) != 0 {
			r.Errorf("sessions %v", got)
		}
	}},
	{"an entry that expired or has no form counts for nothing, and vanishes when the list is gone through", func(r *contractTest) {
		s, token := r.full("ana")
		list, short := r.begin(nil, s.ID, domain.SessionPolicy{Idle: time.Minute})
		lasting := s.Sessions[0]
		s.Sessions = slices.Concat(list, domain.SessionList{
			"", "by hand", lasting[:50], lasting[1:], strings.Repeat("é", len(lasting)), lasting,
		})
		r.clock.Advance(time.Minute)
		for name, write := range map[string]func(id domain.ID) error{
			"issue": func(id domain.ID) error {
				_, err := r.IssueToken(r.Context(), id, domain.SessionPolicy{Cap: 7})
				return err
			},
			"revoke": func(id domain.ID) error {
				_, err := r.RevokeSession(r.Context(), id, short.SessionID())
				return err
			},
			"revoke others": func(id domain.ID) error {
				_, err := r.RevokeOtherSessions(r.Context(), id, token.SessionID())
				return err
			},
			"new password": func(id domain.ID) error {
				_, err := r.SetPassword(r.Context(), id, domain.PasswordHash{}, r.hash("new"), token.SessionID())
				return err
			},
			"sweep": func(domain.ID) error { _, err := r.SweepSessions(r.Context(), domain.ID{}, 10); return err },
		} {
			r.create(s)
			if n := must(r.CountSessions(r.Context()))(r); n != 1 || !slices.Equal(r.ids(s.ID), []domain.SessionID{token.SessionID()}) {
				r.Errorf("%d sessions, listed %v", n, r.ids(s.ID))
			}
			r.live(false, short)
			if err := write(s.ID); err != nil {
				r.Errorf("%s: %v", name, err)
			}
			want := 1
			if name == "issue" {
				want = 2
			}
			if list := r.state(s.ID).Sessions; len(list) != want || list[0] != lasting {
				r.Errorf("%s left %q", name, list)
			}
			if err := r.Delete(r.Context(), s.ID); err != nil {
				r.Fatal(err)
			}
		}
	}},
	{"a session can be ended, or all others, or all, any number of times", func(r *contractTest) {
		id := r.add("ana")
		var tokens []domain.RefreshToken
		for range 5 {
			token := r.issue(id, domain.SessionPolicy{})
			tokens = append(tokens, r.rotate(token, domain.SessionPolicy{}))
		}
		for range 2 {
			must(r.RevokeSession(r.Context(), id, tokens[1].SessionID()))(r)
			r.live(true, tokens[0], tokens[2], tokens[3], tokens[4])
			r.live(false, tokens[1])
		}
		r.spent("of an ended session", tokens[1], domain.SessionPolicy{}, domain.ErrTokenInvalid)
		for range 2 {
			must(r.RevokeOtherSessions(r.Context(), id, tokens[3].SessionID()))(r)
			r.live(true, tokens[3])
			r.live(false, tokens[0], tokens[1], tokens[2], tokens[4])
		}
		for range 2 {
			if u := must(r.RevokeSessions(r.Context(), id))(r); len(u.State().Sessions) != 0 {
				r.Errorf("%q is left", []string(u.State().Sessions))
			}
			r.live(false, tokens...)
		}
	}},
	{"where there is no session to end, nothing is written", func(r *contractTest) {
		s, token := r.full("ana")
		r.create(s)
		unknown := must(domain.ParseSessionID("AAAAAAAAAAAAAAAAAAAAAA"))(r)
		for name, revoke := range map[string]func() (*domain.User, error){
			"one":    func() (*domain.User, error) { return r.RevokeSession(r.Context(), s.ID, unknown) },
			"others": func() (*domain.User, error) { return r.RevokeOtherSessions(r.Context(), s.ID, token.SessionID()) },
		} {
			r.clock.Advance(time.Second)
			r.equal(name, must(revoke())(r).State(), s)
			r.equal(name, r.state(s.ID), s)
		}
		want := must(r.RevokeSessions(r.Context(), s.ID))(r).State()
		r.clock.Advance(time.Second)
		r.equal("all", must(r.RevokeSessions(r.Context(), s.ID))(r).State(), want)
		must(r.RevokeEverybody(r.Context(), domain.ID{}, 10))(r)
		r.equal("everybody's", r.state(s.ID), want)
	}},
	{"the sessions of one account are no other's", func(r *contractTest) {
		ana, eva := r.add("ana"), r.add("eva")
		anas, evas := r.issue(ana, domain.SessionPolicy{}), r.issue(eva, domain.SessionPolicy{})
		before := r.state(eva)
		must(r.RevokeSession(r.Context(), ana, evas.SessionID()))(r)
		must(r.RevokeOtherSessions(r.Context(), ana, evas.SessionID()))(r)
		r.live(false, anas)
		must(r.SetPassword(r.Context(), ana, domain.PasswordHash{}, r.hash("new"), evas.SessionID()))(r)
		must(r.Deactivate(r.Context(), ana))(r)
		r.equal("the other account", r.state(eva), before)
		r.live(true, evas)
	}},
	{"a rotation that races with the end of its session leaves nothing", func(r *contractTest) {
		id := r.add("ana")
		end := []func(token domain.RefreshToken) error{
			func(t domain.RefreshToken) error {
				_, err := r.RevokeSession(r.Context(), id, t.SessionID())
				return err
			},
			func(domain.RefreshToken) error { _, err := r.RevokeSessions(r.Context(), id); return err },
			func(domain.RefreshToken) error {
				_, err := r.SetPassword(r.Context(), id, domain.PasswordHash{}, r.hash("new"), domain.SessionID{})
				return err
			},
			func(domain.RefreshToken) error { _, err := r.Deactivate(r.Context(), id); return err },
		}
		for round := range 24 {
			must(r.Activate(r.Context(), id))(r)
			token := r.issue(id, domain.SessionPolicy{})
			var g domain.Grant
			r.noErrors("call", concurrently(2, func(i int) (err error) {
				if i == 0 {
					return end[round%len(end)](token)
				}
				g, err = r.RotateToken(r.Context(), token, domain.SessionPolicy{})
				if errors.Is(err, domain.ErrTokenInvalid) || errors.Is(err, domain.ErrInactive) {
					return nil
				}
				return err
			}))
			if list := r.state(id).Sessions; len(list) != 0 {
				r.Errorf("round %d: %q is left", round, list)
			}
			if !g.Token.IsZero() {
				r.live(false, g.Token)
			}
		}
	}},
	{"Sessions lists the live ones, the oldest first, and returns not_found", func(r *contractTest) {
		id := r.add("ana")
		if got := must(r.Sessions(r.Context(), id))(r); len(got) != 0 {
			r.Errorf("%d sessions at first", len(got))
		}
		var want []domain.Session
		for i := range 4 {
			r.clock.Advance(time.Minute)
			g := must(r.IssueToken(r.Context(), id, domain.SessionPolicy{Idle: time.Duration(4-i) * time.Hour}))(r)
			want = append(want, g.Session)
		}
		r.clock.Advance(time.Hour - 4*time.Minute)
		for n := 4; n >= 1; n-- {
			if got := must(r.Sessions(r.Context(), id))(r); !slices.Equal(got, want[:n]) {
				r.Errorf("sessions %+v, want %+v", got, want[:n])
			}
			r.clock.Advance(time.Hour)
		}
	}},
	{"CountSessions counts live sessions", func(r *contractTest) {
		total := 0
		for i := range 9 {
			id := r.add(fmt.Sprintf("name-%d", i))
			for range i % 4 {
				token := r.issue(id, domain.SessionPolicy{})
				r.rotate(token, domain.SessionPolicy{})
				r.rotate(token, domain.SessionPolicy{})
				total++
			}
			r.issue(id, domain.SessionPolicy{Idle: time.Minute})
		}
		r.clock.Advance(time.Minute)
		if n := must(r.CountSessions(r.Context()))(r); n != total {
			r.Errorf("%d sessions, want %d", n, total)
		}
		must(r.RevokeSessions(r.Context(), must(r.FindByUsername(r.Context(), r.username("name-3")))(r).ID()))(r)
		if n := must(r.CountSessions(r.Context()))(r); n != total-3 {
			r.Errorf("%d sessions when those of an account have ended", n)
		}
	}},
	{"SweepSessions removes what has expired, in bounded steps, and writes nothing else", func(r *contractTest) {
		var stale, tokens []domain.RefreshToken
		for i := range 11 {
			id := r.add(fmt.Sprintf("name-%d", i))
			if i%2 == 0 {
				tokens = append(tokens, r.issue(id, domain.SessionPolicy{}))
			}
			if i%3 == 0 {
				stale = append(stale, r.issue(id, domain.SessionPolicy{Idle: time.Minute}))
			}
		}
		r.clock.Advance(time.Minute)
		for _, limit := range []int{3, 4, 11, 100} {
			want := r.accounts()
			stales := 0
			for id, s := range want {
				if kept := s.Sessions.Prune(r.clock.Now()); len(kept) < len(s.Sessions) {
					s.Sessions, s.UpdatedAt = kept, r.clock.stored()
					want[id] = s
					stales++
				}
			}
			var after domain.ID
			visited, swept := 0, 0
			for step := 0; ; step++ {
				sweep := must(r.SweepSessions(r.Context(), after, limit))(r)
				visited, swept, after = visited+sweep.Visited, swept+sweep.Swept, sweep.Next
				if sweep.Visited > limit || sweep.Swept > sweep.Visited || step > 12 {
					r.Fatalf("step %d by %d: %+v", step, limit, sweep)
				}
				if sweep.Done {
					break
				}
			}
			if visited != 11 || swept != stales {
				r.Errorf("by %d: %d visited, %d swept; want 11, %d", limit, visited, swept, stales)
			}
			r.equalAll(fmt.Sprint("by ", limit), r.accounts(), want)
			for _, token := range tokens[:2] { // so that there is something to sweep for the next
				stale = append(stale, r.issue(token.UserID(), domain.SessionPolicy{Idle: time.Minute}))
			}
			r.clock.Advance(time.Minute)
		}
		r.live(true, tokens...)
		r.live(false, stale...)
		for _, limit := range []int{0, -1} {
			r.changesNothing("limit", domain.ErrInvalid, "limit", func() error {
				_, err := r.SweepSessions(r.Context(), domain.ID{}, limit)
				return err
			})
		}
	}},
	{"RevokeEverybody ends all sessions, in bounded steps", func(r *contractTest) {
		var tokens []domain.RefreshToken
		with := 0
		for i := range 11 {
			id := r.add(fmt.Sprintf("name-%d", i))
			for range i % 3 {
				tokens = append(tokens, r.issue(id, domain.SessionPolicy{}))
			}
			with += min(1, i%3)
		}
		r.clock.Advance(time.Second)
		var after domain.ID
		visited, swept := 0, 0
		for step := 0; ; step++ {
			sweep := must(r.RevokeEverybody(r.Context(), after, 4))(r)
			visited, swept, after = visited+sweep.Visited, swept+sweep.Swept, sweep.Next
			if sweep.Visited > 4 || sweep.Swept > sweep.Visited || step > 3 {
				r.Fatalf("step %d: %+v", step, sweep)
			}
			if sweep.Done {
				break
			}
		}
		if visited != 11 || swept != with {
			r.Errorf("%d visited, %d swept; want 11, %d", visited, swept, with)
		}
		r.live(false, tokens...)
		for id, s := range r.accounts() {
			if len(s.Sessions) != 0 || s.Version != 1 {
				r.Errorf("%s: %q is left at version %d", id, s.Sessions, s.Version)
			}
		}
		for _, limit := range []int{0, -1} {
			r.changesNothing("limit", domain.ErrInvalid, "limit", func() error {
				_, err := r.RevokeEverybody(r.Context(), domain.ID{}, limit)
				return err
			})
		}
	}},
	{"SweepSessions loses nothing that is issued meanwhile", func(r *contractTest) {
		var ids []domain.ID
		for i := range 4 {
			ids = append(ids, r.add(fmt.Sprintf("name-%d", i)))
			for range 3 {
				r.issue(ids[i], domain.SessionPolicy{Idle: time.Minute})
			}
		}
		r.clock.Advance(time.Minute)
		tokens := make([][]domain.RefreshToken, len(ids))
		r.noErrors("call", concurrently(len(ids)+2, func(i int) error {
			for range 10 {
				if i >= len(ids) {
					if _, err := r.SweepSessions(r.Context(), domain.ID{}, 10); err != nil {
						return err
					}
					continue
				}
				g, err := r.IssueToken(r.Context(), ids[i], domain.SessionPolicy{})
				if err != nil {
					return err
				}
				tokens[i] = append(tokens[i], g.Token)
			}
			return nil
		}))
		for i, id := range ids {
			r.live(true, tokens[i]...)
			if n := len(r.state(id).Sessions); n != 10 {
				r.Errorf("%d entries are stored", n)
			}
		}
	}},
}
