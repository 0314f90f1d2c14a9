package bulk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// maxLine bounds a line, in bytes. It is a thousand times what an account takes, and small beside the program.
	maxLine = 1 << 20

	// maxRecordLines bounds over how many lines a quoted field of CSV may go. A quote that is out of place costs no more than to read so many
	// lines twice.
	maxRecordLines = 20
)

// lineReader reads lines of bounded length, in UTF-8 or, behind its byte order mark, UTF-16.
type lineReader struct {
	buffered *bufio.Reader
	end      byte           // of a line: LF, which CR may precede, or CR
	quoted   bool           // CSV: what is quoted may have line ends
	ahead    []physicalLine // lines that were read to look for the end of a quote
	number   int            // of the line that was read last, from 1
}

// physicalLine is a line with its end.
type physicalLine struct {
	text    []byte
	tooLong bool
}

func newLineReader(r io.Reader) *lineReader {
	buffered := bufio.NewReaderSize(r, 64<<10)
	for order, mark := range map[binary.ByteOrder]string{binary.LittleEndian: "\xff\xfe", binary.BigEndian: "\xfe\xff"} {
		if begin, err := buffered.Peek(len(mark)); err == nil && string(begin) == mark {
			_, _ = buffered.Discard(len(mark)) // they are in the buffer
			buffered = bufio.NewReaderSize(&utf16Reader{source: buffered, order: order}, 64<<10)
			break
		}
	}
	return &lineReader{buffered: buffered, end: '\n'}
}

// findLineEnd looks for the first line end, and takes CR for that of all lines if it is one without LF, as old spreadsheets write it.
func (l *lineReader) findLineEnd() {
	begin, _ := l.buffered.Peek(l.buffered.Size()) // what there is of it
	if at := bytes.IndexAny(begin, "\r\n"); at >= 0 && at+1 < len(begin) && begin[at] == '\r' && begin[at+1] != '\n' {
		l.end = '\r'
	}
}

// appendLine appends the next line to text, without its end. In CSV it appends as many lines as a quoted field goes over. Of a line that is longer
// than maxLine it appends nothing and says so. It returns the number of the line, the first one of several, and io.EOF when there is no more.
func (l *lineReader) appendLine(text []byte) (_ []byte, number int, tooLong bool, err error) {
	start := len(text)
	text, tooLong, err = l.appendPhysical(text)
	if err != nil {
		return text, l.number, false, err
	}
	l.number++
	number = l.number
	if l.quoted && !tooLong && isOpen(text[start:]) {
		return l.join(text, start), number, false, nil
	}
	return text[:start+len(l.trimmed(text[start:]))], number, tooLong, nil
}

// join appends lines until the quotes of the record that begins at start are even. If none of the next lines ends it, the record is its first line.
func (l *lineReader) join(text []byte, start int) []byte {
	first := len(text)
	var read []physicalLine
	for range maxRecordLines {
		begin := len(text)
		var tooLong bool
		var err error
		text, tooLong, err = l.appendPhysical(text)
		if err != nil { // the end of the file, or an error that comes again
			break
		}
		read = append(read, physicalLine{text: bytes.Clone(text[begin:]), tooLong: tooLong})
		if tooLong || len(text)-start > maxLine {
			break
		}
		if !isOpen(text[start:]) {
			l.number += len(read)
			return text[:start+len(l.trimmed(text[start:]))]
		}
	}
	l.ahead = append(read, l.ahead...)
	return text[:start+len(l.trimmed(text[start:first]))]
}

func isOpen(record []byte) bool { return bytes.Count(record, []byte(`"`))%2 == 1 }

// trimmed returns a line without its end.
func (l *lineReader) trimmed(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{l.end})
	if l.end == '\n' {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}

// appendPhysical appends the next line with its end.
func (l *lineReader) appendPhysical(text []byte) (_ []byte, tooLong bool, err error) {
	if len(l.ahead) > 0 {
		next := l.ahead[0]
		l.ahead = l.ahead[1:]
		return append(text, next.text...), next.tooLong, nil
	}
	start := len(text)
	for {
		part, err := l.buffered.ReadSlice(l.end)
		if !tooLong {
			text = append(text, part...)
		}
		if len(l.trimmed(text[start:])) > maxLine {
			text, tooLong = text[:start], true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(part) == 0 && len(text) == start && !tooLong:
			return text, false, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return text, false, err
		}
		return text, tooLong, nil
	}
}

// utf16Reader reads UTF-16 as UTF-8. What is no character becomes a byte that is not valid in UTF-8.
type utf16Reader struct {
	source *bufio.Reader
	order  binary.ByteOrder
	text   []byte // decoded, and not yet read
	err    error
}

// Read implements [io.Reader].
func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.text) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		u.text = make([]byte, 0, 4096)
		for more := true; more && u.err == nil && len(u.text) < 4000; more = u.source.Buffered() >= 4 {
			u.decode()
		}
	}
	n := copy(p, u.text)
	u.text = u.text[n:]
	return n, nil
}

// decode reads one character.
func (u *utf16Reader) decode() {
	const invalid = 0xff
	var unit [2]byte
	if _, err := io.ReadFull(u.source, unit[:]); err != nil {
		if u.err = err; errors.Is(err, io.ErrUnexpectedEOF) { // half a unit
			u.text, u.err = append(u.text, invalid), io.EOF
		}
		return
	}
	r := rune(u.order.Uint16(unit[:]))
	if utf16.IsSurrogate(r) {
		low, _ := u.source.Peek(len(unit))
		if len(low) < len(unit) {
			u.text = append(u.text, invalid)
			return
		}
		if r = utf16.DecodeRune(r, rune(u.order.Uint16(low))); r == utf8.RuneError {
			u.text = append(u.text, invalid)
			return
		}
		_, _ = u.source.Discard(len(unit)) // they are in the buffer
	}
	u.text = utf8.AppendRune(u.text, r)
}
