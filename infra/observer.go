package infra

import (
	"context"
	"log/slog"

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
	return domain.Observe(ctx, r.observers, op, func(ctx context.Context) (domain.Observation, error) {
		done, err := work(ctx)
		observation := domain.Observation{Database: r.dialect.system, Attempts: done.attempts, Rows: done.rows}
		if err != nil && done.cause != nil {
			observation.Cause = fault.Cause(done.cause)
		}
		return observation, err
	})
}

// refused tells the observers of a refusal that follows from what a statement has found, and returns it.
func (r *repository) refused(ctx context.Context, op string, refusal error) error {
	if refusal == nil || len(r.observers) == 0 {
		return refusal
	}
	return r.observe(ctx, op, func(context.Context) (outcome, error) { return outcome{}, refusal })
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
