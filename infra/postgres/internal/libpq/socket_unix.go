//go:build unix

package libpq

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
	if s.raw == nil {
		var err error
		if s.raw, err = conn.SyscallConn(); err != nil {
			return false
		}
	}
	err := s.raw.Read(s.readNothing)
	return err == nil && (errors.Is(s.readErr, syscall.EAGAIN) || errors.Is(s.readErr, syscall.EWOULDBLOCK))
}

func (s *socket) readNothing(fd uintptr) bool {
	var one [1]byte
	_, s.readErr = syscall.Read(int(fd), one[:]) // does not wait: Go's sockets are non-blocking
	return true
}
