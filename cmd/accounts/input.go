package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/softbee/accounts/domain"
)

// maxLine bounds, roughly, how much of a line of standard input is kept. No password or token is nearly as long, so that
// the domain refuses what was cut off here.
const maxLine = 1 << 20

// input is where a command reads secrets from: lines of standard input or, when that is a terminal, prompts without echo.
type input struct {
	lines    *bufio.Reader
	terminal *os.File       // nil when standard input is none
	dialogue *term.Terminal // on terminal and standard error
}

func newInput(stdin io.Reader, stderr io.Writer) input {
	f, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return input{lines: bufio.NewReader(stdin)}
	}
	return input{terminal: f, dialogue: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, stderr}, "")}
}

var (
	errNoTerminal = usageError{"standard input is no terminal to ask for the password on; pass it with --password-stdin"}
	errNoPassword = invalid("password", "is empty")
)

// password returns a password: from a line of standard input if fromStdin, or asked for on the terminal.
func (in input) password(ctx context.Context, fromStdin bool) (string, error) {
	var password string
	var err error
	switch {
	case in.terminal != nil:
		password, err = in.prompt(ctx, "Password")
	case fromStdin:
		password, err = in.line(ctx)
	default:
		return "", errNoTerminal
	}
	if err == nil && password == "" {
		return "", errNoPassword
	}
	return password, err
}

// newPassword returns a password that is about to be set. On a terminal it is asked for twice, since it cannot be seen.
func (in input) newPassword(ctx context.Context, fromStdin bool) (string, error) {
	password, err := in.password(ctx, fromStdin)
	if err != nil || in.terminal == nil {
		return password, err
	}
	again, err := in.prompt(ctx, "Again")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", invalid("password", "is not the same as the first time")
	}
	return password, nil
}

// token returns the text of a token.
func (in input) token(ctx context.Context) (string, error) { return in.secret(ctx, "Token") }

// secret returns a line of standard input, or the answer to a question on the terminal.
func (in input) secret(ctx context.Context, question string) (string, error) {
	if in.terminal != nil {
		return in.prompt(ctx, question)
	}
	return in.line(ctx)
}

// line reads one line of standard input without its end.
func (in input) line(ctx context.Context) (string, error) {
	return await(ctx, func() (string, error) { return readLine(in.lines) })
}

// readLine reads a line without its end, "\n" or "\r\n", of which the last line of a file may have none, and without the mark
// (U+FEFF) that some programs put before a UTF-8 text. What is marked as UTF-16, as some shells redirect it, is refused.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < maxLine {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return "", &domain.Error{Kind: domain.ErrUnavailable, Reason: "standard input cannot be read: " + systemReason(err)}
		}
		if ended, ok := bytes.CutSuffix(line, []byte("\n")); ok {
			line = bytes.TrimSuffix(ended, []byte("\r"))
		}
		break
	}
	return unmarked(string(line))
}

// unmarked returns the first line of a text without the mark.
func unmarked(line string) (string, error) {
	if strings.HasPrefix(line, "\xff\xfe") || strings.HasPrefix(line, "\xfe\xff") {
		return "", invalid("", "the input is UTF-16; it must be UTF-8")
	}
	return strings.TrimPrefix(line, "\ufeff"), nil
}

// prompt asks on the terminal, which does not show what is typed. Ctrl-C, Ctrl-D and the end of ctx are one and the same: the
// error is [context.Canceled], and the terminal is as it was.
func (in input) prompt(ctx context.Context, question string) (string, error) {
	fd := int(in.terminal.Fd())
	before, err := term.MakeRaw(fd) // before the question is seen, so that even the quickest answer is not
	if err != nil {
		return "", terminalFailure(err)
	}
	answer, err := await(ctx, func() (string, error) { return in.dialogue.ReadPassword(question + ": ") })
	if err := term.Restore(fd, before); err != nil {
		return "", terminalFailure(err)
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, io.EOF):
		_, _ = fmt.Fprintln(in.dialogue) // ends the line of the question
		return "", context.Canceled
	case err != nil:
		return "", terminalFailure(err)
	}
	return answer, nil
}

func terminalFailure(err error) error {
	return &domain.Error{Kind: domain.ErrUnavailable, Reason: "cannot ask on the terminal: " + systemReason(err)}
}

// await returns what read returns, or the error of ctx if that ends first: then read is left behind, since a read of a
// terminal or a pipe cannot be called off.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type outcome struct {
		text string
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		text, err := read()
		done <- outcome{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case o := <-done:
		return o.text, o.err
	}
}

// systemReason returns what the operating system said, without the name of the file that it was about.
func systemReason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}
