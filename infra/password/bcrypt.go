package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	// maxBcryptPassword is how much of a password bcrypt reads, in bytes. The programs that imported hashes come from drop
	// the rest without a word, so the owner of a longer password can sign in only where this is done here too. That any
	// password with the same 72 bytes matches ends with the first sign-in, because a match is stale: the hash of the whole
	// password replaces it. It is the one exception to ASVS 5.0 6.2.8 (a password is verified as it was typed).
	maxBcryptPassword = 72

	bcryptMemory = 5 << 10 // bytes: Blowfish's tables
)

// The last character of a salt (16 bytes in 22 characters) and of a tag (23 in 31) has bits that stand for nothing. Some
// programs set them in a salt, and x/crypto verifies such hashes. Set in a tag they make a hash that never matches, so
// Strict refuses it.
var (
	bcryptBase64       = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)
	strictBcryptBase64 = bcryptBase64.Strict()
)

// parseBcrypt reads "12$", salt and tag, for a hash of the password itself.
func parseBcrypt(version string) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		cost, body, _ := strings.Cut(rest, "$")
		d, err := newBcrypt(version, cost, body, func(password []byte) []byte {
			return password[:min(len(password), maxBcryptPassword)]
		})
		// It repeats the password, with a NUL after each, to fill 72 bytes: "a" and "a\x00a" are the same to it.
		d.nulEnds = true
		return d, err
	}
}

// parseBcryptDjango reads "12$", salt and tag, for a hash of the password's SHA-256 in hexadecimal.
func parseBcryptDjango(version string) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		cost, body, _ := strings.Cut(rest, "$")
		return newBcrypt(version, cost, body, func(password []byte) []byte {
			sum := sha256.Sum256(password)
			return hex.AppendEncode(nil, sum[:])
		})
	}
}

// parseBcryptPasslib reads "v=2,t=2b,r=12$salt$tag", for a hash of the password's HMAC-SHA-256 with the salt as key, or
// "2b,12$salt$tag", as written before passlib 1.7.3, for one of its SHA-256; either is taken in base64.
func parseBcryptPasslib(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return digest{}, errMalformed
	}
	settings, salt, tag := fields[0], fields[1], fields[2]
	newHash := func() hash.Hash { return hmac.New(sha256.New, []byte(salt)) }
	version, cost, keyed := strings.Cut(strings.TrimPrefix(settings, "v=2,t="), ",r=")
	if !keyed || !strings.HasPrefix(settings, "v=2,t=") {
		version, cost, _ = strings.Cut(settings, ",")
		newHash = sha256.New
	}
	if version != "2a" && version != "2b" {
		return digest{}, errMalformed
	}
	// The salt's text is the key, and passlib clears the bits that stand for nothing before it uses it.
	if _, err := strictBcryptBase64.DecodeString(salt); err != nil {
		return digest{}, errMalformed
	}
	// Here costs have no leading zero.
	if len(cost) == 1 {
		cost = "0" + cost
	}
	return newBcrypt(version, cost, salt+tag, func(password []byte) []byte {
		h := newHash()
		h.Write(password)
		return base64.StdEncoding.AppendEncode(nil, h.Sum(nil))
	})
}

// newBcrypt returns a bcrypt hash of prepare(password). The cost is in two digits; body is salt and tag.
func newBcrypt(version, cost, body string, prepare func(password []byte) []byte) (digest, error) {
	if len(cost) != 2 || len(body) != 53 {
		return digest{}, errMalformed
	}
	if _, err := number(strings.TrimPrefix(cost, "0"), minBcryptCost, maxBcryptCost); err != nil {
		return digest{}, err
	}
	if _, err := bcryptBase64.DecodeString(body[:22]); err != nil {
		return digest{}, errMalformed
	}
	if _, err := strictBcryptBase64.DecodeString(body[22:]); err != nil {
		return digest{}, errMalformed
	}
	canonical := []byte("$" + version + "$" + cost + "$" + body)
	return digest{
		memory: bcryptMemory,
		matches: func(password []byte) (bool, error) {
			err := bcrypt.CompareHashAndPassword(canonical, prepare(password))
			if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
				return false, nil
			}
			return err == nil, err
		},
	}, nil
}
