package domaintest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
)

func (r *contractTest) identity(subject string) domain.Identity {
	r.Helper()
	return must(domain.ParseIdentity("https://issuer.example", subject))(r)
}

// link links an identity to the account and returns it.
func (r *contractTest) link(id domain.ID, subject string) domain.Identity {
	r.Helper()
	identity := r.identity(subject)
	must(r.LinkIdentity(r.Context(), id, identity))(r)
	return identity
}

// without stores an account without a password.
func (r *contractTest) without(name string) domain.ID {
	r.Helper()
	s := r.newAccount(name)
	s.PasswordHash = domain.NoPassword()
	return r.create(s).ID
}

var identities = []behaviour{
	{"an account is found by each of its identities, byte by byte", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		r.link(r.add("eva"), "of-eva")
		wide := strings.Repeat("😀", 255)
		linked := []domain.Identity{
			r.link(s.ID, "248289761001"), r.link(s.ID, "248289761001 "), r.link(s.ID, "É"), r.link(s.ID, "E\u0301"), r.link(s.ID, "é"),
			must(domain.ParseIdentity("https://ISSUER.example", "248289761001"))(r), must(domain.ParseIdentity(wide, wide))(r),
		}
		for _, identity := range linked[5:] {
			must(r.LinkIdentity(r.Context(), s.ID, identity))(r)
		}
		for _, identity := range linked {
			r.equal("found", must(r.FindByIdentity(r.Context(), identity))(r).State(), s)
		}
		for _, identity := range []domain.Identity{
			r.identity("24828976100"), r.identity("%"), r.identity("e\u0301"), {}, must(domain.ParseIdentity("248289761001", "https://issuer.example"))(r),
		} {
			_, err := r.FindByIdentity(r.Context(), identity)
			r.refused("find another", err, domain.ErrNotFound, "")
		}
	}},
	{"identities are listed in the order in which they were linked, with their times", func(r *contractTest) {
		id, eva := r.add("ana"), r.add("eva")
		r.link(eva, "of-eva")
		if got := must(r.Identities(r.Context(), id))(r); len(got) != 0 {
			r.Errorf("%v", got)
		}
		var want []domain.LinkedIdentity
		for _, subject := range []string{"b", "c", "a"} {
			r.clock.Advance(time.Second + time.Nanosecond)
			link := must(r.LinkIdentity(r.Context(), id, r.identity(subject)))(r)
			if (link != domain.LinkedIdentity{Identity: r.identity(subject), UserID: id, CreatedAt: r.clock.stored()}) {
				r.Errorf("linked %+v", link)
			}
			want = append(want, link)
		}
		if got := must(r.Identities(r.Context(), id))(r); !slices.Equal(got, want) {
			r.Errorf("%+v, want %+v", got, want)
		}
		r.clock.Advance(time.Hour)
		before := r.state(id)
		u := must(r.RecordIdentitySignIn(r.Context(), r.identity("c")))(r)
		before.LastLogin, before.UpdatedAt, want[1].LastUsedAt = r.clock.stored(), r.clock.stored(), r.clock.stored()
		r.equal("signed in", u.State(), before)
		if got := must(r.Identities(r.Context(), id))(r); !slices.Equal(got, want) {
			r.Errorf("%+v, want %+v", got, want)
		}
	}},
	{"an identity that is linked is taken, also for its own account", func(r *contractTest) {
		ana, eva := r.add("ana"), r.add("eva")
		identity := r.link(ana, "a")
		for _, id := range []domain.ID{ana, eva} {
			_, err := r.LinkIdentity(r.Context(), id, identity)
			r.refused("link", err, domain.ErrTaken, "identity")
		}
		_, err := r.LinkIdentity(r.Context(), eva, domain.Identity{})
		r.refused("link none", err, domain.ErrInvalid, "identity")
		if u := must(r.FindByIdentity(r.Context(), identity))(r); u.ID() != ana {
			r.Error("it moved to another account")
		}
	}},
	{"of 64 links of one identity at once one succeeds", func(r *contractTest) {
		ids := make([]domain.ID, 64)
		for i := range ids {
			ids[i] = r.add(fmt.Sprintf("acc-%d", i))
		}
		for i := range r.rounds(5, 1000) {
			identity := r.identity(fmt.Sprint(i))
			winner := r.winner("link", concurrently(64, func(i int) error {
				_, err := r.LinkIdentity(r.Context(), ids[i], identity)
				return err
			}), domain.ErrTaken)
			if u := must(r.FindByIdentity(r.Context(), identity))(r); u.ID() != ids[winner] {
				r.Error("another account than the winner's has it")
			}
		}
	}},
	{"a sign-in with an identity is refused to an inactive account, and a lock does not stand in its way", func(r *contractTest) {
		id := r.add("ana")
		identity := r.link(id, "a")
		_, err := r.RecordIdentitySignIn(r.Context(), r.identity("b"))
		r.refused("unknown", err, domain.ErrNotFound, "")
		r.fail(id, domain.LockPolicy{Attempts: 1}, 1)
		if u := must(r.RecordIdentitySignIn(r.Context(), identity))(r); !u.IsLocked(r.clock.Now()) {
			r.Error("it ended the lock")
		}
		must(r.Deactivate(r.Context(), id))(r)
		before := must(r.Identities(r.Context(), id))(r)
		r.clock.Advance(time.Minute)
		r.changesNothing("inactive", domain.ErrInactive, "", func() error {
			_, err := r.RecordIdentitySignIn(r.Context(), identity)
			return err
		})
		if after := must(r.Identities(r.Context(), id))(r); !slices.Equal(after, before) {
			r.Errorf("%+v, want %+v", after, before)
		}
	}},
	{"UnlinkIdentity ends the link, and frees the identity", func(r *contractTest) {
		ana, eva := r.add("ana"), r.add("eva")
		identity := r.link(ana, "a")
		r.link(eva, "e")
		r.refused("of another account", r.UnlinkIdentity(r.Context(), eva, identity, true), domain.ErrNotFound, "identity")
		r.refused("unknown", r.UnlinkIdentity(r.Context(), ana, r.identity("x"), true), domain.ErrNotFound, "identity")
		r.noErrors("unlink", []error{r.UnlinkIdentity(r.Context(), ana, identity, false)}) // there is a password
		r.refused("again", r.UnlinkIdentity(r.Context(), ana, identity, false), domain.ErrNotFound, "identity")
		_, err := r.FindByIdentity(r.Context(), identity)
		r.refused("find", err, domain.ErrNotFound, "")
		r.link(eva, "a")
	}},
	{"the last way in stays unless it is forced out", func(r *contractTest) {
		id := r.without("ana")
		identity := r.link(id, "a")
		r.refused("the last identity", r.UnlinkIdentity(r.Context(), id, identity, false), domain.ErrConflict, "identity")
		second := r.link(id, "b")
		r.noErrors("of two", []error{r.UnlinkIdentity(r.Context(), id, identity, false)})
		r.refused("the last identity", r.UnlinkIdentity(r.Context(), id, second, false), domain.ErrConflict, "identity")
		r.noErrors("forced", []error{r.UnlinkIdentity(r.Context(), id, second, true)})

		s, token := r.full("eva")
		r.create(s)
		r.changesNothing("the password", domain.ErrConflict, "hashed_password", func() error {
			_, err := r.RemovePassword(r.Context(), s.ID, domain.SessionID{}, false)
			return err
		})
		r.link(s.ID, "e")
		u := must(r.RemovePassword(r.Context(), s.ID, token.SessionID(), false))(r)
		if u.HasPassword() || !u.PendingEmail().IsZero() || u.FailedLoginAttempts() != 0 || u.Version() != s.Version+1 || !r.isLive(token) {
			r.Errorf("without a password: %+v", u.State())
		}
		r.dead("after the password was removed", r.oneTimeTokens()[0], s.ResetToken)
		before := r.state(s.ID)
		r.equal("removed again", must(r.RemovePassword(r.Context(), s.ID, domain.SessionID{}, false))(r).State(), before)
	}},
	{"of several ways in that are removed at once one stays", func(r *contractTest) {
		for i := range r.rounds(10, 1000) {
			id := r.add(fmt.Sprintf("acc-%d", i))
			var ways []func() error
			for j := range 3 {
				identity := r.link(id, fmt.Sprintf("%d-%d", i, j))
				ways = append(ways, func() error { return r.UnlinkIdentity(r.Context(), id, identity, false) })
			}
			ways = append(ways, func() error {
				_, err := r.RemovePassword(r.Context(), id, domain.SessionID{}, false)
				return err
			})
			var refused atomic.Int32
			r.noErrors("remove", concurrently(len(ways), func(j int) error {
				err := ways[j]()
				if errors.Is(err, domain.ErrConflict) {
					refused.Add(1)
					return nil
				}
				return err
			}))
			left := len(must(r.Identities(r.Context(), id))(r))
			if must(r.FindByID(r.Context(), id))(r).HasPassword() {
				left++
			}
			if left != 1 || refused.Load() != 1 {
				r.Errorf("%d ways in are left, %d were refused", left, refused.Load())
			}
		}
	}},
	{"deleting an account deletes its links, also where one is made at once", func(r *contractTest) {
		for i := range r.rounds(10, 1000) {
			id := r.add(fmt.Sprintf("acc-%d", i))
			first, second := r.link(id, fmt.Sprint(i)), r.identity(fmt.Sprint("second-", i))
			r.noErrors("call", concurrently(2, func(j int) error {
				if j == 0 {
					return r.Delete(r.Context(), id)
				}
				if _, err := r.LinkIdentity(r.Context(), id, second); !errors.Is(err, domain.ErrNotFound) {
					return err
				}
				return nil
			}))
			for _, identity := range []domain.Identity{first, second} {
				_, err := r.FindByIdentity(r.Context(), identity)
				r.refused("find", err, domain.ErrNotFound, "")
			}
			_, err := r.Identities(r.Context(), id)
			r.refused("list", err, domain.ErrNotFound, "")
		}
	}},
}

// wayIn does an operation on pending addresses, locks or identities.
func (q *sequence) wayIn(id domain.ID) string {
	ctx := q.Context()
	type (
		repo = domain.Repository
		user = *domain.User
	)
	identity := q.identity(pick(q, "a", "b", "c"))
	force := q.random.IntN(3) == 0
	switch q.random.IntN(12) {
	case 0, 1:
		email, digest, expiry := q.email(), domain.NewOneTimeToken().Digest(), q.clock.Now().Add(pick(q, time.Minute, time.Hour, -time.Second))
		q.digests = append(q.digests, digest)
		return q.both(fmt.Sprintf("RequestEmail(%s)", email), func(r repo) (user, error) {
			return r.RequestEmail(ctx, id, email, digest, expiry)
		})
	case 2:
		return q.both("CancelEmail()", func(r repo) (user, error) { return r.CancelEmail(ctx, id) })
	case 3:
		return q.both("CancelReset()", func(r repo) (user, error) { return r.CancelReset(ctx, id) })
	case 4:
		return q.both("CancelVerification()", func(r repo) (user, error) { return r.CancelVerification(ctx, id) })
	case 5:
		until := q.clock.Now().Add(pick(q, -time.Minute, time.Second, time.Minute))
		return q.both("LockUntil()", func(r repo) (user, error) { return r.LockUntil(ctx, id, until) })
	case 6:
		keep := q.session()
		return q.both("RemovePassword()", func(r repo) (user, error) { return r.RemovePassword(ctx, id, keep, force) })
	case 7, 8:
		got, err := q.LinkIdentity(ctx, id, identity)
		want, wantErr := q.model.LinkIdentity(ctx, id, identity)
		q.agree("LinkIdentity()", got, want, err, wantErr)
		return "LinkIdentity()"
	case 9:
		err := q.UnlinkIdentity(ctx, id, identity, force)
		wantErr := q.model.UnlinkIdentity(ctx, id, identity, force)
		q.agree("UnlinkIdentity()", nil, nil, err, wantErr)
		return "UnlinkIdentity()"
	case 10:
		return q.both("RecordIdentitySignIn()", func(r repo) (user, error) { return r.RecordIdentitySignIn(ctx, identity) })
	default:
		got, err := q.Identities(ctx, id)
		want, wantErr := q.model.Identities(ctx, id)
		q.agree("Identities()", append([]domain.LinkedIdentity{}, got...), append([]domain.LinkedIdentity{}, want...), err, wantErr)
		return q.both("FindByIdentity()", func(r repo) (user, error) { return r.FindByIdentity(ctx, identity) })
	}
}
