package password

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
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

// parseSSHA256 reads base64 of the SHA-256 of password and salt, and the salt.
func parseSSHA256(rest string) (digest, error) {
	both, err := decoder(base64.StdEncoding.Strict().DecodeString).between(rest, sha256.Size+1, sha256.Size+maxSalt)
	if err != nil {
		return digest{}, err
	}
	tag, salt := both[:sha256.Size], both[sha256.Size:]
	return digest{matches: func(password []byte) (bool, error) {
		sum := sha256.Sum256(append(password[:len(password):len(password)], salt...))
		return equal(sum[:], tag), nil
	}}, nil
}

// parseHMAC reads "salt$tag" as Werkzeug before 3.0 wrote it: the HMAC of the password with the salt as key.
func parseHMAC(newHash func() hash.Hash) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		salt, encoded, _ := strings.Cut(rest, "$")
		if salt == "" || len(salt) > maxSalt {
			return digest{}, errMalformed
		}
		size := newHash().Size()
		tag, err := decoder(lowerHex).between(encoded, size, size)
		if err != nil {
			return digest{}, err
		}
		return digest{matches: func(password []byte) (bool, error) {
			mac := hmac.New(newHash, []byte(salt))
			mac.Write(password)
			return equal(mac.Sum(nil), tag), nil
		}}, nil
	}
}
