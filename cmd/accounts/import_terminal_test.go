//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImportShowsABarOnATerminal(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	file := filepath.Join(directory, "users.jsonl")
	// The file takes more than one read, so that the bar is seen before it is full, and so few that nothing need read the
	// terminal meanwhile. Blank lines are no accounts.
	lines := `{"email":"ann@example.org","username":"ann"}` + strings.Repeat("\n", 150<<10)
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	database := "sqlite:" + filepath.Join(directory, "accounts.db")

	c := converse(t, database, "user", "import", file, "--any-hash")
	c.waitFor("% |")
	c.end(0)
	c.answer("", "typed")
	c.waitFor("typed")
	if shown := lastLine(c.screen.String()); shown != "typed" {
		t.Errorf("the bar is left on the screen: %q", shown)
	}

	c = converse(t, database, "--json", "user", "import", file, "--any-hash")
	c.end(0)
	c.answer("", "typed")
	c.waitFor("typed")
	if screen := c.screen.String(); screen != "typed" {
		t.Errorf("with --json the screen shows %q", screen)
	}
}

// lastLine returns what is left to see on a terminal's last line, where what follows a carriage return is written over it.
func lastLine(screen string) string {
	screen = screen[strings.LastIndex(screen, "\n")+1:]
	var line []rune
	for part := range strings.SplitSeq(screen, "\r") {
		over := []rune(part)
		line = append(over, line[min(len(over), len(line)):]...)
	}
	return strings.TrimSpace(string(line))
}
