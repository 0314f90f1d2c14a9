package domain

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func cursorUser(t *testing.T, email, username string, created time.Time) *User {
	t.Helper()
	u, err := RestoreUser(UserState{ID: NewID(), Email: Email{email}, Username: Username{username}, CreatedAt: StoredTime(created)})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCursorIsThePlaceBehindAUser(t *testing.T) {
	u := cursorUser(t, "jörg@x.org", "jörg", tokenTime)
	for order, check := range map[Order]func(Cursor) bool{
		OrderCreated: func(c Cursor) bool {
			created, id := c.At()
			return created.Equal(StoredTime(tokenTime)) && created.Location() == time.UTC && id == u.ID()
		},
		OrderEmail:    func(c Cursor) bool { return c.Key() == "jörg@x.org" },
		OrderUsername: func(c Cursor) bool { return c.Key() == "jörg" },
		OrderLastLogin: func(c Cursor) bool {
			never, id := c.At()
			return never.IsZero() && id == u.ID()
		},
	} {
		for _, descending := range []bool{false, true} {
			cursor := ListQuery{Order: order, Descending: descending}.CursorAfter(u)
			parsed, err := ParseCursor(cursor.String())
			if err != nil || parsed != cursor || parsed.IsZero() || !check(parsed) {
				t.Errorf("%s: %+v, %v; want %+v", order, parsed, err, cursor)
			}
			for _, other := range Orders {
				for _, direction := range []bool{false, true} {
					_, err := ListQuery{Order: other, Descending: direction, After: cursor}.Resolve()
					if same := other == order && direction == descending; same && err != nil {
						t.Errorf("%s behind a cursor of its own: %v", order, err)
					} else if !same {
						refusal(t, err, ErrInvalid, "after", "")
					}
				}
			}
		}
	}
	if a, b := (ListQuery{}).CursorAfter(u), (ListQuery{Order: OrderCreated}).CursorAfter(u); a != b {
		t.Errorf("in the default order %v; want %v", a, b)
	}
}

func TestCursorsCompareAsTheListGoes(t *testing.T) {
	a, b := cursorUser(t, "a@x.org", "ana", tokenTime), cursorUser(t, "b@x.org", "bob", tokenTime.Add(time.Hour))
	for _, order := range []Order{OrderCreated, OrderEmail, OrderUsername} {
		for _, descending := range []bool{false, true} {
			query := ListQuery{Order: order, Descending: descending}
			first, second := query.CursorAfter(a), query.CursorAfter(b)
			if descending {
				first, second = second, first
			}
			if first.Compare(second) >= 0 || second.Compare(first) <= 0 || first.Compare(first) != 0 {
				t.Errorf("%+v: %d, %d", query, first.Compare(second), second.Compare(first))
			}
		}
	}
}

func TestCursorsReachOldTimesAndLongKeys(t *testing.T) {
	for _, u := range []*User{
		cursorUser(t, strings.Repeat("é", 251)+"@x.y", strings.Repeat("𐐨", 50), time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)),
		cursorUser(t, strings.Repeat("𐐨", 253)+"@x", "a", time.Date(9999, 12, 31, 23, 59, 58, 999_999_000, time.UTC)),
		cursorUser(t, "a@x", "a", time.Unix(0, 0)),
		cursorUser(t, "a\u0007@x", "a\nb", time.Unix(-1, 1000)), // as an old row may be
	} {
		for _, order := range Orders {
			cursor := ListQuery{Order: order, Descending: true}.CursorAfter(u)
			if parsed, err := ParseCursor(cursor.String()); err != nil || parsed != cursor {
				t.Errorf("%+v came back as %+v, %v", cursor, parsed, err)
			}
		}
	}
}

func TestMalformedCursorsAreRefused(t *testing.T) {
	write := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	id := NewID().String()
	for _, text := range []string{
		"=", " ", "A", "not base64!", write("c"), write("e"), write("u"), write("x"), write("xa@x.org"), write("l"), write("l1"), write("lnever." + id), write("L."), write("c1"), write("c1."), write("c." + id), write("c1." + id[1:]),
		write("c1.00000000-0000-0000-0000-000000000000"), write("c" + strings.Repeat("9", 19) + "." + id), write("c-9223372036854775808." + id),
		write("c+1." + id), write("c01." + id), write("c1 ." + id), write("c1." + strings.ToUpper(id)), write("c1." + id + "."),
		write("ea\x00@x.org"), write("e\xff"), write("u\x00"), write("E"),
		write("e"+"a@x.org") + "\n", write("e" + "a@x.org")[:4] + "\r\n" + write("e" + "a@x.org")[4:], write("ea@x.org") + "=",
		write("ea@x.or")[:10] + "h", // loose last bits
		write("e" + strings.Repeat("a", 1021)), strings.Repeat("A", 1<<20),
	} {
		cursor, err := ParseCursor(text)
		refusal(t, err, ErrInvalid, "after", text)
		if !cursor.IsZero() {
			t.Errorf("%.40q: an error and a cursor", text)
		}
	}
	if cursor, err := ParseCursor(""); err != nil || !cursor.IsZero() || cursor.String() != "" {
		t.Errorf("no cursor: %+v, %v", cursor, err)
	}
}

func TestListQueryHasDefaultsAndBounds(t *testing.T) {
	for _, test := range []struct {
		query ListQuery
		field string
		limit int
		order Order
	}{
		{ListQuery{}, "", DefaultPageSize, OrderCreated},
		{ListQuery{Limit: 1, Order: OrderEmail}, "", 1, OrderEmail},
		{ListQuery{Limit: MaxPageSize, Order: OrderUsername}, "", MaxPageSize, OrderUsername},
		{ListQuery{Limit: MaxPageSize + 1}, "limit", 0, ""},
		{ListQuery{Limit: -1}, "limit", 0, ""},
		{ListQuery{Limit: math.MinInt}, "limit", 0, ""},
		{ListQuery{Order: "Email"}, "order", 0, ""},
		{ListQuery{Order: "id; DROP TABLE users"}, "order", 0, ""},
	} {
		resolved, err := test.query.Resolve()
		if test.field != "" {
			refusal(t, err, ErrInvalid, test.field, "")
		} else if err != nil || resolved.Limit != test.limit || resolved.Order != test.order {
			t.Errorf("%+v resolves to %+v, %v", test.query, resolved, err)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	u, err := RestoreUser(UserState{ID: NewID(), Email: Email{"jörg@x.org"}, Username: Username{"jörg"}, CreatedAt: tokenTime})
	if err != nil {
		f.Fatal(err)
	}
	for _, order := range Orders {
		f.Add(ListQuery{Order: order}.CursorAfter(u).String())
		f.Add(ListQuery{Order: order, Descending: true}.CursorAfter(u).String())
	}
	f.Add("Yys1")
	f.Fuzz(func(t *testing.T, text string) {
		cursor, err := ParseCursor(text)
		if err != nil {
			refusal(t, err, ErrInvalid, "after", text)
			return
		}
		if cursor.String() != text {
			t.Errorf("%q is written as %q", text, cursor)
		}
		at, id := cursor.At()
		switch {
		case cursor.IsZero():
		case (cursor.order == OrderCreated || cursor.order == OrderLastLogin) && !id.IsZero() && cursor.Key() == "" && at.Year() >= 1 && at.Year() <= 9999:
		case id.IsZero() && cursor.Key() != "" && utf8.ValidString(cursor.Key()) && !strings.Contains(cursor.Key(), "\x00"):
		default:
			t.Errorf("%q gives %+v", text, cursor)
		}
		if _, err := (ListQuery{Order: cursor.order, Descending: cursor.descending, After: cursor}).Resolve(); err != nil {
			t.Errorf("%q is of no use: %v", text, err)
		}
	})
}
