package infra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
)

// The statements below do to the stored list what the methods of [domain.SessionList] do to a list in memory; the contract
// suite holds the two against each other. Being one UPDATE each, they need neither a lock nor a second try: the second of
// two on one row works on what the first has stored.
//
// Every WITH in them is NOT MATERIALIZED. When an UPDATE has waited for another one's row, PostgreSQL computes it again from
// what that one stored, but for materialized queries, whose result stays the old row's: updates would be lost.

// Parts of an entry v, and its form.
var (
	sessionOf = substring(domain.EntrySession, domain.EntrySessionLen)
	expiresOf = substring(domain.EntryExpires, domain.EntryTimeLen)
	digestOf  = substring(domain.EntryDigest, domain.EntryDigestLen)
	issuedOf  = substring(domain.EntryIssued, domain.EntryTimeLen)
	isLive    = fmt.Sprintf("length(v) = %d", domain.LiveEntryLen)
	isRetired = fmt.Sprintf("length(v) = %d", domain.RetiredEntryLen)

	// isEntry matches lengths and dots; other strings, which nobody but a person can have written, count for nothing.
	isEntry = fmt.Sprintf("(v LIKE '%s' OR v LIKE '%s')",
		fields(domain.EntryTimeLen, domain.EntrySessionLen, domain.EntryDigestLen, domain.EntryTimeLen, domain.EntryTimeLen, domain.EntryTimeLen),
		fields(domain.EntryTimeLen, domain.EntrySessionLen, domain.EntryTagLen))
)

// fields is the LIKE pattern of fields of these lengths, parted by dots.
func fields(lengths ...int) string {
	patterns := make([]string, len(lengths))
	for i, n := range lengths {
		patterns[i] = strings.Repeat("_", n)
	}
	return strings.Join(patterns, ".")
}

func substring(at, length int) string { return fmt.Sprintf("substr(v, %d, %d)", at+1, length) }

// entries is a query of the entries that have not expired by a time, which is its argument: v, n, the session s and the time
// of issue i.
func (d *dialect) entries() string {
	return fmt.Sprintf("SELECT v, n, %s AS s, %s%s AS i FROM %s WHERE %s AND %s%s > ?",
		sessionOf, issuedOf, d.binary, d.elements, isEntry, expiresOf, d.binary)
}

// kept is the list without what has expired by its first argument, and of the rest only what matches the condition.
func (d *dialect) kept(condition string) string {
	return fmt.Sprintf("(SELECT %s FROM (%s) AS e WHERE %s)", d.array, d.entries(), condition)
}

// issued is [domain.SessionList.Issue]. Its arguments: now, the cap less one, the head of the new entry, now, now.
func (d *dialect) issued() string {
	return fmt.Sprintf(`(WITH e AS NOT MATERIALIZED (%s),
 family AS NOT MATERIALIZED (
  SELECT v, n, min(CASE WHEN %s THEN i END) OVER own AS i, min(CASE WHEN %s THEN n END) OVER own AS first
  FROM e WINDOW own AS (PARTITION BY s)),
 placed AS NOT MATERIALIZED (SELECT v, n, i, dense_rank() OVER (ORDER BY i DESC NULLS LAST, first DESC) AS place FROM family),
 next AS NOT MATERIALIZED (
  SELECT v, n FROM placed WHERE place <= ? OR i IS NULL
  UNION ALL
  SELECT CAST(? AS text) || CASE WHEN max(i) > ? THEN max(i) ELSE CAST(? AS text) END, %d FROM family)
 SELECT %s FROM next)`, d.entries(), isLive, isLive, behindAll, d.array)
}

// behindAll is a place in the list that comes after all others.
const behindAll = 1_000_000_000

// rotated is [domain.SessionList.Rotate] for a session that has a live entry. Its arguments are those of rotation.
func (d *dialect) rotated() string {
	return fmt.Sprintf(`(WITH p AS NOT MATERIALIZED (SELECT CAST(? AS text) AS session, CAST(? AS text) AS digest, CAST(? AS text) AS retired, CAST(? AS text) AS head),
 e AS NOT MATERIALIZED (%[1]s),
 hit AS NOT MATERIALIZED (SELECT p.*,
   (SELECT min(i) FROM e WHERE s = p.session AND %[2]s) AS issued,
   EXISTS (SELECT 1 FROM e WHERE s = p.session AND %[2]s AND %[4]s = p.digest) AS live,
   EXISTS (SELECT 1 FROM e WHERE s = p.session AND %[3]s AND %[4]s = substr(p.digest, 1, %[5]d)) AND p.retired <> '' AS graced
  FROM p),
 next AS NOT MATERIALIZED (
  SELECT v, n, s FROM e, hit WHERE s <> session OR (live AND %[4]s <> digest) OR (NOT live AND graced)
  UNION ALL
  SELECT retired, %[6]d, session FROM hit WHERE live AND retired <> ''
  UNION ALL
  SELECT head || issued, %[6]d + 1, session FROM hit WHERE live OR graced)
 SELECT %[7]s FROM (SELECT v, n, s, row_number() OVER (PARTITION BY s, length(v) ORDER BY n DESC) AS place FROM next) AS placed, p
  WHERE s <> session OR place <= %[8]d)`,
		d.entries(), isLive, isRetired, digestOf, domain.EntryTagLen, behindAll, d.array, domain.MaxSessionTokens)
}

// IssueToken implements [domain.SessionStore].
func (r *repository) IssueToken(ctx context.Context, id domain.ID, policy domain.SessionPolicy) (domain.Grant, error) {
	const op = "issue token"
	now := r.present()
	issue, err := domain.NewTokenIssue(id, now, policy)
	if err != nil {
		return domain.Grant{}, wrap(op, err)
	}
	u, err := r.one(ctx, op, r.texts.issueToken,
		issue.Now(), issue.Cap()-1, issue.EntryHead(), issue.Now(), issue.Now(), now, id.UUID())
	if err != nil {
		return domain.Grant{}, err
	}
	if u == nil {
		// Either there is no such account, or it is inactive.
		if _, err := r.FindByID(ctx, id); err != nil {
			return domain.Grant{}, wrap(op, err)
		}
		return domain.Grant{}, wrap(op, inactive())
	}
	return grant(op, u, issue.Token(), now)
}

// RotateToken implements [domain.SessionStore].
func (r *repository) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	const op = "rotate token"
	now := r.present()
	rotation, err := domain.NewTokenRotation(token, now, policy)
	if err != nil {
		return domain.Grant{}, wrap(op, err)
	}
	session := token.SessionID().String()
	u, err := r.one(ctx, op, r.texts.rotateToken,
		session, rotation.PresentedDigest(), rotation.RetiredEntry(), rotation.EntryHead(), rotation.Now(), now, token.UserID().UUID(), rotation.Now(), session)
	if err != nil {
		return domain.Grant{}, err
	}
	if u == nil {
		// No session of this token: it never had one, it has ended, or the account is inactive.
		u, err := r.FindByID(ctx, token.UserID())
		switch {
		case err == nil && !u.IsActive():
			return domain.Grant{}, wrap(op, inactive())
		case err == nil || errors.Is(err, domain.ErrNotFound):
			return domain.Grant{}, wrap(op, tokenInvalid())
		}
		return domain.Grant{}, wrap(op, err)
	}
	if !u.State().Sessions.Has(rotation.Token(), now) {
		return domain.Grant{}, wrap(op, &domain.Error{
			Kind: domain.ErrTokenReused, Field: "token", Reason: "was used before; its session has been ended",
		})
	}
	return grant(op, u, rotation.Token(), now)
}

// grant returns the new token with its session as it was stored.
func grant(op string, u *domain.User, token domain.RefreshToken, now time.Time) (domain.Grant, error) {
	for _, session := range u.Sessions(now) {
		if session.ID == token.SessionID() {
			return domain.Grant{User: u, Session: session, Token: token}, nil
		}
	}
	return domain.Grant{}, wrap(op, &domain.Error{Kind: domain.ErrTokenExpired, Field: "token", Reason: "has expired"})
}

// hasEntry matches accounts with a live entry that has not expired by the first argument and matches the condition.
func (d *dialect) hasEntry(condition string) string {
	return fmt.Sprintf("EXISTS (SELECT 1 FROM (%s) AS e WHERE %s AND %s)", d.entries(), isLive, condition)
}

// HasToken implements [domain.SessionStore].
func (r *repository) HasToken(ctx context.Context, token domain.RefreshToken) (bool, error) {
	return r.exists(ctx, "look for token", r.texts.hasToken,
		token.UserID().UUID(), domain.EntryTime(r.present()), token.SessionID().String()+"."+token.Digest())
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
	return r.update(ctx, "revoke session", r.texts.revoke, domain.EntryTime(now), session.String(), now, id.UUID())
}

// RevokeOtherSessions implements [domain.SessionStore].
func (r *repository) RevokeOtherSessions(ctx context.Context, id domain.ID, keep domain.SessionID) (*domain.User, error) {
	now := r.present()
	return r.update(ctx, "revoke other sessions", r.texts.revokeOthers, domain.EntryTime(now), keep.String(), now, id.UUID())
}

// RevokeSessions implements [domain.SessionStore].
func (r *repository) RevokeSessions(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "revoke sessions", r.texts.revokeAll, r.present(), id.UUID())
}

// liveSessions is the number of an account's live sessions by a time, its argument.
func (d *dialect) liveSessions() string {
	return fmt.Sprintf("(SELECT count(DISTINCT s) FROM (%s) AS e WHERE %s)", d.entries(), isLive)
}

// CountSessions implements [domain.SessionStore].
func (r *repository) CountSessions(ctx context.Context) (int, error) {
	counts, err := collect(ctx, r, "count sessions", r.texts.countSessions, []any{domain.EntryTime(r.present())}, scanned[int])
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

// ListSessionCounts implements [domain.SessionStore].
func (r *repository) ListSessionCounts(ctx context.Context, after domain.ID, limit int) ([]domain.SessionCount, error) {
	const op = "list session counts"
	if err := checkLimit(limit); err != nil {
		return nil, wrap(op, err)
	}
	return collect(ctx, r, op, r.texts.sessionCounts, []any{domain.EntryTime(r.present()), after.UUID(), limit},
		func(rows Rows) (count domain.SessionCount, err error) {
			var id uuid.UUID
			err = rows.Scan(&id, &count.Sessions)
			count.UserID = domain.IDFromUUID(id)
			return count, err
		})
}

// SweepSessions implements [domain.SessionStore].
func (r *repository) SweepSessions(ctx context.Context, after domain.ID, limit int) (domain.Sweep, error) {
	const op = "sweep sessions"
	if err := checkLimit(limit); err != nil {
		return domain.Sweep{}, wrap(op, err)
	}
	ids, err := collect(ctx, r, op, r.texts.nextIDs, []any{after.UUID(), limit}, scanned[uuid.UUID])
	if err != nil {
		return domain.Sweep{}, err
	}
	sweep := domain.Sweep{Next: after, Visited: len(ids), Done: len(ids) < limit}
	if len(ids) == 0 {
		return sweep, nil
	}
	last := ids[len(ids)-1]
	sweep.Next = domain.IDFromUUID(last)
	now := r.present()
	swept, err := r.execute(ctx, op, r.texts.sweep, domain.EntryTime(now), now, after.UUID(), last, domain.EntryTime(now))
	if err != nil {
		return domain.Sweep{}, err
	}
	sweep.Swept = int(swept)
	return sweep, nil
}

const maxBatch = 100_000

func checkLimit(limit int) error {
	if limit < 1 || limit > maxBatch {
		return invalid("limit", "is not 1 to 100000")
	}
	return nil
}
