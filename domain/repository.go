package domain

import (
	"context"
	"time"
)

// Repository stores accounts. Every method is atomic, also when ctx ends during it, and safe against concurrent changes from this process and
// others: no update is lost. Each change sets updated_at. A method that finds nothing to change writes nothing, and returns the account as it is. What it finds done
// already, it returns as done only if a failover would not undo it.
//
// The version is for optimistic locking of what people edit: a change of e-mail address, username, names, telephone number, one of the two flags
// or the password raises it by one. Sign-ins, failures, locks, one-time tokens, sessions and the rehashing of an unchanged password do not. So an
// edit form or an HTTP ETag stays valid until somebody edits.
//
// Implementations are safe for concurrent use and pass the contract suite in domain/domaintest. Besides the errors named
// at each method, every method returns [ErrUnavailable] when the database is unreachable, read-only or timed out, and the error of ctx
// when it has ended. Arguments are validated before the lookup. A token or a lock has expired when its time is now or
// earlier. Users that methods return belong to the caller.
type Repository interface {
	// Now returns the time of the repository's clock, in UTC, in microseconds.
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

	// ExistsByEmail and ExistsByUsername report whether the address or name is taken, without loading the account. The answer may be outdated
	// when it arrives; only Create, SetEmail and SetUsername decide.
	ExistsByEmail(ctx context.Context, email Email) (bool, error)
	ExistsByUsername(ctx context.Context, username Username) (bool, error)

	// List returns one page of the accounts that match, by keyset pagination: pages neither repeat nor skip an account that exists throughout,
	// however many others are created and deleted. It returns ErrInvalid on the field "limit", "after", "order" or "search". A malformed row is left
	// out, and reported in Page.Malformed. The users have no password hash, unless it is [NoPassword], and no digests of one-time tokens.
	List(ctx context.Context, query ListQuery) (Page, error)

	// Count returns the number of accounts that match. It reads all of them, from an index where one has the columns.
	Count(ctx context.Context, filter Filter) (int, error)
}

// MaxBatch bounds how many accounts one call takes.
const MaxBatch = 10_000

// UserWriter creates, changes and deletes accounts. All methods that take one ID return ErrNotFound where there is no such account.
type UserWriter interface {
	// Create stores a new account. It returns ErrInvalid for one without a password hash, as lists return them, or with an address or a name that
	// a check of the database refuses; ErrTaken with the field "email", "username" or "phone", one of them if several are taken; and ErrConflict
	// on the field "id" if the ID exists.
	Create(ctx context.Context, user *User) error

	// Update reads the account, calls change on it, and stores the columns that differ and those that depend on them: tokens that were issued
	// between the read and the write for an address or a number that change replaces are dropped, and so are the sessions of an account that it
	// deactivates. It uses optimistic locking on the version: after a concurrent edit it reads the account again and calls change again, up to 100
	// times, and then returns ErrConflict. If change fails, its error is returned and nothing is stored. It returns ErrTaken as Create does. With
	// [User.ExpectVersion] in change it stores an edit of a certain version only.
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

	// ActivateMany and DeactivateMany do for many accounts, in one statement, what Activate and Deactivate do for one. They return the IDs of the
	// accounts that they changed, in the order of ids, and ErrInvalid on the field "id" for more than MaxBatch IDs. IDs without an account are
	// ignored.
	ActivateMany(ctx context.Context, ids []ID) ([]ID, error)
	DeactivateMany(ctx context.Context, ids []ID) ([]ID, error)

	// Verify does what [User.Verify] does.
	Verify(ctx context.Context, id ID) (*User, error)

	// RecordSignIn sets last_login to Now, which it returns.
	RecordSignIn(ctx context.Context, id ID) (time.Time, error)

	// Delete deletes the account with its identities. DeleteAt does so if the account is at that version; otherwise it returns ErrConflict on the
	// field "version".
	Delete(ctx context.Context, id ID) error
	DeleteAt(ctx context.Context, id ID, version int64) error

	// Purge deletes the accounts that List would return for the query, at most its limit. The filter is checked again in each row as it is deleted:
	// an account that no longer matches stays. Call it again with After set to Purged.Next until Done. An account to which another table refers
	// stays and is reported. Besides the errors of List it returns ErrInvalid on the field "filter" for one without an age: CreatedBefore,
	// SignedInBefore or UnverifiedSince.
	Purge(ctx context.Context, query ListQuery) (Purged, error)
}

// Purged is the outcome of one step of a purge.
type Purged struct {
	IDs        []ID // of the deleted accounts, in any order
	Referenced []ID // of the accounts that stay because another table refers to them
	Next       Cursor
	Done       bool // no account is left that matches
}
