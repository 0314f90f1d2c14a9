package domain

import "github.com/google/uuid"

// ID is an account's primary key, a UUID (RFC 9562). The zero ID means "absent". IDs are comparable.
type ID struct{ uuid uuid.UUID }

// NewID returns a random ID (UUID version 4).
func NewID() ID { return ID{uuid.New()} }

// IDFromUUID returns the ID for a UUID; the zero ID for uuid.Nil.
func IDFromUUID(u uuid.UUID) ID { return ID{u} }

// ParseID reads the 36-character form of RFC 9562, in either case, and no other form of a UUID, so that no text is both an ID and a username. It returns
// [ErrInvalid] for everything else and for the nil UUID.
func ParseID(text string) (ID, error) {
	if !looksLikeID(text) {
		return ID{}, invalid("id", "is not a UUID")
	}
	u, err := uuid.Parse(text)
	if err != nil || u == uuid.Nil {
		return ID{}, invalid("id", "is not a UUID")
	}
	return ID{u}, nil
}

// looksLikeID reports whether text has the shape of an ID, which no username may have.
func looksLikeID(text string) bool {
	if len(text) != 36 {
		return false
	}
	return uuid.Validate(text) == nil
}

// UUID returns the ID as a UUID.
func (id ID) UUID() uuid.UUID { return id.uuid }

// IsZero reports whether the ID is absent.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the lower-case 36-character form, or "" for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.uuid.String()
}
