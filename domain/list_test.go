package domain

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
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
			created, id := c.Created()
			return created.Equal(StoredTime(tokenTime)) && created.Location() == time.UTC && id == u.ID()
		},
		OrderEmail:    func(c Cursor) bool { return c.Key() == "jörg@x.org" },
		OrderUsername: func(c Cursor) bool { return c.Key() == "jörg" },
	} {
		cursor := CursorAfter(order, u)
		parsed, err := ParseCursor(cursor.String())
		if err != nil || parsed != cursor || parsed.IsZero() || !check(parsed) {
			t.Errorf("%s: %+v, %v; want %+v", order, parsed, err, cursor)
		}
		for other, want := range map[Order]string{OrderCreated: "after", OrderEmail: "after", OrderUsername: "after", order: ""} {
			_, err := ListQuery{Order: other, After: cursor}.Resolve()
			if want == "" && err != nil {
				t.Errorf("%s behind a cursor of %s: %v", other, order, err)
			} else if want != "" {
				refusal(t, err, ErrInvalid, want, "")
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
		for _, order := range []Order{OrderCreated, OrderEmail, OrderUsername} {
			cursor := CursorAfter(order, u)
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
		"=", " ", "A", "not base64!", write("c"), write("e"), write("u"), write("x"), write("xa@x.org"), write("c1"), write("c1."), write("c." + id), write("c1." + id[1:]),
		write("c1.00000000-0000-0000-0000-000000000000"), write("c" + strings.Repeat("9", 19) + "." + id), write("c-9223372036854775808." + id),
		write("c+1." + id), write("c01." + id), write("c1 ." + id), write("c1." + strings.ToUpper(id)), write("c1." + id + "."),
		write("ea\x00@x.org"), write("e\xff"), write("u\x00"), write("E" + "a@x.org"),
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

// Who searches for a whole address finds the account, however it is written.
func TestPrefixOfAWholeAddressIsItsCanonicalForm(t *testing.T) {
	accepted := 0
	for r := rune(0x21); r <= unicode.MaxRune; r++ {
		if !telling(r) {
			continue
		}
		text := "Jo\u0308rg" + string(r) + "@B" + string(r) + "u\u0308.Müller.example"
		email, err := ParseEmail(text)
		if err != nil {
			continue
		}
		accepted++
		if prefix, err := ParsePrefix(text); err != nil || prefix.String() != email.String() {
			t.Errorf("ParsePrefix(%q) = %q, %v; the address is %q", text, prefix, err, email)
		}
	}
	if accepted < 2_000 {
		t.Errorf("only %d addresses were accepted", accepted)
	}
}

func TestPrefixIsFoldedAsWhatItSearches(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "  ": "", "JÖR": "jör", "jo\u0308r": "jör", "ＦＵＬＬ": "full", "100%_\\": "100%_\\", "ΣΊ": "σί", "İ": "i\u0307", " a b ": "a b", "@": "@",
		"ana@müller.example": "ana@xn--mller-kva.example", "ANA@MÜLLER": "ana@xn--mller-kva", "a@müller.": "a@xn--mller-kva.", "a@x.例子。广": "a@x.xn--fsqu00a.xn--swt",
		"müller": "müller", "müller@": "müller@", "a@.x": "a@.x", "a@ex": "a@ex",
	} {
		prefix, err := ParsePrefix(text)
		if err != nil || prefix.String() != want || prefix.IsZero() != (want == "") {
			t.Errorf("ParsePrefix(%q) = %q, %v; want %q", text, prefix, err, want)
		}
	}
	for _, text := range []string{"a\x00", "\xff", "a\nb", strings.Repeat("a", 256), strings.Repeat("a", 1<<20)} {
		prefix, err := ParsePrefix(text)
		refusal(t, err, ErrInvalid, "search", text)
		if !prefix.IsZero() {
			t.Errorf("%.40q: an error and a prefix", text)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	u, err := RestoreUser(UserState{ID: NewID(), Email: Email{"jörg@x.org"}, Username: Username{"jörg"}, CreatedAt: tokenTime})
	if err != nil {
		f.Fatal(err)
	}
	for _, order := range []Order{OrderCreated, OrderEmail, OrderUsername} {
		f.Add(CursorAfter(order, u).String())
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
		created, id := cursor.Created()
		switch {
		case cursor.IsZero():
		case cursor.order == OrderCreated && !id.IsZero() && cursor.Key() == "" && created.Year() >= 1 && created.Year() <= 9999:
		case id.IsZero() && cursor.Key() != "" && utf8.ValidString(cursor.Key()) && !strings.Contains(cursor.Key(), "\x00"):
		default:
			t.Errorf("%q gives %+v", text, cursor)
		}
		if _, err := (ListQuery{Order: cursor.order, After: cursor}).Resolve(); err != nil {
			t.Errorf("%q is of no use: %v", text, err)
		}
	})
}

func FuzzParsePrefix(f *testing.F) {
	f.Add("JÖR")
	f.Add("ａ\u0345\u0301")
	f.Fuzz(func(t *testing.T, text string) {
		prefix, err := ParsePrefix(text)
		if err != nil {
			refusal(t, err, ErrInvalid, "search", text)
			return
		}
		if again, err := ParsePrefix(prefix.String()); err == nil && again != prefix {
			t.Errorf("%+q gives %+q, and that %+q", text, prefix, again)
		}
		if !norm.NFC.IsNormalString(prefix.String()) {
			t.Errorf("%+q is not in NFC", prefix)
		}
	})
}
