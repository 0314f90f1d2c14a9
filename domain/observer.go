package domain

import (
	"context"
	"time"
)

// Observer sees what a store does, for logs, traces and metrics. Its methods are called by all goroutines that use the store, while their
// calls wait: they return at once.
type Observer interface {
	// Begin is called before an operation, which goes on with the context that it returns, so that a span can be in it.
	Begin(ctx context.Context, operation string) context.Context

	// End is called with that context when the operation is over.
	End(ctx context.Context, o Observation)
}

// Observation is an operation that is over. It carries no argument, and nothing of what was read or stored.
type Observation struct {
	Operation string // such as "find user by id": one of a few dozen
	Database  string // "postgresql" or "sqlite", as OpenTelemetry names them
	Duration  time.Duration
	Attempts  int   // more than 1 where conflicts of transactions made the store repeat a statement
	Rows      int64 // that were returned or changed; 0 for a transaction

	// Err is what the caller gets; KindOf has its kind. Not all kinds are faults: not_found and taken are answers.
	Err error

	// Cause is what the database or the network said with Err, without values: "SQLSTATE 53300", "dial: connection refused".
	Cause string
}
