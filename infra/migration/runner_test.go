package migration_test

import (
	"errors"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

func TestUpAppliesTheEmbeddedMigrations(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, d.embedded(t))
		if err := runner.Check(t.Context()); !errors.Is(err, domain.ErrPendingMigrations) {
			t.Errorf("check of an empty database: %v", err)
		}

		applied, err := runner.Up(t.Context(), migration.UpOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(applied) == 0 {
			t.Error("nothing was applied")
		}
		if err := runner.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if applied, err := runner.Up(t.Context(), migration.UpOptions{}); err != nil || len(applied) != 0 {
			t.Errorf("again: %v, %v; want nothing", applied, err)
		}
		mustExec(t, db, "INSERT INTO users (email, username, hashed_password) VALUES ('a@example.org', 'ann', '-')")
	})
}
