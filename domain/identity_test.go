package domain

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestIdentityIsTakenAsItIs(t *testing.T) {
	wide := strings.Repeat("😀", 255)
	for _, parts := range [][2]string{{"https://issuer.example", "24400320"}, {" A ", "é"}, {"e\u0301", "É"}, {wide, wide}} {
		identity, err := ParseIdentity(parts[0], parts[1])
		if err != nil || identity.Issuer() != parts[0] || identity.Subject() != parts[1] || identity.IsZero() {
			t.Errorf("%.20q: %+v, %v", parts, identity, err)
		}
		raw, err := json.Marshal(identity)
		var back Identity
		if e := json.Unmarshal(raw, &back); err != nil || e != nil || back != identity {
			t.Errorf("%.20q goes through %.50s to %+v, %v, %v", parts, raw, back, err, e)
		}
	}
	for _, malformed := range []string{"", wide + "a", "a\x00", "\xff", "a\nb", "\u0085", strings.Repeat("a", 1<<20)} {
		_, err := ParseIdentity(malformed, "a")
		refusal(t, err, ErrInvalid, "issuer", malformed)
		_, err = ParseIdentity("a", malformed)
		refusal(t, err, ErrInvalid, "subject", malformed)
	}
	identity := Identity{"a", "b"}
	for _, raw := range []string{`{"issuer":"a"}`, `{}`, `"a"`, `1`, `[`, `{"issuer":"a","subject":"\u0000"}`} {
		if err := identity.UnmarshalJSON([]byte(raw)); KindOf(err) != ErrInvalid || identity != (Identity{"a", "b"}) {
			t.Errorf("%s is read as %+v, %v", raw, identity, err)
		}
	}
	if err := json.Unmarshal([]byte("null"), &identity); err != nil || !identity.IsZero() {
		t.Errorf("null is read as %+v, %v", identity, err)
	}
	if raw, err := json.Marshal(Identity{}); string(raw) != "null" || err != nil {
		t.Errorf("no identity is %s, %v", raw, err)
	}
}
