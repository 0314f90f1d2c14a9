package bulk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/softbee/accounts/domain"
)

// Format is how accounts are written in a file.
type Format string

// The formats, in UTF-8 or, behind its byte order mark, UTF-16. In both a line is an account, and a field that is absent, null or empty is the same.
const (
	JSONLines Format = "jsonl" // a JSON object in each line
	CSV       Format = "csv"   // RFC 4180 with the names of the fields in the first line; commas, semicolons or tabs separate fields
)

// ParseFormat returns the format of that name, or [domain.ErrInvalid] on the field "format".
func ParseFormat(name string) (Format, error) {
	switch format := Format(name); format {
	case JSONLines, CSV:
		return format, nil
	}
	return "", invalid("format", "is neither jsonl nor csv")
}

// FormatOf returns the format that the end of a file's name tells, or [domain.ErrInvalid] on the field "format".
func FormatOf(file string) (Format, error) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".jsonl", ".ndjson", ".json":
		return JSONLines, nil
	case ".csv":
		return CSV, nil
	}
	return "", invalid("format", "does not follow from the file's name; say jsonl or csv")
}

// A parser reads the fields of a line into a draft. It serves one goroutine.
type parser func(line []byte, d *draft) error

// parsers returns what makes parsers for a file. Of CSV it reads the header.
func parsers(format Format, lines *lineReader) (func() parser, error) {
	if format == JSONLines {
		return jsonParser, nil
	}
	header, err := readHeader(lines)
	if err != nil {
		return nil, err
	}
	return func() parser { return csvParser(header) }, nil
}

var (
	errNotUTF8   = invalid("", "the line is not valid UTF-8")
	errNotObject = invalid("", "the line is not one JSON object in UTF-8")
	errTwice     = invalid("", "the line has a field twice")
	errTooLong   = invalid("", "the line is longer than "+strconv.Itoa(maxLine)+" bytes")
	errNotCSV    = invalid("", "the line is not CSV: a quote is out of place, or a quoted field does not end")
)

// jsonParser reads each line by itself, token by token: it accepts no field that comes twice or in another case, and no error
// quotes a value.
func jsonParser() parser {
	var source bytes.Reader
	decoder := jsontext.NewDecoder(&source)
	return func(line []byte, d *draft) error {
		source.Reset(line)
		decoder.Reset(&source)
		if start, err := decoder.ReadToken(); err != nil || start.Kind() != jsontext.KindBeginObject {
			return errNotObject
		}
		for decoder.PeekKind() != jsontext.KindEndObject {
			name, err := decoder.ReadToken()
			switch {
			case errors.Is(err, jsontext.ErrDuplicateName):
				return errTwice
			case err != nil:
				return errNotObject
			}
			f, ok := fields[name.String()]
			if !ok && name.String() == identitiesField {
				raw, err := decoder.ReadValue()
				if err != nil {
					return errNotObject
				}
				d.identities = string(raw)
				continue
			}
			if !ok {
				return unknownField(name.String())
			}
			token, err := decoder.ReadToken()
			if err != nil {
				return errNotObject
			}
			value, err := f.fromJSON(token)
			if err != nil {
				return err
			}
			if value == "" {
				continue
			}
			if err := f.set(d, value); err != nil {
				return err
			}
		}
		if _, err := decoder.ReadToken(); err != nil {
			return errNotObject
		}
		if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
			return errNotObject
		}
		return nil
	}
}

// fromJSON returns the text of a value of the field's type; "" for null.
func (f field) fromJSON(token jsontext.Token) (string, error) {
	switch kind := token.Kind(); {
	case kind == jsontext.KindNull:
		return "", nil
	case kind == jsontext.KindString && f.kind == text,
		kind == jsontext.KindNumber && f.kind == number,
		(kind == jsontext.KindTrue || kind == jsontext.KindFalse) && f.kind == flag:
		return token.String(), nil
	}
	return "", invalid(f.name, "is not "+map[kind]string{text: "a string", flag: "true or false", number: "a number"}[f.kind])
}

// separators are what stands between the fields of CSV: a comma (RFC 4180), or what spreadsheets write where the comma is that of decimals, and for
// copies of cells.
var separators = map[byte]string{',': "commas", ';': "semicolons", '\t': "tabs"}

// header is the first line of a CSV file.
type header struct {
	fields    []field // without a name for a column without one
	separator byte
}

// readHeader reads the names of a CSV file's first line, in which capitals, blanks and hyphens do not matter, and what separates them.
func readHeader(lines *lineReader) (header, error) {
	const name = "header"
	lines.findLineEnd()
	line, _, tooLong, err := lines.appendLine(nil)
	switch {
	case errors.Is(err, io.EOF):
		return header{}, invalid(name, "is missing: the first line of a CSV file names its fields")
	case err != nil:
		return header{}, unreadable(err)
	case tooLong:
		return header{}, errTooLong
	case bytes.IndexByte(line, 0) >= 0:
		return header{}, invalid(name, "has NUL bytes, as UTF-16 without a byte order mark has; expected UTF-8, or UTF-16 with that mark")
	case !utf8.Valid(line):
		return header{}, invalid(name, "is not valid UTF-8; expected UTF-8, or UTF-16 with a byte order mark")
	}
	lines.quoted = true
	line = withoutBOM(line)
	h := header{separator: ','}
	for separator := range separators {
		if n := bytes.Count(line, []byte{separator}); n > bytes.Count(line, []byte{h.separator}) {
			h.separator = separator
		}
	}
	names, ok := splitCSV(string(line), h.separator, nil)
	if !ok {
		return header{}, invalid(name, "is not a line of CSV: a quote is out of place")
	}
	var seen uint32
	for i, name := range names {
		name = fieldName(name)
		f, ok := fields[name]
		switch {
		case name == "":
		case !ok:
			return header{}, unknownColumn(name, i+1, len(names), separators[h.separator])
		case seen&f.bit != 0:
			return header{}, invalid(name, "comes twice in the header")
		}
		h.fields = append(h.fields, f)
		seen |= f.bit
	}
	return h, nil
}

// fieldName returns the name of a field that a header means.
func fieldName(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_", "\u00a0", "_").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// unknownColumn says what was found and what was expected.
func unknownColumn(name string, column, of int, separator string) error {
	err := unknownField(name)
	var detail *domain.Error
	if errors.As(err, &detail) {
		detail.Reason += fmt.Sprintf(" (column %d of %d, separated by %s); expected names of %s", column, of, separator, strings.Join(fieldNames, ", "))
	}
	return err
}

var errBlank = errors.New("a row without a value")

// csvParser reads each record by itself, so that a quote that is left open costs a line and not the rest of the file.
func csvParser(h header) parser {
	values := make([]string, 0, len(h.fields))
	return func(line []byte, d *draft) error {
		if !utf8.Valid(line) {
			return errNotUTF8
		}
		var ok bool
		if values, ok = splitCSV(string(line), h.separator, values[:0]); !ok {
			return errNotCSV
		}
		if !slices.ContainsFunc(values, func(value string) bool { return value != "" }) {
			return errBlank // as spreadsheets write empty rows
		}
		if len(values) != len(h.fields) {
			return invalid("", "the line has "+strconv.Itoa(len(values))+" fields, the header "+strconv.Itoa(len(h.fields)))
		}
		for i, value := range values {
			if value == "" {
				continue
			}
			if h.fields[i].set == nil {
				return invalid("", "there is a value in column "+strconv.Itoa(i+1)+", which has no name in the header")
			}
			if err := h.fields[i].set(d, value); err != nil {
				return err
			}
		}
		return nil
	}
}

// splitCSV appends the fields of a record (RFC 4180) to values, as they are written. It returns false where a quote is out of place.
func splitCSV(record string, separator byte, values []string) (_ []string, ok bool) {
	for {
		if !strings.HasPrefix(record, `"`) {
			value, rest, more := strings.Cut(record, string(separator))
			if strings.Contains(value, `"`) {
				return values, false
			}
			if values = append(values, value); !more {
				return values, true
			}
			record = rest
			continue
		}
		end, escapes := 1, false
		for {
			at := strings.IndexByte(record[end:], '"')
			if at < 0 {
				return values, false
			}
			if end += at + 1; end == len(record) || record[end] != '"' {
				break
			}
			end, escapes = end+1, true
		}
		value := record[1 : end-1]
		if escapes {
			value = strings.ReplaceAll(value, `""`, `"`)
		}
		values = append(values, value)
		if end == len(record) {
			return values, true
		}
		if record[end] != separator {
			return values, false
		}
		record = record[end+1:]
	}
}

// withoutBOM removes the mark that some programs put before a UTF-8 file.
func withoutBOM(line []byte) []byte { return bytes.TrimPrefix(line, []byte("\ufeff")) }

func unreadable(error) error {
	return &domain.Error{Kind: domain.ErrUnavailable, Field: "file", Reason: "cannot be read to its end"}
}
