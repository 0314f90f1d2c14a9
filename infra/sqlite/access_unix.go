//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package sqlite

import "syscall"

// denied returns why this process may not read the file at path, or nil. It does not open it: closing it would release SQLite's locks.
func denied(path string) error {
	const read = 4 // R_OK of access(2)
	return syscall.Access(path, read)
}
