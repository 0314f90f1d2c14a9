package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/softbee/accounts/infra/sqlite"
)

// TestOpenSaysWhatIsDenied opens a file that somebody else owns. As root, which may read it, the test runs itself as another user.
func TestOpenSaysWhatIsDenied(t *testing.T) {
	const variable = "ACCOUNTS_TEST_DENIED"
	if path := os.Getenv(variable); path != "" {
		_, err := sqlite.Open(t.Context(), path)
		fmt.Println(err)
		return
	}
	directory := t.TempDir()
	program, path := filepath.Join(directory, "program"), filepath.Join(directory, "accounts.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(directory, 0o755), os.Chmod(filepath.Dir(directory), 0o755), os.WriteFile(program, code, 0o755), os.WriteFile(path, nil, 0)); err != nil { //nolint:gosec // it is to be executed by another user
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, "-test.run", "^"+t.Name()+"$")
	command.Dir, command.Env = directory, append(os.Environ(), variable+"="+path)
	if os.Geteuid() == 0 {
		const nobody = 65534
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	output, err := command.CombinedOutput()
	if want := strconv.Quote(path) + " cannot be opened: permission denied"; err != nil || !strings.Contains(string(output), want) {
		t.Errorf("%s (%v); want %s", output, err, want)
	}
}
