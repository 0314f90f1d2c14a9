package domain

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestKindIsFoundThroughEveryLayer(t *testing.T) {
	until := time.Now()
	locked := &Error{Kind: ErrLocked, Reason: "too many failed sign-ins", Until: until}
	wrapped := fmt.Errorf("sign in: %w", errors.Join(errors.New("something else"), fmt.Errorf("store: %w", locked)))
	var e *Error
	if !errors.Is(wrapped, ErrLocked) || errors.Is(wrapped, ErrInactive) || !errors.As(wrapped, &e) || !e.Until.Equal(until) {
		t.Errorf("%v is not reported as locked", wrapped)
	}
	for err, want := range map[error]Kind{
		nil: "", errors.New("other"): "", context.Canceled: "", ErrTaken: ErrTaken, locked: ErrLocked, wrapped: ErrLocked,
		fmt.Errorf("bare: %w", ErrDrift): ErrDrift,
	} {
		if got := KindOf(err); got != want {
			t.Errorf("KindOf(%v) = %q, want %q", err, got, want)
		}
	}
}

func TestErrorTextsAreForPeople(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&Error{Kind: ErrInvalid, Field: "email", Reason: "has no @"}, "email: has no @"},
		{&Error{Kind: ErrTokenExpired, Field: "token"}, "token: token expired"},
		{&Error{Kind: ErrLocked, Reason: "too many failed sign-ins"}, "too many failed sign-ins"},
		{&Error{Kind: ErrBadCredentials}, "bad credentials"},
		{ErrNotFound, "not_found"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
