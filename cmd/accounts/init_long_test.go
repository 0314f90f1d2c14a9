//go:build long

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
}
