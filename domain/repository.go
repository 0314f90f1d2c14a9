package domain

import (
	"context"
	"time"
)

// Repository stores accounts. Every method is one atomic step: it happens whole or not at all, also when ctx ends
// meanwhile, and none loses what another one, in this process or elsewhere, stores at the same time. Each change sets
// updated_at. A method that finds nothing to change stores nothing, and returns the account as it is. What it finds done already, it returns as done
// only if a failover would not undo it.
//
// The version guards what people edit: a change of e-mail address, username, names, telephone number, one of the two flags or the
// password raises it by one. What the machine keeps books of, which is sign-ins, failures, locks, one-time tokens, sessions and the
// form in which an unchanged password is hashed, does not. So what a form or an HTTP ETag was made from stays good until somebody edits.
//
// Implementations are safe for concurrent use and pass the contract suite in domain/domaintest. Besides the errors named
// at each method, every method returns [ErrUnavailable] when the database is unreachable, read-only or timed out, and the error of ctx
// when it has ended. Arguments are validated before the lookup. A token or a lock has expired when its time is now or
// earlier. Users that methods return belong to the caller.
type Repository interface {
	// Now returns the present by the repository's clock, in UTC, in microseconds.
	Now() time.Time

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
