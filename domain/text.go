package domain

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// cleanText checks what holds for every text that reaches the database: valid UTF-8 without control characters (NUL
// above all, which PostgreSQL refuses), at most maxRunes code points, as varchar(n) counts them.
func cleanText(field, text string, maxRunes int) error {
	// A code point takes at most four bytes, so a longer text is refused before it is read.
	if len(text) > maxRunes*utf8.UTFMax {
		return tooLong(field, maxRunes)
	}
	if !utf8.ValidString(text) {
		return invalid(field, "is not valid UTF-8")
	}
	if strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return invalid(field, "contains a control character")
	}
	if utf8.RuneCountInString(text) > maxRunes {
		return tooLong(field, maxRunes)
	}
	return nil
}

// personName returns a first or last name trimmed and in NFC. Empty means absent.
func personName(field, name string, maxRunes int) (string, error) {
	if err := cleanText(field, name, maxRunes); err != nil {
		return "", err
	}
	name = norm.NFC.String(strings.TrimSpace(name))
	// Normalising may lengthen a text.
	return name, cleanText(field, name, maxRunes)
}

func tooLong(field string, maxRunes int) error {
	return invalid(field, "is longer than "+strconv.Itoa(maxRunes)+" characters")
}
