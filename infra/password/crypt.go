package password

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"

	"github.com/go-crypt/x/crypt"
)

// cryptBase64 is the alphabet in which crypt(3) writes salts and tags.
const cryptBase64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// parseSHACrypt reads "salt$tag", or "rounds=535000$salt$tag", with a tag of tagLen characters.
func parseSHACrypt(newHash func() hash.Hash, tagLen int) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		rounds := uint32(defaultCryptRounds)
		if settings, ok := strings.CutPrefix(rest, "rounds="); ok {
			var digits string
			digits, rest, _ = strings.Cut(settings, "$")
			var err error
			if rounds, err = number(digits, minCryptRounds, maxCryptRounds); err != nil {
				return digest{}, err
			}
		}
		return newCrypt(rest, 16, tagLen, func(password, salt []byte) []byte {
			return crypt.KeySHACrypt(newHash, password, salt, int(rounds))
		})
	}
}

var (
	parseSHA256Crypt = parseSHACrypt(sha256.New, 43)
	parseSHA512Crypt = parseSHACrypt(sha512.New, 86)
)

// parseMD5Crypt reads "salt$tag".
func parseMD5Crypt(rest string) (digest, error) {
	return newCrypt(rest, 8, 22, crypt.KeyMD5Crypt)
}

// newCrypt reads "salt$tag". The function derive returns the tag as text, and so it is compared.
func newCrypt(rest string, maxSaltLen, tagLen int, derive func(password, salt []byte) []byte) (digest, error) {
	salt, tag, _ := strings.Cut(rest, "$")
	if salt == "" || len(salt) > maxSaltLen || len(tag) != tagLen || strings.Trim(salt+tag, cryptBase64) != "" {
		return digest{}, errMalformed
	}
	return digest{
		nulEnds: true,
		matches: func(password []byte) (bool, error) {
			return equal(derive(password, []byte(salt)), []byte(tag)), nil
		},
	}, nil
}
