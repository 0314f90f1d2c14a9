package domain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestOneTimeTokenIsReadAsItWasRevealed(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		token := NewOneTimeToken()
		parsed, err := ParseOneTimeToken(token.Reveal())
		if err != nil || parsed != token || parsed.Digest() != token.Digest() || token.IsZero() {
			t.Fatalf("ParseOneTimeToken(Reveal()) = another token, %v", err)
		}
		seen[token.Reveal()], seen[token.Digest().Stored()] = true, true
	}
	if len(seen) != 2000 {
		t.Errorf("%d different tokens and digests of 1000 tokens", len(seen))
	}
}

func TestMalformedOneTimeTokensAreInvalid(t *testing.T) {
	text := strings.Repeat("A", 43)
	if _, err := ParseOneTimeToken(text); err != nil {
		t.Fatal(err)
	}
	for name, malformed := range map[string]string{
		"empty":               "",
		"truncated":           text[1:],
		"lengthened":          text + "A",
		"padded":              text[1:] + "=",
		"padded after":        text + "=",
		"loose last bits":     text[1:] + "B",
		"line end within":     text[:20] + "\n" + text[21:],
		"line ends at end":    text[:41] + "\r\n",
		"space":               " " + text[1:],
		"NUL":                 text[1:] + "\x00",
		"not UTF-8":           text[1:] + "\xff",
		"standard base64":     "+" + text[1:],
		"1 MB":                strings.Repeat("A", 1<<20),
		"digest":              NewOneTimeToken().Digest().Stored(),
		"hexadecimal":         strings.Repeat("0", 64),
		"many bytes, 43 rune": strings.Repeat("é", 43),
	} {
		token, err := ParseOneTimeToken(malformed)
		refusal(t, err, ErrTokenInvalid, "token", malformed)
		if !token.IsZero() {
			t.Errorf("%s: an error and a token", name)
		}
	}
}

func TestDigestIsStoredAsHexadecimalSHA256(t *testing.T) {
	token, err := ParseOneTimeToken(strings.Repeat("A", 43))
	if err != nil {
		t.Fatal(err)
	}
	digest := token.Digest()
	// printf %s AAA… | sha256sum
	if want := "0f007385b6f9d4b7eeb2748605afe1a984a0a3bfa3f014d09e2a784ce9e5cd1a"; digest.Stored() != want {
		t.Errorf("digest %s, want %s", digest.Stored(), want)
	}
	restored, err := RestoreTokenDigest("reset_token", digest.Stored())
	if err != nil || restored != digest {
		t.Errorf("restored: %q, %v", restored.Stored(), err)
	}
	if zero, err := RestoreTokenDigest("reset_token", ""); err != nil || !zero.IsZero() {
		t.Errorf("nothing stored: %q, %v", zero.Stored(), err)
	}
	for _, stored := range []string{"a", digest.Stored()[1:], digest.Stored() + "0"} {
		_, err := RestoreTokenDigest("reset_token", stored)
		refusal(t, err, ErrInvalid, "reset_token", stored)
	}
}

func TestSecretsRedactThemselves(t *testing.T) {
	token := NewOneTimeToken()
	hash, err := ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$dGFn")
	if err != nil {
		t.Fatal(err)
	}
	digest := token.Digest()
	secrets := []string{token.Reveal(), digest.Stored(), hash.Stored()}
	holder := struct {
		Token   OneTimeToken
		Digest  TokenDigest
		Hash    PasswordHash
		Pointer *OneTimeToken
		D       *TokenDigest
		H       *PasswordHash
	}{token, digest, hash, &token, &digest, &hash}
	marshalled, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("secrets", "token", token, "digest", digest, "hash", hash, "t", &token, "d", &digest, "h", &hash)
	}
	for _, printed := range []string{
		fmt.Sprint(token, digest, hash), token.String(), digest.String(), hash.String(), string(marshalled), log.String(),
		fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token),
		fmt.Sprintf("%v %+v %#v %s %q %x %d", digest, digest, digest, digest, digest, digest, digest),
		fmt.Sprintf("%v %+v %#v %s %q %x %d", hash, hash, hash, hash, hash, hash, hash),
		fmt.Sprintf("%v %+v %#v", holder, holder, holder),
	} {
		if !strings.Contains(printed, redacted) {
			t.Errorf("%q is not redacted", printed)
		}
		for i, secret := range secrets {
			if strings.Contains(printed, secret) || strings.Contains(printed, hex.EncodeToString([]byte(secret))) {
				t.Errorf("secret %d was printed", i)
			}
		}
	}
}

func TestPasswordHashIsPrintableText(t *testing.T) {
	for _, stored := range []string{"x", "$2b$10$abc", "pbkdf2:sha256:1$salt$00", strings.Repeat("~", 255), "with space"} {
		if hash, err := ParsePasswordHash(stored); err != nil || hash.Stored() != stored || hash.IsZero() {
			t.Errorf("ParsePasswordHash(%q): %v", stored, err)
		}
	}
	for _, stored := range []string{"", strings.Repeat("~", 256), "a\x00b", "a\nb", "é", "\xff", "a\x7f", strings.Repeat("~", 1<<20)} {
		hash, err := ParsePasswordHash(stored)
		refusal(t, err, ErrInvalid, "hashed_password", stored)
		if !hash.IsZero() {
			t.Errorf("%.40q: an error and a hash", stored)
		}
	}
}
