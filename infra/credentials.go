package infra

import (
	"context"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// RecordFailure implements [domain.CredentialStore].
func (r *repository) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	const op = "record failed sign-in"
	policy, err := policy.Resolve()
	if err != nil {
		return nil, wrap(op, err)
	}
	now := r.present()
	until := domain.StoredTime(now.Add(policy.Duration))
	updated, err := r.one(ctx, op, r.texts.failure, policy.Attempts, until, now, id.UUID(), now)
	if err != nil || updated != nil {
		return updated, err
	}
	return nil, r.refusal(ctx, op, id, nil)
}

// RecordSuccess implements [domain.CredentialStore].
func (r *repository) RecordSuccess(ctx context.Context, id domain.ID, checked, better domain.PasswordHash) (*domain.User, error) {
	const op = "record sign-in"
	if checked.IsZero() { // an empty hash never verifies, even if none is stored
		return nil, r.refusal(ctx, op, id, &checked)
	}
	now := r.present()
	next := checked
	if !better.IsZero() {
		next = better
	}
	updated, err := r.one(ctx, op, r.texts.success, now, next.Stored(), now, id.UUID(), checked.Stored(), now)
	if err != nil || updated != nil {
		return updated, err
	}
	return nil, r.refusal(ctx, op, id, &checked)
}

// refusal tells why a statement of RecordFailure or RecordSuccess matched no row. checked is nil in the former.
func (r *repository) refusal(ctx context.Context, op string, id domain.ID, checked *domain.PasswordHash) error {
	u, err := r.FindByID(ctx, id)
	switch {
	case err != nil:
		return wrap(op, err)
	case checked != nil && (checked.IsZero() || u.State().PasswordHash != *checked):
		return wrap(op, hashChanged())
	case u.IsLocked(r.present()):
		return wrap(op, &domain.Error{Kind: domain.ErrLocked, Reason: "too many failed sign-ins", Until: u.LockedUntil()})
	case checked != nil && !u.IsActive():
		return wrap(op, inactive())
	}
	return wrap(op, conflict()) // the condition cleared concurrently; the caller may retry
}

func hashChanged() error {
	return &domain.Error{Kind: domain.ErrConflict, Field: user.FieldHashedPassword, Reason: "was changed meanwhile"}
}

func inactive() error {
	return &domain.Error{Kind: domain.ErrInactive, Reason: "the account is deactivated"}
}

// SetPassword implements [domain.CredentialStore].
func (r *repository) SetPassword(
	ctx context.Context, id domain.ID, checked, hash domain.PasswordHash, keep domain.SessionID,
) (*domain.User, error) {
	const op = "set password"
	if hash.IsZero() {
		return nil, wrap(op, required(user.FieldHashedPassword))
	}
	now := r.present()
	query, checking := r.texts.setPassword, r.texts.changePassword
	args := []any{hash.Stored()}
	if !keep.IsZero() {
		query, checking = r.texts.setKeeping, r.texts.changeKeeping
		args = append(args, domain.EntryTime(now), keep.String())
	}
	args = append(args, now, id.UUID())
	if !checked.IsZero() {
		query, args = checking, append(args, checked.Stored())
	}
	updated, err := r.one(ctx, op, query, args...)
	if err != nil || updated != nil {
		return updated, err
	}
	if _, err := r.FindByID(ctx, id); err != nil {
		return nil, wrap(op, err)
	}
	return nil, wrap(op, hashChanged())
}

// Unlock implements [domain.CredentialStore].
func (r *repository) Unlock(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "unlock user", id, r.texts.unlock, r.present())
}

// IssueReset implements [domain.CredentialStore].
func (r *repository) IssueReset(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	const op = "issue reset token"
	if digest.IsZero() {
		return nil, wrap(op, required(user.FieldResetToken))
	}
	return r.update(ctx, op, id, r.texts.issueReset, digest.Stored(), domain.StoredTime(expiry), r.present())
}

// IssueVerification implements [domain.CredentialStore].
func (r *repository) IssueVerification(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	const op = "issue verification token"
	if digest.IsZero() {
		return nil, wrap(op, required(user.FieldVerificationToken))
	}
	return r.update(ctx, op, id, r.texts.issueVerify, digest.Stored(), domain.StoredTime(expiry), r.present())
}

// ConsumeReset implements [domain.CredentialStore].
func (r *repository) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	const op = "reset password"
	if hash.IsZero() {
		return nil, wrap(op, required(user.FieldHashedPassword))
	}
	return r.consume(ctx, op, r.texts.consumeReset, user.FieldResetToken, digest, hash.Stored())
}

// ConsumeVerification implements [domain.CredentialStore].
func (r *repository) ConsumeVerification(ctx context.Context, digest domain.TokenDigest) (*domain.User, error) {
	return r.consume(ctx, "confirm e-mail", r.texts.confirm, user.FieldVerificationToken, digest)
}

// consume changes the account that has the token in a column, unless it has expired. The statement removes the token: of two
// calls with one token, the second waits for the first and then finds it no more.
func (r *repository) consume(ctx context.Context, op, query, column string, digest domain.TokenDigest, args ...any) (*domain.User, error) {
	if digest.IsZero() {
		return nil, wrap(op, tokenInvalid())
	}
	now := r.present()
	updated, err := r.one(ctx, op, query, append(args, now, digest.Stored(), now)...)
	if err != nil || updated != nil {
		return updated, err
	}
	expired, err := r.exists(ctx, op, r.texts.exists[column], digest.Stored())
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
