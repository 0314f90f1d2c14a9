package migration_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

func TestBaselineStandsForEarlierFiles(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		two := directory(t, twoFiles)
		runner := d.runner(t, db, and(t, two, map[string]string{third + "_last.sql": unbound}))
		mustUp(t, d.runner(t, db, directory(t, nil))) // makes no history: nothing is pending
		if err := baseline(t, db, d.runner(t, db, directory(t, nil)), "COMMIT"); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("baseline of no migration: %v", err)
		}
		if err := baseline(t, db, d.runner(t, db, two), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, runner, migration.Status{Pending: []string{first, second, third}})

		if err := baseline(t, db, d.runner(t, db, two), "COMMIT"); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, runner, migration.Status{Current: second, Pending: []string{third}, Applied: 1})
		if err := baseline(t, db, runner, "COMMIT"); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("a second baseline: %v", err)
		}
		mustUp(t, runner)
		if err := runner.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// baseline begins the history in a transaction, which ends as asked.
func baseline(t *testing.T, db *sql.DB, runner *migration.Runner, end string) error {
	t.Helper()
	conn := connection(t, db)
	if _, err := conn.ExecContext(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	err := runner.Baseline(t.Context(), conn)
	if _, err := conn.ExecContext(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return err
}

func connection(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestLockKeepsRunsAway(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		url := d.url(t)
		holder := d.open(t, url)
		runner := d.runner(t, d.open(t, url), directory(t, twoFiles))
		conn := connection(t, holder)
		unlock, err := d.runner(t, holder, directory(t, twoFiles)).Lock(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = runner.Up(t.Context(), migration.UpOptions{Wait: time.Millisecond})
		if !errors.Is(err, domain.ErrUnavailable) || !strings.Contains(err.Error(), "another program is migrating") {
			t.Errorf("a run beside the lock: %v; want unavailable", err)
		}
		if err := errors.Join(unlock(), conn.Close()); err != nil {
			t.Fatal(err)
		}
		mustUp(t, runner)
	})
}
