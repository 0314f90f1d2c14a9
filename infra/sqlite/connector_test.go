package sqlite_test

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	driver "modernc.org/sqlite"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// TestArgumentsTakeTheStoredForm writes accounts by statements of the application, as ent's client does, and finds them by their times.
func TestArgumentsTakeTheStoredForm(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 120_000_999, time.FixedZone("Bogotá", -5*60*60))
	const stored = "2026-03-04 10:06:07.12"
	pools := map[string]func(t *testing.T) *stdsql.DB{
		"Open": func(t *testing.T) *stdsql.DB { return open(t).DB() },
		"NewConnector": func(t *testing.T) *stdsql.DB {
			connector, err := sqlite.NewConnector("file:" + filepath.Join(t.TempDir(), "app.db") + "?_txlock=immediate&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)")
			if err != nil {
				t.Fatal(err)
			}
			db := stdsql.OpenDB(connector)
			t.Cleanup(func() { _ = db.Close() })
			store, err := sqlite.New(db)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			return db
		},
	}
	for name, pool := range pools {
		t.Run(name, func(t *testing.T) {
			db := pool(t)
			insert := func(ctx context.Context, execute func(context.Context, string, ...any) (stdsql.Result, error), name string) {
				t.Helper()
				if _, err := execute(ctx, "INSERT INTO users (email, username, hashed_password, refresh_tokens, created_at, updated_at, last_login, locked_until, phone_verified_at)"+
					" VALUES (?, ?, '-', ?, @at, @at, ?, ?, ?)", name+"@example.org", name, json.RawMessage(`["x"]`), stdsql.Named("at", at),
					&at, stdsql.NullTime{Time: at, Valid: true}, stdsql.Null[time.Time]{}); err != nil {
					t.Fatal(err)
				}
			}
			insert(t.Context(), db.ExecContext, "ana")
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			insert(t.Context(), tx.ExecContext, "bob")
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			statement, err := db.Prepare("UPDATE users SET updated_at = ?, last_login = NULL WHERE created_at = ? AND username = 'bob' RETURNING created_at, updated_at, last_login")
			if err != nil {
				t.Fatal(err)
			}
			defer statement.Close()
			var created, updated time.Time
			var login stdsql.NullTime
			if err := statement.QueryRow(at.Add(time.Hour), at).Scan(&created, &updated, &login); err != nil {
				t.Fatal(err)
			}
			if want := at.Truncate(time.Microsecond); !created.Equal(want) || !updated.Equal(want.Add(time.Hour)) || created.Location() != time.UTC || login.Valid {
				t.Errorf("read %v, %v, %v", created, updated, login)
			}
			var text, tokens string
			if err := db.QueryRow("SELECT CAST(created_at AS text) || '/' || CAST(last_login AS text) || '/' || locked_until || '/' || typeof(phone_verified_at), refresh_tokens FROM users WHERE username = 'ana'").
				Scan(&text, &tokens); err != nil {
				t.Fatal(err)
			}
			if text != stored+"/"+stored+"/"+stored+"/null" || tokens != `["x"]` {
				t.Errorf("stored %s, %s", text, tokens)
			}
			var n int
			if err := db.QueryRow("SELECT count(*) FROM users WHERE created_at <= ? AND created_at > ?", at, at.Add(-time.Microsecond)).Scan(&n); err != nil || n != 2 {
				t.Errorf("%d accounts of that time, %v; want 2", n, err)
			}
		})
	}
}

// TestConnectionsAreTheDrivers has a copy of the database made by the driver's own method.
func TestConnectionsAreTheDrivers(t *testing.T) {
	store := open(t)
	if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
		t.Fatal(err)
	}
	conn, err := store.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := conn.Raw(func(c any) error {
		backup, err := c.(interface {
			NewBackup(uri string) (*driver.Backup, error)
		}).NewBackup(path)
		if err != nil {
			return err
		}
		if _, err := backup.Step(-1); err != nil {
			return err
		}
		return backup.Finish()
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := storetest.OpenSQLite(t, path).Count(t.Context(), domain.Filter{}); err != nil || n != 1 {
		t.Errorf("the copy has %d accounts, %v; want 1", n, err)
	}
}

func TestNewConnectorRefuses(t *testing.T) {
	var detail *domain.Error
	if _, err := sqlite.NewConnector("file:app.db?_pragma=%zz"); !errors.Is(err, domain.ErrInvalid) || !errors.As(err, &detail) || detail.Field != "database" {
		t.Errorf("%v; want invalid", err)
	}
	connector, err := sqlite.NewConnector("file:app.db")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := connector.Connect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want %v", err, context.Canceled)
	}
}
