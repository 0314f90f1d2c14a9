package domain

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// refusal demands an *Error of a kind on a field with a reason that does not repeat the input.
func refusal(t *testing.T, err error, kind Kind, field, input string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || e.Field != field || e.Reason == "" {
		t.Errorf("%.80q: error %#v, want the kind %q on the field %q with a reason", input, err, kind, field)
	} else if len(input) > 8 && strings.Contains(err.Error(), input) {
		t.Errorf("the error repeats the input: %v", err)
	}
}

// lowerCases is what databases take for lower case: by the C library, code point by code point, or by ICU, in some language.
var lowerCases = map[string]func(string) string{
	"code point by code point": strings.ToLower,
	"with final sigma":         cases.Lower(language.Und).String,
	"in Turkish":               func(text string) string { return strings.ToLowerSpecial(unicode.TurkishCase, text) },
	"in Lithuanian":            cases.Lower(language.Lithuanian).String,
}

// storable demands what the databases check of an address and a name, whatever their tables of Unicode: lower case, NFC,
// and no code point that this program's tables do not know.
func storable(t *testing.T, canonical string) {
	t.Helper()
	if !norm.NFC.IsNormalString(canonical) {
		t.Errorf("%+q is not in NFC", canonical)
	}
	for name, lower := range lowerCases {
		if lower := lower(canonical); lower != canonical {
			t.Errorf("lower case %s makes %+q of %+q", name, lower, canonical)
		}
	}
	if width.Fold.String(canonical) != canonical {
		t.Errorf("%+q has full-width characters", canonical)
	}
	if !utf8.ValidString(canonical) || strings.IndexFunc(canonical, unseen) >= 0 {
		t.Errorf("%+q has a code point that is unknown, invisible or space", canonical)
	}
}

func unseen(r rune) bool {
	joiner := r == '\u200c' || r == '\u200d' // which PRECIS allows where it changes a letter's form (RFC 5892 A.1, A.2)
	return !joiner && (!unicode.IsGraphic(r) || unicode.IsSpace(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
}

// spellings returns what differs from text in case, width or normal form only.
func spellings(text string) []string {
	lower := cases.Lower(language.Und, cases.HandleFinalSigma(false)).String(text)
	return []string{norm.NFC.String(text), norm.NFD.String(text), width.Fold.String(text), lower, norm.NFD.String(lower)}
}

// others returns the texts that differ from one that was parsed, and from one another.
func others(parsed string, texts []string) []string {
	var found []string
	for _, text := range texts {
		if text != parsed && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	return found
}

// checkEmail demands of any text that it is refused, or has one canonical form that is storable, and returns whether.
func checkEmail(t *testing.T, text string) bool {
	t.Helper()
	email, err := ParseEmail(text)
	if err != nil {
		refusal(t, err, ErrInvalid, "email", text)
		if !email.IsZero() {
			t.Errorf("%+q: an error and an address", text)
		}
		return false
	}
	canonical := email.String()
	storable(t, canonical)
	if n := utf8.RuneCountInString(canonical); n < 3 || n > maxEmailRunes {
		t.Errorf("%+q has %d code points", canonical, n)
	}
	for _, spelling := range others(text, append(spellings(text), canonical, " "+text+"\n")) {
		if again, err := ParseEmail(spelling); again != email {
			t.Errorf("%+q gives %+q, but %+q gives %+q, %v", text, canonical, spelling, again, err)
		}
	}
	if restored, err := RestoreEmail(canonical); restored != email {
		t.Errorf("%+q is restored as %+q, %v", canonical, restored, err)
	}
	return true
}

func TestEmailHasOneCanonicalForm(t *testing.T) {
	for text, want := range map[string]string{
		"a@x.org":                       "a@x.org",
		"A@X.org":                       "a@x.org",
		" \t\u3000Case@Example.COM\r\n": "case@example.com",
		"o'brien+tag@sub.example.com":   "o'brien+tag@sub.example.com",
		"!#$%&'*+-/=?^_`{|}~@x.org":     "!#$%&'*+-/=?^_`{|}~@x.org",
		"a@localhost":                   "a@localhost",

		"jörg@müller.example":          "jörg@xn--mller-kva.example",
		"JÖRG@MÜLLER.EXAMPLE":          "jörg@xn--mller-kva.example",
		"jo\u0308rg@mu\u0308ller.eXAM": "jörg@xn--mller-kva.exam",
		"a@XN--MLLER-KVA.example":      "a@xn--mller-kva.example",
		"用户@例子.广告":                     "用户@xn--fsqu00a.xn--4rr70v",
		"用户@例子。广告":                     "用户@xn--fsqu00a.xn--4rr70v",

		"ＦＵＬＬ．ｗｉｄｔｈ＠ｅｘａｍｐｌｅ．ｏｒｇ": "full.width@example.org",
		"ｶﾞ@x.org":          "ガ@x.org",
		"STRASSE@x.org":     "strasse@x.org",
		"straße@GROẞ.org":   "straße@xn--gro-7ka.org", // the capital sharp s is not "ss"
		"STRAẞE@groß.org":   "straße@xn--gro-7ka.org",
		"ΣΊΣΥΦΟΣ@x.org":     "σίσυφοσ@x.org", // no final sigma: a prefix of it would not be its beginning
		"σίσυφος@x.org":     "σίσυφος@x.org",
		"a@ΣΟΦΟΣ.org":       "a@xn--0xaakcn.org",
		"I@x.org":           "i@x.org",
		"İ@x.org":           "i\u0307@x.org", // the Turkish dotted capital keeps its dot
		"ı@x.org":           "ı@x.org",
		"\u212a@\u212a.org": "k@k.org", // Kelvin sign
		"ǅ@x.org":           "ǆ@x.org", // title case
		"Ꭰ@x.org":           "ꭰ@x.org", // Cherokee, whose lower case came later
		"a\u0301\u0323@x":   "ạ\u0301@x",
		"\u0345\u0301@x":    "\u0301\u0345@x",
	} {
		email, err := ParseEmail(text)
		if err != nil || email.String() != want {
			t.Errorf("ParseEmail(%q) = %+q, %v; want %q", text, email, err, want)
		}
		if !checkEmail(t, text) {
			t.Errorf("%q was refused", text)
		}
	}
}

func TestMalformedEmailsAreRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "@", "a", "a@", "@x.org", "a b@x.org", "a@x org", "a@@x.org", "a@b@x.org", "a＠b@x.org",
		".a@x.org", "a.@x.org", "a..b@x.org", "ａ．．ｂ@x.org", `"a"@x.org`, `a\@x.org`, "a(b)@x.org", "<a@x.org>", "A <a@x.org>",
		"a,b@x.org", "a:b@x.org", "a;b@x.org", "a[b]@x.org",
		"a@[127.0.0.1]", "a@[IPv6:::1]", "a@.org", "a@x..org", "a@x.org.", "a@x_y.org", "a@-x.org", "a@x-.org", "a@ab--cd.org",
		"a@xn--.org", "a@xn--a.org", "a@xn--mller-kv.org", "a@x.org/y", "a@x.org:25", "a@x.org?", "a@é\u0378.org",
		"a@\u2135b.org", // alef symbol, which UTS 46 turns into a letter that runs the other way
		"a\x00@x.org", "a@x.org\x00", "\x00", "a\u0085b@x.org", "a\x7f@x.org", "a\xff@x.org", "a@\xc3\x28.org", "\xed\xa0\x80@x.org",
		"a\u200db@x.org", "a\u00adb@x.org", "a\ufe0fb@x.org", "a\u034fb@x.org", "\u3164@x.org", "\uffa0@x.org", "\u202ea@x.org", // invisible
		"\u2800@x.org", "a\u2800b@x.org", "a\U0001d159@x.org", "a@\u2800.org", "a@b\u2800.org", "a@xn--6ii.org", "a@x\U0001d159.org", // drawn as nothing
		"a\u0378@x.org", "a\ue000@x.org", "a\U0010ffff@x.org", "a\u2028@x.org", // unassigned, private, separating
		"a\U00010d50@x.org", // a capital that Unicode got in version 16
		strings.Repeat("a", 65) + "@x.org", strings.Repeat("é", 33) + "@x.org",
		"a@" + strings.Repeat("a", 64) + ".org", "a@" + strings.Repeat("a.", 127) + "org", strings.Repeat("a", 64) + "@" + strings.Repeat("a.", 95) + "org",
		"a@" + strings.Repeat("ü.", 50) + "org", // short, but long as A-labels
		strings.Repeat("a", 1<<20), strings.Repeat("@", 1<<20), strings.Repeat("é@", 1<<19), "a@" + strings.Repeat("x.", 1<<19),
	} {
		if text == "a\U00010d50@x.org" && unicode.Is(unicode.L, '\U00010d50') {
			continue // this program's Unicode knows it, and how to fold it
		}
		if checkEmail(t, text) {
			t.Errorf("%.80q was accepted", text)
		}
	}
}

func TestEmailLimits(t *testing.T) {
	host := "@" + strings.Repeat("a.", 93) + "abc" // with 64 before it: 254
	for text, want := range map[string]bool{
		strings.Repeat("a", 64) + host:                                     true,
		strings.Repeat("a", 64) + host + "d":                               true,
		strings.Repeat("a", 64) + host + "de":                              false,
		strings.Repeat("é", 32) + "@x.org":                                 true,
		norm.NFD.String(strings.Repeat("é", 32)) + "@x.org":                true,
		"a@" + strings.Repeat("a", 63) + ".org":                            true,
		"a@" + strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abc":      true, // 253 and 2
		"a@" + strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abcd":     false,
		strings.Repeat("a", 64) + "@" + strings.Repeat("abcde.", 31):       false,
		strings.Repeat("a", 64) + "@" + strings.Repeat("abcde.", 31) + "b": true,
	} {
		if got := checkEmail(t, text); got != want {
			t.Errorf("%q of %d: accepted %t, want %t", text, len(text), got, want)
		}
	}
}

func TestNoCodePointBreaksTheCanonicalFormOfEmails(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	accepted := 0
	for _, r := range telling() {
		for _, text := range []string{"a" + string(r) + "b@x", string(r) + "\u0345\u0301@x", "a@b" + string(r) + "\u0345\u0301", "a@" + string(r)} {
			if checkEmail(t, text) {
				accepted++
			}
		}
	}
	if accepted < 20_000 {
		t.Errorf("only %d addresses were accepted", accepted)
	}
}

// telling is the code points that some mapping changes, and a sample of the others, Hangul among them, which is ten times as large with
// ACCOUNTS_TEST_LONG=1.
var telling = sync.OnceValue(func() (chosen []rune) {
	every := rune(1009)
	if os.Getenv("ACCOUNTS_TEST_LONG") == "1" {
		every = 101
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		text := string(r)
		if r%every == 0 || !unicode.Is(unicode.Hangul, r) && (unicode.ToLower(r) != r || unicode.ToUpper(r) != r ||
			norm.NFKD.String(text) != text) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			chosen = append(chosen, r)
		}
	}
	return chosen
})

func TestStoredEmailIsRestoredAsItIs(t *testing.T) {
	for _, stored := range []string{"Capital@X.org", `"quoted"@x.org`, "a@b@c", "a@-"} {
		if email, err := RestoreEmail(stored); err != nil || email.String() != stored {
			t.Errorf("RestoreEmail(%q) = %q, %v", stored, email, err)
		}
	}
	for _, stored := range []string{"", "a", "@", "@a", "a@", strings.Repeat("a", 1021) + "@"} {
		email, err := RestoreEmail(stored)
		refusal(t, err, ErrInvalid, "email", stored)
		if !email.IsZero() {
			t.Errorf("RestoreEmail(%q) gives an error and an address", stored)
		}
	}
}

func TestZeroEmailIsAbsent(t *testing.T) {
	var email Email
	text, err := json.Marshal(email)
	if !email.IsZero() || email.String() != "" || string(text) != `null` || err != nil {
		t.Errorf("zero Email: %q, %s, %v", email, text, err)
	}
	email, err = ParseEmail("A@x.org")
	if err != nil || email.IsZero() {
		t.Fatal(err)
	}
	if text, err = json.Marshal(email); string(text) != `"a@x.org"` || err != nil {
		t.Errorf("JSON %s, %v", text, err)
	}
}

func FuzzParseEmail(f *testing.F) {
	for _, text := range []string{
		"a@x.org", "A@X.ORG", "jörg@müller.example", "用户@例子.广告", "straße@GROẞ.org", "İI@ıi.org", "ΩΣ@ΣΟΦΟΣ.org", "ａ＠ｂ．ｃ", "ｶﾞ@x",
		"a@xn--mller-kva.example", "a@xn--a", "a\u0345\u0301\u0323@b\u0345\u0301\u0323", "a@\u2135b", "a\u200db@a\u200db", "\x00\xff@", "a@א1.b", "1\u0307@1\u0307",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkEmail(t, text) })
}
