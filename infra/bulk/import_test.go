package bulk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/bulk"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func count(t testing.TB, store *infra.Store) int {
	t.Helper()
	n, err := store.Count(context.Background(), domain.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refusal is what Import reported of a line.
type refusal struct {
	line        int
	kind, field string
}

// load imports a text and returns what was refused.
func load(t testing.TB, store bulk.Store, format bulk.Format, text string) (bulk.Summary, []refusal) {
	t.Helper()
	return loadFrom(t, store, format, strings.NewReader(text))
}

func loadFrom(t testing.TB, store bulk.Store, format bulk.Format, file io.Reader) (bulk.Summary, []refusal) {
	t.Helper()
	hasher, err := password.New(password.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	var refusals []refusal
	summary, err := bulk.Import(t.Context(), store, file, bulk.Options{
		Format:    format,
		CheckHash: hasher.Check,
		Refused: func(line int, err error) error {
			var detail *domain.Error
			if !errors.As(err, &detail) {
				t.Errorf("line %d: %v is not typed", line, err)
				detail = &domain.Error{}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("line %d: the error quotes the file: %v", line, err)
			}
			refusals = append(refusals, refusal{line, string(detail.Kind), detail.Field})
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return summary, refusals
}

// object returns a line of JSON of an account with the name, and more fields.
func object(name, more string) string {
	return fmt.Sprintf(`{"email":"%s@example.org","username":"%s","hashed_password":"%s"%s}`, name, name, hash, more)
}

func expect(t testing.TB, summary, wantSummary bulk.Summary, refusals, wantRefusals []refusal) {
	t.Helper()
	if summary != wantSummary {
		t.Errorf("%+v; want %+v", summary, wantSummary)
	}
	if !slices.Equal(refusals, wantRefusals) {
		t.Errorf("refused %v\n   want %v", refusals, wantRefusals)
	}
}

// An account without a password is imported as one, and Django's unusable password is such a one.
func TestImportWithoutPassword(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		lines := `{"email":"ann@example.org","username":"ann","hashed_password":"!"}
{"email":"bob@example.org","username":"bob","hashed_password":"!4rcvWpGyqWhRRbdbkHDSbOYOPdzSQwMBDYnVyMiK"}
{"email":"cyd@example.org","username":"cyd","hashed_password":""}`
		summary, refusals := load(t, store, bulk.JSONLines, lines)
		if summary.Imported != 2 || len(refusals) != 1 || refusals[0].line != 3 {
			t.Fatalf("%+v, %v", summary, refusals)
		}
		for _, name := range []string{"ann@example.org", "bob@example.org"} {
			email, err := domain.ParseEmail(name)
			if err != nil {
				t.Fatal(err)
			}
			user, err := store.FindByEmail(t.Context(), email)
			if err != nil || user.State().PasswordHash != domain.NoPassword() {
				t.Errorf("%s: %v has a password", name, err)
			}
		}
	})
}

// bcrypt reads 72 bytes, and so the owner of a longer password signs in by those once. From then on the whole of it counts.
func TestImportedBcryptOfALongPassword(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		long := strings.Repeat("x", 80)
		const hash = "$2b$04$abcdefghijklmnopqrstu.XKJJS6vg2cGDgciaAr01yKV5aVAZh8q" // of long, by libxcrypt
		summary, refusals := load(t, store, bulk.JSONLines, `{"email":"ann@example.org","username":"ann","hashed_password":"`+hash+`"}`)
		if summary.Imported != 1 {
			t.Fatalf("%+v, %v", summary, refusals)
		}
		authenticator, err := domain.NewAuthenticator(store, password.Fast(), domain.AuthenticationPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			password string
			want     domain.Kind
		}{
			{long[:71], domain.ErrBadCredentials},
			{long, ""},
			{long[:72], domain.ErrBadCredentials},
			{long + "x", domain.ErrBadCredentials},
			{long, ""},
		} {
			user, err := authenticator.Authenticate(t.Context(), "ann", step.password)
			if got := domain.KindOf(err); got != step.want {
				t.Errorf("%d bytes: %v, want %q", len(step.password), err, step.want)
			}
			if err == nil && !strings.HasPrefix(user.State().PasswordHash.Stored(), "$argon2id$") {
				t.Error("the hash was not replaced")
			}
		}
	})
}

func TestHostileJSON(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		lines := []string{
			"\ufeff" + object("ann", ""), // a byte order mark
			"",
			"  \t",
			object("bob", "") + "\r",
			"hunter2",
			`"hunter2"`,
			`[{"email":"hunter2"}]`,
			object("x01", "") + " hunter2",
			object("x02", "") + object("x03", ""),
			object("x04", `,"pasword":"hunter2"`),
			object("x05", `,"$hunter2":1`),
			object("x06", `,"Email":"hunter2@example.org"`),
			object("x07", `,"email":"hunter2@example.org"`),
			object("x08", `,"first_name":{"hunter2":["hunter2"]}`),
			object("x09", `,"first_name":`+strings.Repeat("[", 100_000)),
			object("x10", `,"first_name":7`),
			object("x11", `,"is_active":"true"`),
			object("x12", `,"is_active":1`),
			object("x13", `,"failed_login_attempts":1.5`),
			object("x14", `,"failed_login_attempts":-1`),
			object("x15", `,"failed_login_attempts":1e400`),
			object("x16", `,"last_login":"yesterday"`),
			object("x17", `,"last_login":"0001-01-01T00:00:00Z"`),
			object("x18", `,"created_at":"9999-12-31T23:59:59-01:00"`),
			object("x19", `,"id":"hunter2"`),
			object("x20", `,"phone":"hunter2"`),
			object("x21", "\x00"),
			object("x22", `,"first_name":"hunter2\u0000"`),
			object("x23", `,"first_name":"hunter2`+"\xff"+`"`),
			object("x24", `,"first_name":"hunter2\ud800"`),
			object("x25", `,"last_name":"`+strings.Repeat("x", 101)+`"`),
			object("x26", `,"last_name":"`+strings.Repeat("x", 10<<20)+`"`), // 10 MiB
			object("x27", `,"last_name":"`+strings.Repeat("x", 1<<20)+`"`),
			strings.Replace(object("x28", ""), hash, "hunter2", 1),
			strings.Replace(object("x29", ""), hash, "", 1),
			`{"username":"x30","hashed_password":"` + hash + `"}`,
			`{"email":"x31@example.org","hashed_password":"` + hash + `"}`,
			`{"email":null,"username":null,"hashed_password":"` + hash + `"}`,
			object("x32", `,"first_name":null,"id":null,"phone":"","is_active":null,"last_login":null,"sessions":3,"version":9`),
			`{"email":"x33@example.org","username":"x33"`, // cut off
			object("x34", `,"phone_verified_at":"2026-01-01T00:00:00Z"`),
			object("x35", `,"phone":"+573001112277","phone_verified_at":true`),
		}
		summary, refusals := load(t, store, bulk.JSONLines, strings.Join(lines, "\n"))
		want := []refusal{
			{5, "invalid", ""}, {6, "invalid", ""}, {7, "invalid", ""}, {8, "invalid", ""}, {9, "invalid", ""},
			{10, "invalid", "pasword"}, {11, "invalid", ""}, {12, "invalid", ""}, {13, "invalid", ""}, {14, "invalid", "first_name"},
			{15, "invalid", "first_name"}, {16, "invalid", "first_name"}, {17, "invalid", "is_active"}, {18, "invalid", "is_active"},
			{19, "invalid", "failed_login_attempts"}, {20, "invalid", "failed_login_attempts"}, {21, "invalid", "failed_login_attempts"},
			{22, "invalid", "last_login"}, {23, "invalid", "last_login"}, {24, "invalid", "created_at"}, {25, "invalid", "id"},
			{26, "invalid", "phone"}, {27, "invalid", ""}, {28, "invalid", "first_name"}, {29, "invalid", ""}, {30, "invalid", ""},
			{31, "invalid", "last_name"}, {32, "invalid", ""}, {33, "invalid", ""}, {34, "invalid", "hashed_password"},
			{35, "invalid", "hashed_password"}, {36, "invalid", "email"}, {37, "invalid", "username"}, {38, "invalid", "email"},
			{40, "invalid", ""}, {41, "invalid", "phone_verified_at"}, {42, "invalid", "phone_verified_at"},
		}
		expect(t, summary, bulk.Summary{Imported: 3, Failed: len(want)}, refusals, want)
		if n := count(t, store); n != 3 {
			t.Errorf("%d accounts; want 3", n)
		}
	})
}

func TestHostileCSV(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		quoted := `"` + hash + `"` // it has commas
		lines := []string{
			"\ufeffusername,email,hashed_password,is_active,last_name\r",
			"ann,ann@example.org," + quoted + ",f,Lee\r",
			"",
			`bob,bob@example.org,` + quoted + `,1,"O""Neil"`,
			"x01,x01@example.org," + quoted + ",true,Lee,hunter2",
			"x02,x02@example.org," + quoted,
			"x03,x03@example.org," + quoted + ",hunter2,Lee",
			`x04,x04@example.org,` + quoted + `,true,"hunter2`, // takes nothing of the next line
			`x05,x05@example.org,` + quoted + `,true,hun"ter2`,
			"x06,x06@example.org," + quoted + ",true,hunter2\x00",
			"x07,x07@example.org," + quoted + ",true,hunter2\xff",
			"x08,x08@example.org," + quoted + ",true," + strings.Repeat("x", 10<<20),
			"x09,x09@example.org," + quoted + ",true,a\rb",
			"carol,carol@example.org," + quoted + ",,",
			"\"",
		}
		summary, refusals := load(t, store, bulk.CSV, strings.Join(lines, "\n")+"\n")
		want := []refusal{
			{5, "invalid", ""}, {6, "invalid", ""}, {7, "invalid", "is_active"}, {8, "invalid", ""}, {9, "invalid", ""},
			{10, "invalid", "last_name"}, {11, "invalid", ""}, {12, "invalid", ""}, {13, "invalid", "last_name"}, {15, "invalid", ""},
		}
		expect(t, summary, bulk.Summary{Imported: 3, Failed: len(want)}, refusals, want)
		name, _ := domain.ParseUsername("bob")
		bob, err := store.FindByUsername(t.Context(), name)
		if err != nil || bob.LastName() != `O"Neil` || !bob.IsActive() {
			t.Errorf("%v, %v", bob, err)
		}
	})
}

func TestBadHeaders(t *testing.T) {
	for header, field := range map[string]string{
		"":                          "header",
		"email,username,\"":         "header",
		"email,username,Email":      "email",
		"e-mail address;username":   "e_mail_address",
		"email\x00,username":        "header",
		"email,usern\xe4me":         "header",
		"e\x00m\x00a\x00i\x00l\x00": "header",
		"email,username,passwort":   "passwort",
		"email,username,email":      "email",
		strings.Repeat("x", 2<<20):  "",
	} {
		_, err := bulk.Import(t.Context(), nil, strings.NewReader(header), bulk.Options{Format: bulk.CSV})
		var detail *domain.Error
		if !errors.As(err, &detail) || detail.Kind != domain.ErrInvalid || detail.Field != field {
			t.Errorf("%.40q: %v; want invalid %s", header, err, field)
		}
	}
}

// TestSpreadsheets reads what spreadsheets write.
func TestSpreadsheets(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		inUTF16 := func(order binary.ByteOrder, text string) string {
			var b []byte
			for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
				b = append(b, 0, 0)
				order.PutUint16(b[len(b)-2:], unit)
			}
			return string(b)
		}
		n := 0
		rows := func(separator, end string) string {
			n++
			lines := []string{
				strings.Join([]string{"E-Mail", " Username", "HASHED PASSWORD", "First Name", "Is-Active", "created_at", "", ""}, separator),
				strings.Join([]string{fmt.Sprintf("ann%d@example.org", n), fmt.Sprintf("ann%d", n), `"` + hash + `"`, `"Añn, ""the; first"""`, "TRUE", "2026-01-31t23:59:59.5z", "", ""}, separator),
				strings.Repeat(separator, 7),
				strings.Join([]string{fmt.Sprintf("bob%d@example.org", n), fmt.Sprintf("bob%d", n), `"` + hash + `"`, "𝔅ob", "FALSE", "2026-01-31T23:59:59+01:00", "", ""}, separator),
				strings.Join([]string{fmt.Sprintf("x%d@example.org", n), fmt.Sprintf("xx%d", n), `"` + hash + `"`, "", "", "", "hunter2", ""}, separator),
			}
			lines[0] = strings.Replace(lines[0], "E-Mail", "Email", 1)
			return strings.Join(lines, end) + end
		}
		for name, text := range map[string]string{
			"commas": rows(",", "\n"), "semicolons, CRLF": rows(";", "\r\n"), "tabs": rows("\t", "\n"), "CR": rows(",", "\r"), "a mark": "\ufeff" + rows(";", "\r\n"),
			"UTF-16": inUTF16(binary.LittleEndian, rows("\t", "\r\n")), "UTF-16, the other order": inUTF16(binary.BigEndian, rows(",", "\n")),
		} {
			summary, refusals := loadFrom(t, store, bulk.CSV, iotest.OneByteReader(strings.NewReader(text)))
			if want := (bulk.Summary{Imported: 2, Failed: 1}); summary != want || refusals[0].line != 5 {
				t.Errorf("%s: %+v, %v; want %+v", name, summary, refusals, want)
			}
		}
		for u, err := range store.Export(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			isAnn := strings.HasPrefix(u.Username().String(), "ann")
			if isAnn && (u.FirstName() != `Añn, "the; first"` || !u.IsActive() || u.CreatedAt().Nanosecond() != 500_000_000) || !isAnn && (u.FirstName() != "𝔅ob" || u.IsActive()) {
				t.Errorf("%s: %q, active %v, %s", u.Username(), u.FirstName(), u.IsActive(), u.CreatedAt())
			}
		}
		summary, _ := load(t, store, bulk.JSONLines, inUTF16(binary.LittleEndian, object("utf16", "")+"\r\n"))
		if summary.Imported != 1 {
			t.Errorf("JSON lines in UTF-16: %+v", summary)
		}
		summary, refusals := load(t, store, bulk.CSV, inUTF16(binary.LittleEndian, "email,username\nx@example.org,\ufffd\n")+"\x00\xd8x")
		if summary.Failed != 2 {
			t.Errorf("broken UTF-16: %+v %v", summary, refusals)
		}
	})
}

// A header that cannot be read is answered with what was found and what was expected, and without what may be a secret.
func TestRefusedHeaderSaysWhy(t *testing.T) {
	for header, want := range map[string][]string{
		"hunter2!;x;y":              {"column 1 of 3, separated by semicolons", "expected names of id, email,"},
		"email,password":            {"password: is not a field of an account (column 2 of 2, separated by commas)"},
		"e\x00m\x00a\x00i\x00l\x00": {"UTF-16"},
	} {
		_, err := bulk.Import(t.Context(), nil, strings.NewReader(header), bulk.Options{Format: bulk.CSV})
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v; want %q", header, err, part)
			}
		}
	}
}

// TestQuotedLineEnds has line ends in quoted fields, and quotes that do not end, each of which costs a line.
func TestQuotedLineEnds(t *testing.T) {
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	const header = "email,username,hashed_password,version,first_name\n"
	line := func(name, first string) string {
		return name + "@example.org," + name + ",\"" + hash + "\",1," + first + "\n"
	}
	text := header + line("ann", "\"a\r\nb\n\"\"c\"\"\"") + line("bob", `"open`) + line("eve", "x") + line("joe", `y"`) + line("kim", "z")
	summary, refusals := load(t, store, bulk.CSV, text)
	expect(t, summary, bulk.Summary{Imported: 3, Failed: 2}, refusals, []refusal{{5, "invalid", ""}, {7, "invalid", ""}})
	name, err := domain.ParseUsername("ann")
	if err != nil {
		t.Fatal(err)
	}
	if ann, err := store.FindByUsername(t.Context(), name); err != nil || ann.FirstName() != "a\r\nb\n\"c\"" {
		t.Errorf("%q, %v", ann.FirstName(), err)
	}
}

// TestImportsInOppositeOrder runs two imports of the same accounts at once: one waits for the other, and then skips what that has stored.
func TestImportsInOppositeOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		const rows = 1000 // one batch
		lines := make([]string, rows)
		for i := range lines {
			lines[i] = object("user"+strconv.Itoa(i), fmt.Sprintf(`,"identities":[{"issuer":"i","subject":"%d"}]`, i))
		}
		var group sync.WaitGroup
		var imported, skipped atomic.Int64
		for range 2 {
			text := strings.Join(lines, "\n")
			group.Go(func() {
				summary, err := bulk.Import(t.Context(), store, strings.NewReader(text), bulk.Options{Format: bulk.JSONLines})
				if err != nil {
					t.Error(err)
				}
				imported.Add(int64(summary.Imported))
				skipped.Add(int64(summary.Skipped))
			})
			slices.Reverse(lines)
		}
		group.Wait()
		if imported.Load() != rows || skipped.Load() != rows || count(t, store) != rows {
			t.Errorf("%d imported, %d skipped, %d there; want %d", imported.Load(), skipped.Load(), count(t, store), rows)
		}
	})
}

// TestSkippedRowsHaveTheirIdentitiesLinked imports accounts without ids that are there already, with other ids, and one that cannot be read.
func TestSkippedRowsHaveTheirIdentitiesLinked(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		load(t, store, bulk.JSONLines, object("ann", "")+"\n"+object("bob", "")+"\n"+object("eve", ""))
		if _, err := store.DB().Exec("UPDATE users SET pending_email = 'bob@example@' WHERE username = 'bob'"); err != nil {
			t.Fatal(err)
		}
		identity := func(subject string) string { return `,"identities":[{"issuer":"i","subject":"` + subject + `"}]` }
		text := object("ann", identity("1")) + "\n" + object("bob", identity("2")) + "\n" + object("eve", identity("3")) + "\n" + object("eve", identity("1"))
		for range 2 {
			summary, refusals := load(t, store, bulk.JSONLines, text)
			expect(t, summary, bulk.Summary{Skipped: 2, Failed: 2}, refusals, []refusal{{2, "invalid", "pending_email"}, {4, "taken", "identity"}})
		}
		for subject, want := range map[string]string{"1": "ann", "3": "eve"} {
			who, err := domain.ParseIdentity("i", subject)
			if err != nil {
				t.Fatal(err)
			}
			if u, err := store.FindByIdentity(t.Context(), who); err != nil || u.Username().String() != want {
				t.Errorf("subject %s: %v, %v; want %s", subject, u, err, want)
			}
		}
	})
}

// TestCollisions has every way in which an account can be in the way of another, within a batch, in an earlier one, and stored
// before.
func TestCollisions(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		const id, otherID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1b4e28ba-2fa1-11d2-883f-0016d3cca428"
		summary, refusals := load(t, store, bulk.JSONLines, object("stored", `,"id":"`+id+`","phone":"+573001112233"`))
		expect(t, summary, bulk.Summary{Imported: 1}, refusals, nil)

		colliding := []string{
			object("STORED", ""), // the same address in another case, without an id: there already
			object("other", `,"id":"`+strings.ToUpper(id)+`"`),           // the same id
			object("stored", `,"id":"`+otherID+`"`),                      // the address of another account
			strings.Replace(object("ｓｔｏｒｅｄ", ""), "ｓｔｏｒｅｄ@", "free@", 1), // the name in full-width letters
			object("third", `,"phone":"+57 300 111 2233"`),               //
			object("fresh", ""), //
			object("Fresh", ""), // there already, by now
			strings.Replace(object("Fresh", ""), "Fresh@", "new@", 1),                                             //
			object("taken-id", `,"id":"`+otherID+`"`),                                                             // its namesake was refused
			object("again", `,"id":"`+otherID+`"`),                                                                // there already, by now
			strings.Replace(object("later", `,"id":"`+id[:35]+`9"`), "later@example.org", "FRESH@EXAMPLE.ORG", 1), // of the same file
		}
		check := func(offset int, repeated bool, text string) {
			t.Helper()
			summary, refusals := load(t, store, bulk.JSONLines, text)
			want := bulk.Summary{Imported: 2, Skipped: 4, Failed: 5}
			wantRefusals := []refusal{
				{offset + 3, "taken", "email"}, {offset + 4, "taken", "username"}, {offset + 5, "taken", "phone"},
				{offset + 8, "taken", "username"}, {offset + 11, "taken", "email"},
			}
			if repeated { // then the id of the third belongs to an account
				want, wantRefusals = bulk.Summary{Skipped: 7, Failed: 4}, wantRefusals[1:]
			}
			want.Imported += offset
			expect(t, summary, want, refusals, wantRefusals)
		}
		check(0, false, strings.Join(colliding, "\n"))
		check(0, true, strings.Join(colliding, "\n"))
		// Behind a batch of others, so that the store did not expect them.
		var many strings.Builder
		for i := range 5100 {
			many.WriteString(object("many"+strconv.Itoa(i), "") + "\n")
		}
		check(5100, true, many.String()+strings.Join(colliding, "\n"))
	})
}

// TestRoundTrip exports accounts with their hashes, imports them elsewhere, and finds the same ones; lines are split as a
// slow pipe would.
func TestRoundTrip(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		var file strings.Builder
		for i := range 300 {
			file.WriteString(object(fmt.Sprintf("User%d-ö", i), fmt.Sprintf(`,"id":"1b4e28ba-2fa1-11d2-883f-%012d","first_name":"%d\"\\ ,é","is_active":%t,`+
				`"is_verified":%t,"last_login":"2026-01-01T00:00:%02d.%06d+02:00","created_at":"2020-01-01T00:00:00Z","updated_at":"2021-01-01T00:00:00.5Z",`+
				`"failed_login_attempts":%d,"locked_until":"2030-01-01T00:00:00Z","phone":"+5730011%05d"`, i, i, i%2 == 0, i%3 == 0, i%60, i, i%7, i)) + "\n")
		}
		summary, refusals := loadFrom(t, store, bulk.JSONLines, iotest.HalfReader(strings.NewReader(file.String())))
		expect(t, summary, bulk.Summary{Imported: 300}, refusals, nil)
		exported := export(t, store)
		second := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "copy.db"))
		summary, refusals = load(t, second, bulk.JSONLines, file.String())
		expect(t, summary, bulk.Summary{Imported: 300}, refusals, nil)
		if copied := export(t, second); !reflect.DeepEqual(copied, exported) {
			t.Error("the copy is not the same")
		}
		if state := exported[7]; state.Email.String() != "user7-ö@example.org" || state.FirstName != `7"\ ,é` || state.PasswordHash.Stored() != hash ||
			state.Active || state.Verified || state.FailedLoginAttempts != 0 || state.LastLogin.Format("15:04:05.999999") != "22:00:07.000007" {
			t.Errorf("%+v", state)
		}
	})
}

func export(t *testing.T, store *infra.Store) []domain.UserState {
	t.Helper()
	var states []domain.UserState
	for u, err := range store.ExportWithHashes(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, u.State())
	}
	return states
}

func TestImportEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe() // nothing comes
	defer func() { _ = write.Close() }()
	cancel()
	if _, err := bulk.Import(ctx, nil, read, bulk.Options{Format: bulk.JSONLines}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestImportReportsWhatEndsIt(t *testing.T) {
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	broken := io.MultiReader(strings.NewReader(object("ann", "")+"\n"+object("bob", "")), iotest.ErrReader(errors.New("hunter2")))
	summary, err := bulk.Import(t.Context(), store, broken, bulk.Options{Format: bulk.JSONLines})
	if !errors.Is(err, domain.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") || summary != (bulk.Summary{Imported: 1}) {
		t.Errorf("a file that cannot be read: %+v, %v", summary, err) // bob's line may be cut off
	}

	full := errors.New("disk full")
	_, err = bulk.Import(t.Context(), store, strings.NewReader("hunter2\n"), bulk.Options{
		Format: bulk.JSONLines, Refused: func(int, error) error { return full },
	})
	if !errors.Is(err, full) {
		t.Errorf("a report that fails: %v", err)
	}

	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = bulk.Import(t.Context(), store, strings.NewReader(object("carol", "")), bulk.Options{Format: bulk.JSONLines}); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("a closed store: %v", err)
	}
}

// victimVariable makes the test program import standard input into the database that it names, telling of each refusal, until
// it is killed.
const victimVariable = "ACCOUNTS_TEST_VICTIM"

func TestMain(m *testing.M) {
	if database := os.Getenv(victimVariable); database != "" {
		os.Exit(victim(database))
	}
	os.Exit(m.Run())
}

func victim(database string) int {
	ctx := context.Background()
	open := sqlite.Open
	if strings.HasPrefix(database, "postgres") {
		open = postgres.Open
	}
	store, err := open(ctx, database)
	if err == nil {
		_, err = bulk.Import(ctx, store, os.Stdin, bulk.Options{Format: bulk.JSONLines, Refused: func(line int, _ error) error {
			_, err := fmt.Println(line)
			return err
		}})
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestImportGoesOnAfterAKill kills an import in its second batch, and runs it again.
func TestImportGoesOnAfterAKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	const rows, bad = 6000, 4000 // a row of the first batch is refused, and tells that the batch was stored
	var file bytes.Buffer
	for i := range rows {
		if i == bad {
			file.WriteString("{}\n")
			continue
		}
		file.WriteString(object("user"+strconv.Itoa(i), "") + "\n")
	}
	kill := func(t *testing.T, store *infra.Store, database string) {
		program := exec.Command(os.Args[0])
		program.Env = append(os.Environ(), victimVariable+"="+database)
		stdin, err := program.StdinPipe() // stays open, so that it waits for more of the second batch
		if err != nil {
			t.Fatal(err)
		}
		program.Stderr = os.Stderr
		output, err := program.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := program.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = stdin.Write(file.Bytes()) }() // ends with the program
		line, err := bufio.NewReader(output).ReadString('\n')
		if err != nil || line != strconv.Itoa(bad+1)+"\n" {
			t.Errorf("found %q, %v", line, err)
		}
		if err := program.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = program.Wait() // it was killed
		stored := count(t, store)
		if stored == 0 || stored >= rows-1 {
			t.Fatalf("%d accounts were stored before the kill", stored)
		}

		summary, refusals := loadFrom(t, store, bulk.JSONLines, bytes.NewReader(file.Bytes()))
		if summary.Skipped < stored || summary.Imported+summary.Skipped != rows-1 || count(t, store) != rows-1 {
			t.Errorf("%d before, then %+v, %d in all", stored, summary, count(t, store))
		}
		if !slices.Equal(refusals, []refusal{{bad + 1, "invalid", "hashed_password"}}) {
			t.Errorf("refused %v", refusals)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "accounts.db")
		kill(t, storetest.OpenSQLite(t, path), path)
	})
	t.Run("postgres", func(t *testing.T) {
		url := storetest.PostgresURL(t)
		kill(t, storetest.OpenPostgres(t, url), url)
	})
}

// source writes lines without end, as long as they are asked for.
type source struct {
	lines int
	rest  []byte
}

func (s *source) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.lines == 0 {
			return 0, io.EOF
		}
		s.lines--
		s.rest = []byte(object("user"+strconv.Itoa(s.lines), `,"last_name":"`+strings.Repeat("x", 900_000)+`"`) + "\n")
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// TestLongLinesTakeBoundedMemory reads a file of 100 MB whose lines are just below the bound.
func TestLongLinesTakeBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	const lines = 100
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	summary, err := bulk.Import(t.Context(), store, &source{lines: lines}, bulk.Options{Format: bulk.JSONLines})
	runtime.ReadMemStats(&after)
	if err != nil || summary.Failed != lines {
		t.Errorf("%+v, %v", summary, err)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("took %d MiB", grown>>20)
	}
}
