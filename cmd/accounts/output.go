package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/softbee/accounts/domain"
)

// output is where a command prints: what it found to results, one JSON object per line or as aligned text, and everything
// else to messages.
type output struct {
	results, messages io.Writer
	json              bool
}

// record is what is printed of one thing, its fields in the order that programs may rely on.
type record []field

// field is a named value. A nil value is absent: null, or "-" in text.
type field struct {
	name  string
	value any
}

// MarshalJSON writes an object with the fields in their order.
func (r record) MarshalJSON() ([]byte, error) {
	var object bytes.Buffer
	object.WriteByte('{')
	for i, f := range r {
		if i > 0 {
			object.WriteByte(',')
		}
		if err := writeJSON(&object, f.name); err != nil {
			return nil, err
		}
		object.WriteByte(':')
		if err := writeJSON(&object, f.value); err != nil {
			return nil, err
		}
	}
	object.WriteByte('}')
	return object.Bytes(), nil
}

// writeJSON writes the value and a line end. It leaves <, > and & alone, which are only special in HTML.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// only returns the named fields.
func (r record) only(names ...string) record {
	return slices.DeleteFunc(slices.Clone(r), func(f field) bool { return !slices.Contains(names, f.name) })
}

// print writes one result: a JSON object, or a line for each field.
func (o output) print(r record) error {
	var lines bytes.Buffer
	if o.json {
		if err := writeJSON(&lines, r); err != nil {
			return err
		}
	} else {
		table := newTable(&lines)
		for _, f := range r {
			_, _ = fmt.Fprintf(table, "%s:\t%s\n", f.name, text(f.value)) // a buffer takes everything
		}
		_ = table.Flush()
	}
	return o.write(lines.Bytes())
}

// printAll writes results of one sort: a JSON object each, or a table of the named columns. Without results it writes
// nothing.
func (o output) printAll(rows []record, columns ...string) error {
	var lines bytes.Buffer
	if o.json {
		for _, r := range rows {
			if err := writeJSON(&lines, r); err != nil {
				return err
			}
		}
		return o.write(lines.Bytes())
	}
	table := newTable(&lines)
	for i, r := range rows {
		r = r.only(columns...)
		if i == 0 {
			_, _ = fmt.Fprintln(table, strings.ToUpper(strings.Join(columns, "\t")))
		}
		cells := make([]string, len(r))
		for j, f := range r {
			cells[j] = text(f.value)
		}
		_, _ = fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	_ = table.Flush()
	return o.write(lines.Bytes())
}

func (o output) write(lines []byte) error {
	if _, err := o.results.Write(lines); err != nil {
		return &domain.Error{Kind: domain.ErrUnavailable, Reason: "the result cannot be written: " + systemReason(err)}
	}
	return nil
}

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// text returns a value as people read it.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return "-"
	case string:
		return printable(cmp.Or(v, "-"))
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case []string:
		if len(v) == 0 {
			return "-"
		}
		return printable(strings.Join(v, ", "))
	default:
		return printable(fmt.Sprint(v))
	}
}

// printable escapes what would command the terminal, or look like another line, instead of being shown. What the domain's
// constructors made has no such characters, but a row may have come from elsewhere.
func printable(s string) string { return escaped(s, "") }

// escaped is printable, but for the characters in except.
func escaped(s, except string) string {
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		char := s[:size]
		s = s[size:]
		hidden := r == utf8.RuneError && size == 1 || unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
		if hidden && !strings.ContainsRune(except, r) {
			char = strings.Trim(strconv.QuoteToASCII(char), `"`)
		}
		b.WriteString(char)
	}
	return b.String()
}

// orNull returns nil for a zero value.
func orNull[T comparable](value T) any {
	var zero T
	if value == zero {
		return nil
	}
	return value
}

// userRecord is an account as every command prints it, which is also its JSON.
func userRecord(u *domain.User, now time.Time) record {
	var r record
	for name, value := range u.Public(now) {
		r = append(r, field{name, value})
	}
	return r
}

// userColumns are what a table of accounts has room for.
var userColumns = []string{"id", "email", "username", "is_active", "is_verified", "last_login", "sessions", "created_at"}

func (o output) printUser(u *domain.User) error { return o.print(userRecord(u, time.Now())) }

// reportMalformed says which row is left out of the results, and why.
func (o output) reportMalformed(m *domain.Malformed) {
	if o.json {
		_ = writeJSON(o.messages, record{{"malformed", record{{"id", orNull(m.ID)}, {"column", m.Column}, {"reason", m.Reason}}}})
		return
	}
	_, _ = fmt.Fprintln(o.messages, "accounts: left out:", printable(m.Error())) // there is nowhere else to report to
}

// grantRecord is a refresh token with what its holder needs to know of it.
func grantRecord(g domain.Grant) record {
	return record{
		{"user_id", g.UserID},
		{"session_id", g.Session.ID},
		{"label", orNull(g.Session.Label)},
		{"token", g.Token.Reveal()},
		{"expires_at", g.Session.ExpiresAt},
	}
}

func sessionRecord(s domain.Session) record {
	return record{
		{"session_id", s.ID},
		{"label", orNull(s.Label)},
		{"issued_at", s.IssuedAt},
		{"rotated_at", s.RotatedAt},
		{"expires_at", s.ExpiresAt},
		{"absolute_expires_at", s.AbsoluteExpiry},
	}
}
