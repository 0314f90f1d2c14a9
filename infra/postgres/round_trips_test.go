package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/postgres/internal/libpq"
)

// calls are all methods of the store, each with what it costs once its statements are prepared. docs/performance/round-trips.md shows
// the table.
var calls = map[string]call{
	"FindByID": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.FindByID(a.ctx, a.ID())
		return err
	}},
	"FindByEmail": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.FindByEmail(a.ctx, a.Email())
		return err
	}},
	"FindByUsername": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.FindByUsername(a.ctx, a.Username())
		return err
	}},
	"FindByIDs": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.FindByIDs(a.ctx, []domain.ID{a.ID(), domain.NewID()})
		return err
	}},
	"FindByEmails": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.FindByEmails(a.ctx, []domain.Email{a.Email()})
		return err
	}},
	"FindByUsernames": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.FindByUsernames(a.ctx, []domain.Username{a.Username()})
		return err
	}},
	"ActivateMany": {statements: 1, roundTrips: 1, withTrail: 6, before: deactivate, run: func(a *account) error {
		_, err := a.store.ActivateMany(a.ctx, []domain.ID{a.ID()})
		return err
	}},
	"DeactivateMany": {statements: 1, roundTrips: 1, withTrail: 6, run: func(a *account) error {
		_, err := a.store.DeactivateMany(a.ctx, []domain.ID{a.ID()})
		return err
	}},
	"RevokeMany": {statements: 1, roundTrips: 1, withTrail: 6, run: func(a *account) error {
		_, err := a.store.RevokeMany(a.ctx, []domain.ID{a.ID()})
		return err
	}},
	"ActivateMany, of nothing": {statements: 2, roundTrips: 2, withTrail: 6, run: func(a *account) error {
		_, err := a.store.ActivateMany(a.ctx, []domain.ID{a.ID()})
		return err
	}},
	"Purge": {statements: 1, roundTrips: 1, withTrail: 4, run: func(a *account) error {
		search, err := domain.ParsePrefix(a.Username().String())
		if err == nil {
			_, err = a.store.Purge(a.ctx, domain.ListQuery{Filter: domain.Filter{Search: search, CreatedBefore: time.Now().Add(time.Hour)}})
		}
		return err
	}},
	"Purge, of nothing": {statements: 2, roundTrips: 2, withTrail: 4, run: func(a *account) error {
		_, err := a.store.Purge(a.ctx, domain.ListQuery{Filter: domain.Filter{UnverifiedSince: filledFrom}})
		return err
	}},
	"ExistsByEmail": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.ExistsByEmail(a.ctx, a.Email())
		return err
	}},
	"ExistsByUsername": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.ExistsByUsername(a.ctx, a.Username())
		return err
	}},
	"List": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.List(a.ctx, domain.ListQuery{})
		return err
	}},
	"Count": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.Count(a.ctx, domain.Filter{Active: new(true)})
		return err
	}},

	"Create":            {statements: 1, roundTrips: 1, run: func(a *account) error { return a.store.Create(a.ctx, newUser(a.t)) }},
	"Create, once more": {statements: 2, roundTrips: 2, fails: domain.ErrConflict, run: func(a *account) error { return a.store.Create(a.ctx, a.User) }},
	"Update, of nothing": {statements: 2, roundTrips: 2, run: func(a *account) error {
		_, err := a.store.Update(a.ctx, a.ID(), func(*domain.User) error { return nil })
		return err
	}},
	"Update": {statements: 2, roundTrips: 2, withTrail: 5, run: func(a *account) error {
		_, err := a.store.Update(a.ctx, a.ID(), func(u *domain.User) error { u.Verify(); return nil })
		return err
	}},
	"SetEmail": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.SetEmail(a.ctx, a.ID(), newUser(a.t).Email())
		return err
	}},
	"SetUsername": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.SetUsername(a.ctx, a.ID(), newUser(a.t).Username())
		return err
	}},
	"SetNames": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.SetNames(a.ctx, a.ID(), domain.Names{First: "Ada", Last: "Lovelace"})
		return err
	}},
	"SetPhone": {statements: 1, roundTrips: 1, run: setPhone},
	"Activate": {statements: 1, roundTrips: 1, before: deactivate, run: func(a *account) error {
		_, err := a.store.Activate(a.ctx, a.ID())
		return err
	}},
	"Deactivate": {statements: 1, roundTrips: 1, withTrail: 5, run: func(a *account) error {
		_, err := a.store.Deactivate(a.ctx, a.ID())
		return err
	}},
	"Verify": {statements: 1, roundTrips: 1, withTrail: 5, run: func(a *account) error {
		_, err := a.store.Verify(a.ctx, a.ID())
		return err
	}},
	"RecordSignIn": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.RecordSignIn(a.ctx, a.ID())
		return err
	}},
	"DeleteAt": {statements: 1, roundTrips: 1, run: func(a *account) error { return a.store.DeleteAt(a.ctx, a.ID(), 1) }},
	"DeleteAt, refused": {statements: 2, roundTrips: 2, fails: domain.ErrConflict, run: func(a *account) error {
		return a.store.DeleteAt(a.ctx, a.ID(), 2)
	}},
	"Delete": {statements: 1, roundTrips: 1, run: func(a *account) error { return a.store.Delete(a.ctx, a.ID()) }},

	"Delete, of none": {statements: 2, roundTrips: 2, fails: domain.ErrNotFound, run: func(a *account) error {
		return a.store.Delete(a.ctx, domain.NewID())
	}},
	"DeleteAt, of none": {statements: 3, roundTrips: 3, fails: domain.ErrNotFound, run: func(a *account) error {
		return a.store.DeleteAt(a.ctx, domain.NewID(), 1)
	}},

	"RecordFailure": {statements: 1, roundTrips: 1, run: recordFailure},
	"RecordFailure, refused": {
		statements: 2, roundTrips: 2, fails: domain.ErrLocked,
		before: func(a *account) error {
			_, err := a.store.RecordFailure(a.ctx, a.ID(), domain.LockPolicy{Attempts: 1})
			return err
		},
		run: recordFailure,
	},
	"RecordSuccess": {statements: 1, roundTrips: 1, run: recordSuccess},
	"RecordSuccess, refused": {
		statements: 2, roundTrips: 2, fails: domain.ErrInactive,
		before: deactivate,
		run:    recordSuccess,
	},
	"SetPassword": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.SetPassword(a.ctx, a.ID(), passwordHash(a.t, "a"), passwordHash(a.t, "b"), a.grant.Session.ID)
		return err
	}},
	"SetPassword, refused": {statements: 2, roundTrips: 2, fails: domain.ErrConflict, run: func(a *account) error {
		_, err := a.store.SetPassword(a.ctx, a.ID(), passwordHash(a.t, "c"), passwordHash(a.t, "b"), a.grant.Session.ID)
		return err
	}},
	"Unlock": {statements: 1, roundTrips: 1, before: recordFailure, run: func(a *account) error {
		_, err := a.store.Unlock(a.ctx, a.ID())
		return err
	}},
	"IssueReset":                   {statements: 1, roundTrips: 1, run: issueReset},
	"ConsumeReset":                 {statements: 1, roundTrips: 1, before: issueReset, run: consumeReset},
	"ConsumeReset, refused":        {statements: 2, roundTrips: 2, fails: domain.ErrTokenInvalid, run: consumeReset},
	"IssueVerification":            {statements: 1, roundTrips: 1, run: issueVerification},
	"ConsumeVerification":          {statements: 1, roundTrips: 1, withTrail: 5, before: issueVerification, run: consumeVerification},
	"ConsumeVerification, refused": {statements: 2, roundTrips: 2, withTrail: 4, fails: domain.ErrTokenInvalid, run: consumeVerification},

	"ConsumeVerification, once more": {
		statements: 2, roundTrips: 2, withTrail: 5, run: consumeVerification,
		before: func(a *account) error { return errors.Join(issueVerification(a), consumeVerification(a)) },
	},
	"RequestEmail":          {statements: 1, roundTrips: 1, run: requestEmail},
	"RequestEmail, refused": {statements: 2, roundTrips: 2, fails: domain.ErrInactive, before: deactivate, run: requestEmail},
	"CancelEmail": {statements: 1, roundTrips: 1, before: requestEmail, run: func(a *account) error {
		_, err := a.store.CancelEmail(a.ctx, a.ID())
		return err
	}},
	"CancelReset": {statements: 1, roundTrips: 1, before: issueReset, run: func(a *account) error {
		_, err := a.store.CancelReset(a.ctx, a.ID())
		return err
	}},
	"CancelVerification": {statements: 1, roundTrips: 1, before: issueVerification, run: func(a *account) error {
		_, err := a.store.CancelVerification(a.ctx, a.ID())
		return err
	}},
	"IssuePhoneCode":            {statements: 1, roundTrips: 1, before: setPhone, run: issuePhoneCode},
	"ConsumePhoneCode":          {statements: 1, roundTrips: 1, before: func(a *account) error { return errors.Join(setPhone(a), issuePhoneCode(a)) }, run: consumePhoneCode},
	"ConsumePhoneCode, refused": {statements: 2, roundTrips: 2, fails: domain.ErrTokenInvalid, run: consumePhoneCode},
	"ConsumePhoneCode, once more": {
		statements: 3, roundTrips: 3, run: consumePhoneCode,
		before: func(a *account) error { return errors.Join(setPhone(a), issuePhoneCode(a), consumePhoneCode(a)) },
	},
	"CancelPhoneCode": {
		statements: 1, roundTrips: 1,
		before: func(a *account) error { return errors.Join(setPhone(a), issuePhoneCode(a)) },
		run: func(a *account) error {
			_, err := a.store.CancelPhoneCode(a.ctx, a.ID())
			return err
		},
	},
	"LockUntil": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.LockUntil(a.ctx, a.ID(), time.Now().Add(time.Hour))
		return err
	}},
	"FindByPhone": {statements: 1, roundTrips: 1, fails: domain.ErrNotFound, run: func(a *account) error {
		phone, err := domain.ParsePhone("+573001112233")
		if err != nil {
			return err
		}
		_, err = a.store.FindByPhone(a.ctx, phone)
		return err
	}},
	"RecordIdentitySignIn": {statements: 2, roundTrips: 4, withTrail: 5, transaction: true, before: linkIdentity, run: func(a *account) error {
		_, err := a.store.RecordIdentitySignIn(a.ctx, a.identity())
		return err
	}},
	"UnlinkIdentity": {statements: 2, roundTrips: 4, withTrail: 5, transaction: true, before: linkIdentity, run: func(a *account) error {
		return a.store.UnlinkIdentity(a.ctx, a.ID(), a.identity(), false)
	}},
	"RemovePassword": {statements: 4, roundTrips: 6, transaction: true, before: linkIdentity, run: func(a *account) error {
		_, err := a.store.RemovePassword(a.ctx, a.ID(), domain.SessionID{}, false)
		return err
	}},
	"LinkIdentity": {statements: 1, roundTrips: 1, withTrail: 5, run: linkIdentity},
	"FindByIdentity": {statements: 1, roundTrips: 1, before: linkIdentity, run: func(a *account) error {
		_, err := a.store.FindByIdentity(a.ctx, a.identity())
		return err
	}},
	"Identities": {statements: 1, roundTrips: 1, before: linkIdentity, run: func(a *account) error {
		_, err := a.store.Identities(a.ctx, a.ID())
		return err
	}},

	"IssueToken":          {statements: 1, roundTrips: 1, run: issueToken},
	"IssueToken, refused": {statements: 2, roundTrips: 2, fails: domain.ErrInactive, before: deactivate, run: issueToken},
	"RotateToken":         {statements: 1, roundTrips: 1, run: rotateToken},
	"IssueToken, at the cap": {statements: 3, roundTrips: 3, run: func(a *account) error {
		_, err := a.store.IssueToken(a.ctx, a.ID(), domain.SessionPolicy{Cap: 1})
		return err
	}},
	"RotateToken, replayed": {
		statements: 3, roundTrips: 3,
		before: func(a *account) error {
			_, err := a.store.RotateToken(a.ctx, a.grant.Token, domain.SessionPolicy{})
			return err
		},
		run: func(a *account) error {
			_, err := a.store.RotateToken(a.ctx, a.grant.Token, domain.SessionPolicy{})
			return err
		},
	},
	"RotateToken, reused": {
		statements: 3, roundTrips: 3, fails: domain.ErrTokenReused,
		before: rotateToken, run: rotateToken,
	},
	"RotateToken, refused": {
		statements: 2, roundTrips: 2, fails: domain.ErrTokenInvalid,
		before: revokeSessions, run: rotateToken,
	},
	"FindByToken": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, _, err := a.store.FindByToken(a.ctx, a.grant.Token)
		return err
	}},
	"Sessions": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.Sessions(a.ctx, a.ID())
		return err
	}},
	"RevokeSession": {statements: 1, roundTrips: 1, withTrail: 5, run: func(a *account) error {
		_, err := a.store.RevokeSession(a.ctx, a.ID(), a.grant.Session.ID)
		return err
	}},
	"RevokeSession, of none": {statements: 2, roundTrips: 2, withTrail: 5, before: revokeSessions, run: func(a *account) error {
		_, err := a.store.RevokeSession(a.ctx, a.ID(), a.grant.Session.ID)
		return err
	}},
	"RevokeOtherSessions": {statements: 1, roundTrips: 1, withTrail: 5, before: issueToken, run: func(a *account) error {
		_, err := a.store.RevokeOtherSessions(a.ctx, a.ID(), a.grant.Session.ID)
		return err
	}},
	"RevokeSessions": {statements: 1, roundTrips: 1, withTrail: 5, run: revokeSessions},
	"CountSessions": {statements: 1, roundTrips: 1, run: func(a *account) error {
		_, err := a.store.CountSessions(a.ctx)
		return err
	}},
	"RevokeEverybody":             {statements: 2, roundTrips: 2, withTrail: 6, run: revokeEverybody},
	"RevokeEverybody, of nothing": {statements: 3, roundTrips: 3, withTrail: 6, before: revokeEverybody, run: revokeEverybody},
	"SweepSessions": {statements: 2, roundTrips: 2, run: func(a *account) error {
		_, err := a.store.SweepSessions(a.ctx, domain.ID{}, 100)
		return err
	}},
}

// call is one way through a method.
type call struct {
	statements  int
	roundTrips  int64
	withTrail   int64 // round trips with the trail, where they are more
	transaction bool
	before      func(*account) error // what it needs; not counted
	run         func(*account) error
	fails       error
}

// account is a new account with a session, for one call.
type account struct {
	*domain.User
	t     testing.TB
	ctx   context.Context
	store *infra.Store
	grant domain.Grant
	reset domain.OneTimeToken
}

func newAccount(t testing.TB, store *infra.Store) *account {
	t.Helper()
	a := &account{User: newUser(t), t: t, ctx: t.Context(), store: store, reset: domain.NewOneTimeToken()}
	if err := store.Create(a.ctx, a.User); err != nil {
		t.Fatal(err)
	}
	if err := issueToken(a); err != nil {
		t.Fatal(err)
	}
	return a
}

func newUser(t testing.TB) *domain.User {
	t.Helper()
	name := "u" + strings.ReplaceAll(domain.NewID().String(), "-", "")
	email, err := domain.ParseEmail(name + "@example.org")
	if err != nil {
		t.Fatal(err)
	}
	username, err := domain.ParseUsername(name)
	if err != nil {
		t.Fatal(err)
	}
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: passwordHash(t, "a")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// passwordHash returns something in the form of a hash, of the length that the default policy's have.
func passwordHash(t testing.TB, letter string) domain.PasswordHash {
	t.Helper()
	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat(letter, 43))
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func recordFailure(a *account) error {
	_, err := a.store.RecordFailure(a.ctx, a.ID(), domain.LockPolicy{})
	return err
}

func recordSuccess(a *account) error {
	_, err := a.store.RecordSuccess(a.ctx, a.ID(), passwordHash(a.t, "a"), domain.PasswordHash{})
	return err
}

func deactivate(a *account) error {
	_, err := a.store.Deactivate(a.ctx, a.ID())
	return err
}

func issueReset(a *account) error {
	_, err := a.store.IssueReset(a.ctx, a.ID(), a.reset.Digest(), time.Now().Add(time.Hour))
	return err
}

func consumeReset(a *account) error {
	_, err := a.store.ConsumeReset(a.ctx, a.reset.Digest(), passwordHash(a.t, "b"))
	return err
}

func issueVerification(a *account) error {
	_, err := a.store.IssueVerification(a.ctx, a.ID(), a.reset.Digest(), time.Now().Add(time.Hour))
	return err
}

func consumeVerification(a *account) error {
	_, err := a.store.ConsumeVerification(a.ctx, a.reset.Digest())
	return err
}

func setPhone(a *account) error {
	phone, err := domain.ParsePhone(fmt.Sprintf("+4930%d", time.Now().UnixNano()%1e10))
	if err == nil {
		_, err = a.store.SetPhone(a.ctx, a.ID(), phone)
	}
	return err
}

func issuePhoneCode(a *account) error {
	_, err := a.store.IssuePhoneCode(a.ctx, a.ID(), a.reset.Digest(), time.Now().Add(time.Minute))
	return err
}

func consumePhoneCode(a *account) error {
	_, err := a.store.ConsumePhoneCode(a.ctx, a.ID(), a.reset.Digest())
	return err
}

func requestEmail(a *account) error {
	email, err := domain.ParseEmail("next@example.org")
	if err != nil {
		return err
	}
	_, err = a.store.RequestEmail(a.ctx, a.ID(), email, a.reset.Digest(), time.Now().Add(time.Hour))
	return err
}

func (a *account) identity() domain.Identity {
	return domain.RestoreIdentity("https://issuer.example", a.ID().String())
}

func linkIdentity(a *account) error {
	_, err := a.store.LinkIdentity(a.ctx, a.ID(), a.identity())
	return err
}

func issueToken(a *account) (err error) {
	a.grant, err = a.store.IssueToken(a.ctx, a.ID(), domain.SessionPolicy{})
	return err
}

func rotateToken(a *account) error {
	_, err := a.store.RotateToken(a.ctx, a.grant.Token, domain.SessionPolicy{Grace: domain.NoGrace})
	return err
}

func revokeEverybody(a *account) error {
	before := a.ID().UUID()
	for i := len(before) - 1; ; i-- { // the ID before it
		if before[i]--; before[i] != 0xff {
			break
		}
	}
	_, err := a.store.RevokeEverybody(a.ctx, domain.IDFromUUID(before), 1)
	return err
}

func revokeSessions(a *account) error {
	_, err := a.store.RevokeSessions(a.ctx, a.ID())
	return err
}

// TestRoundTripsOfMethods counts, for each method, the statements that go through the driver and the times that the client waits for
// the network, also with the trail.
func TestRoundTripsOfMethods(t *testing.T) {
	t.Parallel()
	repository := reflect.TypeFor[domain.Repository]()
	for i := range repository.NumMethod() {
		if name := repository.Method(i).Name; calls[name].run == nil && name != "Now" {
			t.Errorf("%s is not counted", name)
		}
	}

	proxy := postgrestest.NewProxy(t, migrated(t))
	store, statements := recorded(t, proxy.URL)
	trail, _ := recorded(t, proxy.URL, audit.WithTrail(audit.Options{}))
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		call := calls[name]
		count := func(store *infra.Store) (sent []statement, trips int64) {
			for range 2 { // the first one prepares what the second one uses
				a := newAccount(t, store)
				if call.before != nil {
					if err := call.before(a); err != nil {
						t.Fatalf("before %s: %v", name, err)
					}
				}
				statements.take()
				before := proxy.Trips.Load()
				if err := call.run(a); !errors.Is(err, call.fails) {
					t.Fatalf("%s: %v; want %v", name, err, call.fails)
				}
				trips = proxy.Trips.Load() - before
				sent = statements.take()
			}
			return sent, trips
		}
		sent, trips := count(store)
		if call.transaction {
			sent = make([]statement, call.statements) // they are not recorded; the round trips count them, and two more
		}
		if len(sent) != call.statements || trips != call.roundTrips {
			t.Errorf("%s takes %d statements and %d round trips; want %d and %d", name, len(sent), trips, call.statements, call.roundTrips)
		}
		if _, trips := count(trail); trips != cmp.Or(call.withTrail, call.roundTrips) {
			t.Errorf("%s takes %d round trips with the trail; want %d", name, trips, cmp.Or(call.withTrail, call.roundTrips))
		}
	}
}

// TestRoundTripsAreDocumented holds the table of docs/performance/round-trips.md against the one here.
func TestRoundTripsAreDocumented(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/performance/round-trips.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| Method | Statements | Round trips | With the trail |\n| --- | --- | --- | --- |\n"
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		call := calls[name]
		table += fmt.Sprintf("| %s | %d | %d | %d |\n", name, call.statements, call.roundTrips, cmp.Or(call.withTrail, call.roundTrips))
	}
	if !strings.Contains(string(document), "\n"+table+"\n") {
		t.Errorf("docs/performance/round-trips.md lacks this table:\n%s", table)
	}
}

// migrated returns the URL of a new database with all migrations applied.
func migrated(t testing.TB) string {
	t.Helper()
	return postgrestest.Clone(t, "migrated", func(url string) error {
		store, err := Open(context.Background(), url)
		if err != nil {
			return err
		}
		return errors.Join(store.Migrate(context.Background()), store.Close())
	})
}

// recorded returns a store with one connection, and what it sends.
func recorded(t testing.TB, url string, options ...infra.Option) (*infra.Store, *recorder) {
	t.Helper()
	connector, err := libpq.NewConnector(url)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	statements := &recorder{Handle: libpq.Handle(db)}
	store, err := infra.New(t.Context(), infra.Database{Dialect: migration.Postgres, DB: db, Handle: statements}, options...)
	if err != nil {
		t.Fatal(err)
	}
	statements.take()
	return store, statements
}

// recorder is a handle that keeps the statements which go through it.
type recorder struct {
	infra.Handle
	mu   sync.Mutex
	sent []statement
}

type statement struct {
	text string
	args []any
}

func (r *recorder) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	r.keep(query, args)
	return r.Handle.Query(ctx, query, args...)
}

func (r *recorder) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r.keep(query, args)
	return r.Handle.Exec(ctx, query, args...)
}

func (r *recorder) keep(text string, args []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, statement{text, args})
}

// take returns the statements since it was last called.
func (r *recorder) take() []statement {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

// open returns a pool of one connection, as lib/pq has it.
func open(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	return db
}

func mustExec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func queryInt(t testing.TB, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
