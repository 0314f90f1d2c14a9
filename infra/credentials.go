package infra

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// RecordFailure implements [domain.CredentialStore].
func (s *Store) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	const op = "record failed sign-in"
	policy, err := policy.Resolve()
	if err != nil {
		return nil, wrap(op, err)
	}
	now := s.present()
	until := domain.StoredTime(now.Add(policy.Duration))
	// A lock that is stored here has ended, for the statement matches no other: its failures do not count any more.
	const attempts = "CASE WHEN locked_until IS NULL THEN failed_login_attempts + 1 ELSE 1 END"
	updated, err := s.updateWhere(ctx, op, sql.And(sql.EQ(user.FieldID, id.UUID()), notLocked(now)), func(u *sql.UpdateBuilder) {
		u.Set(user.FieldFailedLoginAttempts, sql.Expr(attempts))
		u.Set(user.FieldLockedUntil, sql.ExprFunc(func(b *sql.Builder) {
			b.WriteString("CASE WHEN " + attempts + " >= ").Arg(policy.Attempts)
			b.WriteString(" THEN ")
			s.timeArg(b, until)
			b.WriteString(" END")
		}))
	})
	if err != nil || updated != nil {
		return updated, err
	}
	return nil, s.refusal(ctx, op, id, nil)
}

// RecordSuccess implements [domain.CredentialStore].
func (s *Store) RecordSuccess(ctx context.Context, id domain.ID, checked, better domain.PasswordHash) (*domain.User, error) {
	const op = "record sign-in"
	if checked.IsZero() { // nothing can have been checked against no hash, even if none is stored
		return nil, s.refusal(ctx, op, id, &checked)
	}
	now := s.present()
	next := checked
	if !better.IsZero() {
		next = better
	}
	updated, err := s.one(ctx, op, s.texts.success, now, next.Stored(), now, id.UUID(), checked.Stored(), now)
	if err != nil || updated != nil {
		return updated, err
	}
	return nil, s.refusal(ctx, op, id, &checked)
}

// refusal tells why a statement of RecordFailure or RecordSuccess matched no row. checked is nil in the former.
func (s *Store) refusal(ctx context.Context, op string, id domain.ID, checked *domain.PasswordHash) error {
	u, err := s.FindByID(ctx, id)
	switch {
	case err != nil:
		return wrap(op, err)
	case checked != nil && (checked.IsZero() || u.State().PasswordHash != *checked):
		return wrap(op, hashChanged())
	case u.IsLocked(s.present()):
		return wrap(op, &domain.Error{Kind: domain.ErrLocked, Reason: "too many failed sign-ins", Until: u.LockedUntil()})
	case checked != nil && !u.IsActive():
		return wrap(op, inactive())
	}
	return wrap(op, conflict()) // what stood in the way is gone by now
}

func hashChanged() error {
	return &domain.Error{Kind: domain.ErrConflict, Field: user.FieldHashedPassword, Reason: "was changed meanwhile"}
}

func inactive() error {
	return &domain.Error{Kind: domain.ErrInactive, Reason: "the account is deactivated"}
}

// SetPassword implements [domain.CredentialStore].
func (s *Store) SetPassword(
	ctx context.Context, id domain.ID, checked, hash domain.PasswordHash, keep domain.SessionID,
) (*domain.User, error) {
	const op = "set password"
	if hash.IsZero() {
		return nil, wrap(op, required(user.FieldHashedPassword))
	}
	where := sql.EQ(user.FieldID, id.UUID())
	if !checked.IsZero() {
		where = sql.And(where, sql.EQ(user.FieldHashedPassword, checked.Stored()))
	}
	updated, err := s.updateWhere(ctx, op, where, func(u *sql.UpdateBuilder) {
		newPassword(u, hash)
		if keep.IsZero() {
			u.Set(user.FieldRefreshTokens, "[]")
		} else {
			u.Set(user.FieldRefreshTokens, s.keptEntries(s.present(), "s = ?", keep.String()))
		}
	})
	if err != nil || updated != nil {
		return updated, err
	}
	if _, err := s.FindByID(ctx, id); err != nil {
		return nil, wrap(op, err)
	}
	return nil, wrap(op, hashChanged())
}

// newPassword stores a hash and ends all that the old one allowed, but for the sessions.
func newPassword(u *sql.UpdateBuilder, hash domain.PasswordHash) {
	u.Set(user.FieldHashedPassword, hash.Stored())
	for _, column := range oneTimeTokens {
		u.SetNull(column)
	}
	unlocked(u)
}

func unlocked(u *sql.UpdateBuilder) {
	u.Set(user.FieldFailedLoginAttempts, 0).SetNull(user.FieldLockedUntil)
}

// Unlock implements [domain.CredentialStore].
func (s *Store) Unlock(ctx context.Context, id domain.ID) (*domain.User, error) {
	return s.update(ctx, "unlock user", id, unlocked)
}

// oneTimeToken names the columns of a kind of one-time token.
type oneTimeToken struct{ digest, expiry string }

var (
	resetToken        = oneTimeToken{user.FieldResetToken, user.FieldResetTokenExpiry}
	verificationToken = oneTimeToken{user.FieldVerificationToken, user.FieldVerificationTokenExpiry}
)

// IssueReset implements [domain.CredentialStore].
func (s *Store) IssueReset(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	return s.issueOneTime(ctx, "issue reset token", resetToken, id, digest, expiry)
}

// IssueVerification implements [domain.CredentialStore].
func (s *Store) IssueVerification(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	return s.issueOneTime(ctx, "issue verification token", verificationToken, id, digest, expiry)
}

func (s *Store) issueOneTime(
	ctx context.Context, op string, token oneTimeToken, id domain.ID, digest domain.TokenDigest, expiry time.Time,
) (*domain.User, error) {
	if digest.IsZero() {
		return nil, wrap(op, required(token.digest))
	}
	return s.update(ctx, op, id, func(u *sql.UpdateBuilder) {
		u.Set(token.digest, digest.Stored()).Set(token.expiry, domain.StoredTime(expiry))
	})
}

// ConsumeReset implements [domain.CredentialStore].
func (s *Store) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	const op = "reset password"
	if hash.IsZero() {
		return nil, wrap(op, required(user.FieldHashedPassword))
	}
	return s.consume(ctx, op, resetToken, digest, func(u *sql.UpdateBuilder) {
		newPassword(u, hash)
		u.Set(user.FieldRefreshTokens, "[]")
	})
}

// ConsumeVerification implements [domain.CredentialStore].
func (s *Store) ConsumeVerification(ctx context.Context, digest domain.TokenDigest) (*domain.User, error) {
	return s.consume(ctx, "confirm e-mail", verificationToken, digest, verified)
}

// consume changes the account that has the token, unless it has expired. Whatever set does must remove the token: of two
// calls with one token, the second waits for the first and then finds it no more.
func (s *Store) consume(
	ctx context.Context, op string, token oneTimeToken, digest domain.TokenDigest, set func(*sql.UpdateBuilder),
) (*domain.User, error) {
	if digest.IsZero() {
		return nil, wrap(op, tokenInvalid())
	}
	isToken := sql.EQ(token.digest, digest.Stored())
	updated, err := s.updateWhere(ctx, op, sql.And(isToken, sql.GT(token.expiry, s.present())), set)
	if err != nil || updated != nil {
		return updated, err
	}
	expired, err := s.exists(ctx, op, s.texts.exists[token.digest], digest.Stored())
	switch {
	case err != nil:
		return nil, err
	case expired:
		return nil, wrap(op, &domain.Error{Kind: domain.ErrTokenExpired, Field: "token", Reason: "has expired"})
	}
	return nil, wrap(op, tokenInvalid())
}

func tokenInvalid() error {
	return &domain.Error{Kind: domain.ErrTokenInvalid, Field: "token", Reason: "is not valid"}
}

// notLocked matches accounts that no lock is in force on.
func notLocked(now time.Time) *sql.Predicate {
	return sql.Or(sql.IsNull(user.FieldLockedUntil), sql.LTE(user.FieldLockedUntil, now))
}

// timeArg writes a time as an argument where PostgreSQL could not tell its type from the context.
func (s *Store) timeArg(b *sql.Builder, t time.Time) {
	b.Arg(t)
	if !s.onSQLite() {
		b.WriteString("::timestamptz")
	}
}
