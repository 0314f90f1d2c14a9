package domain

import (
	"strings"
	"testing"
)

func TestPhoneIsReadInInternationalForm(t *testing.T) {
	for text, want := range map[string]string{
		"+573001112233":          "+573001112233",
		" +57 300 111-22.33 ":    "+573001112233",
		"+57 (300) 111/22/33":    "+573001112233",
		"(+57)3001112233":        "+573001112233",
		"+1234567":               "+1234567",
		"+123456789012345":       "+123456789012345",
		"+1 2 3 4 5 6 7 8-9.(0)": "+1234567890",
	} {
		phone, err := ParsePhone(text)
		if err != nil || phone.String() != want {
			t.Errorf("ParsePhone(%q) = %q, %v; want %q", text, phone, err, want)
		}
		if again, err := ParsePhone(phone.String()); again != phone {
			t.Errorf("%q gives %q, %v the second time", phone, again, err)
		}
		if restored, err := RestorePhone(want); err != nil || restored != phone {
			t.Errorf("RestorePhone(%q) = %q, %v", want, restored, err)
		}
	}
}

func TestMalformedPhonesAreRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "+", "()", "3009998877", "00573009998877", "573009998877+", "++573009998877", "+57300111223a", "+57x3009998877",
		"+123456", "+1234567890123456", "+0573009998877", "+573009998877 ext. 4", "+57,3009998877", "＋５７３００１１１２２３３", "+٥٧٣٠٠١١١٢٢٣٣",
		"+57\x003009998877", "+573009998877\n", "+57\u00a03009998877", "+57\xff3009998877", strings.Repeat("+", 1<<20), "+" + strings.Repeat("1", 1<<20),
		"+57" + strings.Repeat(" ", 60) + "3009998877",
	} {
		phone, err := ParsePhone(text)
		refusal(t, err, ErrInvalid, "phone", text)
		if !phone.IsZero() {
			t.Errorf("%.40q: an error and a number", text)
		}
	}
}

func TestStoredPhoneIsRestoredAsItIs(t *testing.T) {
	for _, stored := range []string{"", "3001112233", "+57 300"} {
		if phone, err := RestorePhone(stored); err != nil || phone.String() != stored || phone.IsZero() != (stored == "") {
			t.Errorf("RestorePhone(%q) = %q, %v", stored, phone, err)
		}
	}
	_, err := RestorePhone(strings.Repeat("1", 81))
	refusal(t, err, ErrInvalid, "phone", strings.Repeat("1", 81))
}
