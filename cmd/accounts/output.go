package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
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

// output is where a command prints: what it found to results, for people as aligned text or for programs as one object per line, and
// everything else to messages.
type output struct {
	results, messages io.Writer
	json              bool // for programs: JSON or, with yaml, that
	yaml              bool
}

// The forms of results, for --output. Without it they are for people.
var formats = []string{"table", "json", "yaml"}

// form is the flag --output.
type form struct{ *output }

func (f form) String() string {
	switch {
	case f.output == nil || !f.json:
		return "table"
	case f.yaml:
		return "yaml"
	}
	return "json"
}

func (form) Type() string { return "string" }

// Set chooses the form.
func (f form) Set(name string) error {
	if !slices.Contains(formats, name) {
		return errors.New("is none of " + strings.Join(formats, ", "))
	}
	f.json, f.yaml = name != "table", name == "yaml"
	return nil
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

// encode writes a record for programs: a line of JSON, or a document of YAML, whose values are JSON, which YAML 1.2 contains.
func (o output) encode(w io.Writer, r record) error {
	if !o.yaml {
		return writeJSON(w, r)
	}
	if _, err := io.WriteString(w, "---\n"); err != nil {
		return err
	}
	for _, f := range r {
		if _, err := io.WriteString(w, f.name+": "); err != nil {
			return err
		}
		if err := writeJSON(w, f.value); err != nil {
			return err
		}
	}
	return nil
}

// only returns the named fields.
func (r record) only(names ...string) record {
	return slices.DeleteFunc(slices.Clone(r), func(f field) bool { return !slices.Contains(names, f.name) })
}

// print writes one result: an object, or a line for each field.
func (o output) print(r record) error {
	var lines bytes.Buffer
	if o.json {
		if err := o.encode(&lines, r); err != nil {
			return err
		}
		return o.write(lines.Bytes())
	}
	table := newTable(&lines)
	for _, f := range r {
		_, _ = fmt.Fprintf(table, "%s:\t%s\n", f.name, text(f.value)) // a buffer takes everything
	}
	_ = table.Flush()
	if screen := screenOf(o.results); screen.colours {
		var bold strings.Builder
		for line := range strings.Lines(lines.String()) {
			name, value, _ := strings.Cut(line, ":")
			bold.WriteString(screen.bold(name+":") + value)
		}
		return o.write([]byte(bold.String()))
	}
	return o.write(lines.Bytes())
}

// printAll writes results of one sort: an object each, or a table of the named columns. Without results it writes nothing. On a terminal
// the last columns are left out, and named in a message, where the lines would be wider than it.
func (o output) printAll(rows []record, columns ...string) error {
	var lines bytes.Buffer
	if o.json {
		for _, r := range rows {
			if err := o.encode(&lines, r); err != nil {
				return err
			}
		}
		return o.write(lines.Bytes())
	}
	if len(rows) == 0 {
		return nil
	}
	cells := [][]string{{}}
	for _, name := range columns {
		cells[0] = append(cells[0], strings.ToUpper(name))
	}
	for _, r := range rows {
		row := make([]string, 0, len(columns))
		for _, f := range r.only(columns...) {
			row = append(row, text(f.value))
		}
		cells = append(cells, row)
	}
	screen := screenOf(o.results)
	fitting := screen.fitting(cells)
	table := newTable(&lines)
	for _, row := range cells {
		_, _ = fmt.Fprintln(table, strings.Join(row[:fitting], "\t"))
	}
	_ = table.Flush()
	heading, rest, _ := strings.Cut(lines.String(), "\n")
	if err := o.write([]byte(screen.bold(heading) + "\n" + rest)); err != nil {
		return err
	}
	if fitting < len(columns) {
		_, _ = fmt.Fprintf(o.messages, "The terminal is too narrow for %s; --output json has all.\n", strings.Join(columns[fitting:], ", "))
	}
	return nil
}

func (o output) write(lines []byte) error {
	if _, err := o.results.Write(lines); err != nil {
		return &domain.Error{Kind: domain.ErrUnavailable, Reason: "the result cannot be written: " + systemReason(err)}
	}
	return nil
}

const columnGap = 2

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0) }

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
		_ = o.encode(o.messages, record{{"malformed", record{{"id", orNull(m.ID)}, {"column", m.Column}, {"reason", m.Reason}}}})
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
