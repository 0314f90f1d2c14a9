package main

import (
	"io"
	"os"
	"runtime"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen is what is known of the terminal to which something is written. The zero screen is none: a file or a pipe.
type screen struct {
	terminal bool
	colours  bool
	width    int // in characters; 0 if it is not known
}

// screenOf asks for colours unless NO_COLOR is set (https://no-color.org), TERM is dumb, or the system is Windows, whose older terminals print
// the codes.
func screenOf(w io.Writer) screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{}
	}
	s := screen{terminal: true}
	s.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows"
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.width = width
	}
	return s
}

func (s screen) bold(text string) string { return s.styled("1", text) }

func (s screen) red(text string) string { return s.styled("31", text) }

func (s screen) styled(code, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// fitting returns how many columns of a table fit, the first one in any case.
func (s screen) fitting(rows [][]string) int {
	columns := len(rows[0])
	if s.width == 0 {
		return columns
	}
	width := 0
	for n := range columns {
		widest := 0
		for _, row := range rows {
			widest = max(widest, utf8.RuneCountInString(row[n]))
		}
		if width += widest; width > s.width && n > 0 {
			return n
		}
		width += columnGap
	}
	return columns
}
