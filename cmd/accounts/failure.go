package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// usageError says what is wrong with the command line.
type usageError struct{ message string }

func (e usageError) Error() string { return e.message }

func (e usageError) Unwrap() error { return domain.ErrUsage }

// fail prints the error and returns the exit status that belongs to it.
func (p *program) fail(err error) int {
	kind, message := explain(err)
	if p.json {
		_ = p.encode(p.messages, record{{"error", errorRecord(kind, message, err)}}) // there is nowhere left to report to
	} else {
		if detail := detailOf(err); !detail.Until.IsZero() {
			message += " until " + detail.Until.UTC().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintln(p.messages, screenOf(p.messages).red("accounts:"), strings.ReplaceAll(escaped(message, "\n"), "\n", "\n  ")) // no line of it looks like one of the program
	}
	if kind == domain.ErrUsage {
		return 2
	}
	return 1
}

// errorRecord is an error as JSON has it.
func errorRecord(kind domain.Kind, message string, err error) record {
	detail := detailOf(err)
	r := record{{"kind", kind}}
	if detail.Field != "" {
		r = append(r, field{"field", detail.Field})
	}
	r = append(r, field{"message", message})
	if !detail.Until.IsZero() {
		r = append(r, field{"until", detail.Until.UTC()})
	}
	return r
}

func detailOf(err error) domain.Error {
	if detail, ok := errors.AsType[*domain.Error](err); ok {
		return *detail
	}
	return domain.Error{}
}

// explain returns the kind of the error and its message for people. An error without a kind is unexpected, and its
// text may quote a stored value: only its type is shown.
func explain(err error) (domain.Kind, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return domain.ErrUnavailable, "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return domain.ErrUnavailable, "timed out"
	}
	if kind := domain.KindOf(err); kind != "" {
		return kind, err.Error()
	}
	return domain.ErrInternal, fmt.Sprintf("unexpected failure (%T)", rootCause(err))
}

func rootCause(err error) error {
	for {
		switch wrapped := err.(type) { //nolint:errorlint // it is the chain itself that is walked
		case interface{ Unwrap() error }:
			err = wrapped.Unwrap()
		case interface{ Unwrap() []error }:
			err = wrapped.Unwrap()[0]
		default:
			return err
		}
	}
}

// invalid returns the domain's error for an argument that breaks a rule of the command line.
func invalid(field, reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: reason}
}

// positive refuses a number that was given as zero or less. In a policy zero stands for the default, and that is not what
// "--cap 0" asks for.
func positive[N int | time.Duration](field string, n N) error {
	if n <= 0 {
		return invalid(field, "is not more than 0")
	}
	return nil
}
