// Package journeytest keeps docs/journeys.md, the table of what tests found out about changes of a schema.
package journeytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The programs that carry out a change, as the columns of the table are called.
const (
	Ours   = "accounts"
	Oldest = "Atlas v0.13.1"
	Newest = "newest Atlas"
)

// Atlas returns the column of a build of Atlas's command line.
func Atlas(t testing.TB, program string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "community") { // which v0.13.1 does not say
		return Newest
	}
	return Oldest
}

var lock sync.Mutex

// Record demands that the table says of a journey, with a database and a program, what a test found. With ACCOUNTS_UPDATE_JOURNEYS set it
// writes that into the table.
func Record(t testing.TB, database, journey, program, outcome string) {
	t.Helper()
	lock.Lock()
	defer lock.Unlock()
	path := document(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	section := slices.Index(lines, "## "+database)
	if section < 0 {
		t.Fatalf("%s has no section %s", path, database)
	}
	column := -1
	for i := section; i < len(lines) && (i == section || !strings.HasPrefix(lines[i], "## ")); i++ {
		cells := strings.Split(lines[i], " | ")
		switch {
		case strings.HasPrefix(lines[i], "| journey | "):
			column = slices.IndexFunc(cells, func(c string) bool { return strings.TrimSuffix(c, " |") == program })
		case strings.HasPrefix(lines[i], "| "+journey+" | ") && column > 0:
			was := strings.TrimSuffix(cells[column], " |")
			if was == outcome {
				return
			}
			if os.Getenv("ACCOUNTS_UPDATE_JOURNEYS") == "" {
				t.Errorf("%s, %s, %s: the outcome is\n%s\nthe table says\n%s", database, journey, program, outcome, was)
				return
			}
			cells[column] = strings.Replace(cells[column], was, outcome, 1)
			lines[i] = strings.Join(cells, " | ")
			if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil { //nolint:gosec // the project's own document
				t.Fatal(err)
			}
			return
		}
	}
	t.Errorf("the table of %s has no journey %q with the program %q; the outcome is %s", database, journey, program, outcome)
}

// document returns the path of the table.
func document(t testing.TB) string {
	t.Helper()
	directory, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		path := filepath.Join(directory, "docs", "journeys.md")
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			t.Fatal("there is no docs/journeys.md above the test")
		}
		directory = parent
	}
}
