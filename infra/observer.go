package infra

import (
	"context"
	"log/slog"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
)

// WithObserver lets an observer see each statement of the store, and each transaction of [Store.InTx], with the store's repetitions as one.
// Several observers each get the context that the one before returned. Without an observer nothing is measured.
func WithObserver(observers ...domain.Observer) Option {
	return func(s *settings) { s.observers = append(s.observers, observers...) }
}

// observe calls work, which tells how often it tried, how many rows it got, and the driver's error beside the one for the caller.
func (r *repository) observe(ctx context.Context, op string, work func(context.Context) (outcome, error)) error {
	if len(r.observers) == 0 {
		_, err := work(ctx)
		return err
	}
	contexts := make([]context.Context, len(r.observers))
	for i, o := range r.observers {
		ctx = o.Begin(ctx, op)
		contexts[i] = ctx
	}
	start := time.Now()
	done, err := work(ctx)
	observation := domain.Observation{
		Operation: op, Database: r.dialect.system, Duration: time.Since(start), Attempts: done.attempts, Rows: done.rows, Err: err,
	}
	if err != nil && done.cause != nil {
		observation.Cause = fault.Cause(done.cause)
	}
	for i := len(r.observers) - 1; i >= 0; i-- {
		r.observers[i].End(contexts[i], observation) //nolint:contextcheck // the one that its Begin returned
	}
	return err
}

// outcome is what an operation has to tell an observer.
type outcome struct {
	attempts int
	rows     int64
	cause    error // the driver's
}

// LogRefusals returns an observer that logs each operation that ended with an error: as a warning those that the database refused or
// could not do (the kinds unavailable, internal, pending_migrations), at the debug level those that are answers, such as not_found.
func LogRefusals(logger *slog.Logger) domain.Observer { return logObserver{logger} }

type logObserver struct{ logger *slog.Logger }

func (logObserver) Begin(ctx context.Context, _ string) context.Context { return ctx }

func (l logObserver) End(ctx context.Context, o domain.Observation) {
	if o.Err == nil {
		return
	}
	kind := domain.KindOf(o.Err)
	level := slog.LevelDebug
	switch kind {
	case domain.ErrUnavailable, domain.ErrInternal, domain.ErrPendingMigrations:
		level = slog.LevelWarn
	}
	l.logger.LogAttrs(ctx, level, "accounts: "+o.Operation,
		slog.String("kind", string(kind)), slog.String("cause", o.Cause), slog.Int("attempts", o.Attempts), slog.Duration("duration", o.Duration))
}
