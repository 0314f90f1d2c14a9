package password

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
)

// A vector is a password and a stored hash with what the software that such hashes come from says of the two. The kinds:
//
//	positive   the password is right
//	near_miss  the password is almost right, or the hash was tampered with
//	malformed  the hash is not one, or its scheme cannot carry the password
//	costly     the hash asks for more memory or time than anybody has
//	quirk      implementations disagree, or their agreement is doubtful
type vector struct {
	Scheme      string `json:"scheme"`
	PasswordHex string `json:"password_hex"`
	Hash        string `json:"hash"`
	Valid       bool   `json:"valid"`
	Kind        string `json:"kind"`
	Source      string `json:"source"`

	password string
}

func (v vector) weak() bool {
	switch v.Scheme {
	case "passlib_md5_crypt", "passlib_phpass", "passlib_ldap_salted_sha256", "werkzeug_legacy":
		return true
	}
	for _, family := range []string{"ldap_", "django_md5", "django_sha1", "django_unsalted_", "werkzeug_md5", "werkzeug_sha1"} {
		if strings.HasPrefix(v.Scheme, family) {
			return true
		}
	}
	return false
}

func readVectors(tb testing.TB) []vector {
	tb.Helper()
	var vectors []vector
	for _, file := range []string{"testdata/hash_vectors.json", "testdata/other_systems.json"} {
		content, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var read []vector
		if err := json.Unmarshal(content, &read); err != nil {
			tb.Fatal(err)
		}
		vectors = append(vectors, read...)
	}
	for i := range vectors {
		password, err := hex.DecodeString(vectors[i].PasswordHex)
		if err != nil {
			tb.Fatal(err)
		}
		vectors[i].password = string(password)
	}
	return vectors
}

// What Verify is to answer.
type answer string

const (
	match       answer = "match"
	mismatch    answer = "mismatch"
	badHash     answer = "refused hash"     // domain.ErrInvalid on the field hashed_password
	badPassword answer = "refused password" // domain.ErrInvalid on the field password
)

// wanted returns what is to be answered to v where weak imports are allowed.
func (v vector) wanted() answer {
	switch {
	// Argon2 version 16 was superseded in 2016 and no library for Go computes it.
	case strings.HasPrefix(v.Hash, "$argon2d$v=16$"):
		return badHash

	case v.Kind == "positive":
		return match
	case v.Kind == "near_miss":
		return mismatch
	case v.Kind == "costly":
		return badHash

	case v.Kind == "malformed" && v.Source == "NUL in password":
		return badPassword
	// A salt of 32 bytes and a tag of 16, or a tag of 17 bytes, is not common but well formed.
	case v.Kind == "malformed" && (v.Source == "made by hand: fields swapped" || v.Scheme == "passlib_argon2" && v.Source == "made by hand: one char long"):
		return mismatch
	case v.Kind == "malformed":
		return badHash
	}
	answers := map[string]answer{
		// Version 16 again.
		"argon2-cffi 21.1.0, v= field left out (means v=16)": badHash,
		// Some implementations trim what they are given, or stop at a NUL.
		"made by hand: NUL at end":     badHash,
		"made by hand: newline at end": badHash,
		// Implementations decode such a salt to the same bytes, then compare text, or do not.
		"made by hand: unused bits set in the last salt character": match,
		// Verified as its maker did.
		"72-byte cut: first 72 bytes only": match,
		"72-byte cut: byte 73 differs":     match,
		"72-byte cut: longer still":        match,
		// HMAC fills its key with NULs, so that PBKDF2 and scrypt compute the same for both passwords, and which of them the
		// hash was made of nothing tells.
		"HMAC pads the password with NUL: a trailing NUL changes nothing": match,
		"trailing NUL (HMAC pads)":                                        match,
	}
	return answers[v.Source]
}

func answered(tb testing.TB, verification domain.Verification, err error) answer {
	tb.Helper()
	var detail *domain.Error
	switch {
	case err == nil && verification.Match:
		return match
	case err == nil:
		if verification.Stale {
			tb.Error("a hash that did not match is called stale")
		}
		return mismatch
	case errors.As(err, &detail) && detail.Kind == domain.ErrInvalid && detail.Field == "hashed_password":
		return badHash
	case errors.As(err, &detail) && detail.Kind == domain.ErrInvalid && detail.Field == "password":
		return badPassword
	}
	return answer(err.Error())
}

// verify is Verify for any text.
func verify(ctx context.Context, h *Hasher, stored, password string) (domain.Verification, error) {
	hash, err := domain.ParsePasswordHash(stored)
	if err != nil {
		return domain.Verification{}, err
	}
	return h.Verify(ctx, hash, password)
}

func newHasher(tb testing.TB, policy Policy) *Hasher {
	tb.Helper()
	h, err := New(policy)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func (v vector) name(i int) string {
	return fmt.Sprintf("%s/%s/%d %s", v.Scheme, v.Kind, i, strings.ReplaceAll(v.Source, "/", "-"))
}

// cheapHasher spends little on a password that does not match.
func cheapHasher() *Hasher {
	h := Fast()
	h.allowWeak = true
	return h
}

func TestVectors(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	h := cheapHasher()
	chosen := few(10)
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		chosen = few(math.MaxInt)
	}
	for i, v := range readVectors(t) {
		if !chosen(v) {
			continue
		}
		t.Run(v.name(i), func(t *testing.T) {
			t.Parallel()
			verification, err := verify(t.Context(), h, v.Hash, v.password)
			got, want := answered(t, verification, err), v.wanted()
			if got == badHash && want == mismatch && strings.HasPrefix(v.Source, "tampered: ") {
				return // so much so that it is malformed
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got == match && !verification.Stale {
				t.Error("not stale")
			}
		})
	}
}

// few returns whether a vector is one of the first n of its scheme and kind, a quirk, or one for which there is nothing to compute.
func few(n int) func(vector) bool {
	computed := map[[2]string]int{}
	return func(v vector) bool {
		if v.wanted() == badHash || v.Kind == "quirk" {
			return true
		}
		of := [2]string{v.Scheme, v.Kind}
		computed[of]++
		return computed[of] <= n
	}
}

// LDAP servers put the name of the scheme before such a hash. It changes nothing else.
func TestLDAPPrefix(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	h := cheapHasher()
	counted, chosen := map[answer]int{}, few(3)
	for i, v := range readVectors(t) {
		if !chosen(v) {
			continue
		}
		prefix := "{CRYPT}"
		switch {
		case !strings.HasPrefix(v.Hash, "$"), len(v.Hash) > maxStored-len("{ARGON2}"):
			continue
		case strings.HasPrefix(v.Scheme, "argon2"):
			prefix = "{ARGON2}"
		}
		verification, err := verify(t.Context(), h, prefix+v.Hash, v.password)
		got, want := answered(t, verification, err), v.wanted()
		if got == badHash && want == mismatch && strings.HasPrefix(v.Source, "tampered: ") {
			continue
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", v.name(i), got, want)
		}
		counted[got]++
	}
	if counted[match] < 20 || counted[mismatch] < 20 || counted[badHash] < 50 {
		t.Errorf("too few were tried: %v", counted)
	}
	for _, stored := range []string{"{CRYPT}", "{CRYPT}rl.3StKT.4T8M", "{CRYPT}{SSHA}JFZFs0oHzxbMwkSJmYVeI8MnTDy/276a", "{SSHA}", "{UNKNOWN}JFZFs0oHzxbMwkSJmYVeI8MnTDy"} {
		if _, err := verify(t.Context(), h, stored, "test123"); answered(t, domain.Verification{}, err) != badHash {
			t.Errorf("%s: got %v, want a refusal", stored, err)
		}
	}
}

// Every form has at least five passwords that match and five that do not.
func TestVectorsAreEnough(t *testing.T) {
	forms := map[string]map[string]int{}
	for _, v := range readVectors(t) {
		if forms[v.Scheme] == nil {
			forms[v.Scheme] = map[string]int{}
		}
		forms[v.Scheme][v.Kind]++
	}
	for _, scheme := range []string{
		"aspnet_v2", "aspnet_v3", "firebase_kratos", "firebase_supabase", "django_md5", "django_sha1", "django_unsalted_md5",
		"django_unsalted_sha1", "werkzeug_md5", "werkzeug_sha1", "ldap_MD5", "ldap_SHA", "ldap_SHA256", "ldap_SHA384", "ldap_SHA512",
		"ldap_SMD5", "ldap_SSHA", "ldap_SSHA256", "ldap_SSHA384", "ldap_SSHA512", "pbkdf2_sha512_32", "bcrypt_stray_salt", "bcrypt_long",
	} {
		if forms[scheme]["positive"] < 5 || forms[scheme]["near_miss"] < 5 {
			t.Errorf("%s: %v", scheme, forms[scheme])
		}
	}
}

func TestWeakSchemesAreRefusedByDefault(t *testing.T) {
	h := newHasher(t, Policy{})
	for i, v := range readVectors(t) {
		if !v.weak() || v.Kind == "malformed" {
			continue
		}
		t.Run(v.name(i), func(t *testing.T) {
			if _, err := verify(t.Context(), h, v.Hash, v.password); answered(t, domain.Verification{}, err) != badHash {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
}

// What is refused takes neither memory nor time: with a context that is over, nothing can be computed, yet the answer is the
// refusal, and what it allocates is no more than parsing takes. Not parallel, for all allocations of the process are counted.
func TestRefusalsComeBeforeAnyWork(t *testing.T) {
	h := newHasher(t, Policy{AllowWeakImports: true})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i, v := range readVectors(t) {
		want := v.wanted()
		if want != badHash && want != badPassword {
			continue
		}
		t.Run(v.name(i), func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			verification, err := verify(over, h, v.Hash, v.password)
			runtime.ReadMemStats(&after)
			if got := answered(t, verification, err); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 64<<10 {
				t.Errorf("allocated %d bytes", allocated)
			}
			if strings.Contains(v.Hash, "$") && err != nil {
				for _, part := range strings.FieldsFunc(v.Hash, func(r rune) bool { return strings.ContainsRune("$,=:", r) }) {
					if len(part) > 5 && strings.Contains(err.Error(), part) {
						t.Errorf("the error tells what is in the hash: %v", err)
					}
				}
			}
			if want == badPassword {
				return
			}
			if _, err := parse(v.Hash, true); answered(t, domain.Verification{}, err) != badHash {
				t.Errorf("parse: got %v, want a refusal", err)
			}
		})
	}
}
