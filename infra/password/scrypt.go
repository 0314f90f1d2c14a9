package password

import (
	"crypto/aes"
	"crypto/cipher"
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
	params, err := scryptLogCosts(costs[0], costs[1], costs[2])
	if err != nil {
		return digest{}, err
	}
	return newScrypt(params, phcBase64, fields[1], phcBase64, fields[2])
}

// parseScryptDjango reads "N$salt$r$p$tag".
func parseScryptDjango(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 5 {
		return digest{}, errMalformed
	}
	params, err := scryptCosts(fields[0], fields[2], fields[3])
	if err != nil {
		return digest{}, err
	}
	return newScrypt(params, asWritten, fields[1], base64.StdEncoding.Strict().DecodeString, fields[4])
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
	params, err := scryptCosts(costs[0], costs[1], costs[2])
	if err != nil {
		return digest{}, err
	}
	return newScrypt(params, asWritten, fields[1], lowerHex, fields[2])
}

// parseFirebaseKratos reads Firebase's scrypt as Ory Kratos writes it: "ln=14,r=8,p=1$salt$tag$salt separator$signer key".
// Firebase itself keeps costs, separator and key once for each project.
func parseFirebaseKratos(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 5 {
		return digest{}, errMalformed
	}
	costs, err := parameters(fields[0], "ln", "r", "p")
	if err != nil {
		return digest{}, err
	}
	return newFirebase(costs, fields[1], fields[2], fields[3], fields[4])
}

// parseFirebaseSupabase reads it as Supabase writes it: "v=1,n=14,r=8,p=1,ss=salt separator,sk=signer key$salt$tag".
func parseFirebaseSupabase(rest string) (digest, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return digest{}, errMalformed
	}
	settings, err := parameters(fields[0], "v", "n", "r", "p", "ss", "sk")
	if err != nil || settings[0] != "1" {
		return digest{}, errMalformed
	}
	return newFirebase(settings[1:4], fields[1], fields[2], settings[4], settings[5])
}

// newFirebase returns a hash whose tag is the project's signer key, encrypted by AES-256 in counter mode with a key that
// scrypt derives from the password. (https://github.com/firebase/scrypt)
func newFirebase(costs []string, salt, tag, separator, signerKey string) (digest, error) {
	params, err := scryptLogCosts(costs[0], costs[1], costs[2])
	if err != nil {
		return digest{}, err
	}
	decode := decoder(base64.StdEncoding.Strict().DecodeString)
	rawSalt, err := decode.between(salt, 1, maxSalt)
	if err != nil {
		return digest{}, err
	}
	rawSeparator, err := decode.between(separator, 0, maxSalt)
	if err != nil {
		return digest{}, err
	}
	plain, err := decode.between(signerKey, minTag, maxTag)
	if err != nil {
		return digest{}, err
	}
	rawTag, err := decode.between(tag, len(plain), len(plain))
	if err != nil {
		return digest{}, err
	}
	return digest{
		memory: params.bytes(),
		matches: func(password []byte) (bool, error) {
			key, err := params.derive(password, append(rawSalt[:len(rawSalt):len(rawSalt)], rawSeparator...), 32)
			if err != nil {
				return false, err
			}
			block, err := aes.NewCipher(key)
			if err != nil {
				return false, err
			}
			encrypted := make([]byte, len(plain))
			cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(encrypted, plain)
			return equal(encrypted, rawTag), nil
		},
	}, nil
}

func newScrypt(params scryptParams, decodeSalt decoder, salt string, decodeTag decoder, tag string) (digest, error) {
	rawSalt, err := decodeSalt.between(salt, 1, maxSalt)
	if err != nil {
		return digest{}, err
	}
	rawTag, err := decodeTag.between(tag, minTag, maxTag)
	if err != nil {
		return digest{}, err
	}
	return digest{
		memory: params.bytes(),
		matches: func(password []byte) (bool, error) {
			derived, err := params.derive(password, rawSalt, len(rawTag))
			return err == nil && equal(derived, rawTag), err
		},
	}, nil
}

type scryptParams struct{ n, r, p uint32 }

func (s scryptParams) bytes() int64 { return 128 * int64(s.r) * (int64(s.n) + int64(s.p) + 2) }

func (s scryptParams) derive(password, salt []byte, length int) ([]byte, error) {
	return scrypt.Key(password, salt, int(s.n), int(s.r), int(s.p), length)
}

// scryptLogCosts takes the binary logarithm of N.
func scryptLogCosts(log2, r, p string) (scryptParams, error) {
	exponent, err := number(log2, 1, 23) // 2^23 is maxScryptWork
	if err != nil {
		return scryptParams{}, err
	}
	return boundScrypt(1<<exponent, r, p)
}

func scryptCosts(n, r, p string) (scryptParams, error) {
	blocks, err := number(n, 2, maxScryptWork)
	if err != nil {
		return scryptParams{}, err
	}
	return boundScrypt(blocks, r, p)
}

func boundScrypt(n uint32, r, p string) (scryptParams, error) {
	if n&(n-1) != 0 {
		return scryptParams{}, errMalformed // RFC 7914 section 2: N is a power of two
	}
	blockSize, err := number(r, 1, maxScryptWork/n)
	if err != nil {
		return scryptParams{}, err
	}
	passes, err := number(p, 1, maxScryptWork/n/blockSize)
	if err != nil {
		return scryptParams{}, err
	}
	return scryptParams{n, blockSize, passes}, nil
}
