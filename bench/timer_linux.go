package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer waits to within about 30 µs. Where nothing else is to be done, time.Sleep waits in whole milliseconds on Linux, as
// epoll_wait does: a quarter of a millisecond takes more than one.
type timer struct{ file *os.File }

func newTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return timer{}, os.NewSyscallError("timerfd_create", err)
	}
	return timer{os.NewFile(uintptr(fd), "timer")}, nil
}

func (t timer) close() { _ = t.file.Close() }

func (t timer) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil)
	}); err != nil {
		return err
	}
	if failed != nil {
		return os.NewSyscallError("timerfd_settime", failed)
	}
	var expirations [8]byte
	_, err = t.file.Read(expirations[:])
	return err
}
