package domain

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestIDsAreRandomUUIDs(t *testing.T) {
	seen := make(map[ID]bool)
	for range 1000 {
		id := NewID()
		if u := id.UUID(); u.Version() != 4 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%v is version %d, variant %v", id, u.Version(), u.Variant())
		}
		seen[id] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different IDs of 1000", len(seen))
	}
}

func TestIDIsReadInOneForm(t *testing.T) {
	const text = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	want := IDFromUUID(uuid.MustParse(text))
	for _, spelling := range []string{text, strings.ToUpper(text)} {
		if id, err := ParseID(spelling); err != nil || id != want || id.String() != text {
			t.Errorf("ParseID(%q) = %v, %v", spelling, id, err)
		}
	}
	for _, malformed := range []string{
		"", " ", text[1:], text + "0", " " + text, text + "\n", "{" + text + "}", "urn:uuid:" + text, strings.ReplaceAll(text, "-", ""),
		strings.Replace(text, "-", "0", 1), text[:35] + "g", text[:35] + "\x00", text[:34] + "é", strings.Repeat("-", 36), strings.Repeat("6", 36),
		"00000000-0000-0000-0000-000000000000", strings.Repeat(text, 1<<15), "\xff" + text[1:],
	} {
		id, err := ParseID(malformed)
		refusal(t, err, ErrInvalid, "id", malformed)
		if !id.IsZero() {
			t.Errorf("%.50q: an error and an ID", malformed)
		}
	}
}

func TestZeroIDIsAbsent(t *testing.T) {
	if id := IDFromUUID(uuid.Nil); !id.IsZero() || id != (ID{}) || id.String() != "" || id.UUID() != uuid.Nil {
		t.Errorf("the nil UUID gives %q", id)
	}
	if NewID().IsZero() {
		t.Error("a new ID is absent")
	}
}
