package domain_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

// What the accounts of BenchmarkRefusal have stored, with the least cost that each scheme has.
var cheapHashes = []struct{ name, stored string }{
	{"no password", "!"},
	{"form that is unknown", "secret"},
	{"Argon2id, 8 KiB", "$argon2id$v=19$m=8,t=1,p=1$KdBEsSYLNu3NV3KbmxTMaA$5RENm5r2D36XAYY9cefGPb9n/4OykwH5zfpsJZfbLsI"},
	{"Argon2i, 4 MiB", "$argon2i$v=19$m=4096,t=3,p=1$KdBEsSYLNu3NV3KbmxTMaA$5RENm5r2D36XAYY9cefGPb9n/4OykwH5zfpsJZfbLsI"},
	{"Argon2d, 10 MiB", "argon2$argon2d$v=19$m=10240,t=2,p=1$KdBEsSYLNu3NV3KbmxTMaA$5RENm5r2D36XAYY9cefGPb9n/4OykwH5zfpsJZfbLsI"},
	{"bcrypt, cost 4", "$2b$04$abcdefghijklmnopqrstu.zcRnLDkgm.SrVPdXeIJvSbOAZgCUZZS"},
	{"bcrypt, cost 8", "$2b$08$abcdefghijklmnopqrstu.zcRnLDkgm.SrVPdXeIJvSbOAZgCUZZS"},
	{"bcrypt of SHA-256 (Django), cost 4", "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstu.zcRnLDkgm.SrVPdXeIJvSbOAZgCUZZS"},
	{"bcrypt of HMAC (passlib), cost 4", "$bcrypt-sha256$v=2,t=2b,r=4$lj2mQzSI.FDGCzrpa3SyQO$muWIv70EVYAtPHgymUf7SgJakpXF04a"},
	{"scrypt, N=2", "$scrypt$ln=1,r=1,p=1$c29tZXNhbHQxMjM0NTY3OA$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ"},
	{"scrypt, N=2^12", "$scrypt$ln=12,r=8,p=1$c29tZXNhbHQxMjM0NTY3OA$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ"},
	{"scrypt of Firebase, N=2", firebase(1)},
	{"PBKDF2-SHA1, 1", "$pbkdf2$i=1$c29tZXNhbHQxMjM0NTY3OA$c29tZXNhbHQxMjM0NTY3OA"},
	{"PBKDF2-SHA256, 1", "pbkdf2_sha256$1$saltsalt$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ="},
	{"PBKDF2-SHA256, 30,000", "pbkdf2_sha256$30000$saltsalt$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ="},
	{"PBKDF2-SHA512, 1", "$pbkdf2-sha512$i=1$c29tZXNhbHQxMjM0NTY3OA$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ"},
	{"ASP.NET Identity V2", "ANXrDknc7fGPpigibZXXZFMX4aoqz44JveK6jQuwY3eH/UyPhvr5xTPeGYEckLxz9A=="},
	{"ASP.NET Identity V3, 10,000", "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw=="},
	{"SHA-256-crypt, 1000", "$5$rounds=1000$saltstringsaltst$w7bWQ2Z/gtN581UKhVr4sVAsyzC6APuMGxRY0fR8Wg7"},
	{"SHA-512-crypt, 5000", "$6$saltstring$" + strings.Repeat("a", 86)},
	{"md5-crypt", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"},
	{"phpass", "$P$5/dluCWyN8yGFIsuw8msHCn.VEZ7Mh."},
	{"md5$ (Django, Werkzeug)", "md5$abcdefgh$e99715b475abcadd63e6cb482fa16f04"},
	{"sha1$ (Django, Werkzeug)", "sha1$abcdefgh$" + strings.Repeat("0", 40)},
	{"sha256$ (Werkzeug)", "sha256$abcdefgh$" + strings.Repeat("0", 64)},
	{"sha512$ (Werkzeug)", "sha512$abcdefgh$" + strings.Repeat("0", 128)},
	{"{SHA}", "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
	{"{SSHA}", "{SSHA}JFZFs0oHzxbMwkSJmYVeI8MnTDy/276a"},
	{"{SSHA256}", "{SSHA256}czO44OTV17PcF1cRxWrLZLy9xHd7CWyVYplr1rOhuMlx/7IK"},
	{"{SSHA512}", "{SSHA512}xPUl/px+1cG55rUH4rzcwxdOIPSB2TingLpiJJumN2xyDWN4Ix1WQG3ihnvHaWUE8MYNkvMi5rf0C9NYixHsE6Yh59M="},
}

// The same with costs that are usual, some of which are above the policy's.
var usualHashes = []struct{ name, stored string }{
	{"Argon2id, 64 MiB, 3 passes", "$argon2id$v=19$m=65536,t=3,p=1$KdBEsSYLNu3NV3KbmxTMaA$5RENm5r2D36XAYY9cefGPb9n/4OykwH5zfpsJZfbLsI"},
	{"bcrypt, cost 10", "$2b$10$abcdefghijklmnopqrstu.zcRnLDkgm.SrVPdXeIJvSbOAZgCUZZS"},
	{"bcrypt, cost 12", "$2b$12$abcdefghijklmnopqrstu.zcRnLDkgm.SrVPdXeIJvSbOAZgCUZZS"},
	{"scrypt, N=2^15 (Werkzeug)", "scrypt:32768:8:1$saltsalt$" + strings.Repeat("0", 128)},
	{"scrypt, N=2^17", "$scrypt$ln=17,r=8,p=1$c29tZXNhbHQxMjM0NTY3OA$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ"},
	{"scrypt of Firebase, N=2^14", firebase(14)},
	{"PBKDF2-SHA256, 600,000", "pbkdf2_sha256$600000$saltsalt$Cw8v/SFhnGvlxFWwK9URsZTa6CAaqQjib9bcJ7PDSdQ="},
	{"SHA-512-crypt, 656,000", "$6$rounds=656000$saltstring$" + strings.Repeat("a", 86)},
}

func firebase(log2 int) string {
	return fmt.Sprintf("$firescrypt$ln=%d,r=8,p=1$42xEC+ixf3L2lw==$70k8Vg5B3/OrvJOiqusnasv0dLcBHoDAqJrJr7TRLBfMw4MitWx51YXJYFdGiyMbMeKtWtLf5HiBDcN0SUOm4A==$"+
		"Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==", log2)
}

// BenchmarkRefusal shows that the time of a refusal does not tell whether an account exists, nor how its password is hashed:
// it tries an unknown account, a wrong password against a hash of the policy, and one against a hash of each scheme that can
// be imported, in an order of chance, and prints the median of each as a table.
//
//	go test ./domain -run '^$' -bench Refusal/sqlite -benchtime 50x
//
// "cheap" has schemes at their least cost, "usual" at costs of which some are above the policy's, which shows, and
// "refusal time" those again with RefusalTime. The throw-away PostgreSQL does not wait for its disk. To see one that does,
// name it in ACCOUNTS_TEST_POSTGRES.
func BenchmarkRefusal(b *testing.B) {
	for _, hashes := range []struct {
		name   string
		stored []struct{ name, stored string }
		least  time.Duration
	}{
		{"cheap", cheapHashes, 0},
		{"usual", usualHashes, 0},
		{"refusal time", usualHashes, 2 * time.Second},
	} {
		b.Run("sqlite/"+hashes.name, func(b *testing.B) {
			benchmarkRefusal(b, storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "accounts.db")), hashes.stored, hashes.least)
		})
		b.Run("postgres/"+hashes.name, func(b *testing.B) {
			benchmarkRefusal(b, storetest.OpenPostgres(b, storetest.PostgresURL(b)), hashes.stored, hashes.least)
		})
	}
}

// A refusal is what a sign-in is tried with, and how long the refusals took.
type refusal struct {
	name       string
	identifier string
	id         domain.ID
	took       []time.Duration
}

func (r *refusal) median() time.Duration {
	slices.Sort(r.took)
	return r.took[len(r.took)/2]
}

func benchmarkRefusal(b *testing.B, store *infra.Store, hashes []struct{ name, stored string }, least time.Duration) {
	hasher, err := password.New(password.Policy{AllowWeakImports: true})
	if err != nil {
		b.Fatal(err)
	}
	authenticator, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{
		Lock: domain.LockPolicy{Attempts: 100}, RefusalTime: least,
	})
	if err != nil {
		b.Fatal(err)
	}
	ours, err := hasher.Hash(b.Context(), right)
	if err != nil {
		b.Fatal(err)
	}
	// Twice, so that the second one's difference shows how exact the table is.
	cases := []*refusal{{name: "unknown account", identifier: "unknown"}, {name: "unknown account, again", identifier: "unknown2"}}
	create := func(name, stored string) {
		user := storetest.NewUser(b, fmt.Sprintf("user%d", len(cases)))
		if err := store.Create(b.Context(), user); err != nil {
			b.Fatal(err)
		}
		hash, err := domain.ParsePasswordHash(stored)
		if err != nil {
			b.Fatal(err)
		}
		if hash == domain.NoPassword() {
			_, err = store.RemovePassword(b.Context(), user.ID(), domain.SessionID{}, true)
		} else {
			_, err = store.SetPassword(b.Context(), user.ID(), domain.PasswordHash{}, hash, domain.SessionID{})
		}
		if err != nil {
			b.Fatal(err)
		}
		cases = append(cases, &refusal{name: name, identifier: user.Username().String(), id: user.ID()})
	}
	create("hash of the policy", ours.Stored())
	for _, hash := range hashes {
		create(hash.name, hash.stored)
	}

	rounds := 0
	for b.Loop() {
		for _, i := range rand.Perm(len(cases)) {
			begin := time.Now()
			_, err := authenticator.Authenticate(b.Context(), cases[i].identifier, wrong)
			cases[i].took = append(cases[i].took, time.Since(begin))
			if !errors.Is(err, domain.ErrBadCredentials) {
				b.Fatal(err)
			}
		}
		if rounds++; rounds%50 == 0 { // before the lock
			for _, c := range cases[2:] {
				if _, err := store.Unlock(b.Context(), c.id); err != nil {
					b.Fatal(err)
				}
			}
		}
	}

	var table strings.Builder
	unknown, worst := cases[0].median(), 0.0
	for _, c := range cases {
		difference := 100 * (c.median() - unknown).Seconds() / unknown.Seconds()
		worst = max(worst, difference, -difference)
		fmt.Fprintf(&table, "| %s | %.1f ms | %+.1f %% |\n", c.name, c.median().Seconds()*1000, difference)
	}
	// A benchmark's own log is cut after ten lines.
	_, _ = fmt.Fprintf(os.Stdout, "\nmedians of %d rounds, and the difference to an unknown account:\n%s", rounds, table.String())
	b.ReportMetric(worst, "worst-%")
	b.ReportMetric(unknown.Seconds()*1000, "unknown-ms")
}
