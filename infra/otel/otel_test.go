package otel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/storetest"
)

func TestSpansAndMetrics(t *testing.T) {
	ctx := t.Context()
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	observer, err := otel.Observer(tracers, meters)
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.OpenSQLite(t, ":memory:", infra.WithObserver(observer))
	stop, err := otel.ObservePool(store, "accounts", meters)
	if err != nil {
		t.Fatal(err)
	}
	u := storetest.NewUser(t, "ana")
	spans.Reset()
	parent, span := tracers.Tracer("test").Start(ctx, "request")
	if err := store.Create(parent, u); err != nil {
		t.Fatal(err)
	}
	if err := store.Create(parent, u); !errors.Is(err, domain.ErrTaken) && !errors.Is(err, domain.ErrConflict) {
		t.Fatal(err)
	}
	span.End()
	if _, err := store.DB().Exec("ALTER TABLE users RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.FindByID(ctx, u.ID()); !errors.Is(err, domain.ErrPendingMigrations) {
		t.Fatal(err)
	}

	got := spans.GetSpans()
	if len(got) != 4 {
		t.Fatalf("%d spans: %v", len(got), got)
	}
	created, refused, request, failed := got[0], got[1], got[2], got[3]
	if created.Name != "create user" || created.Parent.SpanID() != request.SpanContext.SpanID() || created.Status.Code != codes.Unset {
		t.Errorf("%+v", created)
	}
	if text := fmt.Sprint(refused.Attributes); refused.Status.Code != codes.Unset || !strings.Contains(text, "error.type") {
		t.Errorf("%v, %v", refused.Status, text)
	}
	if failed.Status.Code != codes.Error || failed.Status.Description != "SQLite 1" {
		t.Errorf("%+v", failed.Status)
	}

	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &metrics); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%+v %+v", got, metrics)
	for _, name := range []string{"db.client.operation.duration", "db.client.connection.count", "db.client.connection.max", "accounts.pool.waits", "accounts.pool.wait_time"} {
		if !strings.Contains(text, name) {
			t.Errorf("no metric %s", name)
		}
	}
	for _, secret := range []string{"ana@", "argon2id", u.ID().String()} {
		if strings.Contains(text, secret) {
			t.Errorf("what came out has %q", secret)
		}
	}
	for _, scope := range metrics.ScopeMetrics {
		for _, m := range scope.Metrics {
			if histogram, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "db.client.operation.duration" {
				var n uint64
				for _, point := range histogram.DataPoints {
					n += point.Count
				}
				if n < 3 {
					t.Errorf("%d operations were measured", n)
				}
			}
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestWithoutProviders(t *testing.T) {
	observer, err := otel.Observer(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ctx := observer.Begin(t.Context(), "x"); ctx != t.Context() {
		t.Error("another context")
	}
	observer.End(t.Context(), domain.Observation{Operation: "x", Duration: time.Second})
	if _, err := otel.ObservePool(nil, "x", nil); !errors.Is(err, domain.ErrInvalid) {
		t.Error(err)
	}
}
