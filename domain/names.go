package domain

const (
	maxFirstNameRunes = 50  // the column's width
	maxLastNameRunes  = 100 // the column's width
)

// Names are a first and a last name, each of which may be "".
type Names struct{ First, Last string }

// ParseNames returns the names trimmed and in NFC. It returns [ErrInvalid] on the field "first_name" or "last_name" for one
// that is too long (50 and 100 code points), is not UTF-8 or has control characters.
func ParseNames(first, last string) (Names, error) {
	first, err := shortText("first_name", first, maxFirstNameRunes)
	if err != nil {
		return Names{}, err
	}
	last, err = shortText("last_name", last, maxLastNameRunes)
	if err != nil {
		return Names{}, err
	}
	return Names{first, last}, nil
}
