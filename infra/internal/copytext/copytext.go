// Package copytext writes rows in the text format of PostgreSQL's COPY (its manual, COPY, File Formats).
package copytext

import (
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

var escapes = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

// AppendRow appends a line with the values of a row, each of them nil, a bool, an int, an int64, a string or a time in the years 1 to 9999.
func AppendRow(line []byte, row []any) ([]byte, error) {
	for i, value := range row {
		if i > 0 {
			line = append(line, '\t')
		}
		switch value := value.(type) {
		case nil:
			line = append(line, `\N`...)
		case string:
			line = append(line, escapes.Replace(value)...)
		case bool:
			line = strconv.AppendBool(line, value)
		case int:
			line = strconv.AppendInt(line, int64(value), 10)
		case int64:
			line = strconv.AppendInt(line, value, 10)
		case time.Time:
			line = value.UTC().AppendFormat(line, "2006-01-02 15:04:05.999999Z07:00")
		default:
			return nil, fmt.Errorf("COPY of a %T, expected nil, bool, int, string or time", value)
		}
	}
	return append(line, '\n'), nil
}

// Reader returns the lines of the rows, and a function that ends the iteration of rows.
func Reader(rows iter.Seq2[[]any, error]) (io.Reader, func()) {
	next, stop := iter.Pull2(rows)
	return &reader{next: next}, stop
}

type reader struct {
	next    func() ([]any, error, bool)
	line    []byte // of the current row, to be reused
	pending []byte // of it, not read yet
}

// Read implements [io.Reader]. Its error is that of the rows.
func (r *reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.pending) == 0 {
			row, err, ok := r.next()
			switch {
			case !ok && n == 0:
				return 0, io.EOF
			case !ok:
				return n, nil
			case err != nil:
				return n, err
			}
			if r.line, err = AppendRow(r.line[:0], row); err != nil {
				return n, err
			}
			r.pending = r.line
		}
		copied := copy(p[n:], r.pending)
		r.pending = r.pending[copied:]
		n += copied
	}
	return n, nil
}
