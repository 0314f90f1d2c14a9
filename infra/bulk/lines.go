package bulk

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds a line, in bytes. It is a thousand times what an account takes, and small beside the program.
const maxLine = 1 << 20

// lineReader reads lines of bounded length.
type lineReader struct {
	buffered *bufio.Reader
	number   int // of the line that was read last, from 1
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{buffered: bufio.NewReaderSize(r, 64<<10)}
}

// appendLine appends the next line to text, without its end, which is LF or CRLF. Of a line that is longer than maxLine it
// appends nothing and says so. It returns io.EOF when there is no more line.
func (l *lineReader) appendLine(text []byte) (_ []byte, tooLong bool, err error) {
	start := len(text)
	for {
		part, err := l.buffered.ReadSlice('\n')
		if !tooLong {
			text = append(text, part...)
		}
		if len(text)-start > maxLine+len("\r\n") {
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
		break
	}
	l.number++
	line := bytes.TrimSuffix(bytes.TrimSuffix(text[start:], []byte("\n")), []byte("\r"))
	if len(line) > maxLine {
		return text[:start], true, nil
	}
	return text[:start+len(line)], tooLong, nil
}
