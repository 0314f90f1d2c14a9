package domain

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// checkUsername demands of any text that it is refused, or has one canonical form that is storable, and returns whether.
func checkUsername(t *testing.T, text string) bool {
	t.Helper()
	name, err := ParseUsername(text)
	if err != nil {
		refusal(t, err, ErrInvalid, "username", text)
		if !name.IsZero() {
			t.Errorf("%+q: an error and a name", text)
		}
		return false
	}
	canonical := name.String()
	storable(t, canonical)
	if n := utf8.RuneCountInString(canonical); n < minUsernameRunes || n > maxUsernameRunes {
		t.Errorf("%+q has %d code points", canonical, n)
	}
	for _, spelling := range others(text, append(spellings(text), canonical, " "+text+"\n")) {
		if again, err := ParseUsername(spelling); again != name {
			t.Errorf("%+q gives %+q, but %+q gives %+q, %v", text, canonical, spelling, again, err)
		}
	}
	if restored, err := RestoreUsername(canonical); restored != name {
		t.Errorf("%+q is restored as %+q, %v", canonical, restored, err)
	}
	if _, err := ParseEmail(canonical); err == nil {
		t.Errorf("%+q is an address as well", canonical)
	}
	if _, err := ParseID(canonical); err == nil {
		t.Errorf("%+q is an ID as well", canonical)
	}
	return true
}

func TestUsernameHasOneCanonicalForm(t *testing.T) {
	for text, want := range map[string]string{
		"ana":                                  "ana",
		" Ana\n":                               "ana",
		"a.b-c_d":                              "a.b-c_d",
		"***":                                  "***",
		"ΩmegaΣ":                               "ωmegaσ",
		"ｆｕｌｌｗｉｄｔｈ":                            "fullwidth",
		"ＦＵＬＬＷＩＤＴＨ":                            "fullwidth",
		"ｶﾞｷﾞｸﾞ":                               "ガギグ",
		"JO\u0308RG":                           "jörg",
		"Jörg":                                 "jörg",
		"STRAẞE":                               "straße",
		"İstanbul":                             "i\u0307stanbul",
		"ISTANBUL":                             "istanbul",
		"ısı":                                  "ısı",
		"\u212bngstro\u0308m":                  "ångström",
		"ᎠᎡᎢ":                                  "ꭰꭱꭲ",
		"Ленин":                                "ленин",
		"שלום":                                 "שלום",
		"用户名":                                  "用户名",
		"l·l":                                  "l·l",                              // RFC 5892 A.3
		"0123456789abcdef0123456789abcdef":     "0123456789abcdef0123456789abcdef", // a UUID without dashes is no ID
		"6ba7b810-9dad-11d1-80b4-00c04fd430cg": "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
	} {
		name, err := ParseUsername(text)
		if err != nil || name.String() != want {
			t.Errorf("ParseUsername(%q) = %+q, %v; want %q", text, name, err, want)
		}
		if !checkUsername(t, text) {
			t.Errorf("%q was refused", text)
		}
	}
}

func TestMalformedUsernamesAreRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "ab", " ab ", "é\u0301", "a b", "a\u00a0b", "a\u3000b", "a\tb", "a@b", "@ab", "a＠b",
		"abc\x00", "\x00abc", "a\x1bbc", "a\u0085bc", "abc\xff", "\xed\xa0\x80abc",
		"a\u200dbc", "a\u00adbc", "abc\ufe0f", "a\u034fbc", "\u3164abc", "\u202eabc", "a·b", "ⅷab", "ﬁsh", "x²y", "ſmith",
		"abc\u0378", "abc\ue000", "a☃b", "a\u2028b",
		"אabc", "abcא", // both directions in one name
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "00000000-0000-0000-0000-000000000000",
		"６ba7b810-9dad-11d1-80b4-00c04fd430c8",
		strings.Repeat("a", 51), strings.Repeat("é", 51), strings.Repeat("İ", 26),
		strings.Repeat("a", 1<<20), strings.Repeat("e\u0301", 1<<19),
	} {
		if checkUsername(t, text) {
			t.Errorf("%.80q was accepted", text)
		}
	}
}

func TestUsernameLimits(t *testing.T) {
	for text, want := range map[string]bool{
		"abc":                   true,
		strings.Repeat("a", 50): true,
		strings.Repeat("é", 50): true,
		norm.NFD.String(strings.Repeat("é", 50)): true, // 100 code points as it is typed, 50 as it is stored
		norm.NFD.String(strings.Repeat("각", 50)): true,
		norm.NFD.String(strings.Repeat("각", 51)): false,
		strings.Repeat("𐐨", 50):                  true,
		strings.Repeat("İ", 25):                  true,
	} {
		if got := checkUsername(t, text); got != want {
			t.Errorf("%q: accepted %t, want %t", text, got, want)
		}
	}
}

func TestNoCodePointBreaksTheCanonicalFormOfUsernames(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	accepted := 0
	for _, r := range telling() {
		for _, text := range []string{"a" + string(r) + "bc", "ab" + string(r) + "\u0345\u0301", string(r) + string(r) + string(r)} {
			if checkUsername(t, text) {
				accepted++
			}
		}
	}
	if accepted < 10_000 {
		t.Errorf("only %d names were accepted", accepted)
	}
}

func TestStoredUsernameIsRestoredAsItIs(t *testing.T) {
	for _, stored := range []string{"Capital", "a", "a b", "a@b", strings.Repeat("𐐀", 50)} {
		if name, err := RestoreUsername(stored); err != nil || name.String() != stored {
			t.Errorf("RestoreUsername(%q) = %q, %v", stored, name, err)
		}
	}
	for _, stored := range []string{"", strings.Repeat("a", 201)} {
		name, err := RestoreUsername(stored)
		refusal(t, err, ErrInvalid, "username", stored)
		if !name.IsZero() {
			t.Errorf("RestoreUsername(%q) gives an error and a name", stored)
		}
	}
}

func TestZeroUsernameIsAbsent(t *testing.T) {
	var name Username
	text, err := json.Marshal(name)
	if !name.IsZero() || name.String() != "" || string(text) != `null` || err != nil {
		t.Errorf("zero Username: %q, %s, %v", name, text, err)
	}
	name, err = ParseUsername("Ana")
	if err != nil || name.IsZero() {
		t.Fatal(err)
	}
	if text, err = json.Marshal(name); string(text) != `"ana"` || err != nil {
		t.Errorf("JSON %s, %v", text, err)
	}
}

func FuzzParseUsername(f *testing.F) {
	for _, text := range []string{
		"ana", "ΩmegaΣ", "ｆｕｌｌｗｉｄｔｈ", "ｶﾞｷﾞ", "İstanbul", "ısı", "STRAẞE", "jo\u0308rg", "l·l", "שלום1", "a\u0345\u0301\u0323", "ᎠᎡᎢ", "\x00\xff",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "٣٤٥", "۳۴۵", "カー・", "अ\u094d\u200dब",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkUsername(t, text) })
}
