package password

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"hash"
	"strings"
)

// parsePhpass reads the portable hash of phpass, as in WordPress before 6.8 and phpBB: one character for the binary
// logarithm of the iterations, eight of salt, and a tag.
func parsePhpass(rest string) (digest, error) {
	if len(rest) != 1+8+22 {
		return digest{}, errMalformed
	}
	log2 := strings.IndexByte(cryptBase64, rest[0])
	switch {
	case log2 < minPhpassLog2:
		return digest{}, errMalformed
	case log2 > maxPhpassLog2:
		return digest{}, errCostly
	}
	salt := []byte(rest[1:9])
	tag, err := decoder(decodeCrypt).between(rest[9:], md5.Size, md5.Size)
	if err != nil {
		return digest{}, err
	}
	return digest{matches: func(password []byte) (bool, error) {
		sum := md5.Sum(append(salt[:len(salt):len(salt)], password...))
		next := append(sum[:], password...)
		for range 1 << log2 {
			sum = md5.Sum(next)
			copy(next, sum[:])
		}
		return equal(sum[:], tag), nil
	}}, nil
}

// decodeCrypt decodes the base64 of crypt(3), which begins with the lowest bits. It refuses bits that stand for nothing.
func decodeCrypt(text string) ([]byte, error) {
	var decoded []byte
	var bits, n uint
	for i := range len(text) {
		value := strings.IndexByte(cryptBase64, text[i])
		if value < 0 {
			return nil, errMalformed
		}
		bits |= uint(value) << n
		if n += 6; n >= 8 {
			decoded = append(decoded, byte(bits))
			bits >>= 8
			n -= 8
		}
	}
	if bits != 0 {
		return nil, errMalformed
	}
	return decoded, nil
}

// parseLDAP reads what LDAP servers write behind "{SHA}" (RFC 2307) and the like: base64 of the hash of the password.
func parseLDAP(newHash func() hash.Hash) func(string) (digest, error) {
	return func(rest string) (digest, error) { return newLDAP(newHash, rest, 0, 0) }
}

// parseSaltedLDAP reads what they write behind "{SSHA}": base64 of the hash of password and salt, and the salt.
func parseSaltedLDAP(newHash func() hash.Hash) func(string) (digest, error) {
	return func(rest string) (digest, error) { return newLDAP(newHash, rest, 1, maxSalt) }
}

func newLDAP(newHash func() hash.Hash, rest string, minSalt, maxSalt int) (digest, error) {
	size := newHash().Size()
	both, err := decoder(base64.StdEncoding.Strict().DecodeString).between(rest, size+minSalt, size+maxSalt)
	if err != nil {
		return digest{}, err
	}
	tag, salt := both[:size], both[size:]
	return digest{matches: func(password []byte) (bool, error) {
		return equal(sum(newHash(), password, salt), tag), nil
	}}, nil
}

// parseHMAC reads "salt$tag" as Werkzeug before 3.0 wrote it: the HMAC of the password with the salt as key.
func parseHMAC(newHash func() hash.Hash) func(string) (digest, error) {
	return parseSaltedHex(newHash, 1, func(password, salt []byte) [][]byte {
		return [][]byte{sum(hmac.New(newHash, salt), password)}
	})
}

// parseHMACOrDjango reads "salt$tag" as Werkzeug wrote it or, in the same form, Django before 4.0: the hash of salt and
// password. Django's may have no salt. Nothing tells the two from each other, so either may match.
func parseHMACOrDjango(newHash func() hash.Hash) func(string) (digest, error) {
	return parseSaltedHex(newHash, 0, func(password, salt []byte) [][]byte {
		tags := [][]byte{sum(newHash(), salt, password)}
		if len(salt) > 0 {
			tags = append(tags, sum(hmac.New(newHash, salt), password))
		}
		return tags
	})
}

// parseSaltedHex reads "salt$tag". The password is right if one of the tags that derive returns is the stored one.
func parseSaltedHex(newHash func() hash.Hash, minSalt int, derive func(password, salt []byte) [][]byte) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		text, encoded, _ := strings.Cut(rest, "$")
		salt, err := decoder(asWritten).between(text, minSalt, maxSalt)
		if err != nil {
			return digest{}, err
		}
		size := newHash().Size()
		tag, err := decoder(lowerHex).between(encoded, size, size)
		if err != nil {
			return digest{}, err
		}
		return digest{matches: func(password []byte) (bool, error) {
			match := false
			for _, derived := range derive(password, salt) {
				match = equal(derived, tag) || match
			}
			return match, nil
		}}, nil
	}
}

func sum(h hash.Hash, parts ...[]byte) []byte {
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}
