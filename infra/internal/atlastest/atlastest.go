// Package atlastest finds Atlas's command line for tests.
package atlastest

import (
	"cmp"
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of Atlas's command line: $ACCOUNTS_ATLAS, or atlas in the PATH. Without it the test is skipped, or fails if
// ACCOUNTS_REQUIRE_ATLAS is set.
func Program(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath(cmp.Or(os.Getenv("ACCOUNTS_ATLAS"), "atlas"))
	if err == nil {
		return program
	}
	const hint = "Atlas's command line is not installed: run: bash .ci/atlas DIR, where DIR is in the PATH"
	if os.Getenv("ACCOUNTS_REQUIRE_ATLAS") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}
