package domain

import (
	"context"
	"time"
)

// Observer sees the operations of a store, an [Authenticator], a hasher and migrations, for logs, traces and metrics. Its methods are called
// concurrently, and the operations wait for them: they must return at once.
type Observer interface {
	// Begin is called before an operation, which uses the context that it returns, so that a span can be in it.
	Begin(ctx context.Context, operation string) context.Context

	// End is called with that context when the operation is over.
	End(ctx context.Context, o Observation)
}

// Observation is an operation that is over. It has no arguments, and nothing that was read or stored.
type Observation struct {
	Operation string // such as "find user by id": one of a few dozen
	Database  string // of a store's operation: "postgresql" or "sqlite", as OpenTelemetry names them
	Duration  time.Duration
	Waited    time.Duration // the part of Duration that a hasher waited before it computed
	Attempts  int           // more than 1 where the store repeated a statement after a serialization failure or a deadlock
	Rows      int64         // that were returned or changed; 0 for a transaction

	// Err is the error that the caller gets. Not all kinds are faults: not_found and taken are answers.
	Err error

	// Cause is the error of the database or the network behind Err, without values: "SQLSTATE 53300", "dial: connection refused".
	Cause string
}

// The operations of a hasher, whose observations say how long they waited.
const (
	OperationHash   = "hash password"
	OperationVerify = "verify password"
)

// Observe calls work and reports it to the observers. It adds name, duration and error of the operation to the observation that work returns. Of several
// observers each gets the context that the one before returned.
func Observe(ctx context.Context, observers []Observer, operation string, work func(context.Context) (Observation, error)) error {
	if len(observers) == 0 {
		_, err := work(ctx)
		return err
	}
	contexts := make([]context.Context, len(observers))
	for i, o := range observers {
		ctx = o.Begin(ctx, operation)
		contexts[i] = ctx
	}
	start := time.Now()
	observation, err := work(ctx)
	observation.Operation, observation.Duration, observation.Err = operation, time.Since(start), err
	observation.Attempts = max(observation.Attempts, 1)
	for i := len(observers) - 1; i >= 0; i-- {
		observers[i].End(contexts[i], observation) //nolint:contextcheck // the one that its Begin returned
	}
	return err
}
