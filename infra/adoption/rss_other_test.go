//go:build !linux

package adoption_test

import "os/exec"

// maxRSS is measured on Linux only.
func maxRSS(*exec.Cmd) int64 { return 0 }
