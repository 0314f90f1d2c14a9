package domain

import "github.com/softbee/accounts/domain/entry"

// SessionID names a session: 22 characters of base64url, the first 128 bits of a SHA-256 digest of the secret that all
// tokens of the session share. It may be listed and logged: no token can be computed from it. The zero SessionID means "absent"; SessionIDs are
// comparable.
type SessionID struct{ text string }

const sessionIDBytes = 16

// ParseSessionID reads the text that String returned. It returns [ErrInvalid] on the field "session".
func ParseSessionID(text string) (SessionID, error) {
	if len(text) != entry.SessionLen {
		return SessionID{}, invalid("session", "is not the id of a session")
	}
	if raw, err := base64url.DecodeString(text); err != nil || len(raw) != sessionIDBytes {
		return SessionID{}, invalid("session", "is not the id of a session")
	}
	return SessionID{text}, nil
}

// IsZero reports whether the id is absent.
func (s SessionID) IsZero() bool { return s.text == "" }

// String returns the id's text, or "" for the zero SessionID.
func (s SessionID) String() string { return s.text }
