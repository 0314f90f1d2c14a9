package password

import (
	"encoding/base64"
	"fmt"
	"strings"

	imported "github.com/go-crypt/x/argon2"
	"golang.org/x/crypto/argon2"
)

const (
	argon2id = "argon2id"
	argon2i  = "argon2i"
	argon2d  = "argon2d"
)

// argon2Params is what makes two Argon2 hashes equally strong.
type argon2Params struct {
	variant         string
	memory          uint32 // KiB
	iterations      uint32
	parallelism     uint8
	saltLen, tagLen int // bytes
}

// bytes returns how much memory one hash takes.
func (p argon2Params) bytes() int64 { return int64(p.memory) * 1024 }

// couldBeOurs tells whether Hash writes such hashes, by some policy.
func (p argon2Params) couldBeOurs() bool {
	return p.variant == argon2id && meetsMinimum(p.memory, p.iterations) && p.saltLen == saltBytes && p.tagLen == tagBytes
}

func (p argon2Params) derive(password, salt []byte) []byte {
	switch p.variant {
	case argon2id:
		return argon2.IDKey(password, salt, p.iterations, p.memory, p.parallelism, uint32(p.tagLen))
	case argon2i:
		return argon2.Key(password, salt, p.iterations, p.memory, p.parallelism, uint32(p.tagLen))
	default: // argon2d, which x/crypto does not offer: it is not meant for passwords, and only ever imported
		return imported.DKey(password, salt, p.iterations, p.memory, uint32(p.parallelism), uint32(p.tagLen))
	}
}

// format returns the PHC string, which is 97 characters long with the default costs.
func (p argon2Params) format(salt, tag []byte) string {
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", p.variant, argon2.Version, p.memory, p.iterations, p.parallelism,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(tag))
}

// parseArgon2 reads "v=19$m=65536,t=3,p=4$salt$tag". Version 16, of before 2016, is refused; so is a hash without a
// version, which means 16.
func parseArgon2(variant string) func(string) (digest, error) {
	return func(rest string) (digest, error) {
		fields := strings.Split(rest, "$")
		if len(fields) != 4 || fields[0] != "v=19" {
			return digest{}, errMalformed
		}
		costs, err := parameters(fields[1], "m", "t", "p")
		if err != nil {
			return digest{}, err
		}
		lanes, err := number(costs[2], 1, maxArgon2Parallelism)
		if err != nil {
			return digest{}, err
		}
		iterations, err := number(costs[1], 1, maxArgon2Iterations)
		if err != nil {
			return digest{}, err
		}
		memory, err := number(costs[0], 8*lanes, maxArgon2Memory) // RFC 9106 section 3.1
		if err != nil {
			return digest{}, err
		}
		if uint64(memory)*uint64(iterations) > maxArgon2Work {
			return digest{}, errCostly
		}
		salt, err := phcBase64.between(fields[2], minArgon2Salt, maxSalt)
		if err != nil {
			return digest{}, err
		}
		tag, err := phcBase64.between(fields[3], minTag, maxTag)
		if err != nil {
			return digest{}, err
		}
		params := argon2Params{variant, memory, iterations, uint8(lanes), len(salt), len(tag)}
		return digest{
			params: params,
			memory: params.bytes(),
			matches: func(password []byte) (bool, error) {
				return equal(params.derive(password, salt), tag), nil
			},
		}, nil
	}
}
