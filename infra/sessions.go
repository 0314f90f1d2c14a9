package infra

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/entry"
	"github.com/softbee/accounts/ent/user"
)

// The rules are those of [domain.SessionList], in Go. A statement here does the common thing where it finds what it expects: a list
// with room for one more session, or an entry whose whole text the presented token tells. Where it does not, rewrite reads the list, has
// the rules applied, and stores the outcome if the list is still the same.

// Parts of an entry v, and its form. What is in another form counts for nothing.
var (
	sessionOf = substring(entry.Session, entry.SessionLen)
	expiresOf = substring(entry.Expires, entry.TimeLen)
	isEntry   = "v LIKE '" + entry.Pattern + "'"
)

func substring(at, length int) string { return fmt.Sprintf("substr(v, %d, %d)", at+1, length) }

// entries is a query of the entries that have not expired by a time, which is its argument: v, n and the session s.
func (d *dialect) entries() string {
	return fmt.Sprintf("SELECT v, n, %s AS s FROM %s WHERE %s AND %s%s > ?", sessionOf, d.elements, isEntry, expiresOf, d.binary)
}

// kept is the list without what has expired by its first argument, and of the rest only what matches the condition.
func (d *dialect) kept(condition string) string {
	return fmt.Sprintf("(SELECT %s FROM (%s) AS e WHERE %s)", d.array, d.entries(), condition)
}

// hasEntry matches a list with an entry, expired or not, whose session compares so.
func (d *dialect) hasEntry(comparison string) string {
	return fmt.Sprintf("EXISTS (SELECT 1 FROM %s WHERE %s AND %s %s)", d.elements, isEntry, sessionOf, comparison)
}

// hasStale matches a list with strings that count for nothing at a time, which is its argument.
func (d *dialect) hasStale() string {
	return fmt.Sprintf("EXISTS (SELECT 1 FROM %s WHERE NOT (%s AND %s%s > ?))", d.elements, isEntry, expiresOf, d.binary)
}

// IssueToken implements [domain.SessionStore].
func (r *repository) IssueToken(ctx context.Context, id domain.ID, policy domain.SessionPolicy) (domain.Grant, error) {
	const op = "issue token"
	now := r.present()
	policy, err := policy.Resolve()
	if err != nil {
		return domain.Grant{}, wrap(op, err)
	}
	only, token, err := domain.SessionList{}.Issue(id, now, policy)
	if err != nil {
		return domain.Grant{}, wrap(op, err)
	}
	n, err := r.changeRow(ctx, op, sessionStarted, id, r.texts.issueToken, only[0], now, id.UUID(), policy.Cap)
	if err == nil && n == 0 {
		err = r.rewrite(ctx, op, sessionStarted, id, func(list domain.SessionList) (_ domain.SessionList, err error) {
			list, token, err = list.Issue(id, now, policy)
			return list, err
		})
	}
	if err != nil && !domain.OutcomeUnknown(err) {
		return domain.Grant{}, err
	}
	return granted(token), err
}

func granted(token domain.RefreshToken) domain.Grant {
	return domain.Grant{UserID: token.UserID(), Session: token.Session(), Token: token}
}

// RotateToken implements [domain.SessionStore].
func (r *repository) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	const op = "rotate token"
	now := r.present()
	live := token.Entry()
	next, successor, err := domain.SessionList{live}.Rotate(token, now, policy)
	if err != nil {
		return domain.Grant{}, wrap(op, err)
	}
	if next[0] != live {
		n, err := r.execute(ctx, op, r.texts.rotateToken, live, next[0], now, token.UserID().UUID(), live)
		if err != nil {
			return domain.Grant{}, err
		}
		if n > 0 {
			return granted(successor), nil
		}
	}
	presented := token
	err = r.rewrite(ctx, op, nil, token.UserID(), func(list domain.SessionList) (_ domain.SessionList, err error) {
		list, token, err = list.Rotate(presented, now, policy)
		return list, err
	})
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return domain.Grant{}, wrap(op, tokenInvalid())
	case err != nil:
		return domain.Grant{}, err
	}
	return granted(token), nil
}

// rewriteTries bounds how often a list is read again because another one was stored meanwhile. Of several writers one succeeds in each
// round.
const rewriteTries = 200

// rewrite reads an active account's list and stores what the rules make of it, unless that is the same, and returns their error. Where
// another list was stored meanwhile it starts again. It returns ErrNotFound and ErrInactive. what is the event of a change without an error.
func (r *repository) rewrite(
	ctx context.Context, op string, what *change, id domain.ID, rules func(domain.SessionList) (domain.SessionList, error),
) error {
	for try := range rewriteTries {
		if err := backOff(ctx, try); err != nil {
			return r.failure(ctx, op, err)
		}
		type account struct {
			active bool
			stored string // the list
			list   domain.SessionList
		}
		found, err := collect(ctx, r, op, r.texts.sessions, []any{id.UUID()}, func(rows Rows) (a account, err error) {
			if err = rows.Scan(&a.active, &a.stored); err == nil {
				err = sessionList(&a.list, a.stored)
			}
			return a, err
		})
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return wrap(op, notFound())
		case !found[0].active:
			return wrap(op, inactive())
		}
		next, outcome := rules(found[0].list)
		if outcome != nil {
			outcome = wrap(op, outcome)
		}
		meaning := what
		if errors.Is(outcome, domain.ErrTokenReused) {
			meaning = sessionReused
		}
		if slices.Equal(next, found[0].list) {
			if outcome == nil { // a token that was rotated already
				return r.awaitStandby(ctx, op)
			}
			return r.refused(ctx, op, outcome)
		}
		n, err := r.changeRow(ctx, op, meaning, id, r.texts.rewriteSessions, list(next), r.present(), id.UUID(), found[0].stored)
		switch {
		case err != nil:
			return err
		case n > 0:
			return r.refused(ctx, op, outcome)
		}
	}
	return wrap(op, conflict())
}

// FindByToken implements [domain.SessionStore].
func (r *repository) FindByToken(ctx context.Context, token domain.RefreshToken) (*domain.User, domain.Session, error) {
	const op = "find by token"
	if token.IsZero() {
		return nil, domain.Session{}, wrap(op, tokenInvalid())
	}
	u, err := r.find(ctx, op, user.FieldID, token.UserID().UUID())
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return nil, domain.Session{}, wrap(op, tokenInvalid())
	case err != nil:
		return nil, domain.Session{}, err
	}
	session, err := u.FindSession(token, r.present())
	if err != nil {
		return nil, domain.Session{}, wrap(op, err)
	}
	return u, session, nil
}

// Sessions implements [domain.SessionStore].
func (r *repository) Sessions(ctx context.Context, id domain.ID) ([]domain.Session, error) {
	u, err := r.FindByID(ctx, id)
	if err != nil {
		return nil, wrap("list sessions", err)
	}
	return u.Sessions(r.present()), nil
}

// RevokeSession implements [domain.SessionStore].
func (r *repository) RevokeSession(ctx context.Context, id domain.ID, session domain.SessionID) (*domain.User, error) {
	now := r.present()
	return r.update(ctx, "revoke session", sessionEnded, id, r.texts.revoke, entry.Time(now), session.String(), now, session.String())
}

// RevokeOtherSessions implements [domain.SessionStore].
func (r *repository) RevokeOtherSessions(ctx context.Context, id domain.ID, keep domain.SessionID) (*domain.User, error) {
	now := r.present()
	return r.update(ctx, "revoke other sessions", sessionEnded, id, r.texts.revokeOthers, entry.Time(now), keep.String(), now, keep.String())
}

// RevokeSessions implements [domain.SessionStore].
func (r *repository) RevokeSessions(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "revoke sessions", sessionEnded, id, r.texts.revokeAll, r.present())
}

// liveSessions is the number of an account's live sessions by a time, its argument.
func (d *dialect) liveSessions() string {
	return fmt.Sprintf("(SELECT count(DISTINCT s) FROM (%s) AS e)", d.entries())
}

// CountSessions implements [domain.SessionStore].
func (r *repository) CountSessions(ctx context.Context) (int, error) {
	counts, err := collect(ctx, r.reader(), "count sessions", r.texts.countSessions, []any{entry.Time(r.present())}, scanned[int])
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// scanned reads a row of one value.
func scanned[T any](rows Rows) (value T, err error) {
	err = rows.Scan(&value)
	return value, err
}

// SweepSessions implements [domain.SessionStore].
func (r *repository) SweepSessions(ctx context.Context, after domain.ID, limit int) (domain.Sweep, error) {
	now := entry.Time(r.present())
	return r.sweep(ctx, "sweep sessions", after, limit, r.texts.sweep, []any{now}, now)
}

// RevokeEverybody implements [domain.SessionStore].
func (r *repository) RevokeEverybody(ctx context.Context, after domain.ID, limit int) (domain.Sweep, error) {
	const op = "revoke everybody's sessions"
	sweep, err := r.revokeEverybody(ctx, op, after, limit)
	if err == nil && sweep.Swept == 0 {
		err = r.awaitStandby(ctx, op)
	}
	if err != nil {
		return domain.Sweep{}, err
	}
	return sweep, nil
}

func (r *repository) revokeEverybody(ctx context.Context, op string, after domain.ID, limit int) (sweep domain.Sweep, _ error) {
	if !r.listened(sessionEnded) {
		return r.sweep(ctx, op, after, limit, r.texts.revokeEverybody, nil)
	}
	err := r.nested(ctx, func(tx *Tx) (err error) {
		next, err := tx.next(ctx, op, after, limit)
		if err != nil || next.Visited == 0 {
			sweep = next
			return err
		}
		now := tx.present()
		ended, err := collect(ctx, &tx.repository, op, tx.texts.endEverybody, []any{now, after.UUID(), next.Next.UUID(), entry.Time(now)}, scanID)
		if err != nil {
			return err
		}
		if err := tx.notify(ctx, op, domain.EventSessionEnded, ended...); err != nil {
			return err
		}
		rest, err := tx.execute(ctx, op, tx.texts.revokeEverybody, now, after.UUID(), next.Next.UUID()) // what has expired
		next.Swept = len(ended) + int(rest)
		sweep = next
		return err
	})
	return sweep, err
}

// sweep runs a statement on the next accounts behind after. Its arguments are those of the new list, now, the ID to begin after, the last ID,
// and those of the condition.
func (r *repository) sweep(
	ctx context.Context, op string, after domain.ID, limit int, query string, newList []any, condition ...any,
) (domain.Sweep, error) {
	sweep, err := r.next(ctx, op, after, limit)
	if err != nil || sweep.Visited == 0 {
		return sweep, err
	}
	swept, err := r.execute(ctx, op, query, slices.Concat(newList, []any{r.present(), after.UUID(), sweep.Next.UUID()}, condition)...)
	if err != nil {
		return domain.Sweep{}, err
	}
	sweep.Swept = int(swept)
	return sweep, nil
}

// next finds the accounts of one step.
func (r *repository) next(ctx context.Context, op string, after domain.ID, limit int) (domain.Sweep, error) {
	if err := checkLimit(limit); err != nil {
		return domain.Sweep{}, wrap(op, err)
	}
	ids, err := collect(ctx, r, op, r.texts.nextIDs, []any{after.UUID(), limit}, scanID)
	if err != nil {
		return domain.Sweep{}, err
	}
	sweep := domain.Sweep{Next: after, Visited: len(ids), Done: len(ids) < limit}
	if len(ids) > 0 {
		sweep.Next = ids[len(ids)-1]
	}
	return sweep, nil
}

const maxBatch = 100_000

func checkLimit(limit int) error {
	if limit < 1 || limit > maxBatch {
		return invalid("limit", "is not 1 to 100000")
	}
	return nil
}
