package domain

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Prefix is a canonical prefix of an address or a username; no character in it has a special meaning. The zero Prefix matches every text.
type Prefix struct{ text string }

// ParsePrefix returns the prefix in NFC and lower case, without full-width characters. After an "@" the labels of an internationalised domain become
// A-labels (RFC 5890), as they are stored: a part of such a label finds nothing. It returns [ErrInvalid] on the field "search".
func ParsePrefix(text string) (Prefix, error) {
	text = strings.TrimSpace(text)
	if err := cleanText("search", text, maxEmailRunes); err != nil {
		return Prefix{}, err
	}
	text = foldText(text)
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = text[:at+1] + asciiLabels(text[at+1:])
	}
	return Prefix{text}, nil
}

// asciiLabels returns a prefix of a domain name with its valid labels as A-labels.
func asciiLabels(host string) string {
	labels := strings.Split(strings.ReplaceAll(host, "\u3002", "."), ".") // UTS 46 takes the ideographic full stop for a dot
	for i, label := range labels {
		if ascii, err := mailDomain.ToASCII(label); err == nil && !isPrintableASCII(label) {
			labels[i] = ascii
		}
	}
	return strings.Join(labels, ".")
}

// String returns the prefix in canonical form.
func (p Prefix) String() string { return p.text }

// IsZero tells whether the prefix is empty.
func (p Prefix) IsZero() bool { return p.text == "" }

// NamePrefix is a prefix of a first or of a last name. The zero NamePrefix matches every name, and absent ones.
type NamePrefix struct{ text string }

// ParseNamePrefix returns the prefix in NFC. It returns [ErrInvalid] on the field "name".
func ParseNamePrefix(text string) (NamePrefix, error) {
	text = strings.TrimLeftFunc(text, unicode.IsSpace)
	if err := cleanText("name", text, maxLastNameRunes); err != nil {
		return NamePrefix{}, err
	}
	return NamePrefix{norm.NFC.String(text)}, nil
}

// IsZero tells whether the prefix is empty.
func (p NamePrefix) IsZero() bool { return p.text == "" }

// String returns the prefix as it was given, in NFC.
func (p NamePrefix) String() string { return p.text }

// Beginnings returns the spellings of the prefix to compare with a name whose ASCII letters are in lower case, as every database can convert them. Other
// letters are as they were given, in lower case, with capitals at the beginning of words, and in capitals.
func (p NamePrefix) Beginnings() []string {
	var all []string
	for _, spelling := range []string{p.text, strings.ToLower(p.text), capitalized(p.text), strings.ToUpper(p.text)} {
		spelling = norm.NFC.String(lowerASCII(spelling))
		if !slices.Contains(all, spelling) {
			all = append(all, spelling)
		}
	}
	return all
}

// Matches reports whether a first or a last name begins with the prefix, in one of the spellings that Beginnings describes.
func (p NamePrefix) Matches(names Names) bool {
	return slices.ContainsFunc(p.Beginnings(), func(beginning string) bool {
		return strings.HasPrefix(lowerASCII(names.First), beginning) || strings.HasPrefix(lowerASCII(names.Last), beginning)
	})
}

// capitalized returns a text in lower case but for the first letter of each word.
func capitalized(text string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		begins := !inWord
		inWord = unicode.IsLetter(r) || unicode.IsMark(r)
		if begins {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, text)
}

func lowerASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// MailDomain is the domain of an address, in canonical form. The zero MailDomain means "absent".
type MailDomain struct{ text string }

// ParseMailDomain returns the domain as [ParseEmail] has it, in lower case and as A-labels; an "@" may stand before it. "" gives the zero
// MailDomain. It returns [ErrInvalid] on the field "domain".
func ParseMailDomain(text string) (MailDomain, error) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "@")
	if text == "" {
		return MailDomain{}, nil
	}
	if err := cleanText("domain", text, maxEmailRunes); err != nil {
		return MailDomain{}, err
	}
	host, err := canonicalDomain(foldText(text))
	if err != nil {
		return MailDomain{}, invalid("domain", "is not a domain name")
	}
	return MailDomain{host}, nil
}

// IsZero tells whether the domain is absent.
func (d MailDomain) IsZero() bool { return d.text == "" }

// String returns the canonical form.
func (d MailDomain) String() string { return d.text }
