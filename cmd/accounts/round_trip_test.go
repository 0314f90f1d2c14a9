package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/rowtest"
	"github.com/softbee/accounts/infra/storetest"
)

// invoke runs the program and returns what it printed.
func invoke(t *testing.T, database string, stdin []byte, args ...string) (stdout []byte, stderr string, status int) {
	t.Helper()
	var out, messages bytes.Buffer
	status = run(context.Background(), append([]string{"--database", database}, args...), bytes.NewReader(stdin), &out, &messages)
	return out.Bytes(), messages.String(), status
}

// databases are a new one of each kind.
var databases = map[string]func(*testing.T) (string, *infra.Store){
	onSQLite: func(t *testing.T) (string, *infra.Store) {
		path := filepath.Join(t.TempDir(), "accounts.db")
		return "sqlite:" + path, storetest.OpenSQLite(t, path)
	},
	onPostgres: func(t *testing.T) (string, *infra.Store) {
		url := storetest.PostgresURL(t)
		return url, storetest.OpenPostgres(t, url)
	},
}

// TestExportAndImportAreInverses fills a database with any rows that it accepts, and identities, and demands that its export, imported into an empty
// one, is exported there to the same bytes. What PostgreSQL accepts, SQLite does.
func TestExportAndImportAreInverses(t *testing.T) {
	n := 300
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		n = 20_000
	}
	for _, pair := range [][2]string{{onSQLite, onSQLite}, {onPostgres, onPostgres}, {onPostgres, onSQLite}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			t.Parallel()
			from, store := databases[pair[0]](t)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			generator := &rowtest.Generator{Random: rand.New(rand.NewPCG(seed, 1)), SQLite: pair[0] == onSQLite}
			users, identities, err := generator.Fill(t.Context(), store.DB(), n)
			if err != nil || users < n || identities < n/4 {
				t.Fatalf("%d users, %d identities, %v", users, identities, err)
			}
			signedIn := storetest.NewUser(t, "signed-in")
			if err := store.Create(t.Context(), signedIn); err != nil {
				t.Fatal(err)
			}
			if _, err := store.IssueToken(t.Context(), signedIn.ID(), domain.SessionPolicy{}); err != nil {
				t.Fatal(err)
			}
			for _, format := range []string{"jsonl", "csv"} {
				exported, _, _ := invoke(t, from, nil, "user", "export", "--with-hashes", "--format", format)
				if len(bytes.Split(exported, []byte("\n"))) < n/2 {
					t.Fatalf("%s", exported)
				}
				to, _ := databases[pair[1]](t)
				summary, refused, status := invoke(t, to, exported, "--json", "user", "import", "--format", format)
				if status != 0 {
					t.Fatalf("%s: %s %.2000s", format, summary, refused)
				}
				again, stderr, status := invoke(t, to, nil, "user", "export", "--with-hashes", "--format", format)
				if status != 0 || !bytes.Equal(again, exported) {
					t.Errorf("%s: status %d %s, the export differs: %s", format, status, stderr, difference(exported, again))
				}
				if repeated, refused, status := invoke(t, to, exported, "--json", "user", "import", "--format", format); status != 0 || !strings.Contains(string(repeated), `"imported":0`) {
					t.Errorf("again: %s %.1000s", repeated, refused)
				}
			}
		})
	}
}

// difference returns the first lines that differ.
func difference(a, b []byte) string {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("line %d:\n%q\n%q", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// TestSQLiteExportIsRefusedByLine carries what SQLite accepts to PostgreSQL, whose columns are narrower and whose checks know more letters: what it
// does not take is refused line by line, and all others come back, byte for byte.
func TestSQLiteExportIsRefusedByLine(t *testing.T) {
	t.Parallel()
	n := 300
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		n = 20_000
	}
	from, store := databases[onSQLite](t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	generator := &rowtest.Generator{Random: rand.New(rand.NewPCG(seed, 1)), SQLite: true}
	if _, _, err := generator.Fill(t.Context(), store.DB(), n); err != nil {
		t.Fatal(err)
	}
	exported, _, _ := invoke(t, from, nil, "user", "export", "--with-hashes")
	to, _ := databases[onPostgres](t)
	summary, messages, _ := invoke(t, to, exported, "--json", "user", "import")
	lines := bytes.SplitAfter(exported, []byte("\n"))
	accounts := len(lines) - 1 // the last one is empty
	refused := make(map[string]bool)
	for message := range strings.Lines(messages) {
		var refusal struct {
			Line  int
			Error struct{ Kind string }
		}
		if err := json.Unmarshal([]byte(message), &refusal); err != nil {
			t.Fatalf("%q: %v", message, err)
		}
		if refusal.Line == 0 { // how many were refused
			continue
		}
		if refusal.Error.Kind != "invalid" {
			t.Errorf("%s%s", message, lines[refusal.Line-1])
		}
		refused[idOf(lines[refusal.Line-1])] = true
	}
	isRefused := func(line []byte) bool { return refused[idOf(line)] } // one of which an identity is refused is stored
	again, stderr, status := invoke(t, to, nil, "user", "export", "--with-hashes")
	want := bytes.Join(slices.DeleteFunc(lines, isRefused), nil)
	got := bytes.Join(slices.DeleteFunc(bytes.SplitAfter(again, []byte("\n")), isRefused), nil)
	if status != 0 || !bytes.Equal(got, want) {
		t.Errorf("status %d %s %s, the export differs: %s", status, stderr, summary, difference(want, got))
	}
	t.Logf("%d accounts, %d of them refused", accounts, len(refused))
	if len(refused) == 0 || len(refused) > accounts/2 {
		t.Errorf("%d of %d accounts refused: %.2000s", len(refused), accounts, messages)
	}
}

// idOf returns the first member of a line of an export, or "" for none.
func idOf(line []byte) string {
	id, _, _ := bytes.Cut(line, []byte(","))
	return string(id)
}

// roundTripVariable is how many accounts BenchmarkRoundTrip carries over.
const roundTripVariable = "ACCOUNTS_BENCH_ROWS"

// BenchmarkRoundTrip makes accounts with an identity each, exports them, imports the file into an empty database, and demands that its export is the
// same, byte for byte.
//
//	ACCOUNTS_BENCH_ROWS=1000000 go test ./cmd/accounts -run '^$' -bench RoundTrip -benchtime 1x -timeout 1h
func BenchmarkRoundTrip(b *testing.B) {
	rows := 10_000
	if text := os.Getenv(roundTripVariable); text != "" {
		var err error
		if rows, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	newDatabase := map[string]func() string{
		onPostgres: func() string { return storetest.PostgresURL(b) },
		onSQLite:   func() string { return "sqlite:" + filepath.Join(b.TempDir(), "accounts.db") },
	}
	for _, kind := range []string{onPostgres, onSQLite} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				made, first, second := filepath.Join(dir, "made.jsonl"), filepath.Join(dir, "first.jsonl"), filepath.Join(dir, "second.jsonl")
				if err := os.WriteFile(made, accountsWithIdentities(rows), 0o600); err != nil {
					b.Fatal(err)
				}
				step := func(name, database string, output string, args ...string) {
					file, err := os.Create(output)
					if err != nil {
						b.Fatal(err)
					}
					begin := time.Now()
					var messages bytes.Buffer
					if status := run(context.Background(), append([]string{"--database", database}, args...), strings.NewReader(""), file, &messages); status != 0 {
						b.Fatalf("%s: %s", name, messages.String())
					}
					b.ReportMetric(time.Since(begin).Seconds(), name+"_s")
					if err := file.Close(); err != nil {
						b.Fatal(err)
					}
				}
				one, other := newDatabase[kind](), newDatabase[kind]()
				step("import", one, os.DevNull, "user", "import", made)
				step("export", one, first, "user", "export", "--with-hashes")
				step("import_again", other, os.DevNull, "user", "import", first)
				step("export_again", other, second, "user", "export", "--with-hashes")
				before, err := os.ReadFile(first)
				if err != nil {
					b.Fatal(err)
				}
				after, err := os.ReadFile(second)
				if err != nil {
					b.Fatal(err)
				}
				if !bytes.Equal(before, after) || bytes.Count(before, []byte(`"subject"`)) != rows {
					b.Fatal("the exports differ, or lack identities")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func accountsWithIdentities(rows int) []byte {
	const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	var lines bytes.Buffer
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range rows {
		at := begin.Add(time.Duration(i) * 97 * time.Second).Format(time.RFC3339)
		_, _ = fmt.Fprintf(&lines, `{"id":"%s","email":"user%d@mail%d.example.org","username":"user%d","hashed_password":"%s","first_name":"First%d","last_name":"Last",`+
			`"phone":"+57%010d","is_verified":true,"last_login":"%s","created_at":"%s","identities":[{"issuer":"https://issuer.example","subject":"%d"}]}`+"\n",
			uuid.NewString(), i, i%97, i, hash, i%1000, i, at, at, i)
	}
	return lines.Bytes()
}
