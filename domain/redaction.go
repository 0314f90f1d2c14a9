package domain

import (
	"database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// redacted is printed in place of a secret.
const redacted = "[redacted]"

// redaction is embedded in secrets, so that fmt, text, JSON, slog and SQL get nothing else.
type redaction struct{}

// String returns "[redacted]".
func (redaction) String() string { return redacted }

// Format writes "[redacted]" for every verb.
func (redaction) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText writes "[redacted]".
func (redaction) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (redaction) LogValue() slog.Value { return slog.StringValue(redacted) }

// hidden is the text of a secret. Where a secret is in an unexported field of a struct, fmt prints its fields without calling its methods, but of a pointer
// only the address. Hidden texts are comparable.
type hidden struct{ text unique.Handle[string] }

func hide(text string) (h hidden) {
	if text != "" {
		h.text = unique.Make(text)
	}
	return h
}

func (h hidden) reveal() string {
	if h == (hidden{}) {
		return ""
	}
	return h.text.Value()
}

// Value returns [ErrInvalid]. A secret as an argument of a statement would be stored as "[redacted]", or appear in the log of a driver: a store passes what
// Stored returns.
func (redaction) Value() (driver.Value, error) {
	return nil, invalid("", "a secret cannot be an argument of a statement")
}

// The list of sessions redacts itself: its strings are digests.

// Format writes "[redacted]" for every verb.
func (SessionList) Format(f fmt.State, verb rune) { redaction{}.Format(f, verb) }

// MarshalText writes "[redacted]". What is stored is the list as a []string.
func (SessionList) MarshalText() ([]byte, error) { return redaction{}.MarshalText() }

// LogValue returns "[redacted]".
func (SessionList) LogValue() slog.Value { return redaction{}.LogValue() }
