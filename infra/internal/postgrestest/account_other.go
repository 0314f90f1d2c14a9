//go:build !unix

package postgrestest

import (
	"errors"
	"os/exec"
	"syscall"
)

type account struct{}

func serverUser() (account, error) {
	return account{}, errors.New("a server can be started on Unix only: set " + urlVariable)
}

func (account) foreign() bool { return false }

func (account) own(string) error { return nil }

func (account) command(program string, arguments ...string) *exec.Cmd {
	return exec.Command(program, arguments...)
}

func ownSession() *syscall.SysProcAttr { return nil }
