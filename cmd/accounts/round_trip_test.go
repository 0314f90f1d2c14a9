package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/infra/storetest"
)

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
