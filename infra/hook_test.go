package infra_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

// subject is a new account with a session, for one operation.
type subject struct {
	t     testing.TB
	ctx   context.Context
	store interface {
		domain.Repository
		CreateMany(ctx context.Context, users []*domain.User) ([]error, error)
		LinkMany(ctx context.Context, links []domain.LinkedIdentity) ([]error, error)
		CreateWith(ctx context.Context, u *domain.User, more ...infra.Column) error
	}
	*domain.User
	grant domain.Grant
	token domain.OneTimeToken
	other *domain.User // is not stored
}

var subjects struct {
	sync.Mutex
	n int
}

// nextName returns another username at each call.
func nextName() string {
	subjects.Lock()
	defer subjects.Unlock()
	subjects.n++
	return fmt.Sprintf("subject%d", subjects.n)
}

// newSubject stores an account through a store without hooks, and returns it with the one that is tried.
func newSubject(t testing.TB, plain, store *infra.Store) *subject {
	t.Helper()
	s := &subject{t: t, ctx: t.Context(), store: plain, User: created(t, plain, nextName()), token: domain.NewOneTimeToken(), other: storetest.NewUser(t, nextName())}
	grant, err := plain.IssueToken(s.ctx, s.ID(), domain.SessionPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	s.grant, s.store = grant, store
	return s
}

func (s *subject) identity() domain.Identity {
	return domain.RestoreIdentity("https://issuer.example", s.ID().String())
}

func of[T any](_ T, err error) error { return err }

// Steps of operations.
var (
	deactivate = func(s *subject) error { return of(s.store.Deactivate(s.ctx, s.ID())) }
	verify     = func(s *subject) error { return of(s.store.Verify(s.ctx, s.ID())) }
	fail       = func(attempts int) func(*subject) error {
		return func(s *subject) error {
			return of(s.store.RecordFailure(s.ctx, s.ID(), domain.LockPolicy{Attempts: attempts}))
		}
	}
	link         = func(s *subject) error { return of(s.store.LinkIdentity(s.ctx, s.ID(), s.identity())) }
	revoke       = func(s *subject) error { return of(s.store.RevokeSessions(s.ctx, s.ID())) }
	requestEmail = func(s *subject) error {
		return of(s.store.RequestEmail(s.ctx, s.ID(), s.other.Email(), s.token.Digest(), time.Now().Add(time.Hour)))
	}
	issueReset = func(s *subject) error {
		return of(s.store.IssueReset(s.ctx, s.ID(), s.token.Digest(), time.Now().Add(time.Hour)))
	}
	issueVerify = func(s *subject) error {
		return of(s.store.IssueVerification(s.ctx, s.ID(), s.token.Digest(), time.Now().Add(time.Hour)))
	}
	setPhone = func(s *subject) error {
		phone, err := domain.ParsePhone("+4930" + strings.TrimPrefix(s.other.Username().String(), "subject") + "0000")
		if err != nil {
			return err
		}
		return of(s.store.SetPhone(s.ctx, s.ID(), phone))
	}
	issueCode = func(s *subject) error {
		return of(s.store.IssuePhoneCode(s.ctx, s.ID(), s.token.Digest(), time.Now().Add(time.Minute)))
	}
	confirm = func(s *subject) error { return of(s.store.ConsumeVerification(s.ctx, s.token.Digest())) }
	rotate  = func(policy domain.SessionPolicy) func(*subject) error {
		return func(s *subject) error { return of(s.store.RotateToken(s.ctx, s.grant.Token, policy)) }
	}
	edit = func(change func(*subject, *domain.User) error) func(*subject) error {
		return func(s *subject) error {
			return of(s.store.Update(s.ctx, s.ID(), func(u *domain.User) error { return change(s, u) }))
		}
	}
)

// operations are all ways in which a store changes something, each with its events.
var operations = []struct {
	name   string
	before func(*subject) error // without hooks
	run    func(*subject) error
	fails  error
	want   []domain.EventKind
}{
	{name: "Create", run: func(s *subject) error { return s.store.Create(s.ctx, s.other) }, want: kinds(domain.EventRegistered)},
	{name: "Create, of a taken address", run: func(s *subject) error {
		return errors.Join(s.other.ChangeEmail(s.Email()), s.store.Create(s.ctx, s.other))
	}, fails: domain.ErrTaken},
	{name: "CreateWith", run: func(s *subject) error { return s.store.CreateWith(s.ctx, s.other) }, want: kinds(domain.EventRegistered)},
	{name: "CreateMany", run: func(s *subject) error { return of(s.store.CreateMany(s.ctx, []*domain.User{s.other})) }, want: kinds(domain.EventImported)},
	{name: "LinkMany", run: func(s *subject) error {
		return of(s.store.LinkMany(s.ctx, []domain.LinkedIdentity{{UserID: s.ID(), Identity: s.identity()}}))
	}, want: kinds(domain.EventIdentityLinked)},
	{name: "LinkMany, of what is linked", before: link, run: func(s *subject) error {
		return of(s.store.LinkMany(s.ctx, []domain.LinkedIdentity{{UserID: s.ID(), Identity: s.identity()}}))
	}},
	{name: "CreateMany, of which one is there", run: func(s *subject) error {
		return of(s.store.CreateMany(s.ctx, []*domain.User{s.User, s.other}))
	}, want: kinds(domain.EventImported)},

	{name: "SetEmail", run: func(s *subject) error { return of(s.store.SetEmail(s.ctx, s.ID(), s.other.Email())) }, want: kinds(domain.EventEmailChanged)},
	{name: "SetEmail, to the same", run: func(s *subject) error { return of(s.store.SetEmail(s.ctx, s.ID(), s.Email())) }},
	{name: "SetUsername", run: func(s *subject) error {
		return of(s.store.SetUsername(s.ctx, s.ID(), s.other.Username()))
	}, want: kinds(domain.EventUsernameChanged)},
	{name: "SetUsername, to the same", run: func(s *subject) error { return of(s.store.SetUsername(s.ctx, s.ID(), s.Username())) }},
	{name: "SetNames", run: func(s *subject) error { return of(s.store.SetNames(s.ctx, s.ID(), domain.Names{First: "Ada"})) }},
	{name: "SetPhone", run: setPhone},
	{name: "IssuePhoneCode", before: setPhone, run: issueCode},
	{name: "ConsumePhoneCode", before: func(s *subject) error { return errors.Join(setPhone(s), issueCode(s)) }, run: func(s *subject) error {
		return of(s.store.ConsumePhoneCode(s.ctx, s.ID(), s.token.Digest()))
	}},
	{name: "CancelPhoneCode", before: func(s *subject) error { return errors.Join(setPhone(s), issueCode(s)) }, run: func(s *subject) error {
		return of(s.store.CancelPhoneCode(s.ctx, s.ID()))
	}},
	{name: "Activate", before: deactivate, run: func(s *subject) error { return of(s.store.Activate(s.ctx, s.ID())) }, want: kinds(domain.EventActivated)},
	{name: "Activate, of an active account", run: func(s *subject) error { return of(s.store.Activate(s.ctx, s.ID())) }},
	{name: "Deactivate", run: deactivate, want: kinds(domain.EventDeactivated)},
	{name: "Deactivate, of an inactive account", before: deactivate, run: deactivate},
	{name: "Verify", run: verify, want: kinds(domain.EventVerified)},
	{name: "Verify, of a verified account", before: verify, run: verify},
	{name: "Verify, of a verified account with a token", before: func(s *subject) error { return errors.Join(verify(s), issueVerify(s)) }, run: verify},
	{name: "Update, of the names", run: edit(func(_ *subject, u *domain.User) error { return u.Rename("Ada", "") })},
	{name: "Update, of nothing", run: edit(func(*subject, *domain.User) error { return nil })},
	{name: "Update, of the username", run: edit(func(s *subject, u *domain.User) error {
		return u.ChangeUsername(s.other.Username())
	}), want: kinds(domain.EventUsernameChanged)},
	{name: "Update, of address and username", run: edit(func(s *subject, u *domain.User) error {
		return errors.Join(u.ChangeEmail(s.other.Email()), u.ChangeUsername(s.other.Username()))
	}), want: kinds(domain.EventEmailChanged, domain.EventUsernameChanged)},
	{name: "Update, which deactivates", run: edit(func(_ *subject, u *domain.User) error { u.Deactivate(); return nil }), want: kinds(domain.EventDeactivated)},
	{name: "ActivateMany", before: deactivate, run: func(s *subject) error {
		return of(s.store.ActivateMany(s.ctx, []domain.ID{s.ID(), s.other.ID()}))
	}, want: kinds(domain.EventActivated)},
	{name: "DeactivateMany", run: func(s *subject) error {
		return of(s.store.DeactivateMany(s.ctx, []domain.ID{s.ID(), s.other.ID(), s.ID()}))
	}, want: kinds(domain.EventDeactivated)},
	{name: "DeactivateMany, of an inactive account", before: deactivate, run: func(s *subject) error {
		return of(s.store.DeactivateMany(s.ctx, []domain.ID{s.ID()}))
	}},
	{name: "RevokeMany", run: func(s *subject) error { return of(s.store.RevokeMany(s.ctx, []domain.ID{s.ID()})) }, want: kinds(domain.EventSessionEnded)},
	{name: "RevokeMany, without sessions", before: revoke, run: func(s *subject) error { return of(s.store.RevokeMany(s.ctx, []domain.ID{s.ID()})) }},
	{name: "Purge", run: func(s *subject) error { return of(s.store.Purge(s.ctx, olderThan(s))) }, want: kinds(domain.EventPurged)},
	{name: "Purge, of what was verified", before: verify, run: func(s *subject) error { return of(s.store.Purge(s.ctx, olderThan(s))) }},
	{name: "Delete", run: func(s *subject) error { return s.store.Delete(s.ctx, s.ID()) }, want: kinds(domain.EventDeleted)},
	{name: "Delete, of no account", run: func(s *subject) error { return s.store.Delete(s.ctx, s.other.ID()) }, fails: domain.ErrNotFound},
	{name: "DeleteAt", run: func(s *subject) error { return s.store.DeleteAt(s.ctx, s.ID(), 1) }, want: kinds(domain.EventDeleted)},
	{name: "DeleteAt, another version", run: func(s *subject) error { return s.store.DeleteAt(s.ctx, s.ID(), 2) }, fails: domain.ErrConflict},

	{name: "RecordSignIn", run: func(s *subject) error { return of(s.store.RecordSignIn(s.ctx, s.ID())) }, want: kinds(domain.EventSignedIn)},
	{name: "RecordSuccess", run: func(s *subject) error {
		return of(s.store.RecordSuccess(s.ctx, s.ID(), s.State().PasswordHash, domain.PasswordHash{}))
	}, want: kinds(domain.EventSignedIn)},
	{name: "RecordSuccess, while locked", before: fail(1), run: func(s *subject) error {
		return of(s.store.RecordSuccess(s.ctx, s.ID(), s.State().PasswordHash, domain.PasswordHash{}))
	}, fails: domain.ErrLocked},
	{name: "RecordFailure", run: fail(5), want: kinds(domain.EventSignInFailed)},
	{name: "RecordFailure, which locks", run: fail(1), want: kinds(domain.EventLocked)},
	{name: "RecordFailure, while locked", before: fail(1), run: fail(5), fails: domain.ErrLocked},
	{name: "LockUntil", run: func(s *subject) error {
		return of(s.store.LockUntil(s.ctx, s.ID(), time.Now().Add(time.Hour)))
	}, want: kinds(domain.EventLocked)},
	{name: "LockUntil, the past", before: fail(1), run: func(s *subject) error {
		return of(s.store.LockUntil(s.ctx, s.ID(), time.Now().Add(-time.Hour)))
	}, want: kinds(domain.EventUnlocked)},
	{name: "Unlock", before: fail(1), run: func(s *subject) error { return of(s.store.Unlock(s.ctx, s.ID())) }, want: kinds(domain.EventUnlocked)},
	{name: "Unlock, of an account without failures", run: func(s *subject) error { return of(s.store.Unlock(s.ctx, s.ID())) }},
	{name: "SetPassword", run: func(s *subject) error {
		return of(s.store.SetPassword(s.ctx, s.ID(), domain.PasswordHash{}, s.other.State().PasswordHash, domain.SessionID{}))
	}, want: kinds(domain.EventPasswordChanged)},
	{name: "RemovePassword", before: link, run: func(s *subject) error {
		return of(s.store.RemovePassword(s.ctx, s.ID(), domain.SessionID{}, false))
	}, want: kinds(domain.EventPasswordChanged)},
	{name: "RemovePassword, the last way in", run: func(s *subject) error {
		return of(s.store.RemovePassword(s.ctx, s.ID(), domain.SessionID{}, false))
	}, fails: domain.ErrConflict},
	{name: "IssueReset", run: issueReset},
	{name: "CancelReset", before: issueReset, run: func(s *subject) error { return of(s.store.CancelReset(s.ctx, s.ID())) }},
	{name: "ConsumeReset", before: issueReset, run: func(s *subject) error {
		return of(s.store.ConsumeReset(s.ctx, s.token.Digest(), s.other.State().PasswordHash))
	}, want: kinds(domain.EventPasswordReset)},
	{name: "RequestEmail", run: requestEmail, want: kinds(domain.EventEmailRequested)},
	{name: "CancelEmail", before: requestEmail, run: func(s *subject) error { return of(s.store.CancelEmail(s.ctx, s.ID())) }},
	{name: "IssueVerification", run: issueVerify},
	{name: "CancelVerification", before: issueVerify, run: func(s *subject) error { return of(s.store.CancelVerification(s.ctx, s.ID())) }},
	{name: "ConsumeVerification", before: issueVerify, run: confirm, want: kinds(domain.EventVerified)},
	{name: "ConsumeVerification, of a pending address", before: requestEmail, run: confirm, want: kinds(domain.EventEmailChanged)},
	{name: "ConsumeVerification, once more", before: func(s *subject) error { return errors.Join(issueVerify(s), confirm(s)) }, run: confirm},
	{name: "ConsumeVerification, of a verified address", before: func(s *subject) error { return errors.Join(verify(s), issueVerify(s)) }, run: confirm},

	{name: "LinkIdentity", run: link, want: kinds(domain.EventIdentityLinked)},
	{name: "LinkIdentity, once more", before: link, run: link, fails: domain.ErrTaken},
	{name: "UnlinkIdentity", before: link, run: func(s *subject) error {
		return s.store.UnlinkIdentity(s.ctx, s.ID(), s.identity(), false)
	}, want: kinds(domain.EventIdentityUnlinked)},
	{name: "UnlinkIdentity, forced", before: link, run: func(s *subject) error {
		return s.store.UnlinkIdentity(s.ctx, s.ID(), s.identity(), true)
	}, want: kinds(domain.EventIdentityUnlinked)},
	{name: "UnlinkIdentity, of none", run: func(s *subject) error {
		return s.store.UnlinkIdentity(s.ctx, s.ID(), s.identity(), true)
	}, fails: domain.ErrNotFound},
	{name: "RecordIdentitySignIn", before: link, run: func(s *subject) error {
		return of(s.store.RecordIdentitySignIn(s.ctx, s.identity()))
	}, want: kinds(domain.EventSignedIn)},

	{name: "IssueToken", run: func(s *subject) error { return of(s.store.IssueToken(s.ctx, s.ID(), domain.SessionPolicy{})) }, want: kinds(domain.EventSessionStarted)},
	{name: "IssueToken, at the cap", run: func(s *subject) error {
		return of(s.store.IssueToken(s.ctx, s.ID(), domain.SessionPolicy{Cap: 1}))
	}, want: kinds(domain.EventSessionStarted)},
	{name: "IssueToken, of an inactive account", before: deactivate, run: func(s *subject) error {
		return of(s.store.IssueToken(s.ctx, s.ID(), domain.SessionPolicy{}))
	}, fails: domain.ErrInactive},
	{name: "RotateToken", run: rotate(domain.SessionPolicy{})},
	{name: "RotateToken, replayed", before: rotate(domain.SessionPolicy{}), run: rotate(domain.SessionPolicy{})},
	{
		name: "RotateToken, reused", before: rotate(domain.SessionPolicy{Grace: domain.NoGrace}), run: rotate(domain.SessionPolicy{Grace: domain.NoGrace}),
		fails: domain.ErrTokenReused, want: kinds(domain.EventSessionReused),
	},
	{name: "RevokeSession", run: func(s *subject) error {
		return of(s.store.RevokeSession(s.ctx, s.ID(), s.grant.Session.ID))
	}, want: kinds(domain.EventSessionEnded)},
	{name: "RevokeSession, of none", before: revoke, run: func(s *subject) error { return of(s.store.RevokeSession(s.ctx, s.ID(), s.grant.Session.ID)) }},
	{name: "RevokeOtherSessions", run: func(s *subject) error {
		return of(s.store.RevokeOtherSessions(s.ctx, s.ID(), domain.SessionID{}))
	}, want: kinds(domain.EventSessionEnded)},
	{name: "RevokeOtherSessions, than the only one", run: func(s *subject) error {
		return of(s.store.RevokeOtherSessions(s.ctx, s.ID(), s.grant.Session.ID))
	}},
	{name: "RevokeSessions", run: revoke, want: kinds(domain.EventSessionEnded)},
	{name: "RevokeSessions, of none", before: revoke, run: revoke},
	{name: "RevokeEverybody", run: func(s *subject) error {
		return of(s.store.RevokeEverybody(s.ctx, domain.ID{}, 1000))
	}, want: kinds(domain.EventSessionEnded)},
	{name: "RevokeEverybody, without sessions", before: revoke, run: func(s *subject) error {
		return of(s.store.RevokeEverybody(s.ctx, domain.ID{}, 1000))
	}},
	{name: "SweepSessions", run: func(s *subject) error { return of(s.store.SweepSessions(s.ctx, domain.ID{}, 1000)) }},
}

// olderThan finds the account, unless it was verified.
func olderThan(s *subject) domain.ListQuery {
	return domain.ListQuery{Filter: domain.Filter{Verified: new(false), CreatedBefore: s.CreatedAt().Add(time.Microsecond)}, Limit: 1000}
}

func kinds(kinds ...domain.EventKind) []domain.EventKind { return kinds }

// readers are the methods of a store that change no account, and those that lead to others.
var readers = []string{
	"FindByID", "FindByIDs", "FindByEmails", "FindByUsernames", "FindByEmail", "FindByUsername", "FindByPhone", "FindByIdentity", "FindByToken", "ExistsByEmail", "ExistsByUsername",
	"List", "Count", "Identities", "Sessions", "CountSessions", "Now", "Export", "ExportWithHashes", "ExportIdentities",
	"Close", "DB", "Schema", "Position", "InTx", "WithTx", "Health", "Migrate", "Migrations", "CheckMigrations", "CheckSchema",
}

// recordingHook keeps the events that it is called for.
type recordingHook struct {
	mu     sync.Mutex
	events []domain.Event
	fails  error
}

func (h *recordingHook) call(ctx context.Context, tx *infra.Tx, event domain.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event)
	if event.Kind != domain.EventDeleted && event.Kind != domain.EventPurged {
		if _, err := tx.FindByID(ctx, event.UserID); err != nil { // which sees the change
			return err
		}
	}
	return h.fails
}

func (h *recordingHook) take() []domain.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.events
	h.events = nil
	return events
}

func TestEventsOfOperations(t *testing.T) {
	t.Parallel()
	for i := range reflect.TypeFor[*infra.Store]().NumMethod() {
		name := reflect.TypeFor[*infra.Store]().Method(i).Name
		covered := slices.Contains(readers, name)
		for _, o := range operations {
			covered = covered || strings.HasPrefix(o.name+",", name+",")
		}
		if !covered {
			t.Errorf("%s is neither among the operations nor among the readers", name)
		}
	}
	storetest.OnBoth(t, func(t *testing.T, plain *infra.Store) {
		hook := new(recordingHook)
		store := sibling(t, plain, infra.WithHook(hook.call))
		for _, o := range operations {
			s := prepared(t, plain, store, o.before)
			origin := domain.Origin{RequestID: "r1", Actor: "tester"}
			s.ctx = domain.WithOrigin(s.ctx, origin)
			begun := time.Now().Add(-time.Millisecond)
			if err := o.run(s); !errors.Is(err, o.fails) {
				t.Errorf("%s: %v; want %v", o.name, err, o.fails)
			}
			var got []domain.EventKind
			for _, event := range hook.take() {
				got = append(got, event.Kind)
				if event.UserID != s.ID() && event.UserID != s.other.ID() || event.Origin != origin || event.At.Before(begun.Truncate(time.Microsecond)) || event.At.After(time.Now()) {
					t.Errorf("%s: %+v", o.name, event)
				}
			}
			if !slices.Equal(got, o.want) {
				t.Errorf("%s has the events %q; want %q", o.name, got, o.want)
			}
			deleteAccounts(t, plain)
		}
	})
}

func deleteAccounts(t testing.TB, store *infra.Store) {
	t.Helper()
	if _, err := store.DB().ExecContext(t.Context(), "DELETE FROM users"); err != nil {
		t.Fatal(err)
	}
}

// prepared returns an account on which before has worked, without hooks.
func prepared(t testing.TB, plain, store *infra.Store, before func(*subject) error) *subject {
	t.Helper()
	s := newSubject(t, plain, store)
	if before != nil {
		s.store = plain
		if err := before(s); err != nil {
			t.Fatal(err)
		}
		s.store = store
	}
	return s
}

// sibling returns a store with other options on the same pool.
func sibling(t testing.TB, store *infra.Store, options ...infra.Option) *infra.Store {
	t.Helper()
	if store.Schema() != "" {
		options = append(options, infra.WithSchema(store.Schema()))
	}
	made, err := infra.New(t.Context(), infra.Database{Dialect: dialectOf(store), DB: store.DB()}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func dialectOf(store *infra.Store) string {
	if store.Schema() == "" {
		return "sqlite3"
	}
	return "postgres"
}

// TestEventsAreDocumented holds the table of docs/events.md against the one here.
func TestEventsAreDocumented(t *testing.T) {
	document, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| Operation | Event |\n| --- | --- |\n"
	for _, o := range operations {
		words := make([]string, len(o.want))
		for i, kind := range o.want {
			words[i] = "`" + string(kind) + "`"
		}
		table += "| " + o.name + " | " + strings.Join(words, ", ") + " |\n"
	}
	if !strings.Contains(string(document), "\n"+table+"\n") {
		t.Errorf("docs/events.md lacks this table:\n%s", table)
	}
	for _, kind := range domain.EventKinds() {
		if !strings.Contains(string(document), "`"+string(kind)+"`") {
			t.Errorf("docs/events.md does not name %s", kind)
		}
	}
}

var errOfHook = errors.New("with secret words")

// TestErrorOfAHookUndoesTheChange lets a hook fail after each operation that has an event.
func TestErrorOfAHookUndoesTheChange(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, plain *infra.Store) {
		hook := new(recordingHook)
		store := sibling(t, plain, infra.WithHook(hook.call))
		for i, failure := range []struct {
			err  error
			kind domain.Kind
		}{
			{errOfHook, domain.ErrInternal},
			{fmt.Errorf("the hook: %w", &domain.Error{Kind: domain.ErrReferenced, Reason: "no"}), domain.ErrReferenced},
			{fmt.Errorf("the hook: %w", domain.ErrConflict), domain.ErrConflict},
			{domain.ErrInvalid, domain.ErrInvalid},
		} {
			for j, o := range operations {
				if len(o.want) == 0 || i > 0 && i != 1+j%3 { // the kinds take turns, as they are handled in one place
					continue
				}
				s := prepared(t, plain, store, o.before)
				before := stored(t, plain.DB())
				hook.fails = failure.err
				err := o.run(s)
				if err == nil && strings.HasPrefix(o.name, "CreateMany") { // the refusal of one account
					refusals, _ := s.store.CreateMany(s.ctx, []*domain.User{s.other})
					err = refusals[0]
				}
				if !errors.Is(err, failure.err) && !errors.Is(err, failure.kind) || domain.KindOf(err) != failure.kind {
					t.Errorf("%s: %v, of the kind %s; want %v", o.name, err, domain.KindOf(err), failure.err)
				}
				if errors.Is(failure.err, errOfHook) && (!errors.Is(err, errOfHook) || strings.Contains(err.Error(), "secret")) {
					t.Errorf("%s: %v", o.name, err)
				}
				hook.fails = nil
				if after := stored(t, plain.DB()); after != before {
					t.Errorf("%s: stored\n%s\nnow\n%s", o.name, before, after)
				}
				hook.take()
				_ = plain.Delete(s.ctx, s.ID())
			}
		}
	})
}

// stored returns all that is in the store's tables.
func stored(t testing.TB, db *stdsql.DB) (text string) {
	t.Helper()
	for _, table := range []string{"users", "identities", "account_events"} {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]stdsql.NullString, len(columns))
			pointers := make([]any, len(columns))
			for i := range values {
				pointers[i] = &values[i]
			}
			if err := rows.Scan(pointers...); err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintln(table, values)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// TestHooksInATransactionOfTheCaller: what a hook refuses is undone alone, and what it wrote goes with the transaction.
func TestHooksInATransactionOfTheCaller(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, plain *infra.Store) {
		ctx := t.Context()
		u := created(t, plain, nextName())
		refused := created(t, plain, nextName())
		if _, err := plain.DB().Exec("CREATE TABLE notes (kind varchar(40))"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = plain.DB().Exec("DROP TABLE notes") })
		store := sibling(t, plain, infra.WithHook(func(ctx context.Context, tx *infra.Tx, event domain.Event) error {
			if _, err := tx.Exec(ctx, "note", "INSERT INTO notes (kind) VALUES (?)", string(event.Kind)); err != nil {
				return err
			}
			if event.UserID == refused.ID() {
				return domain.ErrReferenced
			}
			return nil
		}))
		noted := func() (n int) {
			if err := plain.DB().QueryRow("SELECT count(*) FROM notes").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		change := func(tx *infra.Tx) error {
			if err := of(tx.Deactivate(ctx, u.ID())); err != nil {
				return err
			}
			if err := of(tx.Deactivate(ctx, refused.ID())); !errors.Is(err, domain.ErrReferenced) {
				return fmt.Errorf("the hook was not heard: %w", err)
			}
			return of(tx.Activate(ctx, u.ID()))
		}
		undo := errors.New("undo")
		if err := store.InTx(ctx, func(tx *infra.Tx) error { return errors.Join(change(tx), undo) }); !errors.Is(err, undo) || noted() != 0 {
			t.Errorf("%v, %d notes", err, noted())
		}
		if err := store.InTx(ctx, change); err != nil || noted() != 2 {
			t.Errorf("%v, %d notes", err, noted())
		}
		sqlTx, err := plain.DB().BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(store.WithTx(sqlTx)); err != nil {
			t.Fatal(err)
		}
		if err := sqlTx.Commit(); err != nil || noted() != 4 {
			t.Errorf("%v, %d notes", err, noted())
		}
		if found, err := plain.FindByID(ctx, refused.ID()); err != nil || !found.IsActive() {
			t.Errorf("%v, %v", found, err)
		}
	})
}

// TestHooksForSomeKinds: a change that no hook wants to know of takes no transaction.
func TestHooksForSomeKinds(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, plain *infra.Store) {
		hook, observer := new(recordingHook), new(recordingObserver)
		store := sibling(t, plain, infra.WithHook(hook.call, domain.EventRegistered, domain.EventLocked), infra.WithObserver(observer))
		var s *subject
		for _, o := range operations {
			if !slices.Contains([]string{"Create", "RecordSignIn", "RecordFailure", "Deactivate", "CreateMany"}, o.name) {
				continue
			}
			observer.take()
			s = prepared(t, plain, store, o.before)
			if err := o.run(s); err != nil {
				t.Fatal(err)
			}
			transactions := 0
			for _, o := range observer.take() {
				if o.Operation == "transaction" {
					transactions++
				}
			}
			wanted := o.name == "Create" || o.name == "RecordFailure" || o.name == "CreateMany" // the last has one anyway
			if (transactions == 1) != wanted {
				t.Errorf("%s takes %d transactions", o.name, transactions)
			}
		}
		var got []domain.EventKind
		for _, event := range hook.take() {
			got = append(got, event.Kind)
		}
		if !slices.Equal(got, kinds(domain.EventRegistered)) {
			t.Errorf("events %q", got)
		}
	})
}

// TestPanicOfAHook undoes the change.
func TestPanicOfAHook(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, plain *infra.Store) {
		store := sibling(t, plain, infra.WithHook(func(context.Context, *infra.Tx, domain.Event) error { panic("in a hook") }))
		u := created(t, plain, nextName())
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = store.Delete(t.Context(), u.ID())
		}()
		if _, err := plain.FindByID(t.Context(), u.ID()); err != nil {
			t.Error(err)
		}
		if err := of(store.FindByID(t.Context(), u.ID())); err != nil {
			t.Error(err)
		}
	})
}

func TestHookThatIsNil(t *testing.T) {
	plain := storetest.OpenSQLite(t, ":memory:")
	if _, err := infra.New(t.Context(), infra.Database{Dialect: "sqlite3", DB: plain.DB()}, infra.WithHook(nil)); !errors.Is(err, domain.ErrInvalid) {
		t.Error(err)
	}
}
