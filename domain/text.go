package domain

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// maxDecomposition is how many times more bytes a text can have when it is not in NFC (UAX #15, 9.1).
const maxDecomposition = 3

// cleanText checks the rules for every text that reaches the database: valid UTF-8 without control characters (PostgreSQL refuses NUL), at most maxRunes
// code points in NFC, as varchar(n) counts them in the stored text.
func cleanText(field, text string, maxRunes int) error {
	if isPrintableASCII(text) && len(text) <= maxRunes {
		return nil
	}
	return cleanUnicode(field, text, maxRunes)
}

// cleanUnicode is cleanText for any alphabet.
func cleanUnicode(field, text string, maxRunes int) error {
	// A code point takes at most four bytes, so a longer text is refused before it is read.
	if len(text) > maxRunes*utf8.UTFMax*maxDecomposition {
		return tooLong(field, maxRunes)
	}
	if !utf8.ValidString(text) {
		return invalid(field, "is not valid UTF-8")
	}
	if strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return invalid(field, "contains a control character")
	}
	if utf8.RuneCountInString(norm.NFC.String(text)) > maxRunes {
		return tooLong(field, maxRunes)
	}
	return nil
}

// foldText maps full-width and half-width characters to their ordinary forms, upper case to lower case, and the whole to
// NFC, until none of it changes the text any more: a composed letter can have a lower-case form that is not composed,
// and the reverse.
func foldText(text string) string {
	if isPrintableASCII(text) {
		return strings.ToLower(text)
	}
	return foldUnicode(text)
}

// foldUnicode is foldText for any alphabet.
func foldUnicode(text string) string {
	for range 3 {
		folded := norm.NFC.String(cases.Lower(language.Und, cases.HandleFinalSigma(false)).String(width.Fold.String(text)))
		if folded == text {
			break
		}
		text = folded
	}
	return text
}

// isPrintableASCII reports whether text has only characters from space to tilde. For such a text cleanUnicode and foldUnicode are not needed; most
// addresses are such texts, and ParseEmail then takes a fifth of the time.
func isPrintableASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// isBlank reports whether r is invisible, though Unicode does not class it as white space: default ignorable code points (UAX #44), format characters,
// variation selectors, and two blank symbols.
func isBlank(r rune) bool {
	return isBlankSymbol(r) ||
		r >= utf8.RuneSelf && unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Cf)
}

// isBlankSymbol reports whether r is the Braille pattern without a dot or the musical null notehead.
func isBlankSymbol(r rune) bool { return r == '\u2800' || r == '\U0001d159' }

// shortText returns a name or a label trimmed and in NFC. Empty means absent, and so does a text of invisible characters alone.
func shortText(field, name string, maxRunes int) (string, error) {
	if err := cleanText(field, name, maxRunes); err != nil {
		return "", err
	}
	name = norm.NFC.String(strings.TrimSpace(name))
	if strings.IndexFunc(name, func(r rune) bool { return !isBlank(r) && !unicode.IsSpace(r) }) < 0 {
		return "", nil
	}
	return name, nil
}

func tooLong(field string, maxRunes int) error {
	return invalid(field, "is longer than "+strconv.Itoa(maxRunes)+" characters")
}
