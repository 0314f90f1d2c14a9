package password

import (
	"errors"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
)

// cheap finds the hashes that FuzzParse can afford to compute, by their costs.
var cheap = regexp.MustCompile(`^(argon2)?\$argon2..?\$v=19\$m=\d{1,3},t=\d,p=\d\$` +
	`|^(bcrypt\$|bcrypt_sha256\$)?\$2.\$04\$` +
	`|^\$bcrypt-sha256\$(2.,|v=2,t=2.,r=)4\$` +
	`|^\$scrypt\$ln=\d,r=\d,p=\d\$|^scrypt:\d{1,3}:\d:\d\$|^scrypt\$\d{1,3}\$[^$]*\$\d\$\d\$` +
	`|^\$pbkdf2(-sha256|-sha512)?\$(i=)?\d{1,3}[,$]|^pbkdf2_sha(1|256)\$\d{1,3}\$|^pbkdf2:sha(1|256|512):\d{1,3}\$` +
	`|^\$[56]\$(rounds=1\d{3}\$|[^r])|^\$1\$|^\$[PH]\$5|^(md5|sha1|sha256|sha512)\$|^{S?(MD5|SHA\d*)}|^\$firescrypt\$ln=\d,r=\d,p=\d\$|^\$fbscrypt\$v=1,n=\d,r=\d,p=\d,`)

// Whatever is stored, parsing it does not panic and takes little memory; what it accepts is within the bounds, and what it
// refuses is refused with a typed error. What is accepted and cheap is also computed, which must not panic either.
//
//	go test ./infra/password -run '^$' -fuzz FuzzParse
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.Hash, v.password)
	}
	f.Fuzz(func(t *testing.T, stored, password string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := parse(stored, true)
		runtime.ReadMemStats(&after)
		// The fuzzer allocates in the background; a single block of what the hash asks for would still stand out.
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
			t.Fatalf("allocated %d bytes", allocated)
		}
		_, strict := parse(stored, false)
		if err != nil {
			var detail *domain.Error
			if !errors.As(err, &detail) || detail.Kind != domain.ErrInvalid || detail.Field != "hashed_password" {
				t.Fatalf("got %v", err)
			}
			if strict == nil {
				t.Fatal("accepted only where weak imports are not")
			}
			return
		}
		const slack = 1 << 20 // scrypt's p and its temporary blocks
		if d.memory < 0 || d.memory > maxMemory+slack {
			t.Fatalf("asks for %d bytes", d.memory)
		}
		if d.matches == nil {
			t.Fatal("cannot be verified")
		}
		if len(password) > maxPasswordBytes || d.nulEnds && strings.Contains(password, "\x00") || !cheap.MatchString(stored) {
			return
		}
		first, err := d.matches([]byte(password))
		if err != nil {
			t.Fatal(err)
		}
		second, err := d.matches([]byte(password))
		if err != nil || first != second {
			t.Fatalf("answered %t, then %t, %v", first, second, err)
		}
	})
}
