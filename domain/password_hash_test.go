package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
)

func TestNoPassword(t *testing.T) {
	none := domain.NoPassword()
	if none.HasPassword() || none.IsZero() || none.Stored() != "!" {
		t.Errorf("has a password: %t, absent: %t, stored: %q", none.HasPassword(), none.IsZero(), none.Stored())
	}
	if (domain.PasswordHash{}).HasPassword() {
		t.Error("an absent hash has a password")
	}
	for _, stored := range []string{"!", "!!", "!$6$saltsalt$hash", "!" + strings.Repeat("x", 40), "!" + strings.Repeat("x", 254)} {
		hash, err := domain.ParsePasswordHash(stored)
		if err != nil || hash != none {
			t.Errorf("%.10q: %q, %v, want no password", stored, hash.Stored(), err)
		}
	}
	for _, stored := range []string{"*", "x!", "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"} {
		hash, err := domain.ParsePasswordHash(stored)
		if err != nil || !hash.HasPassword() || hash.Stored() != stored {
			t.Errorf("%q: %q, %v", stored, hash.Stored(), err)
		}
	}
	for _, stored := range []string{"!\n", "!\x00", "!\u00e9", "!" + strings.Repeat("x", 255)} {
		_, err := domain.ParsePasswordHash(stored)
		wantKind(t, err, domain.ErrInvalid)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", none, none, none, none); strings.Contains(text, "!") {
		t.Errorf("printed: %s", text)
	}
}
