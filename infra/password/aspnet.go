package password

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
)

// Of ASP.NET Core's PasswordHasher<TUser>: version 2 is ASP.NET Identity's of before Core too.
const (
	aspnetV2Rounds = 1000
	aspnetV2Salt   = 16
	aspnetV2Tag    = 32
	aspnetV3Header = 13 // marker, function, iterations, length of the salt
	aspnetV3Salt   = 16 // at least
	aspnetV3Tag    = 16 // at least
)

// parseASPNET reads what ASP.NET Identity stores, which has no prefix but the marker in its first byte, 0 or 1, and so always
// begins with an "A": base64 of
//
//	V2: 0x00, a salt of 16 bytes, a tag of 32 (PBKDF2-HMAC-SHA1, 1000 iterations)
//	V3: 0x01, function (0 SHA-1, 1 SHA-256, 2 SHA-512), iterations, length of the salt, each big-endian in 4 bytes; salt, tag
func parseASPNET(rest string) (digest, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString("A" + rest)
	if err != nil || len(raw) == 0 {
		return digest{}, errMalformed
	}
	if raw[0] == 0 {
		if len(raw) != 1+aspnetV2Salt+aspnetV2Tag {
			return digest{}, errMalformed
		}
		return newPBKDF2(sha1.New, aspnetV2Rounds, raw[1:1+aspnetV2Salt], raw[1+aspnetV2Salt:])
	}
	functions := []func() hash.Hash{sha1.New, sha256.New, sha512.New}
	if raw[0] != 1 || len(raw) < aspnetV3Header {
		return digest{}, errMalformed
	}
	function := binary.BigEndian.Uint32(raw[1:])
	rounds := binary.BigEndian.Uint32(raw[5:])
	saltLen := binary.BigEndian.Uint32(raw[9:])
	both := raw[aspnetV3Header:]
	switch {
	case uint64(function) >= uint64(len(functions)), rounds == 0, saltLen < aspnetV3Salt, saltLen > maxSalt:
		return digest{}, errMalformed
	case len(both) < int(saltLen)+aspnetV3Tag, len(both) > int(saltLen)+maxTag:
		return digest{}, errMalformed
	}
	return newPBKDF2(functions[function], rounds, both[:saltLen], both[saltLen:])
}
