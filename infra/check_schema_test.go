package infra_test

import (
	"errors"
	"strings"
	"testing"

	"entgo.io/ent/dialect"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/schema"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

// TestCheckSchema changes the tables as an application's migrations could, rightly and wrongly, several things at a time.
func TestCheckSchema(t *testing.T) {
	type change struct {
		postgres, sqlite string // what is done; "" where the database cannot
		want             string // in the error; "" for none
	}
	for name, changes := range map[string][]change{
		"rightly": {
			{postgres: "ALTER TABLE users ADD COLUMN org_id uuid; CREATE INDEX app_idx ON users (org_id); ALTER TABLE users ADD CHECK (version < 1000000); CREATE TABLE more (id int)", sqlite: "ALTER TABLE users ADD COLUMN org_id uuid; CREATE INDEX app_idx ON users (org_id); CREATE TABLE more (id int)"},
			{postgres: "ALTER INDEX users_email_key RENAME TO app_email"},
		},
		"columns": {
			{postgres: "ALTER TABLE users RENAME COLUMN last_name TO family_name", sqlite: "ALTER TABLE users RENAME COLUMN last_name TO family_name", want: "column users.last_name is missing"},
			{postgres: "ALTER TABLE users ALTER COLUMN first_name TYPE text", want: "column users.first_name is text"},
			{postgres: "ALTER TABLE users ALTER COLUMN pending_email SET NOT NULL", want: `column users.pending_email is character varying(255) COLLATE "C" NOT NULL`},
			{postgres: "ALTER TABLE users ALTER COLUMN version DROP DEFAULT", want: "column users.version is bigint NOT NULL"},
			{postgres: `ALTER TABLE users ALTER COLUMN email TYPE varchar(255) COLLATE "default"`, want: "column users.email is"},
		},
		"what is dropped": {
			{postgres: "ALTER TABLE users DROP COLUMN last_name", want: "column users.last_name is missing"},
			{postgres: "ALTER TABLE users DROP CONSTRAINT users_email_check", want: "check users_email_check of users is missing"},
			{postgres: "ALTER TABLE users DROP CONSTRAINT users_version_check, ADD CONSTRAINT users_version_check CHECK (version >= 0)", want: "check users_version_check of users is missing"},
			{postgres: "DROP INDEX users_email_key", sqlite: "DROP INDEX users_email_key", want: "unique index users_email_key of users is missing"},
			{postgres: "ALTER TABLE identities DROP CONSTRAINT identities_user_id_fkey", want: "identities_user_id_fkey"},
			{postgres: "DROP TRIGGER account_events_no_truncate ON account_events", sqlite: "DROP TRIGGER account_events_no_replace", want: "trigger account_events_no_"},
			{postgres: "ALTER TABLE account_events DISABLE TRIGGER account_events_append_only", want: "trigger account_events_append_only of account_events is missing or disabled"},
		},
		"indexes": {
			{postgres: "DROP INDEX users_email_key; CREATE INDEX users_email_key ON users (email)", sqlite: "DROP INDEX users_email_key; CREATE INDEX users_email_key ON users (email)", want: "unique index users_email_key of users is missing"},
			{postgres: "DROP INDEX users_username_key; CREATE UNIQUE INDEX users_username_key ON users (username) WHERE is_active", sqlite: "DROP INDEX users_username_key; CREATE UNIQUE INDEX users_username_key ON users (username) WHERE is_active", want: "unique index users_username_key of users is missing"},
			{postgres: "ALTER TABLE identities RENAME TO linked", sqlite: "ALTER TABLE identities RENAME TO linked", want: "table identities is missing"},
		},
		"no table":           {{postgres: "ALTER TABLE users RENAME TO people", sqlite: "ALTER TABLE users RENAME TO people", want: "table users is missing"}},
		"checks all removed": {{sqlite: "CREATE TABLE new AS SELECT * FROM users; DROP TABLE users; ALTER TABLE new RENAME TO users", want: "email=lower(email) of users is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.OnBoth(t, func(t *testing.T, store *infra.Store) { // the next test is on each driver
				if err := store.CheckSchema(t.Context()); err != nil {
					t.Fatal(err)
				}
				var wanted []string
				for _, change := range changes {
					done := change.postgres
					if onSQLite(store) {
						done = change.sqlite
					}
					if done == "" {
						continue // the database cannot
					}
					if _, err := store.DB().Exec(done); err != nil {
						t.Fatal(err)
					}
					if change.want != "" {
						wanted = append(wanted, change.want)
					}
				}
				for range 2 { // nothing of the first check is in the way of the second
					err := store.CheckSchema(t.Context())
					if (err != nil) != (len(wanted) > 0) || err != nil && !errors.Is(err, domain.ErrDrift) {
						t.Fatalf("%v; want %q", err, wanted)
					}
					for _, want := range wanted {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("%v; want %q", err, want)
						}
					}
					// On SQLite the text of a column is in that of its checks.
					if !onSQLite(store) && len(wanted) > 1 && strings.Count(err.Error(), "; ")+1 != len(wanted) {
						t.Errorf("%v; want nothing but %q", err, wanted)
					}
				}
			})
		})
	}
}

// TestCheckSchemaWithout checks a database from which the application has left out the identities.
func TestCheckSchemaWithout(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		if _, err := store.DB().Exec("DROP TABLE identities"); err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if err := store.CheckSchema(ctx, "identities"); err != nil {
			t.Error(err)
		}
		if err := store.CheckSchema(ctx); !errors.Is(err, domain.ErrDrift) {
			t.Errorf("without a word: %v; want drift", err)
		}
		for _, name := range []string{"users", "identity", ""} {
			if err := store.CheckSchema(ctx, name); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("%q: %v; want invalid", name, err)
			}
		}
		u := created(t, store, "ana")
		if _, err := store.Identities(ctx, u.ID()); !errors.Is(err, domain.ErrPendingMigrations) {
			t.Errorf("identities: %v; want pending migrations", err)
		}
		if err := store.Delete(ctx, u.ID()); err != nil {
			t.Error(err)
		}
	})
}

// TestAppendOnly: what an application's migrations take over makes the triggers that CheckSchema looks for.
func TestAppendOnly(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		name, drop := dialect.Postgres, "DROP FUNCTION account_events_append_only() CASCADE"
		if onSQLite(store) {
			name, drop = dialect.SQLite, "DROP TRIGGER account_events_no_update; DROP TRIGGER account_events_no_delete; DROP TRIGGER account_events_no_replace"
		}
		if _, err := store.DB().Exec(drop); err != nil {
			t.Fatal(err)
		}
		if err := store.CheckSchema(t.Context()); !errors.Is(err, domain.ErrDrift) {
			t.Errorf("%v; want drift", err)
		}
		for _, statement := range schema.AppendOnly(name) {
			if _, err := store.DB().Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
