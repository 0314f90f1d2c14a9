package infra

import (
	"context"
	stdsql "database/sql"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

// Health is how a store's database is.
type Health struct {
	Reachable bool
	Writable  bool             // false for a standby, a server that is read-only, and a file that may not be written
	Migrated  bool             // nothing is pending, and the history is this program's
	Schema    migration.Status // the versions; zero where the history could not be read
	Server    string           // its version, such as "15.18" or "3.53.2"

	// Lag is how far a standby is behind its primary: the age of the last transaction that it has replayed (or, if it has replayed none since it
	// began, of the checkpoint that it began with), 0 where it has replayed all that it received. On a primary it is 0.
	Lag time.Duration

	Replicas []ReplicaHealth // in the order in which the store was given them

	Pool stdsql.DBStats // of database/sql; with infra/pgx of the connections that transactions use
}

// Health asks the database how it is. The error says why something is not well: [domain.ErrUnavailable] where the database is unreachable
// or not writable, and those of [Store.CheckMigrations]. What could be found out is in Health all the same. In an application whose own
// migrations make the tables, take Reachable and Writable, and [Store.CheckSchema].
func (s *Store) Health(ctx context.Context) (Health, error) {
	const op = "health"
	h := Health{Pool: s.database.DB.Stats()}
	if s.replicas != nil {
		h.Replicas = s.replicas.health()
	}
	if err := s.dialect.health(ctx, s, &h); err != nil {
		return h, wrap(op, err)
	}
	h.Reachable = true
	runner, err := s.Migrations()
	if err != nil {
		return h, wrap(op, err)
	}
	if h.Schema, err = runner.Status(ctx); err != nil {
		return h, wrap(op, err)
	}
	if err := runner.Check(ctx); err != nil {
		return h, wrap(op, err)
	}
	h.Migrated = true
	if !h.Writable {
		return h, wrap(op, &domain.Error{Kind: domain.ErrUnavailable, Reason: "the database is read-only; expected one that can be written"})
	}
	return h, nil
}
