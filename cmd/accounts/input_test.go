package main

import (
	"bufio"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
)

func TestALineIsReadWithoutItsMarkAndEnd(t *testing.T) {
	for text, want := range map[string]string{
		"a":                       "a",
		"a\n":                     "a",
		"a\r\nb":                  "a",
		"a\r":                     "a\r",
		"":                        "",
		"\ufeffa\r\n":             "a",
		"\ufeff\ufeffa":           "\ufeffa",
		"a\ufeff":                 "a\ufeff",
		"\ufeff\n":                "",
		strings.Repeat("é", 5000): strings.Repeat("é", 5000),
	} {
		if line, err := readLine(bufio.NewReader(strings.NewReader(text))); err != nil || line != want {
			t.Errorf("%.20q is read as %.20q, %v", text, line, err)
		}
	}
	for _, text := range []string{"\xff\xfea\x00\n\x00", "\xfe\xff\x00a\x00\n"} {
		if line, err := readLine(bufio.NewReader(strings.NewReader(text))); domain.KindOf(err) != domain.ErrInvalid || line != "" {
			t.Errorf("UTF-16 is read as %q, %v", line, err)
		}
	}
}
