package password

import (
	"crypto/pbkdf2"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
)

// parsePBKDF2Modular reads "29000$salt$tag" as passlib writes it, or "i=600000$salt$tag", also with ",l=32" for the length
// of the tag, in the PHC form. The tag may be shorter than the hash, as where 32 bytes were asked of PBKDF2-HMAC-SHA512.
func parsePBKDF2Modular(newHash func() hash.Hash) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		fields := strings.Split(rest, "$")
		if len(fields) != 3 {
			return digest{}, errMalformed
		}
		iterations, decode, length, stated := fields[0], decoder(passlibBase64), "", false
		if settings, ok := strings.CutPrefix(iterations, "i="); ok {
			decode = phcBase64
			iterations, length, stated = strings.Cut(settings, ",l=")
		}
		salt, err := decode.between(fields[1], 1, maxSalt)
		if err != nil {
			return digest{}, err
		}
		tag, err := decode.between(fields[2], minTag, newHash().Size())
		if err != nil || stated && length != strconv.Itoa(len(tag)) {
			return digest{}, errMalformed
		}
		return parsePBKDF2(newHash, iterations, salt, tag)
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
		salt, err := decoder(asWritten).between(fields[1], 1, maxSalt)
		if err != nil {
			return digest{}, err
		}
		size := newHash().Size()
		tag, err := decodeTag.between(fields[2], size, size)
		if err != nil {
			return digest{}, err
		}
		return parsePBKDF2(newHash, fields[0], salt, tag)
	}
}

func parsePBKDF2(newHash func() hash.Hash, iterations string, salt, tag []byte) (digest, error) {
	rounds, err := number(iterations, 1, maxPBKDF2Iterations)
	if err != nil {
		return digest{}, err
	}
	return newPBKDF2(newHash, rounds, salt, tag)
}

// newPBKDF2 counts the iterations for each block that the tag takes: one longer than the hash takes them several times.
func newPBKDF2(newHash func() hash.Hash, rounds uint32, salt, tag []byte) (digest, error) {
	size := newHash().Size()
	blocks := (len(tag) + size - 1) / size
	if uint64(rounds)*uint64(blocks) > maxPBKDF2Iterations {
		return digest{}, errCostly
	}
	return digest{matches: func(password []byte) (bool, error) {
		derived, err := pbkdf2.Key(newHash, string(password), salt, int(rounds), len(tag))
		return err == nil && equal(derived, tag), err
	}}, nil
}
