//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// onScreen runs the program with its results and messages on a terminal of that width, and returns what it shows.
func onScreen(t *testing.T, columns uint16, env []string, args ...string) string {
	t.Helper()
	user, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = user.Close() }()
	if err := pty.Setsize(user, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("accounts", args...)
	command.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR="), env...)
	command.Stdout, command.Stderr = terminal, terminal
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()
	shown, _ := io.ReadAll(user) // Linux ends it with an error once the program has ended
	_ = command.Wait()
	return strings.ReplaceAll(string(shown), "\r\n", "\n")
}

func TestColoursAndWidth(t *testing.T) {
	t.Parallel()
	database := databaseVariable + "=sqlite:" + filepath.Join(t.TempDir(), "accounts.db")
	created := onScreen(t, 200, []string{database}, "user", "create", "--email", "ann@example.org", "--username", "ann", "--no-password")
	if !strings.Contains(created, "\x1b[1musername:\x1b[0m") {
		t.Errorf("names are not bold: %q", created)
	}

	wide := onScreen(t, 200, []string{database}, "user", "list")
	if !strings.HasPrefix(wide, "\x1b[1mID ") || !strings.Contains(wide, "CREATED_AT") || strings.Count(wide, "\n") != 2 {
		t.Errorf("on 200 columns: %q", wide)
	}
	narrow := onScreen(t, 80, []string{database}, "user", "list")
	lines := strings.Split(narrow, "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], "USERNAME") || strings.Contains(lines[0], "CREATED_AT") || len(lines[1]) > 80 {
		t.Errorf("on 80 columns: %q", narrow)
	}
	if !strings.HasPrefix(lines[2], "The terminal is too narrow for ") || !strings.Contains(lines[2], "created_at") {
		t.Errorf("on 80 columns: %q", narrow)
	}

	if refused := onScreen(t, 80, []string{database}, "user", "show", "bob"); !strings.HasPrefix(refused, "\x1b[31maccounts:\x1b[0m find user") {
		t.Errorf("an error: %q", refused)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		for _, args := range [][]string{{"user", "list"}, {"user", "show", "ann"}, {"user", "show", "bob"}} {
			if plain := onScreen(t, 200, []string{database, env}, args...); plain == "" || strings.Contains(plain, "\x1b") {
				t.Errorf("with %s: %q", env, plain)
			}
		}
	}
	if structured := onScreen(t, 20, []string{database}, "--json", "user", "list"); strings.Contains(structured, "\x1b") || !strings.Contains(structured, `"created_at"`) {
		t.Errorf("with --json: %q", structured)
	}
}
