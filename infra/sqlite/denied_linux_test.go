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

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

const deniedVariable = "ACCOUNTS_TEST_DENIED"

// openDenied opens a file that is in a directory of its own, both with their permissions, by somebody else: as root, who may do everything, the test runs itself as another
// user. It returns what Open said.
func openDenied(t *testing.T, content []byte, file, directory os.FileMode) (path, says string) {
	t.Helper()
	outer, err := os.MkdirTemp("/tmp", "accounts-denied-*") // t.TempDir may be below a directory that is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outer) })
	program, inner := filepath.Join(outer, "program"), filepath.Join(outer, "inner")
	path = filepath.Join(inner, "accounts.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(outer, 0o755), os.Mkdir(inner, 0o755), os.WriteFile(program, code, 0o755),
		os.WriteFile(path, content, 0o600), os.Chmod(path, file), os.Chmod(inner, directory)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(inner, 0o755) })
	command := exec.CommandContext(t.Context(), program, "-test.run", "^TestOpenedByTheDenied$")
	command.Dir, command.Env = outer, append(os.Environ(), deniedVariable+"="+path)
	if os.Geteuid() == 0 {
		const unprivileged = 65534
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
	}
	output, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s (%v)", output, err)
	}
	return path, string(output)
}

// TestOpenedByTheDenied is what openDenied executes.
func TestOpenedByTheDenied(t *testing.T) {
	if path := os.Getenv(deniedVariable); path != "" {
		_, err := sqlite.Open(t.Context(), path)
		fmt.Println(domain.KindOf(err), err)
	}
}

// TestOpenSaysWhatIsDenied opens a file that somebody else owns.
func TestOpenSaysWhatIsDenied(t *testing.T) {
	path, says := openDenied(t, nil, 0, 0o755)
	if want := strconv.Quote(path) + " cannot be opened: permission denied"; !strings.Contains(says, want) {
		t.Errorf("%s; want %s", says, want)
	}
}

// A file that may be read, in a directory or on a file system that may not be written, cannot be opened: the write-ahead log needs a place, also for reading.
func TestReadOnlyDirectory(t *testing.T) {
	source := filepath.Join(t.TempDir(), "accounts.db")
	store := storetest.OpenSQLite(t, source)
	if err := errors.Join(store.Create(t.Context(), storetest.NewUser(t, "ana")), store.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	path, says := openDenied(t, content, 0o444, 0o555)
	if want := "unavailable"; !strings.Contains(says, want) || !strings.Contains(says, strconv.Quote(path)+" cannot be opened") {
		t.Errorf("%s; want %s, with the path", says, want)
	}
}
