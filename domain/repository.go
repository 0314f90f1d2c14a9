package domain

import (
	"cmp"
	"context"
	"math"
	"time"
)

// Repository stores accounts. Every method is one atomic step: it happens whole or not at all, also when ctx ends
// meanwhile, and none loses what another one, in this process or elsewhere, stores at the same time. Each change sets
// updated_at. A method that finds nothing to change writes nothing, and returns the account as it is.
//
// The version guards what people edit: a change of e-mail address, username, names, telephone number, one of the two flags or the
// password raises it by one. What the machine keeps books of, which is sign-ins, failures, locks, one-time tokens, sessions and the
// form in which an unchanged password is hashed, does not. So what a form or an HTTP ETag was made from stays good until somebody edits.
//
// Implementations are safe for concurrent use and pass the contract suite in domain/domaintest. Besides the errors named
// at each method, every method returns [ErrUnavailable] when the database cannot be reached or written, and the error of ctx
// when it has ended. Arguments are judged before the account is looked for. A token or a lock whose time is the present
// has expired. Users that methods return belong to the caller.
type Repository interface {
	UserReader
	UserWriter
	CredentialStore
	PhoneStore
	IdentityStore
	SessionStore
}

// UserReader finds accounts.
type UserReader interface {
	// FindByID, FindByEmail, FindByUsername and FindByPhone return ErrNotFound where there is no such account, and for an absent value.
	// A pending address finds nothing.
	FindByID(ctx context.Context, id ID) (*User, error)
	FindByEmail(ctx context.Context, email Email) (*User, error)
	FindByUsername(ctx context.Context, username Username) (*User, error)
	FindByPhone(ctx context.Context, phone Phone) (*User, error)

	// FindByIDs, FindByEmails and FindByUsernames find many accounts in one round trip: each is at the place of its key, nil where there is no
	// such account, the same account where a key is there twice. They return ErrInvalid on the field "id", "email" or "username" for more than
	// MaxBatch keys. For rows that are not in the form of an account the error holds a [Malformed] each; the other accounts are returned with it.
	FindByIDs(ctx context.Context, ids []ID) ([]*User, error)
	FindByEmails(ctx context.Context, emails []Email) ([]*User, error)
	FindByUsernames(ctx context.Context, usernames []Username) ([]*User, error)

	// ExistsByEmail and ExistsByUsername tell whether the address or name is taken, without loading the account. The answer
	// may be outdated when it arrives; only Create, SetEmail and SetUsername decide.
	ExistsByEmail(ctx context.Context, email Email) (bool, error)
	ExistsByUsername(ctx context.Context, username Username) (bool, error)

	// List returns one page of the accounts that match. It reads by keyset: pages neither repeat nor skip an account that
	// exists throughout, however many others come and go. It returns ErrInvalid on the field "limit", "after", "order" or
	// "search". A row that is not in the form of an account is left out, and reported in Page.Malformed. The users have no password hash, unless it is [NoPassword], and no digests of one-time tokens.
	List(ctx context.Context, query ListQuery) (Page, error)

	// Count returns the number of accounts that match. It visits all of them, in an index where it can.
	Count(ctx context.Context, filter Filter) (int, error)
}

// MaxBatch bounds how many accounts one call takes.
const MaxBatch = 10_000

// UserWriter makes, changes and removes accounts. All methods that take one ID return ErrNotFound where there is no such
// account.
type UserWriter interface {
	// Create stores a new account. It returns ErrInvalid for one without a password hash, as lists have them, or whose
	// address or name the database does not hold to be canonical; ErrTaken with the field "email", "username" or "phone",
	// one of them if several are taken; and ErrConflict if the ID exists.
	Create(ctx context.Context, user *User) error

	// Update reads the account, lets change work on it, and stores the columns that change made different, and what must go with them: what was
	// issued meanwhile for an address or a number that change replaces is dropped, and so are the sessions of an account that it deactivates. If
	// the account was edited meanwhile, which is to say that its version is another one, it starts again, so that change may be called
	// more than once. If change fails, its error is returned and nothing is stored. It returns ErrTaken as Create does, and ErrConflict
	// when the account keeps being edited. With [User.ExpectVersion] in change it stores an edit of a certain version only.
	Update(ctx context.Context, id ID, change func(*User) error) (*User, error)

	// SetEmail does what [User.ChangeEmail] does. It returns ErrTaken, or ErrInvalid for the zero Email.
	SetEmail(ctx context.Context, id ID, email Email) (*User, error)

	// SetUsername sets another name. It returns ErrTaken, or ErrInvalid for the zero Username.
	SetUsername(ctx context.Context, id ID, username Username) (*User, error)

	// SetNames sets the first and the last name; "" removes one.
	SetNames(ctx context.Context, id ID, names Names) (*User, error)

	// SetPhone does what [User.ChangePhone] does. It returns ErrTaken.
	SetPhone(ctx context.Context, id ID, phone Phone) (*User, error)

	// Activate allows the account to sign in.
	Activate(ctx context.Context, id ID) (*User, error)

	// Deactivate does what [User.Deactivate] does.
	Deactivate(ctx context.Context, id ID) (*User, error)

	// ActivateMany and DeactivateMany do for many accounts, in one step, what Activate and Deactivate do for one. They return the IDs of the
	// accounts that this changed, in the order asked, and ErrInvalid on the field "id" for more than MaxBatch IDs. What is no account's ID is
	// passed over.
	ActivateMany(ctx context.Context, ids []ID) ([]ID, error)
	DeactivateMany(ctx context.Context, ids []ID) ([]ID, error)

	// Verify does what [User.Verify] does.
	Verify(ctx context.Context, id ID) (*User, error)

	// RecordSignIn sets last_login to the present, which it returns.
	RecordSignIn(ctx context.Context, id ID) (time.Time, error)

	// Delete removes the account with all that is stored of it. DeleteAt does so if the account is at that version; otherwise it
	// returns ErrConflict on the field "version".
	Delete(ctx context.Context, id ID) error
	DeleteAt(ctx context.Context, id ID, version int64) error

	// Purge deletes the accounts that List would return for the query, in one bounded step. Each is looked at once more when it is deleted: one
	// that by then no longer matches the filter stays. Call it again, behind Purged.Next, until Done. An account to which another table
	// refers stays and is reported. Besides the errors of List it returns ErrInvalid on the field "filter" for one without an age, which is
	// CreatedBefore, SignedInBefore or UnverifiedSince.
	Purge(ctx context.Context, query ListQuery) (Purged, error)
}

// Purged is the outcome of one step of a purge.
type Purged struct {
	IDs        []ID // of the accounts that were deleted, in any order
	Referenced []ID // of those that stay because another table refers to them
	Next       Cursor
	Done       bool // there are no more
}

// CredentialStore does what passwords, locks, resets and changes of address need. The rules of signing in are in
// [Authenticator], which calls it.
type CredentialStore interface {
	// RecordFailure counts a failed sign-in, up to [MaxFailedLoginAttempts], and locks the account when the policy's number of
	// consecutive ones is reached. The first failure after a lock has ended counts as one. While a lock is in force nothing is counted
	// and ErrLocked is returned, with its end. An inactive account's failures count too.
	RecordFailure(ctx context.Context, id ID, policy LockPolicy) (*User, error)

	// RecordSuccess resets the counter, clears the lock, sets last_login and, unless better is absent, stores it in place of
	// the hash that was checked. Nothing of that happens, and the error says why, if by now the account is gone (ErrNotFound),
	// has another hash than the checked one (ErrConflict), is locked (ErrLocked) or inactive (ErrInactive). [NoPassword] was never
	// checked: ErrConflict.
	//
	// It returns the time that it stored, and no account: the caller who checked a hash has read that already, and to read and send it again
	// with every sign-in would take a fifth of the statement's time.
	RecordSuccess(ctx context.Context, id ID, checked, better PasswordHash) (time.Time, error)

	// SetPassword stores another hash, ends all sessions but keep, drops all that is pending, address, tokens and code, and clears
	// counter and lock. The zero SessionID keeps none. Unless checked is absent, it must still be the stored hash:
	// otherwise ErrConflict. With [NoPassword] as checked it thus adds a password once; as hash it is ErrInvalid.
	SetPassword(ctx context.Context, id ID, checked, hash PasswordHash, keep SessionID) (*User, error)

	// Unlock clears the counter and the lock.
	Unlock(ctx context.Context, id ID) (*User, error)

	// LockUntil locks the account until then, as failures do, in place of an earlier lock; the counter stays. It returns ErrInvalid on the
	// field "locked_until" for the zero time. Like every lock it ends when the password is set or reset: for what must last there is
	// Deactivate.
	LockUntil(ctx context.Context, id ID, until time.Time) (*User, error)

	// IssueReset stores the digest of a reset token in place of an earlier one's. The token belongs to the address of the account
	// that is returned, which is read in the same step. It returns ErrInactive.
	IssueReset(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelReset drops the reset token, if there is one.
	CancelReset(ctx context.Context, id ID) (*User, error)

	// ConsumeReset finds the account by the digest of its reset token and does what SetPassword does. The address is verified by it, for
	// the token came there. Of several calls with one token one succeeds. It returns ErrTokenInvalid or ErrTokenExpired, and then
	// changes nothing.
	ConsumeReset(ctx context.Context, digest TokenDigest, hash PasswordHash) (*User, error)

	// RequestEmail does what [User.RequestEmail] does, and stores the digest of a verification token, which belongs to the pending
	// address. It returns ErrTaken if another account has that address by now, which another may also get before it is confirmed;
	// ErrInvalid or ErrInactive.
	RequestEmail(ctx context.Context, id ID, email Email, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelEmail does what [User.CancelEmail] does.
	CancelEmail(ctx context.Context, id ID) (*User, error)

	// IssueVerification stores the digest of a verification token in place of an earlier one's. It belongs to the pending address of
	// the account that is returned, or where there is none to the present one; both are read in the same step. It returns ErrInactive.
	IssueVerification(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// CancelVerification drops the verification token, if there is one. A pending address stays.
	CancelVerification(ctx context.Context, id ID) (*User, error)

	// ConsumeVerification finds the account by the digest of its verification token. A pending address becomes the present one, and
	// the reset token is dropped, which was sent to the old one; the present address is verified. Of several calls with one token one does this;
	// the others, until another token is issued or this one is dropped, get the same account, with Already set, and change nothing. It
	// returns ErrTokenInvalid or ErrTokenExpired, or ErrTaken on the field "email" if another account has got the address
	// meanwhile, and then changes nothing.
	ConsumeVerification(ctx context.Context, digest TokenDigest) (Confirmation, error)
}

// PhoneStore confirms telephone numbers by a short code, which the owner of the number types.
type PhoneStore interface {
	// IssuePhoneCode stores the digest of a code in place of an earlier one's. The code belongs to the number of the account that is returned,
	// which is read in the same step. It returns ErrNotFound, ErrInactive, or ErrInvalid on the field "phone" if the account has no number.
	IssuePhoneCode(ctx context.Context, id ID, digest TokenDigest, expiry time.Time) (*User, error)

	// ConsumePhoneCode confirms the number if that is the digest of the account's code. Every call counts, also of many at once, until the code
	// was used: after [MaxPhoneCodeAttempts] none is accepted before another code is issued. Of several calls with the right code one
	// confirms; the others, until another code is issued or this one is dropped, get the same account, with Already set, and change
	// nothing. It returns ErrNotFound, ErrInactive, ErrTokenExpired, or ErrTokenInvalid on the field "code".
	ConsumePhoneCode(ctx context.Context, id ID, digest TokenDigest) (PhoneConfirmation, error)

	// CancelPhoneCode drops the code, if there is one. A confirmation stays. It returns ErrNotFound.
	CancelPhoneCode(ctx context.Context, id ID) (*User, error)
}

// PhoneConfirmation is the outcome of a confirmed telephone number.
type PhoneConfirmation struct {
	User    *User
	Phone   Phone // the number that was confirmed
	Already bool  // it was confirmed before, with the same code
}

// Confirmation is the outcome of a confirmed address.
type Confirmation struct {
	User    *User
	Email   Email // the address that was confirmed
	Already bool  // it was confirmed before, with the same token
}

// MaxFailedLoginAttempts is where the counter of failed sign-ins stops: the most that PostgreSQL's integer holds.
const MaxFailedLoginAttempts = math.MaxInt32

// SessionStore issues and rotates refresh tokens and ends sessions, by the rules of [SessionList]. What it does is bookkeeping:
// no version is raised.
type SessionStore interface {
	// IssueToken begins a session. At the policy's cap the oldest one ends. It returns ErrNotFound, ErrInactive or, for
	// the policy, ErrInvalid. With an error of unknown outcome comes the grant that may have been stored: FindByToken tells, and where
	// it finds nothing, issue again.
	//
	// A lock does not stand in its way, nor in the way of RotateToken and FindByToken: it guards the password against guessing, and
	// anyone who knows a name can bring it about. The caller must have checked what lets this client in; a password is
	// refused by [Authenticator] during the lock.
	IssueToken(ctx context.Context, id ID, policy SessionPolicy) (Grant, error)

	// RotateToken exchanges a token for the live one of its session: for a new one, if it is the live one itself; for the one that
	// took its place, if that happened within the policy's grace, and then it writes nothing. It returns ErrTokenInvalid,
	// ErrTokenExpired, ErrInactive or, for the policy, ErrInvalid, and then changes nothing; or ErrTokenReused, and then has
	// ended the session: see [SessionList.Rotate].
	//
	// The client must keep the token whose Session.RotatedAt is the latest, in whatever order the replies to several requests come.
	RotateToken(ctx context.Context, token RefreshToken, policy SessionPolicy) (Grant, error)

	// FindByToken returns the account and the session of a live token, and writes nothing. It returns ErrTokenExpired, ErrInactive,
	// and ErrTokenInvalid for every other token, among them a rotated one, within its grace interval too.
	FindByToken(ctx context.Context, token RefreshToken) (*User, Session, error)

	// Sessions returns the live sessions, the oldest first. It returns ErrNotFound.
	Sessions(ctx context.Context, id ID) ([]Session, error)

	// RevokeSession ends one session, RevokeOtherSessions all but one, RevokeSessions all. They are idempotent: where there is
	// nothing to end they write nothing. They return ErrNotFound where there is no such account.
	RevokeSession(ctx context.Context, id ID, session SessionID) (*User, error)
	RevokeOtherSessions(ctx context.Context, id ID, keep SessionID) (*User, error)
	RevokeSessions(ctx context.Context, id ID) (*User, error)

	// RevokeMany does for many accounts, in one step, what RevokeSessions does for one. It returns what DeactivateMany returns.
	RevokeMany(ctx context.Context, ids []ID) ([]ID, error)

	// RevokeEverybody ends all sessions of the next accounts behind after, in the order of their IDs, visiting at most limit of
	// them, in one bounded step. Called with Sweep.Next until Done, it ends every session that began before the first call. It
	// returns ErrInvalid on the field "limit" unless that is 1 to 100,000.
	RevokeEverybody(ctx context.Context, after ID, limit int) (Sweep, error)

	// CountSessions returns the number of live sessions of all accounts. It visits every account.
	CountSessions(ctx context.Context) (int, error)

	// ListSessionCounts returns the accounts that have live sessions, in the order of their IDs, beginning behind after.
	// At most limit are returned; fewer mean that there are no more. It returns ErrInvalid on the field "limit" unless that is
	// 1 to 100,000.
	ListSessionCounts(ctx context.Context, after ID, limit int) ([]SessionCount, error)

	// SweepSessions removes the expired entries of the next accounts behind after, in the order of their IDs, visiting at most
	// limit of them, in one bounded step. Call it with Sweep.Next until Done. It returns ErrInvalid on the field "limit" unless
	// that is 1 to 100,000. It saves space only: expired entries count for nothing, and go when an account comes to its cap.
	SweepSessions(ctx context.Context, after ID, limit int) (Sweep, error)
}

// Grant is a refresh token to hand to the client, with what it belongs to. It has no account: that would be read and sent with
// every rotation. FindByID and FindByToken return it to those who need it.
type Grant struct {
	UserID  ID
	Session Session
	Token   RefreshToken
}

// Granted returns the grant of a token that a store has just found, or made, to be live.
func Granted(token RefreshToken) Grant {
	return Grant{UserID: token.UserID(), Session: token.Session(), Token: token}
}

// SessionCount is the number of live sessions of an account.
type SessionCount struct {
	UserID   ID
	Sessions int
}

// Sweep is the outcome of one step of [SessionStore.SweepSessions] or [SessionStore.RevokeEverybody].
type Sweep struct {
	Next    ID // where the next step begins
	Visited int
	Swept   int  // accounts of which entries were removed
	Done    bool // there are no more accounts
}

// LockPolicy says when failed sign-ins lock an account. The zero value is the default.
type LockPolicy struct {
	Attempts int           // consecutive failures that lock; 1 to 100 (NIST SP 800-63B-4 3.2.2), default 5; or NoLock
	Duration time.Duration // of the lock; default 15 minutes
}

// NoLock as [LockPolicy.Attempts] turns locking off, for an application that slows guesses down by other means. Failures are counted
// still, and a lock that is in force stays.
const NoLock = -1

// What LockPolicy's fields stand for when they are zero.
const (
	DefaultLockAttempts = 5
	DefaultLockDuration = 15 * time.Minute
)

const maxLockAttempts = 100

// Resolve returns the policy with its defaults in place, or [ErrInvalid] on the field "attempts" or "lock_for".
func (p LockPolicy) Resolve() (LockPolicy, error) {
	p.Attempts = cmp.Or(p.Attempts, DefaultLockAttempts)
	p.Duration = cmp.Or(p.Duration, DefaultLockDuration)
	switch {
	case p.Attempts != NoLock && (p.Attempts < 1 || p.Attempts > maxLockAttempts):
		return p, invalid("attempts", "is neither none nor 1 to 100")
	case p.Duration < 0:
		return p, invalid("lock_for", "is negative")
	}
	return p, nil
}
