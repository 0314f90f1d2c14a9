//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// conversation is the program at a terminal, and a test as its user.
type conversation struct {
	t       *testing.T
	program *exec.Cmd
	user    *os.File
	screen  strings.Builder // all that the terminal has shown
	results bytes.Buffer
}

// converse starts the program with a terminal as its standard input and error, and on a new SQLite file.
func converse(t *testing.T, database string, args ...string) *conversation {
	t.Helper()
	user, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = terminal.Close()
		_ = user.Close()
	})
	c := &conversation{t: t, program: exec.Command("accounts", args...), user: user}
	c.program.Env = append(os.Environ(), databaseVariable+"="+database, "NO_COLOR=1")
	c.program.Stdin, c.program.Stderr, c.program.Stdout = terminal, terminal, &c.results
	c.program.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.program.Process.Kill() })
	return c
}

// waitFor reads what the terminal shows until it ends with text.
func (c *conversation) waitFor(text string) {
	c.t.Helper()
	char := make([]byte, 1)
	for !strings.HasSuffix(c.screen.String(), text) {
		if _, err := c.user.Read(char); err != nil {
			c.t.Fatalf("wait for %q: %v; the screen shows %q", text, err, c.screen.String())
		}
		c.screen.Write(char)
	}
}

func (c *conversation) answer(question, answer string) {
	c.t.Helper()
	c.waitFor(question)
	if _, err := c.user.WriteString(answer); err != nil {
		c.t.Fatal(err)
	}
}

// end waits for the end of the program and demands its exit status.
func (c *conversation) end(status int) {
	c.t.Helper()
	_ = c.program.Wait() // the status is in ProcessState
	if got := c.program.ProcessState.ExitCode(); got != status {
		c.t.Errorf("%v ended with %v; want exit status %d; the screen shows %q", c.program.Args, c.program.ProcessState, status, c.screen.String())
	}
}

func TestPromptsDoNotEcho(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")
	const password = "correct horse battery"

	c := converse(t, database, "user", "create", "--email", "ann@example.org", "--username", "ann")
	c.answer("Password: ", password+"\r")
	c.answer("\r\nAgain: ", password+"\r")
	c.waitFor("\r\n")
	c.end(0)
	if got, want := c.screen.String(), "Password: \r\nAgain: \r\n"; got != want {
		t.Errorf("the screen shows %q; want %q", got, want)
	}
	if !strings.Contains(c.results.String(), "ann@example.org") {
		t.Errorf("the result is %q", c.results.String())
	}

	// A terminal is asked without echo even if the password is said to be on standard input.
	c = converse(t, database, "user", "login", "ann", "--password-stdin")
	c.answer("Password: ", password+"\r")
	c.waitFor("\r\n")
	c.end(0)
	if strings.Contains(c.screen.String(), "horse") {
		t.Errorf("the screen shows %q", c.screen.String())
	}
}

func TestPasswordsThatDifferAreRefused(t *testing.T) {
	t.Parallel()
	database := filepath.Join(t.TempDir(), "accounts.db")
	c := converse(t, "sqlite:"+database, "user", "create", "--email", "ann@example.org", "--username", "ann")
	c.answer("Password: ", "correct horse battery\r")
	c.answer("Again: ", "correct horse batter\r")
	c.waitFor("accounts: password: is not the same as the first time\r\n")
	c.end(1)
	if _, err := os.Stat(database); err == nil {
		t.Error("the database was touched")
	}
}

func TestResetAsksForTokenAndPassword(t *testing.T) {
	t.Parallel()
	c := converse(t, "sqlite:"+filepath.Join(t.TempDir(), "accounts.db"), "user", "reset")
	c.answer("Token: ", strings.Repeat("A", 43)+"\r")
	c.answer("Password: ", "correct horse battery\r")
	c.answer("Again: ", "correct horse battery\r")
	c.waitFor("token: is not valid\r\n")
	c.end(1)
	if strings.Contains(c.screen.String(), "AAAA") {
		t.Errorf("the screen shows %q", c.screen.String())
	}
}

// Ctrl-C at a prompt ends the program and leaves a terminal that echoes again.
func TestInterruptAtPrompt(t *testing.T) {
	t.Parallel()
	const interrupt = "\x03"
	c := converse(t, "sqlite:"+filepath.Join(t.TempDir(), "accounts.db"), "user", "login", "ann")
	c.answer("Password: ", interrupt)
	c.waitFor("accounts: interrupted\r\n")
	c.end(1)
	c.answer("", "shown")
	c.waitFor("shown")
}

func TestProgressIsABarOnATerminal(t *testing.T) {
	t.Parallel()
	c := converse(t, "sqlite:"+filepath.Join(t.TempDir(), "accounts.db"), "migrate", "up")
	c.waitFor(clearLine + "[....................] ")
	c.waitFor(": statement 2 of ")
	c.waitFor(clearLine)
}
