package bulk

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/softbee/accounts/domain"
)

// Format is how accounts are written in a file.
type Format string

// The formats. In both a line is an account, and a field that is absent, null or empty is the same.
const (
	JSONLines Format = "jsonl" // a JSON object in each line, in UTF-8
	CSV       Format = "csv"   // RFC 4180 in UTF-8, with the names of the fields in the first line, and no line end within a field
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
	return "", invalid("format", "cannot be told from the file's name")
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
				if err := setIdentities(d, raw); err != nil {
					return err
				}
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

// readHeader returns the fields that a CSV file's first line names.
func readHeader(lines *lineReader) ([]field, error) {
	const name = "header"
	line, tooLong, err := lines.appendLine(nil)
	switch {
	case errors.Is(err, io.EOF):
		return nil, invalid(name, "is missing: the first line of a CSV file names its fields")
	case err != nil:
		return nil, unreadable(err)
	case tooLong:
		return nil, errTooLong
	}
	names, err := csv.NewReader(bytes.NewReader(withoutBOM(line))).Read()
	if err != nil {
		return nil, invalid(name, "is not a line of CSV")
	}
	header := make([]field, len(names))
	var seen uint32
	for i, name := range names {
		f, ok := fields[name]
		switch {
		case !ok:
			return nil, unknownField(name)
		case seen&f.bit != 0:
			return nil, invalid(name, "comes twice in the header")
		}
		header[i] = f
		seen |= f.bit
	}
	return header, nil
}

// csvParser reads each line by itself, so that a quote that is left open costs a line and not the rest of the file. No field of
// an account can have a line end.
func csvParser(header []field) parser {
	var source bytes.Reader
	reader := csv.NewReader(&source)
	reader.FieldsPerRecord = -1
	reader.ReuseRecord = true
	return func(line []byte, d *draft) error {
		if !utf8.Valid(line) {
			return errNotUTF8
		}
		source.Reset(line)
		values, err := reader.Read()
		if err != nil {
			return errNotCSV
		}
		if len(values) != len(header) {
			return invalid("", "the line has "+strconv.Itoa(len(values))+" fields, the header "+strconv.Itoa(len(header)))
		}
		for i, value := range values {
			if value == "" {
				continue
			}
			if err := header[i].set(d, value); err != nil {
				return err
			}
		}
		return nil
	}
}

// withoutBOM removes the mark that some programs put before a UTF-8 file.
func withoutBOM(line []byte) []byte { return bytes.TrimPrefix(line, []byte("\ufeff")) }

func unreadable(error) error {
	return &domain.Error{Kind: domain.ErrUnavailable, Field: "file", Reason: "cannot be read to its end"}
}
