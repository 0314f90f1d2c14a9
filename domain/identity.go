package domain

import (
	"context"
	"encoding/json"
	"time"
	"unicode"
	"unicode/utf8"
)

// Identity is who somebody is to an identity provider, such as one of OpenID Connect or SAML: the provider's name of itself and its
// name for the person, which must never be given to another one (OpenID Connect Core 1.0, 2 and 5.7; an e-mail address is no subject).
// Both are compared byte by byte. The zero Identity means "absent"; Identities are comparable.
type Identity struct{ issuer, subject string }

const maxIdentityRunes = 255 // the columns' width, and what OpenID Connect allows a subject

// ParseIdentity returns the identity. Each part is 1 to 255 code points of UTF-8 without control characters, and is taken as it is. It
// returns [ErrInvalid] on the field "issuer" or "subject".
func ParseIdentity(issuer, subject string) (Identity, error) {
	for _, part := range [...]struct{ field, text string }{{"issuer", issuer}, {"subject", subject}} {
		switch {
		case part.text == "":
			return Identity{}, invalid(part.field, "is required")
		case len(part.text) > maxIdentityRunes*utf8.UTFMax || utf8.RuneCountInString(part.text) > maxIdentityRunes:
			return Identity{}, tooLong(part.field, maxIdentityRunes)
		case !utf8.ValidString(part.text):
			return Identity{}, invalid(part.field, "is not valid UTF-8")
		}
		for _, r := range part.text {
			if unicode.IsControl(r) {
				return Identity{}, invalid(part.field, "contains a control character")
			}
		}
	}
	return Identity{issuer, subject}, nil
}

// RestoreIdentity returns an identity as it was stored, without any rule, so that each row stays readable.
func RestoreIdentity(issuer, subject string) Identity { return Identity{issuer, subject} }

// Issuer returns the provider's name of itself, in OpenID Connect a URL.
func (i Identity) Issuer() string { return i.issuer }

// Subject returns the provider's name for the person.
func (i Identity) Subject() string { return i.subject }

// IsZero tells whether the identity is absent.
func (i Identity) IsZero() bool { return i == Identity{} }

type identityJSON struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// MarshalJSON writes {"issuer":…,"subject":…}, or null for the zero Identity.
func (i Identity) MarshalJSON() ([]byte, error) {
	if i.IsZero() {
		return []byte("null"), nil
	}
	return marshalJSON(identityJSON{i.issuer, i.subject})
}

// UnmarshalJSON reads what MarshalJSON wrote, by the rules of [ParseIdentity]. Where it fails, the identity is as it was.
func (i *Identity) UnmarshalJSON(raw []byte) error {
	var read *identityJSON
	if err := json.Unmarshal(raw, &read); err != nil {
		return invalid("identity", "is neither an object of issuer and subject nor null")
	}
	if read == nil {
		*i = Identity{}
		return nil
	}
	parsed, err := ParseIdentity(read.Issuer, read.Subject)
	if err == nil {
		*i = parsed
	}
	return err
}

// LinkedIdentity is an identity that an account can be signed in to with. Times are UTC, in microseconds.
type LinkedIdentity struct {
	Identity   Identity
	UserID     ID
	CreatedAt  time.Time // when it was linked
	LastUsedAt time.Time // the last sign-in with it; the zero time if there was none
}

// IdentityStore links accounts to identities, and removes ways in. An account has any number of identities, an identity has one
// account; deleting an account deletes its links. What it does to identities is bookkeeping: it raises no version, and sets no updated_at.
//
// It does not ask whether the provider is to be trusted, nor for a second factor: the caller has verified the provider's answer.
type IdentityStore interface {
	// FindByIdentity returns the account that the identity is linked to, or ErrNotFound.
	FindByIdentity(ctx context.Context, identity Identity) (*User, error)

	// Identities returns the identities of the account, the one linked first first; of two linked at once by issuer and subject. It returns
	// ErrNotFound.
	Identities(ctx context.Context, id ID) ([]LinkedIdentity, error)

	// LinkIdentity links an identity to the account. It returns ErrNotFound, ErrInvalid on the field "identity" for the zero one, or
	// ErrTaken on that field if it is linked already, to this account or to another.
	LinkIdentity(ctx context.Context, id ID, identity Identity) (LinkedIdentity, error)

	// UnlinkIdentity ends the link. It returns ErrNotFound where there is no such account, or, on the field "identity", where that is not
	// linked to it; and unless force is set ErrConflict on the field "identity" when the account has neither a password nor another
	// identity, since no way in would be left. Of several ways in that are removed at once, one stays.
	UnlinkIdentity(ctx context.Context, id ID, identity Identity, force bool) error

	// RecordIdentitySignIn finds the account of the identity and sets last_login and the identity's LastUsedAt to the present. It returns
	// ErrNotFound or ErrInactive, and then changes nothing. A lock is for guessing passwords and does not stand in its way.
	RecordIdentitySignIn(ctx context.Context, identity Identity) (*User, error)

	// RemovePassword stores [NoPassword], and otherwise does what SetPassword does. An account without a password it leaves as it is. It
	// returns ErrNotFound; and unless force is set ErrConflict on the field "hashed_password" when no identity is linked.
	RemovePassword(ctx context.Context, id ID, keep SessionID, force bool) (*User, error)
}
