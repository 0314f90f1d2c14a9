package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
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
	domaintest.Run(t, storetest.InTurn(t, func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t), infra.WithClock(clock))
	}))
}

// another runs the contract on another configuration than that of TestContract: what can differ there, or all of it if
// ACCOUNTS_TEST_LONG is set.
func another(t *testing.T, open func(t *testing.T, clock func() time.Time) domain.Repository) {
	run := domaintest.RunEveryMethod
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		run = domaintest.RunBriefly
	}
	run(t, open)
}

// TestContractUncached is as behind a pooler that gives each transaction another connection.
func TestContractUncached(t *testing.T) {
	t.Parallel()
	another(t, storetest.InTurn(t, func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, storetest.PostgresURL(t)+"&statement_cache=0", infra.WithClock(clock))
	}))
}

// TestContractOnANewerSchema is as this release will run while the next one is deployed: on a schema that has got more columns
// meanwhile. It starts there, too.
func TestContractOnANewerSchema(t *testing.T) {
	t.Parallel()
	newer := func(url string) error {
		store, err := postgres.Open(context.Background(), url)
		if err != nil {
			return err
		}
		err = store.Migrate(context.Background())
		if err == nil {
			history := `"accounts_migrations_` + store.Schema() + `".atlas_schema_revisions`
			_, err = store.DB().Exec(`ALTER TABLE users ADD COLUMN next_release_text varchar(50), ADD COLUMN next_release_number integer NOT NULL DEFAULT 0;
				INSERT INTO ` + history + ` SELECT (jsonb_populate_record(r, '{"version": "99990101000000"}')).* FROM ` + history + ` r ORDER BY version DESC LIMIT 1`)
		}
		if err == nil {
			err = errors.Join(store.Migrate(context.Background()), store.CheckMigrations(context.Background()))
		}
		return errors.Join(err, store.Close())
	}
	another(t, storetest.InTurn(t, func(t testing.TB, clock func() time.Time) *infra.Store {
		return storetest.OpenPostgres(t, postgrestest.Reused(t, "newer", newer), infra.WithClock(clock))
	}))
}

// Libpq's other way to name a database is taken too, with lists of hosts and the store's own parameter.
func TestOpenTakesKeyValuePairs(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	pairs := fmt.Sprintf("host=%s port=%s user=%s password='%s' dbname=%s sslmode=disable search_path=%s",
		u.Hostname(), u.Port(), u.User.Username(), password, u.Path[1:], u.Query().Get("search_path"))
	for name, text := range map[string]string{
		"one host":  pairs,
		"two hosts": strings.NewReplacer("host="+u.Hostname(), "host="+u.Hostname()+","+u.Hostname(), "port="+u.Port(), "port=1,"+u.Port()).Replace(pairs),
		"a cache":   pairs + " statement_cache=0",
	} {
		store, err := postgres.Open(t.Context(), text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := errors.Join(store.CheckMigrations(t.Context()), store.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "app", "mysql://app", "host='", pairs + " statement_cache=many", pairs + " port=x"} {
		_, err := postgres.Open(t.Context(), text)
		if !errors.Is(err, domain.ErrInvalid) || password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v; want %s", text, err, domain.ErrInvalid)
		}
	}
}
