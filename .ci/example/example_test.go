// Package example carries out "The five steps of a change" of docs/migrations.md, block by block, on a copy of the repository:
//
//	go test ./.ci/example -v -timeout 20m
package example

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra/storetest"
)

// block is a block of code and what stands behind its opening, such as "go FILE, after TEXT".
var block = regexp.MustCompile("(?ms)^```(\\w+) ?([^\n]*)\n(.*?)^```$")

func TestFollowingTheDocument(t *testing.T) {
	server := storetest.PostgresServer(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "accounts")
	run(t, root, "git", "clone", "-q", root, copied)

	text, err := os.ReadFile(filepath.Join(root, "docs", "migrations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## The five steps of a change\n")
	section, _, ended := strings.Cut(section, "\n## ")
	if !found || !ended {
		t.Fatal("the document has no such section")
	}
	var inserted, executed int
	for _, match := range block.FindAllStringSubmatch(section, -1) {
		language, place, code := match[1], match[2], match[3]
		switch {
		case language == "go":
			file, after, ok := strings.Cut(place, ", after ")
			if !ok {
				t.Fatalf("the block does not say where it belongs: %s", match[0])
			}
			insert(t, filepath.Join(copied, file), after, code)
			inserted++
		case language == "sh":
			t.Log(code)
			run(t, copied, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(code, "postgres://localhost/postgres", "'"+server+"'"))
			executed++
		}
	}
	if inserted < 2 || executed < 3 {
		t.Errorf("the section has %d insertions and %d commands", inserted, executed)
	}
	if !strings.Contains(section, "\ngo test ./...\n") {
		t.Error("the section does not end in the tests")
	}
}

// insert puts code below the only line that contains a text, however it is spaced.
func insert(t *testing.T, file, after, code string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var changed strings.Builder
	found := 0
	for line := range strings.Lines(string(text)) {
		changed.WriteString(line)
		if strings.Contains(strings.Join(strings.Fields(line), " "), after) {
			changed.WriteString(code)
			found++
		}
	}
	if found != 1 {
		t.Fatalf("%q is %d times in %s; want once", after, found, file)
	}
	if err := os.WriteFile(file, []byte(changed.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, filepath.Dir(file), "gofmt", "-w", file)
}

func run(t *testing.T, dir, program string, arguments ...string) {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, arguments, err, out)
	}
	t.Logf("%s", out)
}
