// Package example carries out docs/start.md in an empty directory, and "The five steps of a change" of docs/migrations.md on a copy of the repository,
// block by block:
//
//	go test ./.ci/example -v -timeout 20m
//
// The tests of the copy run with -short, which leaves out what takes long and sees nothing of the schema.
package example

import (
	"net"
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
	t.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -short"))
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
			if strings.HasPrefix(code, "atlas ") && !atlasInstalled(t) {
				continue
			}
			t.Log(code)
			run(t, copied, "bash", "-euo", "pipefail", "-c", strings.NewReplacer("postgres://localhost/postgres", "'"+server+"'",
				"'postgres://localhost/empty?search_path=public'", "'"+storetest.EmptyPostgresURL(t)+"&search_path=public'").Replace(code))
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

func atlasInstalled(t *testing.T) bool {
	t.Helper()
	_, err := exec.LookPath("atlas")
	if err != nil && os.Getenv("ACCOUNTS_REQUIRE_ATLAS") != "" {
		t.Fatal(err)
	}
	return err == nil
}

// TestStart follows docs/start.md in an empty directory, where "go get" finds this repository as the only version of the module.
//
// It compiles everything once more, for a minute, and so belongs to the long tests.
func TestStart(t *testing.T) {
	if os.Getenv("ACCOUNTS_TEST_LONG") == "" {
		t.Skip("set ACCOUNTS_TEST_LONG=1: it compiles all dependencies")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "docs", "start.md"))
	if err != nil {
		t.Fatal(err)
	}
	const module, version = "github.com/softbee/accounts", "v0.1.0"
	proxy := filepath.Join(t.TempDir(), "proxy")
	served := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(served, 0o755); err != nil {
		t.Fatal(err)
	}
	declared, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"list":            version + "\n",
		version + ".info": `{"Version": "` + version + `", "Time": "2026-01-01T00:00:00Z"}`,
		version + ".mod":  string(declared),
	} {
		if err := os.WriteFile(filepath.Join(served, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, root, "git", "archive", "--format=zip", "--prefix="+module+"@"+version+"/", "-o", filepath.Join(served, version+".zip"),
		"HEAD", ".", ":(exclude)bench", ":(exclude)examples")
	goEnv := func(name string) string {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	t.Setenv("GOPROXY", "file://"+proxy+",file://"+goEnv("GOMODCACHE")+"/cache/download,"+goEnv("GOPROXY"))
	t.Setenv("GOSUMDB", "off") // knows nothing of this version
	t.Setenv("GOFLAGS", "-modcacherw")
	t.Setenv("GOMODCACHE", filepath.Join(t.TempDir(), "modules"))

	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	directory, program := t.TempDir(), ""
	shop := filepath.Join(directory, "shop")
	var answers string
	var compared int
	for _, match := range block.FindAllStringSubmatch(string(document), -1) {
		code := strings.ReplaceAll(match[3], "localhost:8080", address)
		switch {
		case match[1] == "go":
			program += code
		case strings.HasPrefix(code, "mkdir "):
			run(t, directory, "sh", "-euc", code)
		case strings.HasPrefix(code, "go mod tidy"):
			if err := os.WriteFile(filepath.Join(shop, "main.go"), []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, shop, "sh", "-euc", strings.Replace(code, "go run .", "go build -o server .", 1))
			server := exec.Command(filepath.Join(shop, "server"))
			server.Dir = shop
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = server.Process.Kill(), server.Wait() })
			run(t, shop, "curl", "-s", "--retry", "50", "--retry-delay", "1", "--retry-connrefused", "http://"+address+"/me")
		case strings.HasPrefix(code, "curl "):
			answers = run(t, shop, "sh", "-euc", strings.ReplaceAll(code, "curl ", "curl -s "))
		case match[1] == "text":
			if compared++; answers != code {
				t.Errorf("the answers are\n%s\nthe document says\n%s", answers, code)
			}
		}
	}
	if compared < 2 {
		t.Errorf("%d answers in the document", compared)
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

func run(t *testing.T, dir, program string, arguments ...string) string {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, arguments, err, out)
	}
	t.Logf("%s", out)
	return string(out)
}
