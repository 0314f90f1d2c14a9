package domain

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

const phoneCodeDigits = 6 // the minimum of NIST SP 800-63B-4, 3.1.3, for a code that is sent by telephone

// PhoneCode is sent to a telephone number by text message or voice, and its owner types it: six decimal digits from crypto/rand. Since they are few, a
// code is valid only for its account, and for [MaxPhoneCodeAttempts]. It redacts itself in fmt, JSON, text and slog. The zero value means "absent".
type PhoneCode struct {
	redaction
	digits hidden
}

// MaxPhoneCodeAttempts is how often a code can be presented, right or wrong, before another one must be issued.
const MaxPhoneCodeAttempts = 5

// NewPhoneCode returns a random code.
func NewPhoneCode() PhoneCode {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // crypto/rand never fails: it ends the program instead
	}
	return PhoneCode{digits: hide(fmt.Sprintf("%0*d", phoneCodeDigits, n))}
}

// ParsePhoneCode reads what a person typed; spaces and hyphens are dropped. It returns [ErrTokenInvalid] on the field "code".
func ParsePhoneCode(text string) (PhoneCode, error) {
	const longest = 4 * phoneCodeDigits
	digits := strings.NewReplacer(" ", "", "-", "").Replace(text)
	if len(text) > longest || len(digits) != phoneCodeDigits || strings.Trim(digits, "0123456789") != "" {
		return PhoneCode{}, codeInvalid()
	}
	return PhoneCode{digits: hide(digits)}, nil
}

// Reveal returns the code's digits, to be sent to the number and nowhere else.
func (c PhoneCode) Reveal() string { return c.digits.reveal() }

// Digest returns what is stored of the code for an account. With a copy of the database the code can be found by trying all, which is of use only until
// it expires, and takes as many tries again for each account.
func (c PhoneCode) Digest(account ID) TokenDigest {
	sum := sha256.Sum256([]byte("accounts/phone-code/1\x00" + account.String() + c.Reveal()))
	return TokenDigest{hex: hide(hex.EncodeToString(sum[:]))}
}

// IsZero reports whether the code is absent.
func (c PhoneCode) IsZero() bool { return c == PhoneCode{} }

func codeInvalid() error {
	return &Error{Kind: ErrTokenInvalid, Field: "code", Reason: "is not valid"}
}
