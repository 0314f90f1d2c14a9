package domain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// Authenticator has the rules of signing in, of passwords, resets and confirmations. The store makes its decisions atomic. It is safe for concurrent
// use; a program needs one.
//
// It has no rate limit: an application on the internet limits requests by address and by account before it calls, see docs/application.md.
//
// Besides the errors named at each method, every method returns those of the repository, and the error of ctx when it has ended, also while waiting
// to hash. No error contains a password, a token or a hash. Do not call it inside a transaction: hashing takes tens of milliseconds, for which the
// transaction would hold its locks.
type Authenticator struct {
	repository AuthenticatorStore
	hasher     PasswordHasher
	policy     AuthenticationPolicy

	// decoy holds the dummy hash that equalises timing. It is initialised lazily and once, by the channel's capacity of one;
	// waiting for that honours the context.
	decoy chan PasswordHash

	recording atomic.Int64 // how long the repository last took to store the outcome of a sign-in, in nanoseconds
}

// AuthenticatorStore is the part of a [Repository] that an [Authenticator] calls. Its methods have their comments there.
type AuthenticatorStore interface {
	Now() time.Time

	FindByID(ctx context.Context, id ID) (*User, error)
	FindByEmail(ctx context.Context, email Email) (*User, error)
	FindByUsername(ctx context.Context, username Username) (*User, error)
	FindByPhone(ctx context.Context, phone Phone) (*User, error)

	RecordFailure(ctx context.Context, id ID, policy LockPolicy) (*User, error)
	RecordSuccess(ctx context.Context, id ID, checked, better PasswordHash) (time.Time, error)
	SetPassword(ctx context.Context, id ID, checked, hash PasswordHash, keep SessionID) (*User, error)

	IssueReset(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)
	ConsumeReset(ctx context.Context, digest TokenDigest, hash PasswordHash) (*User, error)
	IssueVerification(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)
	RequestEmail(ctx context.Context, id ID, email Email, digest TokenDigest, expiry time.Time) (*User, error)
	ConsumeVerification(ctx context.Context, digest TokenDigest) (Confirmation, error)
	IssuePhoneCode(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)
	ConsumePhoneCode(ctx context.Context, id ID, digest TokenDigest) (PhoneConfirmation, error)

	IssueToken(ctx context.Context, id ID, policy SessionPolicy) (Grant, error)
	RotateToken(ctx context.Context, token RefreshToken, policy SessionPolicy) (Grant, error)
}

// NewAuthenticator returns an authenticator on the accounts of repository, or [ErrInvalid] on the field "repository" or "hasher"
// if that is nil, or on the field of the policy that is out of bounds.
func NewAuthenticator(repository AuthenticatorStore, hasher PasswordHasher, policy AuthenticationPolicy) (*Authenticator, error) {
	switch {
	case repository == nil:
		return nil, invalid("repository", "is required")
	case hasher == nil:
		return nil, invalid("hasher", "is required")
	}
	policy, err := policy.resolve()
	if err != nil {
		return nil, err
	}
	a := &Authenticator{repository: repository, hasher: hasher, policy: policy, decoy: make(chan PasswordHash, 1)}
	a.decoy <- PasswordHash{}
	return a, nil
}

// Authenticate signs in: it returns the account with that identifier, which is an e-mail address, a username or a telephone number in international
// form, if that is its password. In one statement it has then set last_login, cleared the counter of failures and, where the stored hash was weaker
// than the policy, replaced it. It returns
//
//   - [ErrBadCredentials] when there is no such account or the password is wrong, also for the guess that locks the account;
//   - [ErrLocked], with the lock's end in [Error], while a lock is in force. The password is then not checked and the guess not counted, and of
//     concurrent guesses none succeeds once the lock is set;
//   - [ErrInactive] when the password is right but the account is deactivated. It is not counted;
//   - [ErrConflict] when the password keeps changing during the call.
//
// An unknown or impossible identifier takes as long as a wrong password: the same hash is computed, followed by a pause of as long as the repository
// last took to store the outcome of a sign-in, if it has stored any yet. So does an account without a password, or with a hash that cannot be verified,
// and the guess is counted as a wrong one. So does an account with a cheaper hash than the policy's, since the hasher spends the rest; for a costlier
// hash see RefusalTime in [AuthenticationPolicy].
func (a *Authenticator) Authenticate(ctx context.Context, identifier, password string) (*User, error) {
	return observed(ctx, a, "authenticate", func(ctx context.Context) (*User, error) {
		return a.prove(ctx, password, func() (*User, error) { return a.find(ctx, identifier) })
	})
}

// ChangePassword sets another password for a user who knows the current one. All sessions end but keep, the one that asks; the zero SessionID keeps
// none. Pending reset and verification tokens are dropped. It returns [ErrNotFound]; [ErrInvalid] on the field "password" when the policy refuses next,
// without checking current; and the errors of [Authenticator.Authenticate], because checking the current password is a sign-in: guesses are counted,
// and last_login is set. [ErrConflict] also means that the password was changed concurrently.
func (a *Authenticator) ChangePassword(ctx context.Context, id ID, current, next string, keep SessionID) (*User, error) {
	return observed(ctx, a, "change password", func(ctx context.Context) (*User, error) {
		user, err := a.prove(ctx, current, func() (*User, error) {
			user, err := a.repository.FindByID(ctx, id)
			if err != nil {
				return nil, err
			}
			return user, a.checkPassword(user, next)
		})
		if err != nil {
			return nil, err
		}
		hash, err := a.hash(ctx, next)
		if err != nil {
			return nil, err
		}
		return a.repository.SetPassword(ctx, id, user.state.PasswordHash, hash, keep)
	})
}

// SetPassword sets another password without asking for the current one, as an administrator does. All sessions end, the
// lock too, and pending reset and verification tokens are dropped. It returns [ErrNotFound], or [ErrInvalid] on the field
// "password".
func (a *Authenticator) SetPassword(ctx context.Context, id ID, password string) (*User, error) {
	return observed(ctx, a, "set password", func(ctx context.Context) (*User, error) {
		user, err := a.repository.FindByID(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := a.checkPassword(user, password); err != nil {
			return nil, err
		}
		hash, err := a.hash(ctx, password)
		if err != nil {
			return nil, err
		}
		return a.repository.SetPassword(ctx, id, PasswordHash{}, hash, SessionID{})
	})
}

// AddPassword sets a password for an account that has none (see [NoPassword]). All sessions end but keep, the one that asks. It returns [ErrNotFound],
// [ErrInvalid] on the field "password", or [ErrConflict] if there is one already: of concurrent calls one succeeds.
func (a *Authenticator) AddPassword(ctx context.Context, id ID, password string, keep SessionID) (*User, error) {
	return observed(ctx, a, "add password", func(ctx context.Context) (*User, error) {
		user, err := a.repository.FindByID(ctx, id)
		if err != nil {
			return nil, err
		}
		if user.HasPassword() {
			return nil, &Error{Kind: ErrConflict, Field: "hashed_password", Reason: "the account has a password already"}
		}
		if err := a.checkPassword(user, password); err != nil {
			return nil, err
		}
		hash, err := a.hash(ctx, password)
		if err != nil {
			return nil, err
		}
		return a.repository.SetPassword(ctx, id, NoPassword(), hash, keep)
	})
}

// HashPassword checks a password by the policy and returns its hash, for a [Registration]. Own are the account's address and username, which the
// password must not be; see [PasswordPolicy.Check]. It returns [ErrInvalid] on the field "password".
func (a *Authenticator) HashPassword(ctx context.Context, password string, own ...string) (PasswordHash, error) {
	return observed(ctx, a, "hash new password", func(ctx context.Context) (PasswordHash, error) {
		if err := a.policy.Password.Check(password, own...); err != nil {
			return PasswordHash{}, err
		}
		return a.hash(ctx, password)
	})
}

// IssuedToken is a one-time token with the address that it belongs to, as the statement that stored its digest returned it. Send it there and nowhere
// else: an address that the caller has read before may be outdated.
type IssuedToken struct {
	Token     OneTimeToken
	Email     Email
	ExpiresAt time.Time
}

// IssueReset returns a token with which the account's password can be reset once. It replaces an earlier one. A ttl of 0
// means the policy's; it returns [ErrInvalid] on the field "ttl" when it is negative or longer than 7 days, [ErrNotFound] or
// [ErrInactive].
func (a *Authenticator) IssueReset(ctx context.Context, id ID, ttl time.Duration) (IssuedToken, error) {
	return observed(ctx, a, "issue reset", func(ctx context.Context) (IssuedToken, error) {
		return a.issue(cmp.Or(ttl, a.policy.ResetTTL), func(digest TokenDigest, expiry time.Time) (Email, error) {
			user, err := a.repository.IssueReset(ctx, id, digest, expiry)
			if err != nil {
				return Email{}, err
			}
			return user.Email(), nil
		})
	})
}

// Reset sets another password for the holder of a reset token. The token is consumed, all sessions and the lock end, so that guessing cannot lock an
// owner out, and the address that the token was sent to is marked as verified; the account does not become active. It returns [ErrInvalid] on the
// field "password", and then the token stays valid; or [ErrTokenInvalid] or [ErrTokenExpired]. Of concurrent calls with one token one succeeds.
//
// The account is not known before the token is consumed, so a password that equals its own name is not refused.
func (a *Authenticator) Reset(ctx context.Context, token OneTimeToken, password string) (*User, error) {
	return observed(ctx, a, "reset password", func(ctx context.Context) (*User, error) {
		if token.IsZero() {
			return nil, tokenInvalid()
		}
		hash, err := a.HashPassword(ctx, password)
		if err != nil {
			return nil, err
		}
		return a.repository.ConsumeReset(ctx, token.Digest(), hash)
	})
}

// IssueVerification returns a token that confirms an address once: the pending one or, where there is none, the present one. It replaces an earlier
// token, and becomes invalid when either address changes. A ttl of 0 means the policy's; it returns
// [ErrInvalid] on the field "ttl" when it is negative or longer than 7 days, [ErrNotFound] or [ErrInactive].
func (a *Authenticator) IssueVerification(ctx context.Context, id ID, ttl time.Duration) (IssuedToken, error) {
	return observed(ctx, a, "issue verification", func(ctx context.Context) (IssuedToken, error) {
		return a.issue(cmp.Or(ttl, a.policy.VerificationTTL), func(digest TokenDigest, expiry time.Time) (Email, error) {
			return verifiable(a.repository.IssueVerification(ctx, id, digest, expiry))
		})
	})
}

// RequestEmail makes another address pending and returns the token that confirms it, as IssueVerification does. The present address
// stays in force until then. It also returns [ErrTaken] if another account has the address, and [ErrInvalid] on the field
// "pending_email" if it is absent or this account's present one.
func (a *Authenticator) RequestEmail(ctx context.Context, id ID, email Email, ttl time.Duration) (IssuedToken, error) {
	return observed(ctx, a, "request e-mail", func(ctx context.Context) (IssuedToken, error) {
		return a.issue(cmp.Or(ttl, a.policy.VerificationTTL), func(digest TokenDigest, expiry time.Time) (Email, error) {
			return verifiable(a.repository.RequestEmail(ctx, id, email, digest, expiry))
		})
	})
}

// verifiable returns the address that a verification token of the account belongs to.
func verifiable(user *User, err error) (Email, error) {
	if err != nil {
		return Email{}, err
	}
	return cmp.Or(user.PendingEmail(), user.Email()), nil
}

// ConfirmEmail marks the address that a verification token was sent to as verified; a pending address replaces the present one. It is idempotent: the
// first call consumes the token, and further calls with it return Already. It returns [ErrTokenInvalid] or [ErrTokenExpired], or [ErrTaken] if another
// account has taken the address.
func (a *Authenticator) ConfirmEmail(ctx context.Context, token OneTimeToken) (Confirmation, error) {
	return observed(ctx, a, "confirm e-mail", func(ctx context.Context) (Confirmation, error) {
		if token.IsZero() {
			return Confirmation{}, tokenInvalid()
		}
		return a.repository.ConsumeVerification(ctx, token.Digest())
	})
}

// IssuedPhoneCode is a code with the telephone number that it belongs to, as the statement that stored its digest returned it. Send it there and
// nowhere else: a number that the caller has read before may be outdated.
type IssuedPhoneCode struct {
	Code      PhoneCode
	Phone     Phone
	ExpiresAt time.Time
}

// IssuePhoneCode returns a code that confirms the account's telephone number once. It replaces an earlier code, and becomes invalid when the number
// changes. A ttl of 0 means the policy's; it returns [ErrInvalid] on the field "ttl" when it is negative or longer than 10
// minutes, or on the field "phone" when the account has no number; [ErrNotFound] or [ErrInactive].
//
// Each code allows a few guesses, so the caller limits how many are issued to an account, and to a number, in an hour and a day. Text messages cost
// money, and fraudsters request them for premium-rate numbers.
func (a *Authenticator) IssuePhoneCode(ctx context.Context, id ID, ttl time.Duration) (IssuedPhoneCode, error) {
	return observed(ctx, a, "issue telephone code", func(ctx context.Context) (IssuedPhoneCode, error) {
		ttl = cmp.Or(ttl, a.policy.PhoneCodeTTL)
		if err := checkPhoneCodeTTL("ttl", ttl); err != nil {
			return IssuedPhoneCode{}, err
		}
		code, expiry := NewPhoneCode(), StoredTime(a.repository.Now().Add(ttl))
		user, err := a.repository.IssuePhoneCode(ctx, id, code.Digest(id), expiry)
		if err != nil {
			return IssuedPhoneCode{}, err
		}
		return IssuedPhoneCode{Code: code, Phone: user.Phone(), ExpiresAt: expiry}, nil
	})
}

// ConfirmPhone marks the number that the code was sent to as confirmed. It is for the signed-in owner of the account, whose ID it takes, since a code is
// short. It is idempotent: the first call consumes the code, and further calls with it return Already. It returns [ErrNotFound],
// [ErrInactive], [ErrTokenExpired], or [ErrTokenInvalid] on the field "code", also after [MaxPhoneCodeAttempts].
func (a *Authenticator) ConfirmPhone(ctx context.Context, id ID, code PhoneCode) (PhoneConfirmation, error) {
	return observed(ctx, a, "confirm telephone number", func(ctx context.Context) (PhoneConfirmation, error) {
		if code.IsZero() {
			return PhoneConfirmation{}, codeInvalid()
		}
		return a.repository.ConsumePhoneCode(ctx, id, code.Digest(id))
	})
}

// StartSession begins a session of an account, by the policy's Session, and returns its first refresh token. The caller has checked what lets the
// client in. Label is what the owner shall see in a list of devices, such as "Firefox on Linux"; "" for none. It returns the errors of
// [SessionStore.IssueToken], [ErrInvalid] on the field "label" among them.
func (a *Authenticator) StartSession(ctx context.Context, id ID, label string) (Grant, error) {
	return observed(ctx, a, "start session", func(ctx context.Context) (Grant, error) {
		policy := a.policy.Session
		policy.Label = label
		return a.repository.IssueToken(ctx, id, policy)
	})
}

// RefreshSession exchanges a refresh token for the live one of its session, by the policy's Session. It returns the errors of
// [SessionStore.RotateToken].
func (a *Authenticator) RefreshSession(ctx context.Context, token RefreshToken) (Grant, error) {
	return observed(ctx, a, "refresh session", func(ctx context.Context) (Grant, error) {
		return a.repository.RotateToken(ctx, token, a.policy.Session)
	})
}

// observed reports a call to the observers.
func observed[T any](ctx context.Context, a *Authenticator, operation string, call func(context.Context) (T, error)) (result T, err error) {
	err = Observe(ctx, a.policy.Observers, operation, func(ctx context.Context) (Observation, error) {
		result, err = call(ReadCurrent(ctx))
		return Observation{}, err
	})
	return result, err
}

// find returns ErrBadCredentials for an identifier that no account has.
func (a *Authenticator) find(ctx context.Context, identifier string) (*User, error) {
	user, err := a.findByIdentifier(ctx, identifier)
	if errors.Is(err, ErrNotFound) {
		return nil, badCredentials()
	}
	return user, err
}

func (a *Authenticator) findByIdentifier(ctx context.Context, identifier string) (*User, error) {
	if strings.Contains(identifier, "@") {
		email, err := ParseEmail(identifier)
		if err != nil {
			return nil, ErrNotFound
		}
		return a.repository.FindByEmail(ctx, email)
	}
	if strings.HasPrefix(strings.TrimSpace(identifier), "+") {
		if phone, err := ParsePhone(identifier); err == nil { // no username has this form
			return a.repository.FindByPhone(ctx, phone)
		}
	}
	username, err := LookupUsername(identifier)
	if err != nil {
		return nil, ErrNotFound
	}
	return a.repository.FindByUsername(ctx, username)
}

// maxProofs is how often a sign-in is retried because the stored hash was replaced while it was checked, as it is when
// several sign-ins at once find it stale.
const maxProofs = 3

// prove returns the account that find returns, having recorded a successful sign-in, if password is its password.
func (a *Authenticator) prove(ctx context.Context, password string, find func() (*User, error)) (*User, error) {
	// The decoy is computed whether or not it is needed, so that the time of the first sign-in reveals nothing either.
	decoy, err := a.decoyHash(ctx)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	var user *User
	for range maxProofs {
		user, err = a.proveOnce(ctx, password, decoy, find)
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if missing := a.policy.RefusalTime - time.Since(begin); missing > 0 && errors.Is(err, ErrBadCredentials) {
		err = pause(ctx, missing, err)
	}
	return user, err
}

// pause returns refusal after the given time, or the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration, refusal error) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return refusal
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Authenticator) proveOnce(ctx context.Context, password string, decoy PasswordHash, find func() (*User, error)) (*User, error) {
	user, err := find()
	switch {
	case errors.Is(err, ErrBadCredentials):
		return nil, a.refuseUnknown(ctx, password, decoy, err)
	case err != nil:
		return nil, err
	case user.IsLocked(a.repository.Now()):
		return nil, &Error{Kind: ErrLocked, Reason: "too many failed sign-ins", Until: user.LockedUntil()}
	}

	id, checked := user.ID(), user.state.PasswordHash
	verification, err := a.verify(ctx, checked, decoy, password)
	if err != nil {
		return nil, err
	}
	if !verification.Match {
		err := a.record(func() error {
			_, err := a.repository.RecordFailure(ctx, id, a.policy.Lock)
			return err
		})
		if err == nil || errors.Is(err, ErrNotFound) {
			err = badCredentials()
		}
		return nil, err
	}

	var better PasswordHash
	if verification.Stale {
		if better, err = a.hash(ctx, password); err != nil {
			return nil, err
		}
	}
	var at time.Time
	err = a.record(func() (err error) {
		at, err = a.repository.RecordSuccess(ctx, id, checked, better)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, badCredentials()
	case err != nil:
		return nil, err
	}
	user.signedIn(at, better)
	return user, nil
}

// record calls the repository and remembers how long it took to store the outcome of a sign-in.
func (a *Authenticator) record(store func() error) error {
	begin := time.Now()
	err := store()
	if err == nil {
		a.recording.Store(int64(min(time.Since(begin), maxPause)))
	}
	return err
}

// maxPause limits the effect of one slow commit on the refusals after it.
const maxPause = 100 * time.Millisecond

// refuseUnknown returns the refusal after as much time as a wrong password takes: that of the hash, and that of storing the failure.
func (a *Authenticator) refuseUnknown(ctx context.Context, password string, decoy PasswordHash, refusal error) error {
	if _, err := a.verify(ctx, PasswordHash{}, decoy, password); err != nil {
		return err
	}
	return pause(ctx, time.Duration(a.recording.Load()), refusal)
}

// verify checks password against the stored hash or, where that cannot be verified, against the decoy, which never matches. A password that the decoy
// cannot be checked against either, such as one that is too long, is a wrong one for every account.
func (a *Authenticator) verify(ctx context.Context, stored, decoy PasswordHash, password string) (Verification, error) {
	verification, err := a.hasher.Verify(ctx, stored, password)
	if errors.Is(err, ErrInvalid) {
		verification = Verification{}
		if _, err = a.hasher.Verify(ctx, decoy, password); errors.Is(err, ErrInvalid) {
			err = nil
		}
	}
	if err != nil {
		return Verification{}, fmt.Errorf("verify password: %w", err)
	}
	return verification, nil
}

// decoyHash returns the hash of a random password by the current policy.
func (a *Authenticator) decoyHash(ctx context.Context) (PasswordHash, error) {
	select {
	case decoy := <-a.decoy:
		defer func() { a.decoy <- decoy }()
		var err error
		if decoy.IsZero() {
			decoy, err = a.hash(ctx, NewOneTimeToken().Reveal())
		}
		return decoy, err
	case <-ctx.Done():
		return PasswordHash{}, ctx.Err()
	}
}

func (a *Authenticator) hash(ctx context.Context, password string) (PasswordHash, error) {
	hash, err := a.hasher.Hash(ctx, password)
	if err != nil {
		return PasswordHash{}, fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

func (a *Authenticator) checkPassword(user *User, password string) error {
	return a.policy.Password.Check(password, user.Email().String(), user.Username().String())
}

func (a *Authenticator) issue(ttl time.Duration, store func(TokenDigest, time.Time) (Email, error)) (IssuedToken, error) {
	if err := checkTTL("ttl", ttl); err != nil {
		return IssuedToken{}, err
	}
	token, expiry := NewOneTimeToken(), StoredTime(a.repository.Now().Add(ttl))
	email, err := store(token.Digest(), expiry)
	if err != nil {
		return IssuedToken{}, err
	}
	return IssuedToken{Token: token, Email: email, ExpiresAt: expiry}, nil
}

func badCredentials() error {
	return &Error{Kind: ErrBadCredentials, Reason: "no such account, or a wrong password"}
}
