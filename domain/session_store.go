package domain

import "context"

// SessionStore issues and rotates refresh tokens and ends sessions, by the rules of [SessionList]. It raises no version.
type SessionStore interface {
	// IssueToken begins a session. At the policy's cap the oldest one ends. It returns ErrNotFound, ErrInactive or, for
	// the policy, ErrInvalid. An error of unknown outcome is returned with the grant that may have been stored: RotateToken tells, and where that returns
	// ErrTokenInvalid, issue again.
	//
	// A lock has no effect on it, nor on RotateToken and FindByToken: it guards the password against guessing, and anyone who knows a name can
	// cause it. The caller must have authenticated the client; [Authenticator] refuses a password during the lock.
	IssueToken(ctx context.Context, id ID, policy SessionPolicy) (Grant, error)

	// RotateToken exchanges a token for the live one of its session: the live token for its successor; a token that was rotated within the policy's
	// grace for the live one, and then it writes nothing. It returns ErrTokenInvalid,
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
	// nothing to end they store nothing. They return ErrNotFound where there is no such account.
	RevokeSession(ctx context.Context, id ID, session SessionID) (*User, error)
	RevokeOtherSessions(ctx context.Context, id ID, keep SessionID) (*User, error)
	RevokeSessions(ctx context.Context, id ID) (*User, error)

	// RevokeMany does for many accounts, in one statement, what RevokeSessions does for one. It returns what DeactivateMany returns.
	RevokeMany(ctx context.Context, ids []ID) ([]ID, error)

	// RevokeEverybody ends all sessions of the next accounts after an ID, in the order of their IDs, at most limit accounts. Called with Sweep.Next
	// until Done, it ends every session that began before the first call. It returns ErrInvalid on the field "limit" unless that is 1 to 100,000.
	RevokeEverybody(ctx context.Context, after ID, limit int) (Sweep, error)

	// CountSessions returns the number of live sessions of all accounts. It visits every account.
	CountSessions(ctx context.Context) (int, error)

	// SweepSessions drops the expired entries of the next accounts after an ID, in the order of their IDs, at most limit accounts. Call it with
	// Sweep.Next until Done. It returns ErrInvalid on the field "limit" unless that is 1 to 100,000. It saves space only: expired entries are
	// ignored, and are dropped when an account reaches its cap.
	SweepSessions(ctx context.Context, after ID, limit int) (Sweep, error)
}

// Grant is a refresh token for the client, with its account's ID and its session. It has no [User], which every rotation would have to read and send:
// FindByID and FindByToken return that.
type Grant struct {
	UserID  ID
	Session Session
	Token   RefreshToken
}

// Sweep is the outcome of one step of [SessionStore.SweepSessions] or [SessionStore.RevokeEverybody].
type Sweep struct {
	Next    ID // where the next step begins
	Visited int
	Swept   int  // accounts of which entries were removed
	Done    bool // there are no more accounts
}
