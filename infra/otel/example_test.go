package otel_test

import (
	"context"
	"fmt"
	"log"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/sqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleObserver() {
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter() // in an application that of OTLP
	observer, err := otel.Observer(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), sdkmetric.NewMeterProvider())
	check(err)
	store, err := sqlite.Open(ctx, ":memory:", infra.WithObserver(observer))
	check(err)
	hasher, err := password.New(password.Policy{Observers: []domain.Observer{observer}})
	check(err)
	auth, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{Observers: []domain.Observer{observer}})
	check(err)
	check(store.Migrate(ctx))

	spans.Reset()
	_, _ = auth.Authenticate(ctx, "ana@example.org", "wrong")
	all := spans.GetSpans() // of the statements and of the hashes, and around them that of the call
	fmt.Println(all[len(all)-1].Name, len(all) > 3)
	// Output: authenticate true
}

func ExampleObservePool() {
	ctx := context.Background()
	reader := sdkmetric.NewManualReader() // in an application that of Prometheus, or of OTLP
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	stop, err := otel.ObservePool(store, "accounts", meters)
	check(err)
	defer func() { check(stop()) }()

	var metrics metricdata.ResourceMetrics
	check(reader.Collect(ctx, &metrics))
	for _, metric := range metrics.ScopeMetrics[0].Metrics {
		fmt.Println(metric.Name)
	}
	// Unordered output:
	// db.client.connection.count
	// db.client.connection.max
	// accounts.pool.waits
	// accounts.pool.wait_time
}

func ExampleObserveHashing() {
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	hasher, err := password.New(password.Policy{})
	check(err)
	stop, err := otel.ObserveHashing(func() (running, waiting int) {
		stats := hasher.Stats()
		return stats.Running, stats.Waiting
	}, meters)
	check(err)
	defer func() { check(stop()) }()

	var metrics metricdata.ResourceMetrics
	check(reader.Collect(context.Background(), &metrics))
	for _, metric := range metrics.ScopeMetrics[0].Metrics {
		fmt.Println(metric.Name)
	}
	// Unordered output:
	// accounts.hash.running
	// accounts.hash.waiting
}
