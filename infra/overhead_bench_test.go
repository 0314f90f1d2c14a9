package infra_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/storetest"
)

type idleObserver struct{}

func (idleObserver) Begin(ctx context.Context, _ string) context.Context { return ctx }
func (idleObserver) End(context.Context, domain.Observation)             {}

// BenchmarkOverhead measures what observers and hooks add to finding an account, to rotating a token and to recording a sign-in.
func BenchmarkOverhead(b *testing.B) {
	observer, err := otel.Observer(trace.NewTracerProvider(), metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
	if err != nil {
		b.Fatal(err)
	}
	insert := func(ctx context.Context, tx *infra.Tx, event domain.Event) error {
		_, err := tx.Exec(ctx, "note", "INSERT INTO notes (kind) VALUES (?)", string(event.Kind))
		return err
	}
	for _, database := range []string{"sqlite", "postgres"} {
		for _, on := range []struct {
			name    string
			options []infra.Option
		}{
			{"nothing", nil},
			{"a hook for another kind", []infra.Option{infra.WithHook(insert, domain.EventPurged)}},
			{"observer", []infra.Option{infra.WithObserver(idleObserver{})}},
			{"otel", []infra.Option{infra.WithObserver(observer)}},
			{"audit", []infra.Option{infra.WithHook(audit.Hook(audit.Options{}))}},
			{"hook with an INSERT", []infra.Option{infra.WithHook(insert)}},
		} {
			b.Run(database+"/"+on.name, func(b *testing.B) {
				var store *infra.Store
				if database == "sqlite" {
					store = storetest.OpenSQLite(b, filepath.Join(b.TempDir(), "accounts.db"), on.options...)
				} else {
					store = storetest.OpenPostgres(b, storetest.PostgresURL(b), on.options...)
				}
				if _, err := store.DB().Exec("CREATE TABLE notes (kind varchar(40))"); err != nil {
					b.Fatal(err)
				}
				ctx := b.Context()
				u := storetest.NewUser(b, "ana")
				if err := store.Create(ctx, u); err != nil {
					b.Fatal(err)
				}
				grant, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
				if err != nil {
					b.Fatal(err)
				}
				for _, operation := range []struct {
					name string
					run  func() error
				}{
					{"find_id", func() error { return of(store.FindByID(ctx, u.ID())) }},
					{"rotate", func() error {
						next, err := store.RotateToken(ctx, grant.Token, domain.SessionPolicy{Grace: domain.NoGrace})
						grant = next
						return err
					}},
					{"sign_in", func() error {
						return of(store.RecordSuccess(ctx, u.ID(), u.State().PasswordHash, domain.PasswordHash{}))
					}},
				} {
					b.Run(operation.name, func(b *testing.B) {
						b.ReportAllocs()
						for b.Loop() {
							if err := operation.run(); err != nil {
								b.Fatal(fmt.Errorf("%s: %w", operation.name, err))
							}
						}
					})
				}
			})
		}
	}
}
