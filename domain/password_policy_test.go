package domain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/softbee/accounts/domain"
)

func TestPasswordPolicyCheck(t *testing.T) {
	never := func(string) bool { return false }
	longest := domain.PasswordPolicy{MinLength: 15, MaxLength: 64, Blocked: never}
	tests := []struct {
		name     string
		policy   domain.PasswordPolicy
		password string
		own      []string
		refusal  string // "" when the password is good
	}{
		{name: "eight characters", password: "qv7 Lmx?"},
		{name: "seven", password: "qv7 Lmx", refusal: "is shorter than 8 characters"},
		{name: "empty", password: "", refusal: "is shorter than 8 characters"},
		{name: "no composition is demanded", password: "correct horse battery staple"},
		{name: "white space only", password: strings.Repeat(" ", 9)},
		{name: "any script", password: "пароль длинный"},
		{name: "eight characters outside the BMP", password: strings.Repeat("🐝", 8)},
		{name: "seven of them take 28 bytes", password: strings.Repeat("🐝", 7), refusal: "is shorter than 8 characters"},
		{name: "decomposed letters count as composed ones", password: strings.Repeat("e\u0301", 7), refusal: "is shorter than 8 characters"},
		{name: "eight decomposed letters", password: strings.Repeat("e\u0301", 8)},
		{name: "256 characters", password: strings.Repeat("🐝", 256)},
		{name: "256 decomposed letters", password: strings.Repeat("e\u0301", 256)},
		{name: "257 characters", password: strings.Repeat("x", 257), refusal: "is longer than 256 characters"},
		{name: "257 characters of four bytes", password: strings.Repeat("🐝", 257), refusal: "is longer than 1024 bytes"},
		{name: "256 letters with 1,025 bytes of marks", password: strings.Repeat("\u0301", 513), refusal: "is longer than 1024 bytes"},
		{name: "longer by its normal form", password: strings.Repeat("\u0958", 129), refusal: "is longer than 256 characters"},
		{name: "Latin-1", password: "contrase\xf1a larga", refusal: "is not valid UTF-8"},
		{name: "NUL", password: "long enough\x00", refusal: "contains a control character"},
		{name: "line end", password: "long enough\n", refusal: "contains a control character"},
		{name: "C1 control character", password: "long enough\u0085", refusal: "contains a control character"},

		{name: "common", password: "password1", refusal: "is a common password"},
		{name: "common but for case", password: "PassWord1", refusal: "is a common password"},
		{name: "common but for width", password: "ｐａｓｓｗｏｒｄ１", refusal: "is a common password"},
		{name: "common with white space in it", password: "Z K.lovemom", refusal: "is a common password"},
		{name: "begins like a common one", password: "password1 and more"},
		{name: "first of the list", password: "!qaz2wsx", refusal: "is a common password"},
		{name: "last of the list", password: "zzzzzzzzzz", refusal: "is a common password"},
		{name: "list replaced", policy: domain.PasswordPolicy{Blocked: never}, password: "password1"},
		{
			name: "list of the host", policy: domain.PasswordPolicy{Blocked: func(p string) bool { return p == "\u00e9tablissement" }},
			password: "e\u0301tablissement", refusal: "is a common password",
		},

		{name: "15 where it is the only factor", policy: longest, password: "qv7 Lmx?qv7 Lmx"},
		{name: "14 where it is the only factor", policy: longest, password: "qv7 Lmx?qv7 Lm", refusal: "is shorter than 15 characters"},
		{name: "a maximum of 64", policy: longest, password: strings.Repeat("x", 65), refusal: "is longer than 64 characters"},

		{
			name: "own address", password: "Ana.Maria@Example.org", own: []string{"ana.maria@example.org", "ana_de_cali"},
			refusal: "is the account's own e-mail address or username",
		},
		{
			name: "part of the own address", password: "ana.MARIA", own: []string{"ana.maria@example.org", "ana_de_cali"},
			refusal: "is the account's own e-mail address or username",
		},
		{
			name: "own username", password: "ANA_de_Cali", own: []string{"ana.maria@example.org", "ana_de_cali"},
			refusal: "is the account's own e-mail address or username",
		},
		{name: "another's username", password: "ana_de_cali2", own: []string{"ana.maria@example.org", "ana_de_cali"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.policy.Check(test.password, test.own...)
			if test.refusal == "" {
				if err != nil {
					t.Fatalf("Check: %v, want no error", err)
				}
				return
			}
			wantInvalid(t, err, "password", test.refusal)
		})
	}
}

// A person who chooses a password learns at once all that is wrong with it.
func TestPasswordPolicyFindsAllFaults(t *testing.T) {
	all := domain.PasswordPolicy{Blocked: func(string) bool { return true }}
	tests := []struct {
		policy   domain.PasswordPolicy
		password string
		want     []domain.PasswordFault
		text     string
	}{
		{
			all, "ana\n", []domain.PasswordFault{domain.PasswordTooShort, domain.PasswordControl, domain.PasswordCommon, domain.PasswordOwnName},
			"password: is shorter than 8 characters, contains a control character, is a common password, is the account's own e-mail address or username",
		},
		{
			all, strings.Repeat("x", 300) + "\x00", []domain.PasswordFault{domain.PasswordTooLong, domain.PasswordControl, domain.PasswordCommon},
			"password: is longer than 256 characters, contains a control character, is a common password",
		},
		{
			domain.PasswordPolicy{}, "bob", []domain.PasswordFault{domain.PasswordTooShort, domain.PasswordOwnName},
			"password: is shorter than 8 characters, is the account's own e-mail address or username",
		},
		{all, "\xff\n", []domain.PasswordFault{domain.PasswordNotUTF8}, "password: is not valid UTF-8"},
		{all, strings.Repeat("\n", 1025), []domain.PasswordFault{domain.PasswordTooLong}, "password: is longer than 1024 bytes"},
	}
	for _, test := range tests {
		err := test.policy.Check(test.password, "bob@example.org", "ana\n")
		var found *domain.PasswordError
		if !errors.As(err, &found) || !slices.Equal(found.Faults, test.want) || err.Error() != test.text {
			t.Errorf("%.10q: %v, want %v", test.password, err, test.want)
		}
		if !errors.Is(err, domain.ErrInvalid) || domain.KindOf(err) != domain.ErrInvalid {
			t.Errorf("%.10q: the kind is %q", test.password, domain.KindOf(err))
		}
	}
}

func TestPasswordPolicyBounds(t *testing.T) {
	tests := []struct {
		policy domain.PasswordPolicy
		field  string
	}{
		{domain.PasswordPolicy{MinLength: 7}, "min_length"},
		{domain.PasswordPolicy{MinLength: -1}, "min_length"},
		{domain.PasswordPolicy{MinLength: 65}, "min_length"},
		{domain.PasswordPolicy{MaxLength: 63}, "max_length"},
		{domain.PasswordPolicy{MaxLength: 257}, "max_length"},
		{domain.PasswordPolicy{MinLength: 64, MaxLength: 64}, ""},
	}
	for _, test := range tests {
		err := test.policy.Check(strings.Repeat("x", 64))
		if test.field == "" {
			if err != nil {
				t.Errorf("%+v: %v, want no error", test.policy, err)
			}
			continue
		}
		var refusal *domain.Error
		if !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != test.field {
			t.Errorf("%+v: %v, want %s on %s", test.policy, err, domain.ErrInvalid, test.field)
		}
	}
}

func TestIsCommonPassword(t *testing.T) {
	for _, password := range []string{"12345678", "iloveyou", "ILoveYou", "1qaz2wsx3edc4rfv"} {
		if !domain.IsCommonPassword(password) {
			t.Errorf("%q is not known as common", password)
		}
	}
	for _, password := range []string{"", "\n", "qv7 Lmx?", "12345678\n", "\xff\xfe", strings.Repeat("1", 1<<20)} {
		if domain.IsCommonPassword(password) {
			t.Errorf("%.20q is taken for common", password)
		}
	}
}

func FuzzPasswordPolicyCheck(f *testing.F) {
	for _, seed := range []string{
		"", "password1", "PASSWORD1", "qv7 Lmx?", "e\u0301e\u0301e\u0301e\u0301", "\u0958\u0958\u0958\u0958", "ｐａｓｓｗｏｒｄ１", "long enough\x00", "\xff12345678",
		"ΑΣ ΑΣ ΑΣ ΑΣ", "İstanbul İstanbul", "각각각각각각각각", strings.Repeat("🐝", 256), strings.Repeat("\u0301", 513),
	} {
		f.Add(seed)
	}
	reasons := []string{
		"is shorter than 8 characters", "is longer than 256 characters", "is longer than 1024 bytes", "is not valid UTF-8",
		"contains a control character", "is a common password",
	}
	f.Fuzz(func(t *testing.T, password string) {
		err := domain.PasswordPolicy{}.Check(password)
		if err != nil {
			var refusal *domain.Error
			if !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != "password" {
				t.Fatalf("Check: %v, which is no refusal of a password", err)
			}
			for reason := range strings.SplitSeq(refusal.Reason, ", ") {
				if !slices.Contains(reasons, reason) {
					t.Fatalf("Check: %v, which has an unknown reason", err)
				}
			}
		} else {
			n := utf8.RuneCountInString(norm.NFC.String(password))
			if n < 8 || n > 256 || len(password) > 1024 || !utf8.ValidString(password) || domain.IsCommonPassword(password) {
				t.Fatalf("Check accepts %q", password)
			}
		}
		// However the same text was typed, the answer is the same, as long as it fits into the bytes.
		composed, decomposed := norm.NFC.String(password), norm.NFD.String(password)
		if utf8.ValidString(password) && max(len(password), len(composed), len(decomposed)) <= 1024 {
			for _, form := range []string{composed, decomposed} {
				if other := (domain.PasswordPolicy{}).Check(form); (other == nil) != (err == nil) || other != nil && other.Error() != err.Error() {
					t.Fatalf("Check of %q: %v, but of %q: %v", password, err, form, other)
				}
			}
		}
	})
}

func wantInvalid(t *testing.T, err error, field, reason string) {
	t.Helper()
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != field || refusal.Reason != reason {
		t.Fatalf("error: %v, want %s on %s: %s", err, domain.ErrInvalid, field, reason)
	}
}
