package infra

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
	"github.com/softbee/accounts/infra/internal/fault"
)

// Hook is called inside the transaction of a change, once it is made and before it is committed. What it writes through tx is stored
// with the change or not at all. If it returns an error, the change is undone, and the caller of the store gets an error that wraps it, of the same
// kind. One without a kind, as of a driver or of the application, gets the kind that fits it; else [domain.ErrInternal].
//
// The transaction may be repeated after a serialization failure or a deadlock, and the hook with it: what it does outside of tx may
// then be for a change that was undone. Changes that it makes through tx have events too. Do not call the store itself, which would wait for this
// transaction.
type Hook func(ctx context.Context, tx *Tx, event domain.Event) error

// WithHook calls a hook for each change that has an event of one of the kinds, or of any kind if none is named. Several hooks are
// called in their order.
//
// A change that no hook listens to costs what it does without hooks. Another one takes a transaction of its own (BEGIN, the
// statement, the hooks, COMMIT), or a savepoint inside [Store.InTx] and [Store.WithTx]. So leave
// imports out of the kinds unless they are needed: the hook is called once for each account.
func WithHook(hook Hook, kinds ...domain.EventKind) Option {
	return func(s *settings) { s.hooks = append(s.hooks, chosenHook{hook, kinds}) }
}

type chosenHook struct {
	hook  Hook
	kinds eventKinds
}

// eventKinds are those that are wanted, all if there are none.
type eventKinds []domain.EventKind

func (k eventKinds) want(kind domain.EventKind) bool { return len(k) == 0 || slices.Contains(k, kind) }

// change is what a statement means to the hooks and the trail. Each method names its own where it runs its statement; nil stands for one that has
// no event, such as the change of a name.
type change struct {
	kinds []domain.EventKind // that it can have

	// of tells the kind from the account after the change; nil for the only one of kinds.
	of   func(after *domain.User, now time.Time) domain.EventKind
	kind string // likewise in SQL, {now} being the present; "" for the only one

	// elsewhere says that the statement changes another table, and locks no account.
	elsewhere bool

	// compared is not 0 where the kinds follow from the account before and after. The account is read and locked by its value in column, which is the
	// argument of the statement at that place, counted from the end.
	compared int
	column   string
}

func always(kind domain.EventKind) *change { return &change{kinds: []domain.EventKind{kind}} }

// comparing is for a statement whose last argument is the ID.
func comparing(kinds ...domain.EventKind) *change {
	return &change{kinds: kinds, compared: 1, column: user.FieldID}
}

var (
	registered      = always(domain.EventRegistered)
	imported        = always(domain.EventImported)
	purged          = always(domain.EventPurged)
	signedIn        = always(domain.EventSignedIn)
	lockSet         = always(domain.EventLocked)
	unlockedNow     = always(domain.EventUnlocked)
	passwordChanged = always(domain.EventPasswordChanged)
	passwordReset   = always(domain.EventPasswordReset)
	emailRequested  = always(domain.EventEmailRequested)
	emailChanged    = always(domain.EventEmailChanged)
	usernameChanged = always(domain.EventUsernameChanged)
	sessionStarted  = always(domain.EventSessionStarted)
	sessionReused   = always(domain.EventSessionReused)
	activated       = always(domain.EventActivated)
	deleted         = always(domain.EventDeleted)
	linked          = &change{kinds: []domain.EventKind{domain.EventIdentityLinked}, elsewhere: true}
	unlinked        = &change{kinds: []domain.EventKind{domain.EventIdentityUnlinked}, elsewhere: true}

	signInFailed = &change{
		kinds: []domain.EventKind{domain.EventSignInFailed, domain.EventLocked},
		of: func(after *domain.User, now time.Time) domain.EventKind {
			if after.IsLocked(now) {
				return domain.EventLocked
			}
			return domain.EventSignInFailed
		},
		kind: "CASE WHEN locked_until > {now} THEN '" + string(domain.EventLocked) + "' ELSE '" + string(domain.EventSignInFailed) + "' END",
	}

	// What their statements match may have changed in another respect only, which has no event.
	lockMoved    = comparing(domain.EventLocked, domain.EventUnlocked)
	verified     = comparing(domain.EventVerified)
	deactivated  = comparing(domain.EventDeactivated)
	sessionEnded = comparing(domain.EventSessionEnded)
	confirmed    = &change{
		kinds:    []domain.EventKind{domain.EventEmailChanged, domain.EventVerified},
		compared: 2, column: user.FieldVerificationToken,
	}
	updated = comparing(
		domain.EventEmailRequested, domain.EventEmailChanged, domain.EventVerified, domain.EventUsernameChanged, domain.EventPasswordChanged,
		domain.EventActivated, domain.EventDeactivated)
)

// eventsBetween returns what happened to an account between two of its states, in a fixed order. What follows from one of them, as the end
// of the sessions does from a deactivation, is no event beside it.
func eventsBetween(before, after *domain.User, now time.Time) (kinds []domain.EventKind) {
	b, a := before.State(), after.State()
	note := func(happened bool, kind domain.EventKind) {
		if happened {
			kinds = append(kinds, kind)
		}
	}
	note(a.Email != b.Email, domain.EventEmailChanged)
	note(a.PendingEmail != b.PendingEmail && !a.PendingEmail.IsZero(), domain.EventEmailRequested)
	note(a.Email == b.Email && a.Verified && !b.Verified, domain.EventVerified)
	note(a.Username != b.Username, domain.EventUsernameChanged)
	note(a.PasswordHash != b.PasswordHash, domain.EventPasswordChanged)
	note(a.Active && !b.Active, domain.EventActivated)
	note(!a.Active && b.Active, domain.EventDeactivated)
	if len(kinds) == 0 {
		locked, was := after.IsLocked(now), before.IsLocked(now)
		note(locked && !a.LockedUntil.Equal(b.LockedUntil), domain.EventLocked)
		note(!locked && was, domain.EventUnlocked)
		note(len(after.Sessions(now)) < len(before.Sessions(now)), domain.EventSessionEnded)
	}
	return kinds
}

// listened says whether a hook or the trail wants to know of a change.
func (r *repository) listened(what *change) bool {
	return what != nil && (r.hooked(what) || r.trail != nil && slices.ContainsFunc(what.kinds, r.trail.kinds.want))
}

// hooked says whether a hook listens to a change.
func (r *repository) hooked(what *change) bool {
	for i := range r.hooks {
		if slices.ContainsFunc(what.kinds, r.hooks[i].kinds.want) {
			return true
		}
	}
	return false
}

// notify enters the events of accounts into the trail, and calls the hooks, in the transaction of the change.
func (t *Tx) notify(ctx context.Context, op string, kind domain.EventKind, ids ...domain.ID) error {
	if err := t.enter(ctx, kind, ids); err != nil {
		return hookFailure(ctx, op, err)
	}
	for _, id := range ids {
		event := domain.Event{Kind: kind, UserID: id, Origin: domain.OriginOf(ctx)}
		for i := range t.hooks {
			if !t.hooks[i].kinds.want(kind) {
				continue
			}
			if event.At.IsZero() {
				event.At = t.present()
			}
			if err := t.hooks[i].hook(ctx, t, event); err != nil {
				return hookFailure(ctx, op, err)
			}
		}
	}
	return nil
}

// hookFailure gives an error of a hook a kind if it has none. Its text stays out, for it may be a driver's and quote values.
func hookFailure(ctx context.Context, op string, err error) error {
	if domain.KindOf(err) != "" {
		return wrap(op, hookError{err})
	}
	refused := &domain.Error{Kind: fault.Of(err).Kind(), Reason: "a hook failed", Cause: err}
	if endOf(ctx) != nil {
		refused.Kind = domain.ErrUnavailable
	}
	return wrap(op, hookError{refused})
}

// hookError is an error of a hook. Its kind is for the caller, and says nothing of the store's own statement.
type hookError struct{ error }

func (e hookError) Unwrap() error { return e.error }

func isOfHook(err error) bool { return errors.As(err, new(hookError)) }

// changeOne is one for a statement that changes an account and returns its columns, and notifies of the change.
func (r *repository) changeOne(ctx context.Context, op string, what *change, query string, args ...any) (*domain.User, error) {
	return r.changeFrom(ctx, op, what, nil, query, args...)
}

// changeFrom is changeOne for an account that was read already, at the version that the statement requires. Without one it is read here, where
// the event depends on it.
func (r *repository) changeFrom(
	ctx context.Context, op string, what *change, read *domain.User, query string, args ...any,
) (*domain.User, error) {
	if !r.listened(what) {
		return r.one(ctx, op, query, args...)
	}
	if r.rides(what) {
		entry, args := r.entry(ctx, what, args)
		return r.one(ctx, op, "WITH changed AS ("+query+"), entered AS ("+entry+") SELECT "+userColumns+" FROM changed", args...)
	}
	var changed *domain.User
	err := r.nested(ctx, func(tx *Tx) (err error) {
		changed = nil // of an attempt that is repeated
		before := read
		if before == nil && what.compared > 0 {
			before, err = tx.one(ctx, op, tx.texts.lock[what.column], args[len(args)-what.compared])
			if err != nil || before == nil {
				return err
			}
		}
		changed, err = tx.one(ctx, op, query, args...)
		if err != nil || changed == nil {
			return err
		}
		return tx.notifyChange(ctx, op, what, before, changed)
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

func (t *Tx) notifyChange(ctx context.Context, op string, what *change, before, after *domain.User) error {
	kinds := what.kinds[:1]
	switch {
	case what.of != nil:
		kinds = []domain.EventKind{what.of(after, t.present())}
	case before != nil:
		kinds = slices.DeleteFunc(eventsBetween(before, after, t.present()), func(kind domain.EventKind) bool {
			return !slices.Contains(what.kinds, kind)
		})
	}
	for _, kind := range kinds {
		if err := t.notify(ctx, op, kind, after.ID()); err != nil {
			return err
		}
	}
	return nil
}

// changeRow is execute for a statement that changes the account of an ID, or what belongs to it, returns nothing, and notifies of the change.
func (r *repository) changeRow(ctx context.Context, op string, what *change, id domain.ID, query string, args ...any) (int64, error) {
	if !r.listened(what) {
		return r.execute(ctx, op, query, args...)
	}
	if r.rides(what) {
		entry, args := r.entry(ctx, what, args)
		return r.execute(ctx, op, "WITH changed AS ("+query+" RETURNING id) "+entry, args...)
	}
	var n int64
	err := r.nested(ctx, func(tx *Tx) (err error) {
		if what.elsewhere {
			if err := tx.lock(ctx, op, id); err != nil {
				return err
			}
		}
		if n, err = tx.execute(ctx, op, query, args...); err != nil || n == 0 {
			return err
		}
		return tx.notify(ctx, op, what.kinds[0], id)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// changeListed runs a statement that changes accounts of a list, the present and the list being its arguments, and returns the IDs of those that
// it has changed. The hooks get each account as it was before and after.
func (r *repository) changeListed(ctx context.Context, op string, what *change, query, list string) ([]domain.ID, error) {
	if !r.listened(what) {
		return collect(ctx, r, op, query, []any{r.present(), list}, scanID)
	}
	var ids []domain.ID
	err := r.nested(ctx, func(tx *Tx) (err error) {
		before, err := tx.listed(ctx, op, tx.texts.lockMany, list)
		if err != nil {
			return err
		}
		if ids, err = collect(ctx, &tx.repository, op, query, []any{tx.present(), list}, scanID); err != nil {
			return err
		}
		after, err := tx.listed(ctx, op, tx.texts.findMany[user.FieldID], list)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if before[id] == nil || after[id] == nil { // not in the form of an account
				err = tx.notify(ctx, op, what.kinds[0], id)
			} else {
				err = tx.notifyChange(ctx, op, what, before[id], after[id])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// listed returns the accounts of a list by their IDs.
func (t *Tx) listed(ctx context.Context, op, query, list string) (map[domain.ID]*domain.User, error) {
	found, err := collect(ctx, &t.repository, op, query, []any{list}, func(rows Rows) (*domain.User, error) {
		u, _, err := scanRow(rows)
		return u, err
	})
	all := make(map[domain.ID]*domain.User, len(found))
	for _, u := range found {
		if u != nil {
			all[u.ID()] = u
		}
	}
	return all, err
}

func scanID(rows Rows) (domain.ID, error) {
	id, err := scanned[uuid.UUID](rows)
	return domain.IDFromUUID(id), err
}

// Exec runs a statement of a package that keeps tables beside the store's, or reads them as infra/audit does, on whatever driver the transaction is. In query ?
// stands for an argument and ?? for a question mark; see [Tx.Table] for names. op is what observers and errors call it. Errors are
// classified as the store's own.
func (t *Tx) Exec(ctx context.Context, op, query string, args ...any) (int64, error) {
	if query == "" {
		return 0, wrap(op, required("query"))
	}
	return t.execute(ctx, op, t.dialect.fill(t.schema, query), args...)
}

// Query is Exec for a statement that returns rows; read is called on each.
func (t *Tx) Query(ctx context.Context, op, query string, args []any, read func(Rows) error) error {
	if query == "" {
		return wrap(op, required("query"))
	}
	_, err := collect(ctx, &t.repository, op, t.dialect.fill(t.schema, query), args, func(rows Rows) (struct{}, error) {
		return struct{}{}, read(rows)
	})
	return err
}

// Table returns the name of a table in the store's schema, as statements need it.
func (t *Tx) Table(name string) string { return t.dialect.table(t.schema, name) }

// Dialect returns [migration.Postgres] or [migration.SQLite].
func (t *Tx) Dialect() string { return t.dialect.name }
