// Package atlastest finds Atlas's command line for tests.
package atlastest

import (
	"cmp"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Environment lets Atlas collect its garbage only when there is much: as it starts that would take a third of its processor time.
var Environment = []string{"GOGC=off", "GOMEMLIMIT=500MiB"}

// Program returns the path of Atlas's command line: $ACCOUNTS_ATLAS, or atlas in the PATH. Without it the test is skipped, or fails if
// ACCOUNTS_REQUIRE_ATLAS is set.
func Program(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath(cmp.Or(os.Getenv("ACCOUNTS_ATLAS"), "atlas"))
	if err != nil {
		unavailable(t, "Atlas's command line is not installed: run: bash .ci/atlas DIR, where DIR is in the PATH")
	}
	return program
}

// OnPostgres is [Program] for a test on the server of PostgreSQL at a URL: v0.13.1 cannot connect to 16 and later, which lack settings that it
// asks for.
func OnPostgres(t testing.TB, url string) string {
	t.Helper()
	program := Program(t)
	connected.Do(func() {
		out, err := exec.CommandContext(t.Context(), program, "schema", "inspect", "--url", url, "--schema", "information_schema").CombinedOutput() //nolint:gosec // the program is the developer's
		tooNew = err != nil && strings.Contains(string(out), "unexpected number of rows")
	})
	if tooNew {
		unavailable(t, "this build of Atlas does not know so new a PostgreSQL: set ACCOUNTS_ATLAS to a newer one, or use PostgreSQL 14 or 15")
	}
	return program
}

var (
	connected sync.Once
	tooNew    bool
)

func unavailable(t testing.TB, hint string) {
	t.Helper()
	if os.Getenv("ACCOUNTS_REQUIRE_ATLAS") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
}
