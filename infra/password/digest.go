package password

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/softbee/accounts/domain"
)

// digest is a stored hash, parsed, with everything that it asks for found to be within bounds.
type digest struct {
	params  argon2Params // of Argon2; zero for every other scheme
	memory  int64        // bytes that matches allocates
	nulEnds bool         // the scheme reads a password as far as its first NUL

	// matches computes the hash of password and compares.
	matches func(password []byte) (bool, error)
}

// What a stored hash may ask for. The limits on time allow what the field recommends, several times over, and stop at a
// few seconds of one processor; those on memory are 1 GiB.
const (
	maxMemory = 1 << 30 // bytes

	maxArgon2Memory      = maxMemory / 1024    // KiB
	maxArgon2Work        = 4 * maxArgon2Memory // KiB x passes; libsodium's "sensitive" is 1 GiB, four passes
	maxArgon2Iterations  = 256
	maxArgon2Parallelism = 64

	minBcryptCost = 4 // of the algorithm
	maxBcryptCost = 16

	maxPBKDF2Iterations = 5_000_000 // OWASP: 600,000; Django 6 and Werkzeug 3: over 1,000,000

	minCryptRounds     = 1000 // of the format
	maxCryptRounds     = 1_000_000
	defaultCryptRounds = 5000 // of the format
	minPhpassLog2      = 7    // of the format
	maxPhpassLog2      = 20
)

// Lengths, in bytes. A tag of 128 bits is the shortest that anybody writes; a shorter one could be hit by chance. The salts
// of Django and Werkzeug are text of any length, and some are shorter than the 64 bits that Argon2 requires.
const (
	maxStored     = 255
	minTag        = 16
	maxTag        = 64
	maxSalt       = 64
	minArgon2Salt = 8
)

var (
	errUnknown   = refused("has no form that is known")
	errMalformed = refused("is malformed")
	errCostly    = refused("asks for more memory or time than is allowed")
	errWeak      = refused("is of a scheme too weak to be accepted")

	errUncomputable = refused("is of a scheme that this program is built or set not to compute")
)

// refused returns an error that says nothing of the hash itself.
func refused(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "hashed_password", Reason: reason}
}

// forms holds every form of hash with the prefix that tells it. No prefix begins with another.
var forms = []struct {
	prefix string
	weak   bool // accepted only as a weak import
	parse  func(rest string) (digest, error)
}{
	// PHC string format
	{"$argon2id$", false, parseArgon2(argon2id)},
	{"$argon2i$", false, parseArgon2(argon2i)},
	{"$argon2d$", false, parseArgon2(argon2d)},
	{"$scrypt$", false, parseScryptPHC}, // passlib too
	// crypt(3)
	{"$2a$", false, parseBcrypt("2a")},
	{"$2b$", false, parseBcrypt("2b")},
	{"$2y$", false, parseBcrypt("2y")},
	{"$5$", false, parseSHA256Crypt},
	{"$6$", false, parseSHA512Crypt},
	{"$1$", true, parseMD5Crypt},
	{"$P$", true, parsePhpass},
	{"$H$", true, parsePhpass}, // phpBB
	// passlib
	{"$pbkdf2$", false, parsePBKDF2Modular(sha1.New)},
	{"$pbkdf2-sha256$", false, parsePBKDF2Modular(sha256.New)}, // PHC too
	{"$pbkdf2-sha512$", false, parsePBKDF2Modular(sha512.New)}, // PHC too
	{"$bcrypt-sha256$", false, parseBcryptPasslib},
	// Django
	{"argon2$argon2id$", false, parseArgon2(argon2id)},
	{"argon2$argon2i$", false, parseArgon2(argon2i)},
	{"argon2$argon2d$", false, parseArgon2(argon2d)},
	{"bcrypt$$2a$", false, parseBcrypt("2a")},
	{"bcrypt$$2b$", false, parseBcrypt("2b")},
	{"bcrypt$$2y$", false, parseBcrypt("2y")},
	{"bcrypt_sha256$$2a$", false, parseBcryptDjango("2a")},
	{"bcrypt_sha256$$2b$", false, parseBcryptDjango("2b")},
	{"bcrypt_sha256$$2y$", false, parseBcryptDjango("2y")},
	{"pbkdf2_sha1$", false, parsePBKDF2Django(sha1.New)},
	{"pbkdf2_sha256$", false, parsePBKDF2Django(sha256.New)},
	{"scrypt$", false, parseScryptDjango},
	// Werkzeug
	{"pbkdf2:sha1:", false, parsePBKDF2Werkzeug(sha1.New)},
	{"pbkdf2:sha256:", false, parsePBKDF2Werkzeug(sha256.New)},
	{"pbkdf2:sha512:", false, parsePBKDF2Werkzeug(sha512.New)},
	{"scrypt:", false, parseScryptWerkzeug},
	{"md5$", true, parseHMACOrDjango(md5.New)},
	{"sha1$", true, parseHMACOrDjango(sha1.New)},
	{"sha256$", true, parseHMAC(sha256.New)},
	{"sha512$", true, parseHMAC(sha512.New)},
	// LDAP
	{"{MD5}", true, parseLDAP(md5.New)},
	{"{SHA}", true, parseLDAP(sha1.New)},
	{"{SHA256}", true, parseLDAP(sha256.New)},
	{"{SHA384}", true, parseLDAP(sha512.New384)},
	{"{SHA512}", true, parseLDAP(sha512.New)},
	{"{SMD5}", true, parseSaltedLDAP(md5.New)},
	{"{SSHA}", true, parseSaltedLDAP(sha1.New)},
	{"{SSHA256}", true, parseSaltedLDAP(sha256.New)},
	{"{SSHA384}", true, parseSaltedLDAP(sha512.New384)},
	{"{SSHA512}", true, parseSaltedLDAP(sha512.New)},
	// Firebase, as other systems take it over
	{"$firescrypt$", false, parseFirebaseKratos},
	{"$fbscrypt$", false, parseFirebaseSupabase},
	// ASP.NET Identity
	{"A", false, parseASPNET},
}

// parse reads a stored hash. What it returns an error for is at most parsed, never computed.
func parse(stored string, allowWeak bool) (digest, error) {
	if len(stored) > maxStored {
		return digest{}, errMalformed
	}
	// The decoders of encoding/base64 skip line ends, and a hash has no blanks either.
	for i := range len(stored) {
		if stored[i] <= ' ' || stored[i] > '~' {
			return digest{}, errMalformed
		}
	}
	// LDAP servers put the name of the scheme before a hash of the forms of crypt(3) and PHC.
	for _, scheme := range []string{"{CRYPT}", "{ARGON2}"} {
		if rest, ok := strings.CutPrefix(stored, scheme); ok && strings.HasPrefix(rest, "$") {
			stored = rest
			break
		}
	}
	for _, form := range forms {
		rest, ok := strings.CutPrefix(stored, form.prefix)
		switch {
		case !ok:
			continue
		case form.weak && !allowWeak:
			return digest{}, errWeak
		default:
			return form.parse(rest)
		}
	}
	return digest{}, errUnknown
}

// parameters returns the values of "key=value" pairs, which must be those of keys in their order.
func parameters(list string, keys ...string) ([]string, error) {
	values := strings.Split(list, ",")
	if len(values) != len(keys) {
		return nil, errMalformed
	}
	for i, key := range keys {
		value, ok := strings.CutPrefix(values[i], key+"=")
		if !ok {
			return nil, errMalformed
		}
		values[i] = value
	}
	return values, nil
}

// number reads a cost in decimal digits without sign or leading zeros.
func number(digits string, least, most uint32) (uint32, error) {
	if digits == "" || digits[0] == '0' && digits != "0" {
		return 0, errMalformed
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, errMalformed
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err != nil, n > uint64(most): // out of range is the only error left
		return 0, errCostly
	case n < uint64(least):
		return 0, errMalformed
	}
	return uint32(n), nil
}

// A decoder reads a salt or a tag.
type decoder func(string) ([]byte, error)

// between decodes text to least to most bytes.
func (d decoder) between(text string, least, most int) ([]byte, error) {
	decoded, err := d(text)
	if err != nil || len(decoded) < least || len(decoded) > most {
		return nil, errMalformed
	}
	return decoded, nil
}

// phcBase64 is the base64 of PHC strings: no padding, and no bits set that stand for nothing.
var phcBase64 decoder = base64.RawStdEncoding.Strict().DecodeString

// passlibBase64 is the same with "." for "+".
func passlibBase64(text string) ([]byte, error) {
	if strings.Contains(text, "+") {
		return nil, errMalformed
	}
	return phcBase64(strings.ReplaceAll(text, ".", "+"))
}

// lowerHex decodes hexadecimal digits as Python writes and compares them: in lower case.
func lowerHex(text string) ([]byte, error) {
	if text != strings.ToLower(text) {
		return nil, errMalformed
	}
	return hex.DecodeString(text)
}

// asWritten takes a salt that is text.
func asWritten(text string) ([]byte, error) { return []byte(text), nil }

// equal compares in a time that depends on the lengths only.
func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
