package domain

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Order is the order of a list. Addresses and names are ordered by their bytes, in every database.
type Order string

// The orders of a list, each with the ID to decide between equals.
const (
	OrderCreated   Order = "created" // the oldest first; the default
	OrderEmail     Order = "email"
	OrderUsername  Order = "username"
	OrderLastLogin Order = "last_login" // accounts that never signed in first
)

// Orders are all orders.
var Orders = []Order{OrderCreated, OrderEmail, OrderUsername, OrderLastLogin}

// ParseOrder returns the order of that name; "" gives OrderCreated. It returns [ErrInvalid] on the field "order".
func ParseOrder(name string) (Order, error) {
	switch order := Order(name); {
	case order == "":
		return OrderCreated, nil
	case slices.Contains(Orders, order):
		return order, nil
	}
	return "", invalid("order", "is none of created, email, username, last_login")
}

// Filter selects accounts. The zero Filter selects all.
type Filter struct {
	Active       *bool
	Verified     *bool
	Locked       *bool // whether a lock is in force
	SignedIn     *bool // whether it has ever signed in
	WithPhone    *bool // whether a telephone number is known
	WithPassword *bool // false: the owner signs in by other means only
	WithIdentity *bool // whether it is linked to an identity

	Search Prefix     // of the address or of the username
	Name   NamePrefix // of the first or of the last name
	Domain MailDomain // of the address

	CreatedFrom    time.Time // inclusive
	CreatedBefore  time.Time // exclusive
	SignedInFrom   time.Time // the last sign-in, inclusive; an account that never signed in has none
	SignedInBefore time.Time // exclusive, likewise

	// UnverifiedSince selects accounts that have been unverified since before this time: made before it, not verified, and since then either
	// not changed or not edited at all. One whose address was replaced later is not among them.
	UnverifiedSince time.Time
}

// hasAge reports whether the filter leaves out young accounts.
func (f Filter) hasAge() bool {
	return !f.CreatedBefore.IsZero() || !f.SignedInBefore.IsZero() || !f.UnverifiedSince.IsZero()
}

// Limits of a page.
const (
	DefaultPageSize = 50
	MaxPageSize     = 1000
)

// ListQuery asks for one page.
type ListQuery struct {
	Filter     Filter
	Order      Order // "" is OrderCreated
	Descending bool
	After      Cursor // zero: from the beginning
	Limit      int    // 1 to 1000; 0 is 50
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
	if !q.After.IsZero() && (q.After.order != q.Order || q.After.descending != q.Descending) {
		return q, invalid("after", "is the cursor of a list in another order or direction")
	}
	return q, nil
}

// ResolvePurge is Resolve for a purge: it also returns [ErrInvalid] on the field "filter" for one without an age.
func (q ListQuery) ResolvePurge() (ListQuery, error) {
	if !q.Filter.hasAge() {
		return q, invalid("filter", "has no age: expected CreatedBefore, SignedInBefore or UnverifiedSince")
	}
	return q.Resolve()
}

// Page is a part of a list.
type Page struct {
	Users     []*User
	Malformed []*Malformed // of the rows in their place in the list; they count for the limit
	Next      Cursor       // where the next page begins; zero: there is none
}

// Malformed reports a stored row that is not in the form of an account, as another program may have written it. Lists skip such a row. Methods that
// find that account return it as their error, which is an [Error] of the kind [ErrInvalid].
type Malformed struct { //nolint:errname // a report first, which is an error too
	ID     ID     // zero if the ID itself cannot be read
	Column string // the first that cannot be read
	Reason string
}

// Error names the row and the fault, without the value.
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

// Cursor is a position in a list, opaque to clients: the order and its direction, and the sort key and ID of the last account before it. It stays valid
// when that account is changed or deleted. The zero Cursor means "absent"; Cursors are comparable.
type Cursor struct {
	order      Order
	descending bool
	at         time.Time // OrderCreated, OrderLastLogin: zero for an account that never signed in
	id         ID        // likewise
	key        string    // OrderEmail, OrderUsername: unique, so that no ID is needed
}

// CursorAfter returns the position after the user.
func (q ListQuery) CursorAfter(u *User) Cursor {
	switch q.Order {
	case OrderEmail:
		return q.CursorAt(time.Time{}, ID{}, u.Email().String())
	case OrderUsername:
		return q.CursorAt(time.Time{}, ID{}, u.Username().String())
	case OrderLastLogin:
		return q.CursorAt(u.LastLogin(), u.ID(), "")
	default:
		return q.CursorAt(u.CreatedAt(), u.ID(), "")
	}
}

// CursorAt returns the position after a row, by its sort keys: its address or name, in any form, in the orders by these, else its time and ID.
func (q ListQuery) CursorAt(at time.Time, id ID, key string) Cursor {
	if q.Order == OrderEmail || q.Order == OrderUsername {
		return Cursor{order: q.Order, descending: q.Descending, key: key}
	}
	return Cursor{order: cmp.Or(q.Order, OrderCreated), descending: q.Descending, at: at, id: id}
}

// IsZero tells whether the cursor is absent.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// At returns the sort keys of a cursor in OrderCreated or OrderLastLogin.
func (c Cursor) At() (time.Time, ID) { return c.at, c.id }

// Compare returns a positive number if the position is after another one of the same list, a negative number if it is before, and 0 if it is the same.
func (c Cursor) Compare(other Cursor) int {
	order := cmp.Or(c.at.Compare(other.at), bytes.Compare(c.id.uuid[:], other.id.uuid[:]), strings.Compare(c.key, other.key))
	if c.descending {
		return -order
	}
	return order
}

// Key returns the sort key of a cursor in OrderEmail or OrderUsername.
func (c Cursor) Key() string { return c.key }

// String returns the text for clients, in base64url; "" for the zero Cursor.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	text := string(c.order[:1])
	if c.descending {
		text = strings.ToUpper(text)
	}
	switch c.order {
	case OrderEmail, OrderUsername:
		text += c.key
	default:
		text += strconv.FormatInt(c.at.UnixMicro(), 10) + "." + c.id.String()
	}
	return base64url.EncodeToString([]byte(text))
}

// ParseCursor reads the text that String returned; "" returns the zero Cursor. It returns [ErrInvalid] on the field "after" for
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
	at := slices.IndexFunc(Orders, func(o Order) bool { return strings.EqualFold(string(o[:1]), string(raw[:1])) })
	if at < 0 {
		return Cursor{}, malformed
	}
	cursor := Cursor{order: Orders[at], descending: raw[0] < 'a'}
	switch key := string(raw[1:]); cursor.order {
	case OrderEmail, OrderUsername:
		cursor.key = key
	default:
		if cursor.at, cursor.id, err = parseTimeAndID(key); err != nil {
			return Cursor{}, malformed
		}
	}
	// An address or a name is validated as Restore does, and no further, so that a list never stops at an old row.
	if cursor.String() != text || !utf8.ValidString(cursor.key) || strings.ContainsRune(cursor.key, 0) {
		return Cursor{}, malformed
	}
	return cursor, nil
}

func parseTimeAndID(key string) (time.Time, ID, error) {
	micros, text, _ := strings.Cut(key, ".")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		return time.Time{}, ID{}, err
	}
	if n < minCursorMicros || n > maxCursorMicros {
		return time.Time{}, ID{}, strconv.ErrRange
	}
	id, err := ParseID(text)
	return time.UnixMicro(n).UTC(), id, err
}

// What a cursor's time may be: years that every database and time.Time can write with four digits.
var (
	minCursorMicros = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	maxCursorMicros = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()
)
