package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// commands is a block of commands of this program in a document. Blocks that say postgres are executed with a database of PostgreSQL in
// $ACCOUNTS_DATABASE_URL, the others with the default, a file of SQLite.
var commands = regexp.MustCompile("(?ms)^ *```sh accounts( postgres)?\n(.*?)^ *```$")

// addresses are URLs of PostgreSQL, quoted or not.
var addresses = regexp.MustCompile(`'?postgres://[^\s']+'?`)

// TestDocumentedCommands executes the commands of this program in the documents as they stand there: those of one document in one shell, in a
// directory of its own, where other URLs of PostgreSQL lead to the database of the test.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script := map[string]string{}
		for _, block := range commands.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r\n", "\n"), -1) {
			script[block[1]] += block[2]
		}
		for database, script := range script {
			scripts++
			t.Run(filepath.Base(file)+database, func(t *testing.T) {
				t.Parallel()
				dir, url := t.TempDir(), ""
				if database != "" {
					url = newDatabase(t, filepath.Base(file))
				}
				if prepare := preparations[filepath.Base(file)]; prepare != nil {
					prepare(t, dir, url)
				}
				command := exec.Command(shell, "-euc", addresses.ReplaceAllLiteralString(script, `"$URL"`))
				command.Dir, command.Env = dir, append(os.Environ(), "URL="+url)
				if url != "" {
					command.Env = append(command.Env, databaseVariable+"="+url)
				}
				if output, err := command.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s\n%s", err, script, output)
				}
			})
		}
	}
	if scripts < 8 {
		t.Errorf("%d scripts in the documents", scripts)
	}
}

// preparations make what the commands of a document begin with: in a directory, or in a database of PostgreSQL where there is a URL.
var preparations = map[string]func(t *testing.T, dir, url string){
	"adopt.md": func(t *testing.T, dir, url string) {
		const table = "../../infra/adoption/testdata/softbee_users.sql"
		if url != "" {
			execute(t, postgres.Open, url, table)
		} else {
			execute(t, sqlite.Open, filepath.Join(dir, "app.db"), table)
		}
	},
	"events.md": withAna,
	"lists.md":  withAna,
	"import.md": func(t *testing.T, dir, _ string) {
		mustRun(t, "sqlite:"+filepath.Join(dir, "old.db"), "", "user", "create", "--email", "ana@example.org", "--username", "ana", "--no-password")
	},
}

func withAna(t *testing.T, dir, _ string) {
	mustRun(t, "sqlite:"+filepath.Join(dir, "accounts.db"), "", "user", "create", "--email", "ana@example.org", "--username", "ana", "--no-password")
}

// newDatabase returns the URL of a database of PostgreSQL in which there is nothing, or the tables for the documents that are about later.
func newDatabase(t *testing.T, document string) string {
	if document == "upgrading.md" || document == "import.md" {
		return storetest.PostgresURL(t)
	}
	return storetest.EmptyPostgresURL(t)
}

// execute runs the statements of a file in a database.
func execute(t *testing.T, open func(context.Context, string, ...infra.Option) (*infra.Store, error), database, path string) {
	t.Helper()
	store, err := open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		_, err = store.DB().ExecContext(t.Context(), string(text))
	}
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

// mapping is the JSON and the SQL of docs/adopt.md.
var mapping = regexp.MustCompile("(?ms)^```(json|sql)\n(.*?)^```$")

// TestDocumentedMapping takes over Django's table by the mapping in docs/adopt.md, and then executes the statements there.
func TestDocumentedMapping(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/adopt.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, block := range mapping.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r\n", "\n"), -1) {
		blocks[block[1]] += block[2]
	}
	if len(blocks) != 2 {
		t.Fatalf("docs/adopt.md has %q", blocks)
	}
	url := storetest.EmptyPostgresURL(t)
	execute(t, postgres.Open, url, "../../infra/adoption/testdata/django.sql")
	file := filepath.Join(t.TempDir(), "mapping.json")
	if err := os.WriteFile(file, []byte(blocks["json"]), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("accounts", "--database", url, "migrate", "adopt", "--map", file, "--zone", "UTC", "--on-collision", "newest", "--yes").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	store, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.DB().ExecContext(t.Context(), blocks["sql"]); err != nil {
		t.Fatal(err)
	}
	var owners int
	if err := store.DB().QueryRowContext(t.Context(), "SELECT count(owner) FROM apiary").Scan(&owners); err != nil || owners == 0 {
		t.Errorf("%d rows refer to accounts: %v", owners, err)
	}
}
