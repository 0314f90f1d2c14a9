package domain

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// checkASCII demands that what is done for ASCII alone comes to the same as what is done for any alphabet.
func checkASCII(t interface{ Errorf(string, ...any) }, text string, maxRunes int) {
	if got, want := foldText(text), foldUnicode(text); got != want {
		t.Errorf("%+q is folded to %+q; want %+q", text, got, want)
	}
	got, want := cleanText("email", text, maxRunes), cleanUnicode("email", text, maxRunes)
	var gotDetail, wantDetail *Error
	if errors.As(got, &gotDetail) != errors.As(want, &wantDetail) || gotDetail != nil && *gotDetail != *wantDetail {
		t.Errorf("%+q of at most %d: %v; want %v", text, maxRunes, got, want)
	}
}

func TestASCIIComesToTheSameAsUnicode(t *testing.T) {
	for c := range 0x180 { // beyond ASCII too, as runes and as bytes
		for _, text := range []string{string(rune(c)), "a" + string(rune(c)) + "B", string([]byte{'A', byte(c), '@'})} {
			checkASCII(t, text, 2)
			checkASCII(t, text, 3)
		}
	}
	printable := rapid.RuneFrom(nil, &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7e, Stride: 1}}})
	mixed := rapid.OneOf(printable, printable, printable, rapid.Rune())
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]*rapid.Generator[rune]{printable, mixed}).Draw(t, "alphabet")).Draw(t, "text")
		checkASCII(t, strings.Repeat(text, rapid.IntRange(1, 20).Draw(t, "times")), rapid.IntRange(0, 300).Draw(t, "at most"))
	})
}

func FuzzASCIIComesToTheSameAsUnicode(f *testing.F) {
	for _, text := range []string{"", "a@x.org", "A B~", "\x7f", "\x1f", "I\u0307", "\u212a", "\xff", strings.Repeat("A", 70)} {
		f.Add(text, 5)
	}
	f.Fuzz(func(t *testing.T, text string, maxRunes int) { checkASCII(t, text, min(max(maxRunes, 0), 1000)) })
}
