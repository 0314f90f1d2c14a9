package domaintest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// sequences do random operations on the repository and on the model, and demand that the two agree: on what is returned, on
// what is refused, and on everything that is stored.
var sequences = []behaviour{
	{"of few accounts with many collisions", func(r *contractTest) { newSequence(r, 4).run(r.rounds(300, 2000)) }},
	{"of one account with many sessions", func(r *contractTest) { newSequence(r, 1).run(r.rounds(600, 3000)) }},
	{"of many accounts", func(r *contractTest) { newSequence(r, 12).run(r.rounds(120, 1000)) }},
}

const seedVariable = "DOMAINTEST_SEED"

// seed returns the number that random decisions of a test begin with, and prints it.
func seed(r *contractTest) uint64 {
	r.Helper()
	n := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		n = must(strconv.ParseUint(text, 10, 64))(r)
	}
	r.Logf("%s=%d", seedVariable, n)
	return n
}

// sequence is a sequence of random operations.
type sequence struct {
	*contractTest
	model    *model
	random   *rand.Rand
	most     int                   // accounts
	ids      []domain.ID           // of all accounts, those that were deleted too
	tokens   []domain.RefreshToken // all that the repository granted
	digests  []domain.TokenDigest  // of all one-time tokens
	codes    []domain.TokenDigest  // of all telephone codes
	hashes   []domain.PasswordHash
	outcomes map[string]int
}

func newSequence(r *contractTest, most int) *sequence {
	q := &sequence{
		contractTest: r, model: newModel(r.clock.Now), random: rand.New(rand.NewPCG(seed(r), 0)), most: most,
		ids: []domain.ID{domain.NewID()}, outcomes: make(map[string]int),
	}
	for i := range 4 {
		q.hashes = append(q.hashes, r.hash(fmt.Sprint(i)))
	}
	q.hashes = append(q.hashes, domain.NoPassword())
	return q
}

// pick returns one of several values.
func pick[V any](q *sequence, values ...V) V { return values[q.random.IntN(len(values))] }

// recent returns one of several values, the last ones more often; the zero value if there are none.
func recent[V any](q *sequence, values []V) (v V) {
	if len(values) == 0 {
		return v
	}
	far := 1 + q.random.IntN(len(values))
	return values[len(values)-1-q.random.IntN(min(far, 1+q.random.IntN(10)))]
}

func (q *sequence) email() domain.Email {
	return q.contractTest.email(fmt.Sprintf("%s@Example.org", pick(q, "a", "B", "ç", "d_", "d%", "dx")))
}

func (q *sequence) username() domain.Username {
	return q.contractTest.username(pick(q, "ana", "Eva", "ída", `d\a`, "d_a", "dxa"))
}

func (q *sequence) phone() domain.Phone {
	return pick(q, domain.Phone{}, q.contractTest.phone("+573001112233"), q.contractTest.phone("+573001112234"))
}

func (q *sequence) names() domain.Names {
	return domain.Names{First: pick(q, "", "Ana", " José "), Last: pick(q, "", "O'Neil", strings.Repeat("é", 101))}
}

// hash returns one of few, or seldom the absent one.
func (q *sequence) hash() domain.PasswordHash {
	if q.random.IntN(20) == 0 {
		return domain.PasswordHash{}
	}
	return pick(q, q.hashes...)
}

// checked is the stored hash more often than not.
func (q *sequence) checked(id domain.ID) domain.PasswordHash {
	if q.random.IntN(4) == 0 {
		return q.hash()
	}
	return q.model.users[id].PasswordHash
}

func (q *sequence) id() domain.ID {
	if q.random.IntN(30) == 0 || len(q.model.users) == 0 {
		return recent(q, q.ids)
	}
	var present []domain.ID // in the order in which they were made, so that a seed gives the same sequence again
	for _, id := range q.ids {
		if _, ok := q.model.users[id]; ok && !slices.Contains(present, id) {
			present = append(present, id)
		}
	}
	return pick(q, present...)
}

func (q *sequence) session() domain.SessionID { return recent(q, q.tokens).SessionID() }

func (q *sequence) digest() domain.TokenDigest { return recent(q, q.digests) }

func (q *sequence) lockPolicy() domain.LockPolicy {
	return domain.LockPolicy{Attempts: pick(q, 0, 1, 2, 3, 101, domain.NoLock), Duration: pick(q, 0, time.Second, time.Minute)}
}

func (q *sequence) sessionPolicy() domain.SessionPolicy {
	return domain.SessionPolicy{
		Cap:      pick(q, 0, 0, 2, 3, 4),
		Idle:     pick(q, 0, 0, 0, 0, 0, time.Hour, time.Minute, time.Millisecond),
		Absolute: pick(q, 0, 0, 0, time.Hour, 3*time.Minute),
		Label:    pick(q, "", "", "Firefox", " é\u0301 ", "no\x00"),
		Grace:    pick(q, 0, 0, 0, 0, time.Second, time.Second, time.Minute, domain.NoGrace, domain.NoGrace, -5),
	}
}

func (q *sequence) filter() (f domain.Filter) {
	yes, no := true, false
	f.Active, f.Verified = pick(q, nil, nil, &yes, &no), pick(q, nil, nil, &yes, &no)
	f.Search = q.prefix(pick(q, "", "", "d", "D_", "A", "ç", `d\`, "d%"))
	if q.random.IntN(3) == 0 {
		f.Locked, f.SignedIn, f.WithPhone, f.WithPassword, f.WithIdentity = pick(q, nil, nil, &yes, &no), pick(q, nil, nil, &yes, &no), pick(q, nil, nil, &yes, &no), pick(q, nil, nil, &yes, &no), pick(q, nil, nil, &yes, &no)
		f.Name, f.Domain = q.namePrefix(pick(q, "", "", "a", "josé", "o'")), q.mailDomain(pick(q, "", "", "Example.org", "example.com"))
	}
	ago := func() time.Time { return q.clock.Now().Add(-time.Duration(q.random.Int64N(int64(5 * time.Minute)))) }
	switch q.random.IntN(6) {
	case 0:
		f.SignedInFrom = ago()
	case 1:
		f.SignedInBefore = ago()
	case 2:
		f.UnverifiedSince = ago()
	}
	if q.random.IntN(3) == 0 {
		f.CreatedFrom = q.clock.Now().Add(-time.Duration(q.random.Int64N(int64(10 * time.Minute))))
	}
	if q.random.IntN(3) == 0 {
		f.CreatedBefore = q.clock.Now().Add(-time.Duration(q.random.Int64N(int64(5 * time.Minute))))
	}
	return f
}

// run does n operations.
func (q *sequence) run(n int) {
	for step := range n {
		what := q.step()
		q.equalAll(what, q.stored(), q.model.users)
		if step%5 == 0 { // they cost as much as all else
			n, err := q.Count(q.Context(), domain.Filter{})
			q.agree("Count() after "+what, n, len(q.model.users), err, nil)
			n, err = q.CountSessions(q.Context())
			want, wantErr := q.model.CountSessions(q.Context())
			q.agree("CountSessions() after "+what, n, want, err, wantErr)
		}
		token := recent(q, q.tokens)
		_, found, err := q.FindByToken(q.Context(), token)
		_, wantFound, wantErr := q.model.FindByToken(q.Context(), token)
		q.agree(fmt.Sprintf("FindByToken(%v) after %s", token.SessionID(), what), found, wantFound, err, wantErr)
		if q.Failed() {
			q.Fatalf("in step %d", step)
		}
	}
	q.Logf("outcomes: %v", q.outcomes)
}

// stored returns what the repository holds of the accounts that the model knows.
func (q *sequence) stored() map[domain.ID]domain.UserState {
	all := make(map[domain.ID]domain.UserState)
	for id := range q.model.users {
		if u, err := q.FindByID(q.Context(), id); err == nil {
			all[id] = u.State()
		}
	}
	return all
}

// ambiguous has the refusals that an operation may choose from when several are due.
var ambiguous = map[string][]domain.Kind{
	"Create()":        {domain.ErrTaken, domain.ErrConflict, domain.ErrInvalid},
	"RecordSuccess()": {domain.ErrConflict, domain.ErrLocked, domain.ErrInactive},
}

// agree demands that the repository and the model returned the same.
func (q *sequence) agree(what string, got, want any, err, wantErr error) {
	var e, w *domain.Error
	switch {
	case wantErr == nil && err != nil, wantErr != nil && !errors.As(err, &e):
		q.Errorf("%s: error %v, want %v", what, err, wantErr)
	case wantErr == nil:
		if !reflect.DeepEqual(got, want) {
			q.Errorf("%s: returned %+v, want %+v", what, got, want)
		}
	case !errors.As(wantErr, &w):
		q.Fatalf("%s: the model fails with %v", what, wantErr)
	case slices.Contains(ambiguous[what], w.Kind) && slices.Contains(ambiguous[what], e.Kind):
	case e.Kind != w.Kind || e.Field != w.Field && e.Kind != domain.ErrTaken || !e.Until.Equal(w.Until):
		q.Errorf("%s: error %#v, want %#v", what, e, w)
	}
	outcome := "done"
	if wantErr != nil {
		outcome = string(domain.KindOf(wantErr))
	}
	name, _, _ := strings.Cut(what, "(")
	q.outcomes[name+" "+outcome]++
}

// both does an operation that returns an account.
func (q *sequence) both(what string, do func(domain.Repository) (*domain.User, error)) string {
	got, err := do(q.Repository)
	want, wantErr := do(q.model)
	var a, b any
	if got != nil {
		s := got.State()
		s.Sessions = append(domain.SessionList{}, s.Sessions...) // nil and empty are the same
		a = s
	}
	if want != nil {
		s := want.State()
		s.Sessions = append(domain.SessionList{}, s.Sessions...)
		b = s
	}
	q.agree(what, a, b, err, wantErr)
	return what
}

// grants does an operation on an account that grants a token. What is random in the two tokens differs; the model then takes
// the repository's.
func (q *sequence) grants(what string, id domain.ID, do func(domain.Repository) (domain.Grant, error)) string {
	before := q.model.users[id].Sessions
	got, err := do(q.Repository)
	want, wantErr := do(q.model)
	if err == nil && wantErr == nil {
		s := q.model.users[id]
		if slices.Equal(s.Sessions, before) {
			q.agree(what, got.Token, want.Token, nil, nil) // nothing was written: it is the live token
		} else {
			q.tokens = append(q.tokens, got.Token)
			stored := q.state(id).Sessions
			if len(stored) != len(s.Sessions) || !slices.Equal(stored[:len(stored)-1], s.Sessions[:len(stored)-1]) {
				q.Errorf("%s stored\n%q, want\n%q and a new entry", what, stored, s.Sessions)
			}
			s.Sessions = stored
			q.model.users[id] = s
			if session, err := stored.Find(got.Token, q.clock.Now()); err != nil || session != got.Session {
				q.Errorf("%s granted a token that is not stored: %+v, %v", what, session, err)
			}
			if want.Session.ID = got.Token.SessionID(); got.Token.Session() != want.Session || got.UserID != id || got.Token.UserID() != id {
				q.Errorf("%s: the token says %+v, want %+v", what, got.Token.Session(), want.Session)
			}
		}
	}
	q.agree(what, got.Session, want.Session, err, wantErr)
	return what
}

// step does one operation and returns its name.
func (q *sequence) step() string {
	ctx, id := q.Context(), q.id()
	type (
		repo = domain.Repository
		user = *domain.User
	)
	if q.random.IntN(8) == 0 && len(q.model.users) > 0 {
		return q.wayIn(id)
	}
	if q.most > 1 && q.random.IntN(10) == 0 && len(q.model.users) > 0 { // what ends all sessions of one account would hide its rules
		return q.many()
	}
	if q.random.IntN(16) == 0 {
		return q.onPhone(id)
	}
	switch n := q.random.IntN(100); {
	case n < 5 && len(q.model.users) < q.most || len(q.model.users) == 0:
		s := q.newAccount("ana")
		s.Email, s.Username, s.Phone, s.PasswordHash = q.email(), q.username(), q.phone(), q.hash()
		if q.random.IntN(10) == 0 {
			s.ID = id
		}
		q.ids = append(q.ids, s.ID)
		u := must(domain.RestoreUser(s))(q.contractTest)
		return q.both("Create()", func(r repo) (user, error) { return nil, r.Create(ctx, u) })
	case n < 5:
		return q.list()
	case n < 6:
		return q.both("Delete()", func(r repo) (user, error) { return nil, r.Delete(ctx, id) })
	case n < 9:
		email := q.email()
		return q.both(fmt.Sprintf("SetEmail(%s)", email), func(r repo) (user, error) { return r.SetEmail(ctx, id, email) })
	case n < 11:
		username := q.username()
		return q.both(fmt.Sprintf("SetUsername(%s)", username), func(r repo) (user, error) { return r.SetUsername(ctx, id, username) })
	case n < 13:
		names := q.names()
		return q.both(fmt.Sprintf("SetNames(%+v)", names), func(r repo) (user, error) { return r.SetNames(ctx, id, names) })
	case n < 15:
		phone := q.phone()
		return q.both(fmt.Sprintf("SetPhone(%s)", phone), func(r repo) (user, error) { return r.SetPhone(ctx, id, phone) })
	case n < 18:
		return q.both("Activate()", func(r repo) (user, error) { return r.Activate(ctx, id) })
	case n < 19:
		return q.both("Deactivate()", func(r repo) (user, error) { return r.Deactivate(ctx, id) })
	case n < 20:
		return q.both("Verify()", func(r repo) (user, error) { return r.Verify(ctx, id) })
	case n < 21:
		return q.both("RecordSignIn()", func(r repo) (user, error) { return recorded(ctx, r, id)(r.RecordSignIn(ctx, id)) })
	case n < 25:
		email, names, phone, version := q.email(), q.names(), q.phone(), q.model.users[id].Version-q.random.Int64N(8)/7
		return q.both(fmt.Sprintf("Update(%s, %+v, %s)", email, names, phone), func(r repo) (user, error) {
			return r.Update(ctx, id, func(u *domain.User) error {
				if err := u.ExpectVersion(version); err != nil {
					return err
				}
				u.ChangePhone(phone)
				if err := u.ChangeEmail(email); err != nil {
					return err
				}
				return u.Rename(names.First, names.Last)
			})
		})
	case n < 31:
		policy := q.lockPolicy()
		return q.both(fmt.Sprintf("RecordFailure(%+v)", policy), func(r repo) (user, error) { return r.RecordFailure(ctx, id, policy) })
	case n < 34:
		checked, better := q.checked(id), q.hash()
		return q.both("RecordSuccess()", func(r repo) (user, error) { return recorded(ctx, r, id)(r.RecordSuccess(ctx, id, checked, better)) })
	case n < 36:
		checked, hash, keep := q.checked(id), q.hash(), q.session()
		return q.both("SetPassword()", func(r repo) (user, error) { return r.SetPassword(ctx, id, checked, hash, keep) })
	case n < 38:
		return q.both("Unlock()", func(r repo) (user, error) { return r.Unlock(ctx, id) })
	case n < 42:
		digest, expiry := domain.NewOneTimeToken().Digest(), q.clock.Now().Add(pick(q, time.Minute, time.Hour, -time.Second))
		q.digests = append(q.digests, digest)
		if n < 40 {
			return q.both("IssueReset()", func(r repo) (user, error) { return r.IssueReset(ctx, id, digest, expiry) })
		}
		return q.both("IssueVerification()", func(r repo) (user, error) { return r.IssueVerification(ctx, id, digest, expiry) })
	case n < 44:
		digest, hash := q.digest(), q.hash()
		return q.both("ConsumeReset()", func(r repo) (user, error) { return r.ConsumeReset(ctx, digest, hash) })
	case n < 46:
		digest := q.digest()
		var already []bool
		return q.both("ConsumeVerification()", func(r repo) (user, error) {
			c, err := r.ConsumeVerification(ctx, digest)
			if already = append(already, c.Already); len(already) == 2 && already[0] != already[1] {
				q.Errorf("confirmed before: %t, want %t", already[0], already[1])
			}
			return c.User, err
		})
	case n < 56:
		policy := q.sessionPolicy()
		return q.grants(fmt.Sprintf("IssueToken(%+v)", policy), id, func(r repo) (domain.Grant, error) { return r.IssueToken(ctx, id, policy) })
	case n < 79:
		token, policy := recent(q, q.tokens), q.sessionPolicy()
		return q.grants(fmt.Sprintf("RotateToken(%v, %+v)", token.SessionID(), policy), token.UserID(), func(r repo) (domain.Grant, error) {
			return r.RotateToken(ctx, token, policy)
		})
	case n < 81:
		session := q.session()
		return q.both(fmt.Sprintf("RevokeSession(%v)", session), func(r repo) (user, error) { return r.RevokeSession(ctx, id, session) })
	case n < 82:
		session := q.session()
		return q.both(fmt.Sprintf("RevokeOtherSessions(%v)", session), func(r repo) (user, error) {
			return r.RevokeOtherSessions(ctx, id, session)
		})
	case n < 83:
		return q.both("RevokeSessions()", func(r repo) (user, error) { return r.RevokeSessions(ctx, id) })
	case n < 85:
		return q.count(id)
	case n < 88:
		after, limit := pick(q, domain.ID{}, id), pick(q, 1, 2, 10)
		sweep := repo.SweepSessions
		if n == 85 && q.random.IntN(4) == 0 {
			sweep = repo.RevokeEverybody
		}
		got, err := sweep(q.Repository, ctx, after, limit)
		want, wantErr := sweep(q.model, ctx, after, limit)
		got.Done, want.Done = false, false // a full last step need not know that it is the last
		q.agree("SweepSessions()", got, want, err, wantErr)
		return "SweepSessions"
	case n < 90:
		return q.list()
	default:
		wait := pick(q, time.Microsecond, time.Millisecond, time.Millisecond, 300*time.Millisecond, time.Second, time.Second, 20*time.Second, 3*time.Minute)
		q.clock.Advance(wait)
		return fmt.Sprintf("wait(%v)", wait)
	}
}

// many does something to several accounts.
func (q *sequence) many() string {
	ctx := q.Context()
	var ids []domain.ID
	for range q.random.IntN(6) {
		ids = append(ids, pick(q, q.id(), q.id(), domain.NewID(), domain.ID{}))
	}
	changed := func(what string, do func(domain.Repository) ([]domain.ID, error)) string {
		got, err := do(q.Repository)
		want, wantErr := do(q.model)
		q.agree(what, append([]domain.ID{}, got...), append([]domain.ID{}, want...), err, wantErr)
		return what
	}
	switch q.random.IntN(6) {
	case 0:
		return changed("ActivateMany()", func(r domain.Repository) ([]domain.ID, error) { return r.ActivateMany(ctx, slices.Compact(ids)) })
	case 1:
		return changed("DeactivateMany()", func(r domain.Repository) ([]domain.ID, error) { return r.DeactivateMany(ctx, ids) })
	case 2:
		return changed("RevokeMany()", func(r domain.Repository) ([]domain.ID, error) { return r.RevokeMany(ctx, ids) })
	case 3:
		query := domain.ListQuery{Filter: q.filter(), Limit: pick(q, 1, 2, 50)}
		order := pick(q, orders...)
		query.Order, query.Descending = order.Order, order.Descending
		got, err := q.Purge(ctx, query)
		want, wantErr := q.model.Purge(ctx, query)
		for _, purged := range []*domain.Purged{&got, &want} {
			slices.SortFunc(purged.IDs, compareIDs)
			purged.IDs = append([]domain.ID{}, purged.IDs...)
		}
		what := fmt.Sprintf("Purge(%+v)", query)
		q.agree(what, got, want, err, wantErr)
		return what
	default:
		users, err := q.FindByIDs(ctx, ids)
		for i, u := range users {
			s, known := q.model.users[ids[i]]
			if known != (u != nil) {
				q.Errorf("FindByIDs() found %v for %s", u, ids[i])
			} else if known {
				q.equal("FindByIDs()", u.State(), s)
			}
		}
		q.agree("FindByIDs()", len(users), len(ids), err, nil)
		return "FindByIDs"
	}
}

// count compares what can be asked of sessions.
func (q *sequence) count(id domain.ID) string {
	ctx := q.Context()
	listed, err := q.Sessions(ctx, id)
	wantListed, wantErr := q.model.Sessions(ctx, id)
	q.agree("Sessions()", append([]domain.Session{}, listed...), append([]domain.Session{}, wantListed...), err, wantErr)
	return "count"
}

// list compares a list, page by page.
func (q *sequence) list() string {
	query := domain.ListQuery{Filter: q.filter(), Limit: pick(q, 1, 2, 3, 50)}
	order := pick(q, orders...)
	query.Order, query.Descending = order.Order, order.Descending
	what := fmt.Sprintf("List(%+v)", query)
	for {
		got, err := q.List(q.Context(), query)
		want, wantErr := q.model.List(q.Context(), query)
		var a, b []domain.UserState
		for _, u := range got.Users {
			a = append(a, u.State())
		}
		for _, u := range want.Users {
			b = append(b, u.State())
		}
		q.agree(what, len(a), len(b), err, wantErr)
		if q.Failed() {
			return what
		}
		for i := range a {
			q.equal(what, a[i], b[i])
		}
		if q.agree(what, got.Next, want.Next, nil, nil); got.Next.IsZero() || q.Failed() {
			return what
		}
		query.After = got.Next
	}
}
