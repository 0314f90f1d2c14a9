package domain

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The list is searched by bisection for texts that foldText returned.
func TestCommonPasswordsCanBeSearched(t *testing.T) {
	list := commonPasswords()
	if len(list) != 8479 {
		t.Errorf("%d passwords, but the comment on IsCommonPassword says 8,479", len(list))
	}
	if !slices.IsSorted(list) {
		t.Error("the list is not sorted by bytes")
	}
	for i, password := range list {
		switch {
		case i > 0 && password == list[i-1]:
			t.Errorf("%q is listed twice", password)
		case utf8.RuneCountInString(password) < minPasswordRunes:
			t.Errorf("%q is too short to be accepted anyway", password)
		case foldText(password) != password || strings.TrimSpace(password) != password:
			t.Errorf("%q is not in the form that is searched for", password)
		case !IsCommonPassword(strings.ToUpper(password)):
			t.Errorf("%q is not found", password)
		}
	}
}

// A clone for Windows may have the ends of lines of Windows, and must not have an empty list.
func TestCommonPasswordsWithTheLinesOfWindows(t *testing.T) {
	windows := strings.ReplaceAll(strings.ReplaceAll(commonPasswordList, "\r\n", "\n"), "\n", "\r\n")
	if !slices.Equal(lines(windows), commonPasswords()) {
		t.Error("the list with CRLF is another one")
	}
}
