package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const passes = "import \"testing\"\nfunc TestPasses(t *testing.T) {}\n"
	for name, test := range map[string]struct {
		code, demand string
		want         []string
		well         bool
	}{
		"passes":       {passes, "none", []string{"1 passed, 0 failed, 0 skipped"}, true},
		"lacks a skip": {passes, "some", []string{"0 skips; want some"}, false},
		"skips": {passes + `func TestSkips(t *testing.T) { t.Run("a", func(t *testing.T) { t.Skip("install it") }); t.Run("b", func(t *testing.T) { t.Log("log"); t.Skip("install it") }) }`,
			"some", []string{"2 passed, 0 failed, 2 skipped", "1 skipped: install it", "1 skipped: log install it"}, true},
		"may not skip": {passes + `func TestSkips(t *testing.T) { t.Skip("install it") }`, "none", []string{"1 skips; want none"}, false},
		"fails":        {passes + `func TestFails(t *testing.T) { t.Error("so") }`, "any", []string{"1 passed, 1 failed", "p_test.go:4: so"}, false},
		"is not built": {passes + "func Test(", "any", []string{"p_test.go:4:11: expected", "no test ran"}, false},
		"exits":        {`import ("os"; "testing"); func TestExits(t *testing.T) { os.Exit(3) }`, "any", []string{"no test ran"}, false},
		"panics":       {passes + `func TestPanics(t *testing.T) { panic("so") }`, "any", []string{"panic: so"}, false},
		"has none":     {"", "any", []string{"no test ran"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"go.mod": "module p\n", "p.go": "package p\n", "p_test.go": "package p\n" + test.code} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "test", "-json", "./...")
			cmd.Dir = dir
			events, _ := cmd.Output() // its status is what the summary finds
			var out strings.Builder
			if got := summarize(strings.NewReader(string(events)), &out, test.demand); got != test.well {
				t.Errorf("well: %v; want %v", got, test.well)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("lacks %q:\n%s", want, out.String())
				}
			}
		})
	}
}
