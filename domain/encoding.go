package domain

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// Value objects as text, in JSON and in SQL. These rules are for [Email], [Username], [Phone], [ID], [SessionID] and, but for SQL, [Cursor]:
//
//   - As text and in JSON, a value is what String returns. The absent value is "" as text and null in JSON; both "" and null
//     are read as it.
//   - Text and JSON may be input, so the current rules apply: UnmarshalText and UnmarshalJSON take what the type's Parse function takes, canonical or
//     not, and return its errors.
//   - In SQL, a value is a text, and the absent one NULL. Scan takes what the type's Restore function takes, or where there is none its Parse function,
//     so that no stored value becomes unreadable when a rule is tightened. It also reads "" as absent.
//   - Where any of them fails, it returns [ErrInvalid], and the value is unchanged.
//
// Redacted types cannot be read back, and are refused as an argument of SQL: see [PasswordHash.Value].

func unmarshalText[V any](v *V, text []byte, parse func(string) (V, error)) error {
	parsed, err := orAbsent(string(text), parse)
	if err == nil {
		*v = parsed
	}
	return err
}

func unmarshalJSON[V any](v *V, field string, raw []byte, parse func(string) (V, error)) error {
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil {
		return invalid(field, "is neither a JSON string nor null")
	}
	if text == nil {
		*v = *new(V)
		return nil
	}
	return unmarshalText(v, []byte(*text), parse)
}

// marshalJSON does not escape <, > and &: the outer encoder decides that.
func marshalJSON(value any) ([]byte, error) {
	if value == "" {
		return []byte("null"), nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func scanText[V any](v *V, field string, stored any, restore func(string) (V, error)) error {
	var text string
	switch s := stored.(type) {
	case nil:
	case string:
		text = s
	case []byte:
		text = string(s)
	default:
		return invalid(field, fmt.Sprintf("is stored as a %T, not as a text", stored))
	}
	return unmarshalText(v, []byte(text), restore)
}

func orAbsent[V any](text string, parse func(string) (V, error)) (V, error) {
	if text == "" {
		return *new(V), nil
	}
	return parse(text)
}

func sqlText(text string) (driver.Value, error) {
	if text == "" {
		return nil, nil
	}
	return text, nil
}

// MarshalText writes what String returns.
func (e Email) MarshalText() ([]byte, error) { return []byte(e.canonical), nil }

// UnmarshalText reads what [ParseEmail] takes, or "".
func (e *Email) UnmarshalText(text []byte) error { return unmarshalText(e, text, ParseEmail) }

// MarshalJSON writes what String returns, or null for the zero Email.
func (e Email) MarshalJSON() ([]byte, error) { return marshalJSON(e.canonical) }

// UnmarshalJSON reads a string as UnmarshalText does, or null.
func (e *Email) UnmarshalJSON(raw []byte) error { return unmarshalJSON(e, "email", raw, ParseEmail) }

// Scan reads a stored address as [RestoreEmail] does; NULL and "" give the zero Email.
func (e *Email) Scan(stored any) error { return scanText(e, "email", stored, RestoreEmail) }

// Value returns what String returns, or NULL for the zero Email.
func (e Email) Value() (driver.Value, error) { return sqlText(e.canonical) }

// MarshalText writes what String returns.
func (u Username) MarshalText() ([]byte, error) { return []byte(u.canonical), nil }

// UnmarshalText reads what [ParseUsername] takes, or "".
func (u *Username) UnmarshalText(text []byte) error { return unmarshalText(u, text, ParseUsername) }

// MarshalJSON writes what String returns, or null for the zero Username.
func (u Username) MarshalJSON() ([]byte, error) { return marshalJSON(u.canonical) }

// UnmarshalJSON reads a string as UnmarshalText does, or null.
func (u *Username) UnmarshalJSON(raw []byte) error {
	return unmarshalJSON(u, "username", raw, ParseUsername)
}

// Scan reads a stored name as [RestoreUsername] does; NULL and "" give the zero Username.
func (u *Username) Scan(stored any) error { return scanText(u, "username", stored, RestoreUsername) }

// Value returns what String returns, or NULL for the zero Username.
func (u Username) Value() (driver.Value, error) { return sqlText(u.canonical) }

// MarshalText writes what String returns.
func (p Phone) MarshalText() ([]byte, error) { return []byte(p.e164), nil }

// UnmarshalText reads what [ParsePhone] takes, or "".
func (p *Phone) UnmarshalText(text []byte) error { return unmarshalText(p, text, ParsePhone) }

// MarshalJSON writes what String returns, or null for the zero Phone.
func (p Phone) MarshalJSON() ([]byte, error) { return marshalJSON(p.e164) }

// UnmarshalJSON reads a string as UnmarshalText does, or null.
func (p *Phone) UnmarshalJSON(raw []byte) error { return unmarshalJSON(p, "phone", raw, ParsePhone) }

// Scan reads a stored number as [RestorePhone] does; NULL and "" give the zero Phone.
func (p *Phone) Scan(stored any) error { return scanText(p, "phone", stored, RestorePhone) }

// Value returns what String returns, or NULL for the zero Phone.
func (p Phone) Value() (driver.Value, error) { return sqlText(p.e164) }

// MarshalText writes what String returns.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what [ParseID] takes, or "".
func (id *ID) UnmarshalText(text []byte) error { return unmarshalText(id, text, ParseID) }

// MarshalJSON writes what String returns, or null for the zero ID.
func (id ID) MarshalJSON() ([]byte, error) { return marshalJSON(id.String()) }

// UnmarshalJSON reads a string as UnmarshalText does, or null.
func (id *ID) UnmarshalJSON(raw []byte) error { return unmarshalJSON(id, "id", raw, ParseID) }

// Scan reads a UUID as text or as its 16 bytes; NULL, "" and the nil UUID give the zero ID.
func (id *ID) Scan(stored any) error {
	if raw, ok := stored.([]byte); ok && len(raw) == len(uuid.UUID{}) {
		*id = IDFromUUID(uuid.UUID(raw))
		return nil
	}
	return scanText(id, "id", stored, func(text string) (ID, error) {
		if text == uuid.Nil.String() {
			return ID{}, nil
		}
		return ParseID(text)
	})
}

// Value returns what String returns, which a column of the type uuid takes as well as one of text; or NULL for the zero ID.
func (id ID) Value() (driver.Value, error) { return sqlText(id.String()) }

// MarshalText writes what String returns.
func (s SessionID) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText reads what [ParseSessionID] takes, or "".
func (s *SessionID) UnmarshalText(text []byte) error { return unmarshalText(s, text, ParseSessionID) }

// MarshalJSON writes what String returns, or null for the zero SessionID.
func (s SessionID) MarshalJSON() ([]byte, error) { return marshalJSON(s.text) }

// UnmarshalJSON reads a string as UnmarshalText does, or null.
func (s *SessionID) UnmarshalJSON(raw []byte) error {
	return unmarshalJSON(s, "session", raw, ParseSessionID)
}

// Scan reads what [ParseSessionID] takes; NULL and "" give the zero SessionID.
func (s *SessionID) Scan(stored any) error { return scanText(s, "session", stored, ParseSessionID) }

// Value returns what String returns, or NULL for the zero SessionID.
func (s SessionID) Value() (driver.Value, error) { return sqlText(s.text) }

// MarshalText writes what String returns.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what [ParseCursor] takes.
func (c *Cursor) UnmarshalText(text []byte) error { return unmarshalText(c, text, ParseCursor) }

// MarshalJSON writes what String returns, or null for the zero Cursor.
func (c Cursor) MarshalJSON() ([]byte, error) { return marshalJSON(c.String()) }

// UnmarshalJSON reads a string as UnmarshalText does, or null.
func (c *Cursor) UnmarshalJSON(raw []byte) error { return unmarshalJSON(c, "after", raw, ParseCursor) }
