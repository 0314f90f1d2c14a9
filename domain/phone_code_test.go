package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
)

func TestNewPhoneCode(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		code := domain.NewPhoneCode().Reveal()
		if len(code) != 6 || strings.Trim(code, "0123456789") != "" {
			t.Fatalf("%q", code)
		}
		seen[code] = true
	}
	if len(seen) < 990 { // of 1000 out of a million about half a pair are equal
		t.Errorf("%d different codes of 1000", len(seen))
	}
}

func TestParsePhoneCode(t *testing.T) {
	for text, want := range map[string]string{"012345": "012345", "012 345": "012345", " 012-345 ": "012345"} {
		code, err := domain.ParsePhoneCode(text)
		if err != nil || code.Reveal() != want {
			t.Errorf("%q: %q, %v", text, code.Reveal(), err)
		}
	}
	for _, text := range []string{"", "12345", "1234567", "12345a", "１２３４５６", "012345\x00", "+12345", strings.Repeat(" ", 1000) + "012345"} {
		code, err := domain.ParsePhoneCode(text)
		var refused *domain.Error
		if !errors.As(err, &refused) || refused.Kind != domain.ErrTokenInvalid || refused.Field != "code" || !code.IsZero() {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPhoneCodeDigest(t *testing.T) {
	a, b := domain.NewID(), domain.NewID()
	code, _ := domain.ParsePhoneCode("012345")
	other, _ := domain.ParsePhoneCode("012346")
	if digest := code.Digest(a); digest != code.Digest(a) || code.Digest(a) == code.Digest(b) || code.Digest(a) == other.Digest(a) {
		t.Error("a digest is not that of one code of one account")
	}
	if _, err := domain.RestoreTokenDigest("phone_code", code.Digest(a).Stored()); err != nil {
		t.Error(err)
	}
}

func TestPhoneCodeRedactsItself(t *testing.T) {
	code, _ := domain.ParsePhoneCode("012345")
	raw, err := json.Marshal(struct{ Code domain.PhoneCode }{code})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", code, code, code, code, code), fmt.Sprintf("%+v", struct{ c domain.PhoneCode }{code}), string(raw)} {
		if strings.Contains(text, "012345") {
			t.Errorf("it prints its digits: %s", text)
		}
	}
}
