package password

import (
	"encoding/base64"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// maxScryptWork bounds N·r·p, and with it both the memory (128·N·r bytes) and the time (that memory, filled p times).
const maxScryptWork = maxMemory / 128

// parseScryptPHC reads "ln=17,r=8,p=1$salt$tag", where ln is the binary logarithm of N.
func parseScryptPHC(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return digest{}, errMalformed
	}
	costs, err := parameters(fields[0], "ln", "r", "p")
	if err != nil {
		return digest{}, err
	}
	log2, err := number(costs[0], 1, 23) // 2^23 is maxScryptWork
	if err != nil {
		return digest{}, err
	}
	return newScrypt(1<<log2, costs[1], costs[2], phcBase64, fields[1], phcBase64, fields[2])
}

// parseScryptDjango reads "N$salt$r$p$tag".
func parseScryptDjango(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 5 {
		return digest{}, errMalformed
	}
	n, err := number(fields[0], 2, maxScryptWork)
	if err != nil {
		return digest{}, err
	}
	return newScrypt(n, fields[2], fields[3], asWritten, fields[1], base64.StdEncoding.Strict().DecodeString, fields[4])
}

// parseScryptWerkzeug reads "N:r:p$salt$tag".
func parseScryptWerkzeug(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return digest{}, errMalformed
	}
	costs := strings.Split(fields[0], ":")
	if len(costs) != 3 {
		return digest{}, errMalformed
	}
	n, err := number(costs[0], 2, maxScryptWork)
	if err != nil {
		return digest{}, err
	}
	return newScrypt(n, costs[1], costs[2], asWritten, fields[1], lowerHex, fields[2])
}

func newScrypt(n uint32, r, p string, decodeSalt decoder, salt string, decodeTag decoder, tag string) (digest, error) {
	if n&(n-1) != 0 {
		return digest{}, errMalformed // RFC 7914 section 2: N is a power of two
	}
	blockSize, err := number(r, 1, maxScryptWork/n)
	if err != nil {
		return digest{}, err
	}
	passes, err := number(p, 1, maxScryptWork/n/blockSize)
	if err != nil {
		return digest{}, err
	}
	rawSalt, err := decodeSalt.between(salt, 1, maxSalt)
	if err != nil {
		return digest{}, err
	}
	rawTag, err := decodeTag.between(tag, minTag, maxTag)
	if err != nil {
		return digest{}, err
	}
	return digest{
		memory: 128 * int64(blockSize) * (int64(n) + int64(passes) + 2),
		matches: func(password []byte) (bool, error) {
			derived, err := scrypt.Key(password, rawSalt, int(n), int(blockSize), int(passes), len(rawTag))
			return err == nil && equal(derived, rawTag), err
		},
	}, nil
}
