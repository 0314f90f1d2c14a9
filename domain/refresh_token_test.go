package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain/entry"
)

var tokenTime = time.Date(2026, time.March, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))

// issueToken returns the first token of a session that is in no list.
func issueToken(t testing.TB, user ID, now time.Time, policy SessionPolicy) RefreshToken {
	t.Helper()
	_, token := mustIssue(t, nil, user, now, policy)
	return token
}

func mustIssue(t testing.TB, list SessionList, user ID, now time.Time, policy SessionPolicy) (SessionList, RefreshToken) {
	t.Helper()
	list, token, err := list.Issue(user, now, policy)
	if err != nil {
		t.Fatal(err)
	}
	return list, token
}

// successorOf returns what a live token is replaced with, and the entry of that.
func successorOf(t testing.TB, token RefreshToken, now time.Time, policy SessionPolicy) (string, RefreshToken) {
	t.Helper()
	list, next, err := SessionList{token.Entry()}.Rotate(token, now, policy)
	if err != nil {
		t.Fatal(err)
	}
	return list[0], next
}

func TestRefreshTokenCarriesWhatFindsItsSession(t *testing.T) {
	user := NewID()
	token := issueToken(t, user, tokenTime, SessionPolicy{Idle: time.Hour})

	parsed, err := ParseRefreshToken(token.Reveal())
	if err != nil || parsed != token {
		t.Fatalf("ParseRefreshToken(Reveal()) = another token, %v", err)
	}
	if got := parsed.UserID(); got != user {
		t.Errorf("UserID() = %v, want %v", got, user)
	}
	want := time.Date(2026, time.March, 1, 12, 0, 0, 123_000_000, time.UTC) // an hour after 11:00 UTC
	if got := parsed.ExpiresAt(); got != want {
		t.Errorf("ExpiresAt() = %v, want %v: UTC, cut to the millisecond", got, want)
	}
	if again, err := ParseSessionID(parsed.SessionID().String()); err != nil || again != token.SessionID() {
		t.Errorf("ParseSessionID(SessionID().String()) = %v, %v", again, err)
	}
	if strings.Contains(token.Reveal(), token.SessionID().String()) || len(token.Digest()) != 43 {
		t.Errorf("session id %q or digest of %d characters is not a digest", token.SessionID(), len(token.Digest()))
	}
}

func TestRefreshTokensNeverRepeat(t *testing.T) {
	user, seen := NewID(), make(map[string]bool)
	for range 1000 {
		token := issueToken(t, user, tokenTime, SessionPolicy{})
		seen[token.Digest()], seen[token.SessionID().String()] = true, true
		_, next := successorOf(t, token, tokenTime, SessionPolicy{})
		if next.SessionID() != token.SessionID() || next.UserID() != user {
			t.Fatal("a rotated token belongs to another session or user")
		}
		seen[next.Digest()] = true
	}
	if len(seen) != 3000 {
		t.Errorf("%d different digests and ids of 3000", len(seen))
	}
}

func TestZeroRefreshTokenIsAbsent(t *testing.T) {
	var token RefreshToken
	if !token.IsZero() || !token.UserID().IsZero() || !token.SessionID().IsZero() || !token.ExpiresAt().IsZero() || token.Digest() != "" || token.Reveal() != "" {
		t.Error("the zero token claims something")
	}
	if _, _, err := (SessionList{""}).Rotate(token, tokenTime, SessionPolicy{}); !errors.Is(err, ErrTokenInvalid) || token.Entry() != "" {
		t.Errorf("Rotate of the zero token: %v", err)
	}
	if _, err := (SessionList{}).Find(token, tokenTime); !errors.Is(err, ErrTokenInvalid) || token.Session() != (Session{}) {
		t.Errorf("a list has the zero token: %v", err)
	}
	if list, token, err := (SessionList{}).Issue(ID{}, tokenTime, SessionPolicy{}); !errors.Is(err, ErrInvalid) || len(list) != 0 || !token.IsZero() {
		t.Errorf("Issue for no account: %v", err)
	}
}

func TestMalformedRefreshTokensAreInvalid(t *testing.T) {
	text := issueToken(t, NewID(), tokenTime, SessionPolicy{}).Reveal()
	ofNone := mintToken(ID{}, randomText(16), randomText(32), entry.Terms{}).Reveal()
	for name, malformed := range map[string]string{
		"empty":              "",
		"1 MB":               strings.Repeat("A", 1<<20),
		"right length":       strings.Repeat("A", len(text)),
		"truncated by one":   text[:len(text)-1],
		"truncated to a":     text[:4],
		"lengthened":         text + "A",
		"twice":              text + text,
		"padded":             text[:len(text)-1] + "=",
		"space before":       " " + text[1:],
		"line end within":    text[:50] + "\n" + text[51:],
		"line ends at end":   text[:len(text)-4] + "\r\n\r\n",
		"mostly line ends":   text[:len(text)-60] + strings.Repeat("\n", 60),
		"standard base64":    text[:50] + "+" + text[51:],
		"not UTF-8":          text[:50] + "\xff" + text[51:],
		"another letter":     text[:50] + string(text[50]^1) + text[51:],
		"of no user":         ofNone,
		"an entry":           issueToken(t, NewID(), tokenTime, SessionPolicy{}).Entry(),
		"a session's id":     issueToken(t, NewID(), tokenTime, SessionPolicy{}).SessionID().String(),
		"a digest as stored": issueToken(t, NewID(), tokenTime, SessionPolicy{}).Digest(),
	} {
		token, err := ParseRefreshToken(malformed)
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Kind != ErrTokenInvalid || refusal.Field != "token" || !token.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(malformed) > 3 && strings.Contains(err.Error(), malformed[:4]) {
			t.Errorf("%s: the error repeats the input: %v", name, err)
		}
	}
}

func TestFlippedBitsAndCutsAreInvalid(t *testing.T) {
	token := issueToken(t, NewID(), tokenTime, SessionPolicy{})
	for bit := range len(token.raw()) * 8 {
		raw := []byte(token.raw())
		raw[bit/8] ^= 1 << (bit % 8)
		if _, err := ParseRefreshToken(base64url.EncodeToString(raw)); !errors.Is(err, ErrTokenInvalid) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range len(token.raw()) {
		if _, err := ParseRefreshToken(base64url.EncodeToString([]byte(token.raw()[:n]))); !errors.Is(err, ErrTokenInvalid) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestOversizedRefreshTokenCostsNothing(t *testing.T) {
	huge := strings.Repeat("A", 1<<20)
	if allocs := testing.AllocsPerRun(10, func() { _, _ = ParseRefreshToken(huge) }); allocs > 1 { // the error
		t.Errorf("refusing 1 MB allocates %v times", allocs)
	}
}

func TestRefreshTokenRedactsItself(t *testing.T) {
	token := issueToken(t, NewID(), tokenTime, SessionPolicy{})
	holder := struct {
		Token   RefreshToken
		Pointer *RefreshToken
	}{token, &token}
	marshalled, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("token", "token", token, "pointer", &token)
	}
	for _, printed := range []string{
		fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token),
		fmt.Sprintf("%v %+v", holder.Token, &token), token.String(), string(marshalled), log.String(),
	} {
		if !strings.Contains(printed, redacted) {
			t.Errorf("%q is not redacted", printed)
		}
		if strings.Contains(printed, token.Reveal()) || strings.Contains(printed, fmt.Sprintf("%x", token.raw())) || strings.Contains(printed, token.raw()) {
			t.Error("the token was printed")
		}
	}
}

func TestExpiredTokenIsRefusedBeforeTheListIsRead(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour}
	token := issueToken(t, NewID(), tokenTime, policy)
	for after, want := range map[time.Duration]error{
		0:                            nil,
		time.Hour - time.Millisecond: nil,
		time.Hour:                    ErrTokenExpired,
		365 * 24 * time.Hour:         ErrTokenExpired,
	} {
		if _, _, err := (SessionList{token.Entry()}).Rotate(token, tokenTime.Add(after), policy); !errors.Is(err, want) {
			t.Errorf("after %v: %v, want %v", after, err, want)
		}
	}
}

func TestSessionIDIsParsedStrictly(t *testing.T) {
	valid := issueToken(t, NewID(), tokenTime, SessionPolicy{}).SessionID().String()
	for _, text := range []string{"", valid[1:], valid + "A", valid[:21] + "B", valid[:21] + "=", valid[:10] + "." + valid[11:], valid[:20] + "\r\n", strings.Repeat("A", 1<<20)} {
		if id, err := ParseSessionID(text); !errors.Is(err, ErrInvalid) || !id.IsZero() {
			t.Errorf("ParseSessionID(%.30q): %v", text, err)
		}
	}
	id, err := ParseSessionID(valid)
	if marshalled, _ := json.Marshal(id); err != nil || string(marshalled) != `"`+valid+`"` {
		t.Errorf("%s: %s, %v", valid, marshalled, err)
	}
}

func FuzzParseRefreshToken(f *testing.F) {
	token := issueToken(f, NewID(), tokenTime, SessionPolicy{})
	for _, text := range []string{"", token.Reveal(), token.Reveal()[1:], token.raw(), token.Digest(), strings.Repeat("A", 131), strings.Repeat("A", 1<<20)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseRefreshToken(text)
		if err != nil {
			if !errors.Is(err, ErrTokenInvalid) || !parsed.IsZero() {
				t.Errorf("%v, with a token: %t", err, !parsed.IsZero())
			}
			return
		}
		if parsed.Reveal() != text {
			t.Error("two texts for one token")
		}
		if parsed.UserID().IsZero() || parsed.SessionID().IsZero() || parsed.ExpiresAt().Location() != time.UTC {
			t.Error("a token without its claims")
		}
	})
}
