package domain

import (
	_ "embed" // for the common passwords
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// PasswordPolicy says which new passwords are accepted. The zero value is the default. It has no composition rules ("a digit and a capital") and no
// expiry, which make passwords worse: NIST SP 800-63B-4 3.1.1.2 and OWASP ASVS 5.0 6.2.5 and 6.2.10 forbid them. It does not apply to stored passwords.
type PasswordPolicy struct {
	// MinLength is the minimum number of code points: 8 to 64, default 8. Where the password is the only factor of a
	// sign-in, set 15 (NIST SP 800-63B-4 3.1.1.2).
	MinLength int

	// MaxLength is the maximum number of code points: 64 (the same section) to 256, default 256.
	MaxLength int

	// Blocked reports whether a password is too common. It gets the password in Unicode normal form C, is called concurrently, and replaces the
	// built-in list: call [IsCommonPassword] in it to have both. Default: IsCommonPassword.
	Blocked func(password string) bool
}

const (
	minPasswordRunes        = 8   // ASVS 5.0 6.2.1
	leastMaxPasswordRunes   = 64  // a maximum may not be lower
	defaultMaxPasswordRunes = 256 // and not higher: it must fit into maxPasswordBytes in any script
	maxPasswordBytes        = defaultMaxPasswordRunes * utf8.UTFMax
)

// resolve returns the policy with its defaults in place, or [ErrInvalid] on the field "min_length" or "max_length".
func (p PasswordPolicy) resolve() (PasswordPolicy, error) {
	if p.MinLength == 0 {
		p.MinLength = minPasswordRunes
	}
	if p.MaxLength == 0 {
		p.MaxLength = defaultMaxPasswordRunes
	}
	if p.Blocked == nil {
		p.Blocked = IsCommonPassword
	}
	switch {
	case p.MinLength < minPasswordRunes || p.MinLength > leastMaxPasswordRunes:
		return p, invalid("min_length", "is not 8 to 64")
	case p.MaxLength < leastMaxPasswordRunes || p.MaxLength > defaultMaxPasswordRunes:
		return p, invalid("max_length", "is not 64 to 256")
	}
	return p, nil
}

// PasswordFault names a rule that a password breaks, in a word that programs may depend on, for messages in the language of their users.
type PasswordFault string

// The faults that [PasswordPolicy.Check] finds.
const (
	PasswordTooShort PasswordFault = "too_short"
	PasswordTooLong  PasswordFault = "too_long"
	PasswordNotUTF8  PasswordFault = "not_utf8"
	PasswordControl  PasswordFault = "control_character"
	PasswordCommon   PasswordFault = "common"
	PasswordOwnName  PasswordFault = "own_name"
)

// PasswordError is the refusal of a password, with all rules that it breaks. It is an [ErrInvalid] on the field "password",
// also for errors.As with an [*Error], whose Reason names all faults in English.
type PasswordError struct {
	Faults []PasswordFault // at least one, in the order of the constants

	reasons []string
}

// Error returns "password: " and all reasons.
func (e *PasswordError) Error() string { return e.Unwrap().Error() }

// Unwrap returns an [*Error].
func (e *PasswordError) Unwrap() error { return invalid("password", strings.Join(e.reasons, ", ")) }

func (e *PasswordError) add(fault PasswordFault, reason string) {
	e.Faults = append(e.Faults, fault)
	e.reasons = append(e.reasons, reason)
}

// Check returns a [*PasswordError] for a password that the policy refuses: one that is too short or too long (code points
// are counted, in Unicode normal form C, so that the same text counts the same however it was typed), takes more than 1024
// bytes, is not UTF-8, has control characters, is a blocked one, or is the account's own e-mail address, the part before its
// @, or its username, in any case and width. Those are given as own; without them that last rule does not apply. All faults are reported at once, except
// that a password of too many bytes, or one that is not UTF-8, is checked no further. A policy that is itself out of bounds is [ErrInvalid] on the field
// "min_length" or "max_length".
func (p PasswordPolicy) Check(password string, own ...string) error {
	p, err := p.resolve()
	if err != nil {
		return err
	}
	found := &PasswordError{}
	if len(password) > maxPasswordBytes {
		found.add(PasswordTooLong, "is longer than "+strconv.Itoa(maxPasswordBytes)+" bytes")
		return found
	}
	if !utf8.ValidString(password) {
		found.add(PasswordNotUTF8, "is not valid UTF-8")
		return found
	}
	password = norm.NFC.String(password)
	switch n := utf8.RuneCountInString(password); {
	case n < p.MinLength:
		found.add(PasswordTooShort, "is shorter than "+strconv.Itoa(p.MinLength)+" characters")
	case n > p.MaxLength:
		found.add(PasswordTooLong, "is longer than "+strconv.Itoa(p.MaxLength)+" characters")
	}
	if strings.IndexFunc(password, unicode.IsControl) >= 0 {
		found.add(PasswordControl, "contains a control character")
	}
	if p.Blocked(password) {
		found.add(PasswordCommon, "is a common password")
	}
	if isOwnName(password, own) {
		found.add(PasswordOwnName, "is the account's own e-mail address or username")
	}
	if len(found.Faults) == 0 {
		return nil
	}
	return found
}

func isOwnName(password string, own []string) bool {
	password = foldText(password)
	for _, name := range own {
		name = foldText(name)
		local, _, _ := strings.Cut(name, "@")
		if password == name || password == local {
			return true
		}
	}
	return false
}

// commonPasswordList holds one password of at least 8 code points a line, in lower case and sorted by bytes. Where it comes
// from and under which licence is in common_passwords.LICENSE.
//
//go:embed common_passwords.txt
var commonPasswordList string

var commonPasswords = sync.OnceValue(func() []string { return lines(commonPasswordList) })

// lines splits a text whose lines end as in Unix or, where Git has checked it out for that, as in Windows.
func lines(text string) []string {
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
}

// IsCommonPassword reports whether a password is, regardless of case and width, one of the 8,479 most common that have at least 8
// characters, out of the 20,000 most common of Have I Been Pwned. (NIST SP 800-63B-4 3.1.1.2 and ASVS 5.0 6.2.4, which asks
// for 3,000.)
func IsCommonPassword(password string) bool {
	if len(password) > maxPasswordBytes {
		return false
	}
	_, found := slices.BinarySearch(commonPasswords(), foldText(password))
	return found
}
