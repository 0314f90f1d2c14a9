//go:build unix

package postgres

import (
	"errors"
	"syscall"
)

// quiet tells whether there is nothing to read, not even the end. A server that goes away says so before it closes the
// connection; for whatever else it may say to an idle one, such as a changed setting, a new connection serves as well.
func (s *socket) quiet() bool {
	conn, ok := s.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var one [1]byte
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		_, readErr = syscall.Read(int(fd), one[:]) // does not wait: Go's sockets are non-blocking
		return true
	})
	return err == nil && (errors.Is(readErr, syscall.EAGAIN) || errors.Is(readErr, syscall.EWOULDBLOCK))
}
