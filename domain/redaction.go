package domain

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what secrets print of themselves.
const redacted = "[redacted]"

// redaction is embedded in secrets, so that fmt, text, JSON and slog get nothing else of them.
type redaction struct{}

// String returns "[redacted]".
func (redaction) String() string { return redacted }

// Format writes "[redacted]" for every verb.
func (redaction) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText writes "[redacted]".
func (redaction) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (redaction) LogValue() slog.Value { return slog.StringValue(redacted) }
