package domain

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxEmailRunes      = 255 // the column's width; RFC 5321 4.5.3.1.3 allows 254 octets of an address in a path
	maxEmailLocalBytes = 64  // RFC 5321 4.5.3.1.1
)

// Email is an e-mail address in canonical form: trimmed, NFC, lower case, without full-width characters, its domain as
// A-labels. Two addresses that differ only in case, width, normal form or the spelling of an internationalised domain are
// equal. Confusable scripts (a Cyrillic "а" for a Latin "a") are not distinguished. The zero Email means "absent"; Emails are
// comparable.
type Email struct{ canonical string }

// ParseEmail returns the canonical form of an address: a dot-atom local part of at most 64 octets, which may hold
// letters of any script (RFC 5322 3.2.3, RFC 6531 3.3), and a domain name (RFC 5891). Quoted local parts, comments,
// display names and address literals are refused. It returns [ErrInvalid] on the field "email".
func ParseEmail(text string) (Email, error) {
	const field = "email"
	text = strings.TrimSpace(text)
	if text == "" {
		return Email{}, invalid(field, "is required")
	}
	if err := cleanText(field, text, maxEmailRunes); err != nil {
		return Email{}, err
	}
	text = foldText(text)
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return Email{}, invalid(field, "has no @")
	}
	local := text[:at]
	if err := checkLocalPart(local); err != nil {
		return Email{}, err
	}
	host, err := canonicalDomain(text[at+1:])
	if err != nil {
		return Email{}, err
	}
	canonical := local + "@" + host
	if err := cleanText(field, canonical, maxEmailRunes); err != nil { // an A-label can be longer than what it stands for
		return Email{}, err
	}
	return Email{canonical}, nil
}

func checkLocalPart(local string) error {
	const field = "email"
	if local == "" {
		return invalid(field, "has nothing before the @")
	}
	if len(local) > maxEmailLocalBytes {
		return invalid(field, "has more than 64 bytes before the @")
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return invalid(field, "has a dot at the start, at the end or beside another dot before the @")
		}
		if strings.IndexFunc(atom, notAtomText) >= 0 {
			return invalid(field, "has a character before the @ that an address cannot have unquoted")
		}
	}
	return nil
}

// notAtomText tells whether r is outside atext (RFC 5322 3.2.3, with UTF8-non-ascii as RFC 6531 3.3 adds it). Of the
// latter it refuses invisible characters, and what this program's Unicode does not know: the database's may fold it.
func notAtomText(r rune) bool {
	switch {
	case isBlank(r):
		return true
	case r >= utf8.RuneSelf:
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) && !unicode.IsPunct(r) && !unicode.IsSymbol(r)
	case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
		return false
	default:
		return !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
}

// mailDomain is the lookup profile of UTS 46 with the length limits of DNS.
var mailDomain = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.VerifyDNSLength(true), idna.StrictDomainName(true))

// canonicalDomain takes a result of [foldText]. Otherwise UTS 46 would map "ẞ" to "ss", but "ß" to itself, and marks in another order would make another
// name.
func canonicalDomain(text string) (string, error) {
	const field = "email"
	if text == "" {
		return "", invalid(field, "has nothing after the @")
	}
	host, err := mailDomain.ToASCII(text)
	if err != nil || strings.HasSuffix(host, ".") {
		return "", invalid(field, "has no valid domain name after the @")
	}
	if strings.Contains(host, "xn--") { // however it was written
		if shown, err := mailDomain.ToUnicode(host); err != nil || strings.IndexFunc(shown, isBlankSymbol) >= 0 {
			return "", invalid(field, "has no valid domain name after the @")
		}
	}
	if host == text {
		return host, nil
	}
	// UTS 46 maps some symbols to letters that run in another direction than what it checked: such an A-label is not valid.
	if again, err := mailDomain.ToASCII(host); err != nil || again != host {
		return "", invalid(field, "has no valid domain name after the @")
	}
	return host, nil
}

// RestoreEmail returns an address as it was stored. It checks its form only and never normalises, so that an old row stays
// readable when ParseEmail gets stricter. It returns [ErrInvalid].
func RestoreEmail(stored string) (Email, error) {
	if at := strings.LastIndexByte(stored, '@'); at < 1 || at == len(stored)-1 || len(stored) > maxEmailRunes*utf8.UTFMax {
		return Email{}, invalid("email", "is not in the form of a stored address")
	}
	return Email{stored}, nil
}

// IsZero reports whether the address is absent.
func (e Email) IsZero() bool { return e.canonical == "" }

// String returns the canonical form, or "" for the zero Email.
func (e Email) String() string { return e.canonical }
