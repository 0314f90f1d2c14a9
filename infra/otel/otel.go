// Package otel turns what a store does into spans and metrics of OpenTelemetry, by its API alone: which SDK and exporter take them is the
// application's. Names and attributes are those of OpenTelemetry's semantic conventions for database clients
// (https://opentelemetry.io/docs/specs/semconv/database/).
package otel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

const scope = "github.com/softbee/accounts/infra/otel"

// Observer returns an observer for [infra.WithObserver], for the authenticator and for the hasher. Each operation of the store is a span of the kind
// client and a value of the histogram db.client.operation.duration (seconds), with db.system.name, db.operation.name and, where it ended with an
// error, error.type, which is the error's kind. Only the kinds unavailable, internal and pending_migrations, which are faults and no answers, give
// the span the status error; its description is the cause. Neither has an argument of an operation, nor an account's id.
//
// What is no statement, such as a sign-in, is a span and a value of accounts.operation.duration, with accounts.operation.name and
// error.type. accounts.hash.wait is how long hashes waited for their turn. accounts.refusals counts what ended with an error.
//
// A nil provider leaves out the spans, or the metrics.
func Observer(tracers trace.TracerProvider, meters metric.MeterProvider) (domain.Observer, error) {
	o := observer{}
	if tracers != nil {
		o.tracer = tracers.Tracer(scope)
	}
	if meters != nil {
		meter := meters.Meter(scope)
		histogram := func(name, description string) (metric.Float64Histogram, error) {
			return meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
				metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)) // as the conventions have them
		}
		var errs [4]error
		o.statement, errs[0] = histogram("db.client.operation.duration", "Duration of database client operations.")
		o.operation, errs[1] = histogram("accounts.operation.duration", "Duration of sign-ins and of what else is more than a statement.")
		o.wait, errs[2] = histogram("accounts.hash.wait", "Time that hashes waited for their turn.")
		o.refusals, errs[3] = meter.Int64Counter("accounts.refusals", metric.WithUnit("{refusal}"), metric.WithDescription("Operations that ended with an error."))
		if err := errors.Join(errs[:]...); err != nil {
			return nil, internal(err)
		}
	}
	return o, nil
}

type observer struct {
	tracer                     trace.Tracer
	statement, operation, wait metric.Float64Histogram // nil without metrics
	refusals                   metric.Int64Counter
}

// Begin implements [domain.Observer].
func (o observer) Begin(ctx context.Context, operation string) context.Context {
	if o.tracer == nil {
		return ctx
	}
	ctx, _ = o.tracer.Start(ctx, operation, trace.WithSpanKind(trace.SpanKindClient))
	return ctx
}

// End implements [domain.Observer].
func (o observer) End(ctx context.Context, done domain.Observation) {
	attributes, duration := []attribute.KeyValue{
		attribute.String("db.system.name", done.Database),
		attribute.String("db.operation.name", done.Operation),
	}, o.statement
	if done.Database == "" {
		attributes, duration = []attribute.KeyValue{attribute.String("accounts.operation.name", done.Operation)}, o.operation
	}
	kind := domain.KindOf(done.Err)
	if done.Err != nil {
		if kind == "" {
			kind = "_OTHER" // as the conventions call it: a function of the application failed in a transaction
		}
		attributes = append(attributes, attribute.String("error.type", string(kind)))
	}
	if duration != nil {
		with := metric.WithAttributes(attributes...)
		duration.Record(ctx, done.Duration.Seconds(), with)
		if done.Err != nil {
			o.refusals.Add(ctx, 1, with)
		}
		if done.Operation == domain.OperationHash || done.Operation == domain.OperationVerify {
			o.wait.Record(ctx, done.Waited.Seconds())
		}
	}
	if o.tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attributes...)
	if done.Database != "" {
		span.SetAttributes(attribute.Int64("db.response.returned_rows", done.Rows))
	}
	if done.Attempts > 1 {
		span.SetAttributes(attribute.Int("accounts.attempts", done.Attempts))
	}
	switch kind {
	case domain.ErrUnavailable, domain.ErrInternal, domain.ErrPendingMigrations:
		span.SetStatus(codes.Error, done.Cause)
	}
	span.End()
}

// ObservePool reports the connections of a store's pool, each time that the metrics are read: db.client.connection.count by
// db.client.connection.state, db.client.connection.max, and how often and how long callers waited for one
// (accounts.pool.waits, accounts.pool.wait_time). The name tells pools apart. The function that it returns ends that.
func ObservePool(store *infra.Store, name string, meters metric.MeterProvider) (stop func() error, err error) {
	if store == nil || meters == nil {
		return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "store", Reason: "store and provider are required"}
	}
	meter := meters.Meter(scope)
	count, err1 := meter.Int64ObservableUpDownCounter("db.client.connection.count", metric.WithUnit("{connection}"))
	most, err2 := meter.Int64ObservableUpDownCounter("db.client.connection.max", metric.WithUnit("{connection}"))
	waits, err3 := meter.Int64ObservableCounter("accounts.pool.waits", metric.WithUnit("{request}"))
	waited, err4 := meter.Float64ObservableCounter("accounts.pool.wait_time", metric.WithUnit("s"))
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return nil, internal(err)
		}
	}
	pool := attribute.String("db.client.connection.pool.name", name)
	state := func(state string) metric.MeasurementOption {
		return metric.WithAttributes(pool, attribute.String("db.client.connection.state", state))
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := store.DB().Stats()
		o.ObserveInt64(count, int64(s.InUse), state("used"))
		o.ObserveInt64(count, int64(s.Idle), state("idle"))
		o.ObserveInt64(most, int64(s.MaxOpenConnections), metric.WithAttributes(pool))
		o.ObserveInt64(waits, s.WaitCount, metric.WithAttributes(pool))
		o.ObserveFloat64(waited, s.WaitDuration.Seconds(), metric.WithAttributes(pool))
		return nil
	}, count, most, waits, waited)
	if err != nil {
		return nil, internal(err)
	}
	return registration.Unregister, nil
}

// ObserveHashing reports a hasher's queue, each time that the metrics are read: accounts.hash.running and accounts.hash.waiting. stats is such
// as
//
//	func() (running, waiting int) { s := hasher.Stats(); return s.Running, s.Waiting }
//
// The function that it returns ends that.
func ObserveHashing(stats func() (running, waiting int), meters metric.MeterProvider) (stop func() error, err error) {
	if stats == nil || meters == nil {
		return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "stats", Reason: "stats and provider are required"}
	}
	meter := meters.Meter(scope)
	running, err1 := meter.Int64ObservableGauge("accounts.hash.running", metric.WithUnit("{hash}"), metric.WithDescription("Hashes that are computed."))
	waiting, err2 := meter.Int64ObservableGauge("accounts.hash.waiting", metric.WithUnit("{hash}"), metric.WithDescription("Hashes that wait for their turn."))
	if err := errors.Join(err1, err2); err != nil {
		return nil, internal(err)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		r, w := stats()
		o.ObserveInt64(running, int64(r))
		o.ObserveInt64(waiting, int64(w))
		return nil
	}, running, waiting)
	if err != nil {
		return nil, internal(err)
	}
	return registration.Unregister, nil
}

func internal(err error) error {
	return fmt.Errorf("observe: %w", &domain.Error{Kind: domain.ErrInternal, Reason: "the meter refuses an instrument: " + err.Error()})
}
