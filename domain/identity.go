package domain

import (
	"encoding/json"
	"unicode"
	"unicode/utf8"
)

// Identity identifies a person at an identity provider, such as one of OpenID Connect or SAML: the provider's issuer and its subject for the person, which
// must never be reassigned (OpenID Connect Core 1.0, 2 and 5.7; an e-mail address is no subject). Both are compared byte by byte. The zero Identity means "absent"; Identities are comparable.
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

// RestoreIdentity returns an identity as it was stored, without validation, so that each row stays readable.
func RestoreIdentity(issuer, subject string) Identity { return Identity{issuer, subject} }

// Issuer returns the name of the provider, in OpenID Connect a URL.
func (i Identity) Issuer() string { return i.issuer }

// Subject returns the provider's name for the person.
func (i Identity) Subject() string { return i.subject }

// IsZero reports whether the identity is absent.
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

// UnmarshalJSON reads what MarshalJSON wrote, by the rules of [ParseIdentity]. If it fails, the identity is unchanged.
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
