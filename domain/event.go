package domain

import (
	"context"
	"net/netip"
	"time"
)

// EventKind says what happened to an account. Its words are stored, and programs may depend on them.
type EventKind string

// The kinds of event. docs/events.md lists for each operation of a store which of them it has.
const (
	EventRegistered       EventKind = "registered"
	EventSignedIn         EventKind = "signed_in"
	EventSignInFailed     EventKind = "sign_in_failed"
	EventLocked           EventKind = "locked" // also by the failed sign-in that locks, which has no event of its own
	EventUnlocked         EventKind = "unlocked"
	EventPasswordChanged  EventKind = "password_changed" // or added, or removed
	EventPasswordReset    EventKind = "password_reset"
	EventEmailRequested   EventKind = "email_requested" // another address is pending
	EventEmailChanged     EventKind = "email_changed"
	EventVerified         EventKind = "verified"
	EventUsernameChanged  EventKind = "username_changed"
	EventSessionStarted   EventKind = "session_started"
	EventSessionEnded     EventKind = "session_ended" // one or more of the account, by a call and not by expiry
	EventSessionReused    EventKind = "session_reused"
	EventActivated        EventKind = "activated"
	EventDeactivated      EventKind = "deactivated"
	EventIdentityLinked   EventKind = "identity_linked"
	EventIdentityUnlinked EventKind = "identity_unlinked"
	EventDeleted          EventKind = "deleted"
	EventPurged           EventKind = "purged"
	EventImported         EventKind = "imported"
)

// EventKinds returns all of them.
func EventKinds() []EventKind {
	return []EventKind{
		EventRegistered, EventSignedIn, EventSignInFailed, EventLocked, EventUnlocked, EventPasswordChanged, EventPasswordReset,
		EventEmailRequested, EventEmailChanged, EventVerified, EventUsernameChanged, EventSessionStarted, EventSessionEnded,
		EventSessionReused, EventActivated, EventDeactivated, EventIdentityLinked, EventIdentityUnlinked, EventDeleted, EventPurged,
		EventImported,
	}
}

// Event is a change of an account. It has no secret, and no personal data but what the application has put into its Origin.
type Event struct {
	Kind   EventKind
	UserID ID

	// At is the time of the store's clock after the change and before its commit. Until then the account's row is locked, so that the events of one
	// account are in the order of its changes.
	At time.Time

	Origin Origin // that of the context
}

// Origin says where a change comes from. Unknown fields are zero.
type Origin struct {
	RequestID string
	Client    netip.Addr
	Actor     string // who acts in place of the owner: an administrator's ID, the name of a program
}

type originKey struct{}

// WithOrigin returns a context for changes from that origin: an application calls it once for each request.
func WithOrigin(ctx context.Context, origin Origin) context.Context {
	return context.WithValue(ctx, originKey{}, origin)
}

// OriginOf returns the origin that [WithOrigin] put into the context, or the zero Origin.
func OriginOf(ctx context.Context) Origin {
	origin, _ := ctx.Value(originKey{}).(Origin)
	return origin
}
