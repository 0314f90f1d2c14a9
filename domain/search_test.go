package domain

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// Who searches for a whole address finds the account, however it is written.
func TestPrefixOfAWholeAddressIsItsCanonicalForm(t *testing.T) {
	accepted := 0
	for _, r := range telling() {
		if r <= ' ' {
			continue
		}
		text := "Jo\u0308rg" + string(r) + "@B" + string(r) + "u\u0308.Müller.example"
		email, err := ParseEmail(text)
		if err != nil {
			continue
		}
		accepted++
		if prefix, err := ParsePrefix(text); err != nil || prefix.String() != email.String() {
			t.Errorf("ParsePrefix(%q) = %q, %v; the address is %q", text, prefix, err, email)
		}
	}
	if accepted < 2_000 {
		t.Errorf("only %d addresses were accepted", accepted)
	}
}

func TestPrefixIsFoldedAsWhatItSearches(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "  ": "", "JÖR": "jör", "jo\u0308r": "jör", "ＦＵＬＬ": "full", "100%_\\": "100%_\\", "ΣΊ": "σί", "İ": "i\u0307", " a b ": "a b", "@": "@",
		"ana@müller.example": "ana@xn--mller-kva.example", "ANA@MÜLLER": "ana@xn--mller-kva", "a@müller.": "a@xn--mller-kva.", "a@x.例子。广": "a@x.xn--fsqu00a.xn--swt",
		"müller": "müller", "müller@": "müller@", "a@.x": "a@.x", "a@ex": "a@ex",
	} {
		prefix, err := ParsePrefix(text)
		if err != nil || prefix.String() != want || prefix.IsZero() != (want == "") {
			t.Errorf("ParsePrefix(%q) = %q, %v; want %q", text, prefix, err, want)
		}
	}
	for _, text := range []string{"a\x00", "\xff", "a\nb", strings.Repeat("a", 256), strings.Repeat("a", 1<<20)} {
		prefix, err := ParsePrefix(text)
		refusal(t, err, ErrInvalid, "search", text)
		if !prefix.IsZero() {
			t.Errorf("%.40q: an error and a prefix", text)
		}
	}
}

func FuzzParsePrefix(f *testing.F) {
	f.Add("JÖR")
	f.Add("ａ\u0345\u0301")
	f.Fuzz(func(t *testing.T, text string) {
		prefix, err := ParsePrefix(text)
		if err != nil {
			refusal(t, err, ErrInvalid, "search", text)
			return
		}
		if again, err := ParsePrefix(prefix.String()); err == nil && again != prefix {
			t.Errorf("%+q gives %+q, and that %+q", text, prefix, again)
		}
		if !norm.NFC.IsNormalString(prefix.String()) {
			t.Errorf("%+q is not in NFC", prefix)
		}
	})
}

func TestNamePrefixMatchesTheSpellingsOfNames(t *testing.T) {
	for text, test := range map[string]struct {
		beginnings []string
		matches    []Names
		others     []Names
	}{
		"":            {[]string{""}, []Names{{}, {First: "Ana"}}, nil},
		"  an":        {[]string{"an"}, []Names{{First: "Ana"}, {Last: "ANAYA"}, {First: "an"}, {First: "Eva", Last: "aNa"}}, []Names{{}, {First: "Ána"}, {First: "Eva Ana"}}},
		"év":          {[]string{"év", "Év"}, []Names{{First: "Éva"}, {Last: "évariste"}, {Last: "ÉVA"}}, []Names{{First: "Eva"}}},
		"ÁLVARO":      {[]string{"Álvaro", "álvaro"}, []Names{{First: "Álvaro"}, {Last: "álvaro"}}, []Names{{First: "Alvaro"}}},
		"E\u0301va m": {[]string{"Éva m", "éva m"}, []Names{{First: "Éva María"}, {First: "ÉVA M."}}, []Names{{First: "Éva"}}},
		"ольга":       {[]string{"ольга", "Ольга", "ОЛЬГА"}, []Names{{First: "Ольга"}, {Last: "ОЛЬГА"}}, []Names{{First: "оЛьга"}}},
		"a%_":         {[]string{"a%_"}, []Names{{First: "A%_b"}}, []Names{{First: "abc"}}},
	} {
		prefix, err := ParseNamePrefix(text)
		if err != nil || !slices.Equal(prefix.Beginnings(), test.beginnings) || prefix.IsZero() != (text == "") {
			t.Errorf("%q begins %q, %v; want %q", text, prefix.Beginnings(), err, test.beginnings)
		}
		for _, names := range test.matches {
			if !prefix.Matches(names) {
				t.Errorf("%q does not match %+v", text, names)
			}
		}
		for _, names := range test.others {
			if prefix.Matches(names) {
				t.Errorf("%q matches %+v", text, names)
			}
		}
	}
	for _, text := range []string{"a\x00", "\xff", strings.Repeat("é", 101)} {
		prefix, err := ParseNamePrefix(text)
		refusal(t, err, ErrInvalid, "name", text)
		if !prefix.IsZero() {
			t.Errorf("%.40q: an error and a prefix", text)
		}
	}
}

func TestMailDomainIsThatOfAnAddress(t *testing.T) {
	for _, text := range []string{"example.org", "@Example.ORG", " MÜLLER.example ", "xn--mller-kva.example", "ＥＸＡＭＰＬＥ。org", "mu\u0308ller.example"} {
		domain, err := ParseMailDomain(text)
		email, emailErr := ParseEmail("ana@" + strings.TrimPrefix(strings.TrimSpace(text), "@"))
		if err != nil || emailErr != nil || "ana@"+domain.String() != email.String() || domain.IsZero() {
			t.Errorf("%q: %q, %v; the address is %q, %v", text, domain, err, email, emailErr)
		}
	}
	for _, text := range []string{"", " ", "@"} {
		if domain, err := ParseMailDomain(text); err != nil || !domain.IsZero() {
			t.Errorf("%q: %q, %v", text, domain, err)
		}
	}
	for _, text := range []string{"a b", "ana@example.org", ".", "example.org.", "-a.example", "a\x00", "\xff", strings.Repeat("a", 256)} {
		_, err := ParseMailDomain(text)
		refusal(t, err, ErrInvalid, "domain", text)
	}
}

func TestPurgesHaveAnAge(t *testing.T) {
	for name, test := range map[string]struct {
		filter Filter
		field  string
	}{
		"everybody":   {Filter{}, "filter"},
		"unverified":  {Filter{Verified: new(false), CreatedFrom: tokenTime, SignedInFrom: tokenTime}, "filter"},
		"made before": {Filter{CreatedBefore: tokenTime}, ""},
		"dormant":     {Filter{SignedInBefore: tokenTime}, ""},
		"abandoned":   {Filter{UnverifiedSince: tokenTime}, ""},
	} {
		_, err := ListQuery{Filter: test.filter}.ResolvePurge()
		if test.field == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if test.field != "" {
			refusal(t, err, ErrInvalid, test.field, name)
		}
	}
	_, err := ListQuery{Filter: Filter{CreatedBefore: tokenTime}, Limit: -1}.ResolvePurge()
	refusal(t, err, ErrInvalid, "limit", "")
}
