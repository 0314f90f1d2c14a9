package domain

import (
	"context"
	"time"
)

// Observer sees what a store, an [Authenticator], a hasher and migrations do, for logs, traces and metrics. Its methods are called by all
// goroutines that use them, while their calls wait: they return at once.
type Observer interface {
	// Begin is called before an operation, which goes on with the context that it returns, so that a span can be in it.
	Begin(ctx context.Context, operation string) context.Context

	// End is called with that context when the operation is over.
	End(ctx context.Context, o Observation)
}

// Observation is an operation that is over. It carries no argument, and nothing of what was read or stored.
type Observation struct {
	Operation string // such as "find user by id": one of a few dozen
	Database  string // of a store's operation: "postgresql" or "sqlite", as OpenTelemetry names them
	Duration  time.Duration
	Waited    time.Duration // of it, by a hasher, until it could compute
	Attempts  int           // more than 1 where conflicts of transactions made the store repeat a statement
	Rows      int64         // that were returned or changed; 0 for a transaction

	// Err is what the caller gets; KindOf has its kind. Not all kinds are faults: not_found and taken are answers.
	Err error

	// Cause is what the database or the network said with Err, without values: "SQLSTATE 53300", "dial: connection refused".
	Cause string
}

// The operations of a hasher, whose observations say how long they waited.
const (
	OperationHash   = "hash password"
	OperationVerify = "verify password"
)

// Observe calls work, and tells the observers of it. It completes what work returns of the observation by the operation's name, its
// duration and its error. Several observers each get the context that the one before returned.
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
