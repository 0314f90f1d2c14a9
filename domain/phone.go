package domain

import "strings"

const (
	minPhoneDigits = 7  // the shortest international numbers in use
	maxPhoneDigits = 15 // ITU-T E.164, 6.2.1
)

// Phone is a telephone number in the international form of ITU-T E.164: "+", a country code and a subscriber number,
// digits only. The zero Phone means "absent"; Phones are comparable.
type Phone struct{ e164 string }

// phoneSeparators are what people write between digits.
var phoneSeparators = strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "", "/", "")

// ParsePhone reads a number in international form; spaces and the separators - . ( ) / are dropped. A national number is refused, since its country is
// unknown. It returns [ErrInvalid] on the field "phone".
func ParsePhone(text string) (Phone, error) {
	const field = "phone"
	if err := cleanText(field, text, 64); err != nil {
		return Phone{}, err
	}
	number := phoneSeparators.Replace(strings.TrimSpace(text))
	if number == "" {
		return Phone{}, invalid(field, "is required")
	}
	if number[0] != '+' {
		return Phone{}, invalid(field, "is not in international form, as in +573001112233")
	}
	digits := number[1:]
	if strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) >= 0 {
		return Phone{}, invalid(field, "has a character that is not a digit")
	}
	if len(digits) < minPhoneDigits || len(digits) > maxPhoneDigits || digits[0] == '0' {
		return Phone{}, invalid(field, "is not 7 to 15 digits that begin with a country code")
	}
	return Phone{number}, nil
}

// RestorePhone returns a number as it was stored, checking its form only. Empty gives the zero Phone. It returns
// [ErrInvalid].
func RestorePhone(stored string) (Phone, error) {
	if len(stored) > 80 {
		return Phone{}, invalid("phone", "is not in the form of a stored number")
	}
	return Phone{stored}, nil
}

// IsZero reports whether the number is absent.
func (p Phone) IsZero() bool { return p.e164 == "" }

// String returns the E.164 form, or "" for the zero Phone.
func (p Phone) String() string { return p.e164 }
