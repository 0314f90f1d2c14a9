package domain

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

const (
	minUsernameRunes = 3
	maxUsernameRunes = 50 // the column's width
)

// Username is an account's public name in canonical form: the UsernameCaseMapped profile of PRECIS (RFC 8265 3.3), which
// maps full-width characters, case and normal form. Two names that differ in nothing else are equal; confusable scripts
// are not distinguished. The zero Username means "absent"; Usernames are comparable.
type Username struct{ canonical string }

// ParseUsername returns the canonical form of a name of 3 to 50 code points. So that an identifier is unambiguous, a name has no white space and no
// "@", and is not in the form of a UUID or of an international telephone number. It returns [ErrInvalid] on the field "username".
func ParseUsername(text string) (Username, error) {
	username, err := LookupUsername(text)
	if err != nil {
		return Username{}, err
	}
	if utf8.RuneCountInString(username.canonical) < minUsernameRunes {
		return Username{}, invalid("username", "is shorter than 3 characters")
	}
	return username, nil
}

// LookupUsername is ParseUsername for finding an account, not for creating one: it also takes a name of fewer than 3 code points, which an imported
// account may have.
func LookupUsername(text string) (Username, error) {
	const field = "username"
	text = strings.TrimSpace(text)
	if text == "" {
		return Username{}, invalid(field, "is required")
	}
	if err := cleanText(field, text, maxUsernameRunes); err != nil {
		return Username{}, err
	}
	canonical, err := precis.UsernameCaseMapped.String(text)
	if err != nil {
		return Username{}, invalid(field, "has a character that a username cannot have")
	}
	if strings.ContainsRune(canonical, '@') {
		return Username{}, invalid(field, "contains @")
	}
	if looksLikeID(canonical) {
		return Username{}, invalid(field, "has the form of an id")
	}
	if _, err := ParsePhone(canonical); err == nil {
		return Username{}, invalid(field, "has the form of a telephone number")
	}
	if utf8.RuneCountInString(canonical) > maxUsernameRunes {
		return Username{}, tooLong(field, maxUsernameRunes)
	}
	return Username{canonical}, nil
}

// RestoreUsername returns a name as it was stored. It checks its form only and never normalises, so that an old row
// stays readable when ParseUsername gets stricter. It returns [ErrInvalid].
func RestoreUsername(stored string) (Username, error) {
	if stored == "" || len(stored) > maxUsernameRunes*utf8.UTFMax {
		return Username{}, invalid("username", "is not in the form of a stored name")
	}
	return Username{stored}, nil
}

// IsZero reports whether the name is absent.
func (u Username) IsZero() bool { return u.canonical == "" }

// String returns the canonical form, or "" for the zero Username.
func (u Username) String() string { return u.canonical }
