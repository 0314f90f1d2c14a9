package postgres_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

func TestContract(t *testing.T) {
	domaintest.Run(t, func(t *testing.T, clock func() time.Time) domain.Repository {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t), infra.WithClock(clock))
	})
}

// another runs the contract on another configuration than that of TestContract: what can differ there, or all of it if
// ACCOUNTS_TEST_LONG is set.
func another(t *testing.T, open func(t *testing.T, clock func() time.Time) domain.Repository) {
	run := domaintest.RunEveryMethod
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		run = domaintest.Run
	}
	run(t, open)
}

// TestContractUncached is as behind a pooler that gives each transaction another connection.
func TestContractUncached(t *testing.T) {
	another(t, func(t *testing.T, clock func() time.Time) domain.Repository {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t)+"&statement_cache=0", infra.WithClock(clock))
	})
}

// TestContractOnANewerSchema is as this release will run while the next one is deployed: on a schema that has got more columns
// meanwhile. It starts there, too.
func TestContractOnANewerSchema(t *testing.T) {
	newer := func(url string) error {
		store, err := postgres.Open(context.Background(), url)
		if err != nil {
			return err
		}
		err = store.Migrate(context.Background())
		if err == nil {
			_, err = store.DB().Exec(`ALTER TABLE users ADD COLUMN next_release_text varchar(50), ADD COLUMN next_release_number integer NOT NULL DEFAULT 0;
				INSERT INTO accounts_migrations.atlas_schema_revisions
				SELECT (jsonb_populate_record(r, '{"version": "99990101000000"}')).*
				FROM accounts_migrations.atlas_schema_revisions r ORDER BY version DESC LIMIT 1`)
		}
		if err == nil {
			err = errors.Join(store.Migrate(context.Background()), store.CheckMigrations(context.Background()))
		}
		return errors.Join(err, store.Close())
	}
	another(t, func(t *testing.T, clock func() time.Time) domain.Repository {
		return storetest.OpenPostgres(t, postgrestest.Clone(t, "newer", newer), infra.WithClock(clock))
	})
}
