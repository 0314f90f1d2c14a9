package domain

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Order is the order of a list. Addresses and names are ordered by their bytes, in every database.
type Order string

// The orders of a list, each with the ID to decide between equals.
const (
	OrderCreated  Order = "created" // the oldest first; the default
	OrderEmail    Order = "email"
	OrderUsername Order = "username"
)

// ParseOrder returns the order of that name; "" gives OrderCreated. It returns [ErrInvalid] on the field "order".
func ParseOrder(name string) (Order, error) {
	switch order := Order(name); order {
	case "":
		return OrderCreated, nil
	case OrderCreated, OrderEmail, OrderUsername:
		return order, nil
	}
	return "", invalid("order", "is none of created, email, username")
}

// Filter selects accounts. The zero Filter selects all.
type Filter struct {
	Active        *bool
	Verified      *bool
	Locked        *bool     // whether a lock is in force
	SignedIn      *bool     // whether it has ever signed in
	WithPhone     *bool     // whether a telephone number is known
	WithPassword  *bool     // false: the owner signs in by other means only
	Search        Prefix    // of the address or of the username
	CreatedFrom   time.Time // inclusive
	CreatedBefore time.Time // exclusive
}

// Prefix is the canonical beginning of an address or a username; no character in it has a special meaning. The zero Prefix
// is that of every text.
type Prefix struct{ text string }

// ParsePrefix returns the prefix in NFC and lower case, without full-width characters. Behind an "@" the labels of an
// internationalised domain become A-labels (RFC 5890), as they are stored: of such a label the beginning alone finds nothing. It
// returns [ErrInvalid] on the field "search".
func ParsePrefix(text string) (Prefix, error) {
	text = strings.TrimSpace(text)
	if err := cleanText("search", text, maxEmailRunes); err != nil {
		return Prefix{}, err
	}
	text = foldText(text)
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = text[:at+1] + asciiLabels(text[at+1:])
	}
	return Prefix{text}, nil
}

// asciiLabels returns the beginning of a domain name with its labels as A-labels, but for those that are none.
func asciiLabels(host string) string {
	labels := strings.Split(strings.ReplaceAll(host, "\u3002", "."), ".") // UTS 46 takes the ideographic full stop for a dot
	for i, label := range labels {
		if ascii, err := mailDomain.ToASCII(label); err == nil && !isPrintableASCII(label) {
			labels[i] = ascii
		}
	}
	return strings.Join(labels, ".")
}

// String returns the prefix in canonical form.
func (p Prefix) String() string { return p.text }

// IsZero tells whether the prefix is empty.
func (p Prefix) IsZero() bool { return p.text == "" }

// Limits of a page.
const (
	DefaultPageSize = 50
	MaxPageSize     = 1000
)

// ListQuery asks for one page.
type ListQuery struct {
	Filter Filter
	Order  Order  // "" is OrderCreated
	After  Cursor // zero: from the beginning
	Limit  int    // 1 to 1000; 0 is 50
}

// Resolve returns the query with its defaults in place, or [ErrInvalid] on the field "limit", "order" or "after".
func (q ListQuery) Resolve() (ListQuery, error) {
	order, err := ParseOrder(string(q.Order))
	if err != nil {
		return q, err
	}
	q.Order = order
	if q.Limit == 0 {
		q.Limit = DefaultPageSize
	}
	if q.Limit < 1 || q.Limit > MaxPageSize {
		return q, invalid("limit", "is not 1 to 1000")
	}
	if !q.After.IsZero() && q.After.order != q.Order {
		return q, invalid("after", "is the cursor of a list in another order")
	}
	return q, nil
}

// Page is a part of a list.
type Page struct {
	Users     []*User
	Malformed []*Malformed // of the rows in their place in the list; they count for the limit
	Next      Cursor       // where the next page begins; zero: there is none
}

// Malformed reports a stored row that is not in the form of an account, as another program may have written it. Lists leave such a row out
// and go on. What looks for that account returns it as its error, which is an [Error] of the kind [ErrInvalid].
type Malformed struct { //nolint:errname // a report first, which is an error too
	ID     ID     // zero if it is what cannot be read
	Column string // the first one that cannot be read
	Reason string
}

// Error says which row it is, and what is wrong with it, without the value.
func (m *Malformed) Error() string {
	if m.ID.IsZero() {
		return "a user: stored " + m.Unwrap().Error()
	}
	return "user " + m.ID.String() + ": stored " + m.Unwrap().Error()
}

// Unwrap returns the Error of the column.
func (m *Malformed) Unwrap() error {
	return &Error{Kind: ErrInvalid, Field: m.Column, Reason: m.Reason}
}

// Cursor is a place in a list, opaque to clients: the order, and the sort key and ID of the last account before it. It
// stays valid whatever happens to that account. The zero Cursor means "absent"; Cursors are comparable.
type Cursor struct {
	order     Order
	createdAt time.Time // OrderCreated
	id        ID        // OrderCreated
	key       string    // OrderEmail, OrderUsername: unique, so that no ID is needed
}

// CursorAfter returns the place behind the user.
func CursorAfter(order Order, u *User) Cursor {
	switch order {
	case OrderEmail:
		return Cursor{order: order, key: u.Email().String()}
	case OrderUsername:
		return Cursor{order: order, key: u.Username().String()}
	default:
		return Cursor{order: OrderCreated, createdAt: u.CreatedAt(), id: u.ID()}
	}
}

// CursorAt returns the place behind a row, by its sort keys: its time and ID in OrderCreated, else its address or name, of any form.
func CursorAt(order Order, createdAt time.Time, id ID, key string) Cursor {
	if order == OrderCreated {
		return Cursor{order: order, createdAt: createdAt, id: id}
	}
	return Cursor{order: order, key: key}
}

// IsZero tells whether the cursor is absent.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Created returns the sort key of a cursor in OrderCreated.
func (c Cursor) Created() (time.Time, ID) { return c.createdAt, c.id }

// Key returns the sort key of a cursor in OrderEmail or OrderUsername.
func (c Cursor) Key() string { return c.key }

// String returns the text for clients, in base64url; "" for the zero Cursor.
func (c Cursor) String() string {
	switch c.order {
	case "":
		return ""
	case OrderCreated:
		return base64url.EncodeToString([]byte("c" + strconv.FormatInt(c.createdAt.UnixMicro(), 10) + "." + c.id.String()))
	default:
		return base64url.EncodeToString([]byte(string(c.order[:1]) + c.key))
	}
}

// ParseCursor reads the text that String gave; "" gives the zero Cursor. It returns [ErrInvalid] on the field "after" for
// anything else.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	malformed := invalid("after", "is not a cursor")
	if len(text) > base64.RawURLEncoding.EncodedLen(1+maxEmailRunes*utf8.UTFMax) {
		return Cursor{}, malformed
	}
	raw, err := base64url.DecodeString(text)
	if err != nil || len(raw) < 2 {
		return Cursor{}, malformed
	}
	cursor := Cursor{key: string(raw[1:])}
	switch raw[0] {
	case 'c':
		if cursor, err = parseCreatedCursor(cursor.key); err != nil {
			return Cursor{}, malformed
		}
	case 'e':
		cursor.order = OrderEmail
	case 'u':
		cursor.order = OrderUsername
	default:
		return Cursor{}, malformed
	}
	// An address or a name is judged by no more than what Restore demands of it, so that a list never stops at an old row.
	if cursor.String() != text || !utf8.ValidString(cursor.key) || strings.ContainsRune(cursor.key, 0) {
		return Cursor{}, malformed
	}
	return cursor, nil
}

func parseCreatedCursor(key string) (Cursor, error) {
	micros, text, _ := strings.Cut(key, ".")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		return Cursor{}, err
	}
	if n < minCursorMicros || n > maxCursorMicros {
		return Cursor{}, strconv.ErrRange
	}
	id, err := ParseID(text)
	return Cursor{order: OrderCreated, createdAt: time.UnixMicro(n).UTC(), id: id}, err
}

// What a cursor's time may be: years that every database and time.Time can write with four digits.
var (
	minCursorMicros = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	maxCursorMicros = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()
)
