package adoption_test

import (
	"os/exec"
	"syscall"
)

// maxRSS returns the most memory, in bytes, that an ended process had.
func maxRSS(c *exec.Cmd) int64 {
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss * 1024
}
