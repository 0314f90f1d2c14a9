package password

import (
	"crypto/pbkdf2"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
)

// parsePBKDF2Modular reads "29000$salt$tag" as passlib writes it, or "i=600000$salt$tag", also with ",l=32" for the length
// of the tag, in the PHC form.
func parsePBKDF2Modular(newHash func() hash.Hash) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		fields := strings.Split(rest, "$")
		if len(fields) != 3 {
			return digest{}, errMalformed
		}
		iterations, decode := fields[0], decoder(passlibBase64)
		if settings, ok := strings.CutPrefix(iterations, "i="); ok {
			decode = phcBase64
			iterations = strings.TrimSuffix(settings, ",l="+strconv.Itoa(newHash().Size()))
		}
		return newPBKDF2(newHash, iterations, decode, fields[1], decode, fields[2])
	}
}

// parsePBKDF2Django reads "600000$salt$tag".
func parsePBKDF2Django(newHash func() hash.Hash) func(string) (digest, error) {
	return parsePBKDF2Text(newHash, base64.StdEncoding.Strict().DecodeString)
}

// parsePBKDF2Werkzeug reads "600000$salt$tag".
func parsePBKDF2Werkzeug(newHash func() hash.Hash) func(string) (digest, error) {
	return parsePBKDF2Text(newHash, lowerHex)
}

func parsePBKDF2Text(newHash func() hash.Hash, decodeTag decoder) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		fields := strings.Split(rest, "$")
		if len(fields) != 3 {
			return digest{}, errMalformed
		}
		return newPBKDF2(newHash, fields[0], asWritten, fields[1], decodeTag, fields[2])
	}
}

// newPBKDF2 accepts tags of the hash's own length only: a longer one would take as many times the iterations.
func newPBKDF2(newHash func() hash.Hash, iterations string, decodeSalt decoder, salt string, decodeTag decoder, tag string) (digest, error) {
	rounds, err := number(iterations, 1, maxPBKDF2Iterations)
	if err != nil {
		return digest{}, err
	}
	rawSalt, err := decodeSalt.between(salt, 1, maxSalt)
	if err != nil {
		return digest{}, err
	}
	size := newHash().Size()
	rawTag, err := decodeTag.between(tag, size, size)
	if err != nil {
		return digest{}, err
	}
	return digest{matches: func(password []byte) (bool, error) {
		derived, err := pbkdf2.Key(newHash, string(password), rawSalt, int(rounds), size)
		return err == nil && equal(derived, rawTag), err
	}}, nil
}
