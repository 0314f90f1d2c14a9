package infra

import (
	"context"
	"errors"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/entry"
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
	var until any // no lock
	if policy.Attempts != domain.NoLock {
		until = domain.StoredTime(now.Add(policy.Duration))
	}
	updated, err := r.changeOne(ctx, op, signInFailed, r.texts.failure, policy.Attempts, until, now, id.UUID(), now)
	if err != nil || updated != nil {
		return updated, err
	}
	return nil, r.refusal(ctx, op, id, nil)
}

// RecordSuccess implements [domain.CredentialStore].
func (r *repository) RecordSuccess(ctx context.Context, id domain.ID, checked, better domain.PasswordHash) (time.Time, error) {
	const op = "record sign-in"
	if !checked.HasPassword() { // nothing verifies against it, even if it is what is stored
		return time.Time{}, r.refusal(ctx, op, id, &checked)
	}
	now := r.present()
	next := checked
	if !better.IsZero() {
		next = better
	}
	n, err := r.changeRow(ctx, op, signedIn, id, r.texts.success, now, next.Stored(), now, id.UUID(), checked.Stored(), now)
	if err == nil && n == 0 {
		err = r.refusal(ctx, op, id, &checked)
	}
	if err != nil {
		return time.Time{}, err
	}
	return now, nil
}

// refusal tells why a statement of RecordFailure or RecordSuccess matched no row. checked is nil in the former.
func (r *repository) refusal(ctx context.Context, op string, id domain.ID, checked *domain.PasswordHash) error {
	u, err := r.findByID(ctx, id)
	switch {
	case err != nil:
		return wrap(op, err)
	case checked != nil && (!checked.HasPassword() || u.State().PasswordHash != *checked):
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
	if err := checkHash(hash); err != nil {
		return nil, wrap(op, err)
	}
	return r.setPassword(ctx, op, id, checked, hash, keep)
}

// checkHash refuses what is no hash: an absent one, and NoPassword, for which RemovePassword has rules of its own.
func checkHash(hash domain.PasswordHash) error {
	switch {
	case hash.IsZero():
		return required(user.FieldHashedPassword)
	case !hash.HasPassword():
		return invalid(user.FieldHashedPassword, "is no password; remove it instead")
	}
	return nil
}

func (r *repository) setPassword(
	ctx context.Context, op string, id domain.ID, checked, hash domain.PasswordHash, keep domain.SessionID,
) (*domain.User, error) {
	now := r.present()
	query, checking := r.texts.setPassword, r.texts.changePassword
	args := []any{hash.Stored()}
	if !keep.IsZero() {
		query, checking = r.texts.setKeeping, r.texts.changeKeeping
		args = append(args, entry.Time(now), keep.String())
	}
	args = append(args, now, id.UUID())
	if !checked.IsZero() {
		query, args = checking, append(args, checked.Stored())
	}
	updated, err := r.changeOne(ctx, op, passwordChanged, query, args...)
	if err != nil || updated != nil {
		return updated, err
	}
	if _, err := r.findByID(ctx, id); err != nil {
		return nil, wrap(op, err)
	}
	return nil, wrap(op, hashChanged())
}

// Unlock implements [domain.CredentialStore].
func (r *repository) Unlock(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "unlock user", unlockedNow, id, r.texts.unlock, r.present())
}

// LockUntil implements [domain.CredentialStore].
func (r *repository) LockUntil(ctx context.Context, id domain.ID, until time.Time) (*domain.User, error) {
	const op = "lock user"
	until = domain.StoredTime(until)
	if until.IsZero() {
		return nil, wrap(op, required(user.FieldLockedUntil))
	}
	what := lockSet
	if !until.After(r.present()) { // which ends a lock, if there is one
		what = lockMoved
	}
	return r.update(ctx, op, what, id, r.texts.lockUntil, until, r.present(), until)
}

// IssueReset implements [domain.CredentialStore].
func (r *repository) IssueReset(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	const op = "issue reset token"
	if digest.IsZero() {
		return nil, wrap(op, required(user.FieldResetToken))
	}
	return r.issue(ctx, op, nil, id, r.texts.issueReset, digest.Stored(), domain.StoredTime(expiry), r.present())
}

// IssueVerification implements [domain.CredentialStore].
func (r *repository) IssueVerification(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	const op = "issue verification token"
	if digest.IsZero() {
		return nil, wrap(op, required(user.FieldVerificationToken))
	}
	return r.issue(ctx, op, nil, id, r.texts.issueVerify, digest.Stored(), domain.StoredTime(expiry), r.present())
}

// IssuePhoneCode implements [domain.PhoneStore].
func (r *repository) IssuePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	const op = "issue telephone code"
	if digest.IsZero() {
		return nil, wrap(op, required(user.FieldPhoneCode))
	}
	return r.issue(ctx, op, nil, id, r.texts.issueCode, digest.Stored(), domain.StoredTime(expiry), r.present())
}

// ConsumePhoneCode implements [domain.PhoneStore].
func (r *repository) ConsumePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest) (domain.PhoneConfirmation, error) {
	const op = "confirm telephone number"
	stored, now := digest.Stored(), r.present()
	u, err := r.one(ctx, op, r.texts.consumeCode, stored, now, stored, stored, now, id.UUID(), now)
	switch {
	case err != nil:
		return domain.PhoneConfirmation{}, err
	case u != nil && u.State().PhoneCodeExpiry.IsZero():
		return domain.PhoneConfirmation{User: u, Phone: u.Phone()}, nil
	case u != nil:
		return domain.PhoneConfirmation{}, wrap(op, codeInvalid("is not valid"))
	}
	if u, err = r.find(ctx, op, user.FieldID, id.UUID()); err != nil {
		return domain.PhoneConfirmation{}, err
	}
	switch state := u.State(); {
	case !u.IsActive():
		err = inactive()
	case state.PhoneCode.IsZero():
		err = codeInvalid("is not valid")
	case state.PhoneCodeExpiry.IsZero() && state.PhoneCode == digest:
		if err := r.awaitStandby(ctx, op); err != nil {
			return domain.PhoneConfirmation{}, err
		}
		return domain.PhoneConfirmation{User: u, Phone: u.Phone(), Already: true}, nil
	case state.PhoneCodeExpiry.IsZero():
		err = codeInvalid("is not valid")
	case !state.PhoneCodeExpiry.After(now):
		err = &domain.Error{Kind: domain.ErrTokenExpired, Field: "code", Reason: "has expired"}
	default:
		err = codeInvalid("was tried too often; another one is needed")
	}
	return domain.PhoneConfirmation{}, wrap(op, err)
}

// CancelPhoneCode implements [domain.PhoneStore].
func (r *repository) CancelPhoneCode(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "cancel telephone code", nil, id, r.texts.cancelCode, r.present())
}

func codeInvalid(reason string) error {
	return &domain.Error{Kind: domain.ErrTokenInvalid, Field: "code", Reason: reason}
}

// issue runs a statement that stores a one-time token of an active account.
func (r *repository) issue(ctx context.Context, op string, what *change, id domain.ID, query string, args ...any) (*domain.User, error) {
	updated, err := r.changeOne(ctx, op, what, query, append(args, id.UUID())...)
	if err != nil || updated != nil {
		return updated, err
	}
	u, err := r.find(ctx, op, user.FieldID, id.UUID())
	switch {
	case err != nil:
		return nil, err
	case !u.IsActive():
		return nil, wrap(op, inactive())
	case query == r.texts.issueCode && u.Phone().IsZero():
		return nil, wrap(op, required(user.FieldPhone))
	}
	return nil, wrap(op, conflict()) // the condition cleared concurrently; the caller may retry
}

// CancelReset implements [domain.CredentialStore].
func (r *repository) CancelReset(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "cancel reset", nil, id, r.texts.cancelReset, r.present())
}

// CancelVerification implements [domain.CredentialStore].
func (r *repository) CancelVerification(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "cancel verification", nil, id, r.texts.cancelVerify, r.present())
}

// RequestEmail implements [domain.CredentialStore].
func (r *repository) RequestEmail(
	ctx context.Context, id domain.ID, email domain.Email, digest domain.TokenDigest, expiry time.Time,
) (*domain.User, error) {
	const op = "request e-mail"
	switch {
	case email.IsZero():
		return nil, wrap(op, required(user.FieldPendingEmail))
	case digest.IsZero():
		return nil, wrap(op, required(user.FieldVerificationToken))
	}
	e := email.String()
	updated, err := r.issue(ctx, op, emailRequested, id, r.texts.requestEmail, e, digest.Stored(), domain.StoredTime(expiry), e, r.present(), e, e)
	if !errors.Is(err, domain.ErrConflict) || isOfHook(err) {
		return updated, err
	}
	switch holder, findErr := r.find(ctx, op, user.FieldEmail, e); {
	case errors.Is(findErr, domain.ErrNotFound):
		return nil, err
	case findErr != nil:
		return nil, findErr
	case holder.ID() == id:
		return nil, wrap(op, invalid(user.FieldPendingEmail, "is the account's address already"))
	}
	return nil, wrap(op, collision("users.email"))
}

// CancelEmail implements [domain.CredentialStore].
func (r *repository) CancelEmail(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "cancel e-mail", nil, id, r.texts.cancelEmail, r.present())
}

// ConsumeReset implements [domain.CredentialStore].
func (r *repository) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	const op = "reset password"
	if err := checkHash(hash); err != nil {
		return nil, wrap(op, err)
	}
	updated, held, err := r.consume(ctx, op, passwordReset, r.texts.consumeReset, user.FieldResetToken, digest, hash.Stored())
	if held != nil {
		return nil, wrap(op, tokenExpired())
	}
	return updated, err
}

// ConsumeVerification implements [domain.CredentialStore].
func (r *repository) ConsumeVerification(ctx context.Context, digest domain.TokenDigest) (domain.Confirmation, error) {
	const op = "confirm e-mail"
	updated, held, err := r.consume(ctx, op, confirmed, r.texts.confirm, user.FieldVerificationToken, digest)
	switch {
	case err != nil:
		return domain.Confirmation{}, err
	case held == nil:
		return domain.Confirmation{User: updated, Email: updated.Email()}, nil
	case held.State().VerificationTokenExpiry.IsZero():
		return domain.Confirmation{User: held, Email: held.Email(), Already: true}, nil
	}
	return domain.Confirmation{}, wrap(op, tokenExpired())
}

// consume changes the account that has the token in a column, unless it has expired or was used: of two calls with one token, the
// second waits for the first and then finds that. held is the account of such a token.
func (r *repository) consume(
	ctx context.Context, op string, what *change, query, column string, digest domain.TokenDigest, args ...any,
) (updated, held *domain.User, err error) {
	if digest.IsZero() {
		return nil, nil, wrap(op, tokenInvalid())
	}
	now := r.present()
	updated, err = r.changeOne(ctx, op, what, query, append(args, now, digest.Stored(), now)...)
	if err != nil || updated != nil {
		return updated, nil, err
	}
	held, err = r.findLasting(ctx, op, column, digest.Stored())
	if errors.Is(err, domain.ErrNotFound) {
		err = wrap(op, tokenInvalid())
	}
	return nil, held, err
}

func tokenExpired() error {
	return &domain.Error{Kind: domain.ErrTokenExpired, Field: "token", Reason: "has expired"}
}

func tokenInvalid() error {
	return &domain.Error{Kind: domain.ErrTokenInvalid, Field: "token", Reason: "is not valid"}
}
