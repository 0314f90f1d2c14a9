//go:build long

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra/storetest"
)

// TestInit follows the README of a new application: it runs, its tests pass, and a change of its schema becomes a migration. It compiles ent's
// generator and two programs: some 40 s of processor time. Each run of CI makes and runs an application besides, with nothing but Go (.ci/run newcomer).
func TestInit(t *testing.T) {
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "shop")
	run := func(program string, args ...string) string {
		t.Helper()
		command := exec.Command(program, args...)
		if program == "go" {
			command.Dir = dir
			command.Env = append(command.Environ(), "GOWORK=off", "GOFLAGS=")
		}
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	want := fmt.Sprintf("{\"dir\":%q,\"module\":\"example.org/shop\",\"accounts\":%q}\n", dir, source)
	if out := run("accounts", "--json", "init", dir, "--module", "example.org/shop", "--source", source); out != want {
		t.Errorf("init prints %s; want %s", out, want)
	}
	for _, want := range []string{"notes of hers: 2\n", "notes of hers: 3\n"} {
		if out := run("go", "run", "."); !strings.HasSuffix(out, want) {
			t.Errorf("go run . prints %q; want %q", out, want)
		}
	}
	run("go", "vet", "./...")
	run("go", "test", "./...")
	run("go", "mod", "tidy", "-diff")

	// The README's way to change what is stored, with a field that rows have already to do without.
	file := filepath.Join(dir, "ent", "schema", "schema.go")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `field.String("text"),`, `field.String("text"), field.String("colour").Optional(),`, 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	run("go", "generate", "./ent")
	run("go", "tool", "accounts", "migrate", "diff", "add_colour", "--dir", "migrations")
	files, err := filepath.Glob(filepath.Join(dir, "migrations", "*_add_colour.sql"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if out := run("go", "run", "."); !strings.HasSuffix(out, "notes of hers: 4\n") {
		t.Errorf("after the migration go run . prints %q", out)
	}

	// The README's way to PostgreSQL, by its table and its commands.
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "## PostgreSQL")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(section, -1)
	if len(rows) == 0 {
		t.Fatal("the README has no table of what to replace")
	}
	for _, row := range rows {
		file := filepath.Join(dir, filepath.FromSlash(row[1]))
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), row[2]) {
			t.Fatalf("%s lacks %s: %v", row[1], row[2], err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), row[2], row[3])), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, err := filepath.Glob(filepath.Join(dir, "migrations", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(old, filepath.Join(dir, "migrations", "atlas.sum")) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	_, commands, _ := strings.Cut(section, "```sh\n")
	commands, _, _ = strings.Cut(commands, "```")
	t.Setenv("DATABASE_URL", storetest.EmptyPostgresURL(t))
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "")
	for _, want := range []string{"notes of hers: 2\n", "notes of hers: 3\n"} {
		script := exec.Command("sh", "-euc", commands)
		if want != "notes of hers: 2\n" {
			script = exec.Command("go", "run", ".")
		}
		script.Dir = dir
		if out, err := script.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), want) {
			t.Fatalf("on PostgreSQL: %v\n%s", err, out)
		}
	}
	run("go", "vet", "./...")
	run("go", "test", "./...")
}
