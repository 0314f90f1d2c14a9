package entry

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

var full = Entry{
	Session: strings.Repeat("s", SessionLen), Digest: strings.Repeat("d", digestLen),
	Terms: Terms{Issued: 1, Absolute: MaxMillis, Rotated: 36, Expires: 1_772_366_400_123, Label: "a.b",
		Links: []Link{{End: 1_772_366_460_123, Salt: strings.Repeat("\xff", SaltBytes)}}},
}

func TestTimesCompareAsTheirTextsDo(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	times := []time.Time{year(1970), year(2026), year(2026).Add(time.Millisecond), year(2058), year(2060), year(5188), year(9999)}
	for i, at := range times {
		text := Time(at)
		var millis int64
		if len(text) != TimeLen || !parseTime(text, &millis) {
			t.Errorf("Time(%v) = %q", at, text)
		}
		if i > 0 && text <= Time(times[i-1]) {
			t.Errorf("%v is not after %v as text", at, times[i-1])
		}
		if got := time.UnixMilli(millis); i < len(times)-1 && !got.Equal(at) {
			t.Errorf("%v came back as %v", at, got)
		}
	}
	if Time(time.Time{}) != "000000000" || Time(year(9999)) != "zzzzzzzzz" {
		t.Errorf("bounds: %q, %q", Time(time.Time{}), Time(year(9999)))
	}
	if at := year(2026).Add(999_999); Time(at) != Time(year(2026)) {
		t.Error("a time is not cut to the millisecond")
	}
}

// The statements of stores depend on the positions.
func TestLayout(t *testing.T) {
	e := full.Text()
	const want = "ssssssssssssssssssssss.0mm7p6yrf.ddddddddddddddddddddddddddddddddddddddddddd.000000010.zzzzzzzzz.000000001.0mm7p8923_____________________w.a.b"
	if e != want {
		t.Fatalf("%q, want %q", e, want)
	}
	if e[Session:][:SessionLen] != full.Session || e[Expires:][:TimeLen] != Time(time.UnixMilli(full.Expires)) {
		t.Error("session or expiry is elsewhere")
	}
	without := full
	without.Links, without.Label = nil, ""
	pattern := regexp.MustCompile("^" + strings.NewReplacer(".", `\.`, "_", ".", "%", ".*").Replace(Pattern) + "$")
	for _, entry := range []Entry{full, without} {
		if !pattern.MatchString(entry.Text()) {
			t.Errorf("%q is not in the form of an entry", entry.Text())
		}
		if parsed, ok := Parse(entry.Text()); !ok || !reflect.DeepEqual(parsed, entry) {
			t.Errorf("%+v, want %+v", parsed, entry)
		}
	}
	label := len(e) - len(full.Label)
	for i := range e {
		for _, wrong := range []byte{'.', '!', 0, 0xff, 'Z'} {
			text := []byte(e)
			text[i] = wrong
			_, ok := Parse(string(text))
			inBase64 := i < Expires-1 || i >= digestAt && i < rotatedAt-1 || i >= linksAt+TimeLen && i < label-2
			allowed := i >= label || wrong == e[i] || wrong == '.' && i == linksAt || wrong == 'Z' && inBase64
			if ok != allowed && i != label-2 { // the last character of a salt has bits that must be zero
				t.Errorf("position %d as %q: accepted %t", i, wrong, ok)
			}
		}
	}
	for n := range label {
		if _, ok := Parse(e[:n]); ok {
			t.Errorf("cut to %d characters it is accepted", n)
		}
	}
}
