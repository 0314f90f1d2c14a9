package infra

import (
	"context"
	"errors"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

// Migrations returns the runner of the migrations that are embedded in this program, in the store's schema.
func (s *Store) Migrations() (*migration.Runner, error) {
	runner, err := migration.New(s.database.DB, s.dialect.name, s.dialect.migrations, s.searched)
	if err == nil {
		runner.Observe(s.observers...)
	}
	return runner, err
}

// Migrate applies the pending migrations, if there are any. Several programs may call it at once: one applies them, the
// others wait. A database that is newer than the program is left as it is. It returns [domain.ErrChecksum] when the
// database's history is not this program's; see the errors of [migration.Runner.Up].
func (s *Store) Migrate(ctx context.Context) error {
	runner, err := s.Migrations()
	if err != nil {
		return err
	}
	err = runner.Check(ctx)
	if errors.Is(err, domain.ErrPendingMigrations) {
		_, err = runner.Up(ctx, migration.UpOptions{})
		if s.replicas != nil {
			s.replicas.changed(err)
		}
	}
	return err
}

// CheckMigrations returns [domain.ErrPendingMigrations] when the database is older than the program, and
// [domain.ErrChecksum] when its history is not this program's. It may be newer, as it is for the instances of a release
// that start while the next one is deployed. It is one cheap query, for the start of a program that does not migrate by
// itself.
func (s *Store) CheckMigrations(ctx context.Context) error {
	runner, err := s.Migrations()
	if err != nil {
		return err
	}
	return runner.Check(ctx)
}
