package adoption

import (
	"context"
	"hash/fnv"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
)

// The history of migrations, where infra/migration and atlas.hcl look for it.
const (
	historySchema = "accounts_migrations"
	history       = historySchema + ".atlas_schema_revisions"
)

// createHistory is the statement that Atlas itself executes; a test compares the table with the runner's.
const createHistory = `CREATE TABLE IF NOT EXISTS ` + history + ` (
	"version" character varying NOT NULL,
	"description" character varying NOT NULL,
	"type" bigint NOT NULL DEFAULT 2,
	"applied" bigint NOT NULL DEFAULT 0,
	"total" bigint NOT NULL DEFAULT 0,
	"executed_at" timestamptz NOT NULL,
	"execution_time" bigint NOT NULL,
	"error" text NULL,
	"error_stmt" text NULL,
	"hash" character varying NOT NULL,
	"partial_hashes" jsonb NULL,
	"operator_version" character varying NOT NULL,
	PRIMARY KEY ("version"))`

// checkHistory refuses a database that this program, or Atlas with its files, has migrated already.
func (a *Adoption) checkHistory(ctx context.Context) error {
	exists, err := a.exists(ctx, history)
	if err != nil || !exists {
		return err
	}
	var begun bool
	if err := a.conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+history+")").Scan(&begun); err != nil {
		return failure("read the history of migrations", err)
	}
	if begun {
		return refuse(domain.ErrConflict, "", "the database has a history of migrations: its table users is this program's already")
	}
	return nil
}

// begin records what "atlas migrate apply --baseline" would: that the database stands where the embedded migrations end.
func (a *Adoption) begin(ctx context.Context) error {
	if err := a.checkHistory(ctx); err != nil {
		return err
	}
	for _, statement := range []string{"CREATE SCHEMA IF NOT EXISTS " + historySchema, createHistory} {
		if err := a.exec(ctx, statement); err != nil {
			return err
		}
	}
	return a.exec(ctx, "INSERT INTO "+history+` (version, description, type, executed_at, execution_time, hash, operator_version)
		VALUES ($1, $2, $3, now(), 0, '', 'accounts')`, a.target.version, a.target.description, int64(migrate.RevisionTypeBaseline))
}

// lock keeps runners of migrations, and other adoptions, away. It ends with the connection, however that ends; but the
// server may need a moment to see that a process was killed.
func (a *Adoption) lock(ctx context.Context) error {
	const wait = time.Minute
	deadline := time.Now().Add(wait)
	for {
		var taken bool
		if err := a.conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", lockKey()).Scan(&taken); err != nil {
			return failure("lock", err)
		}
		if taken {
			return nil
		}
		if time.Until(deadline) < 0 {
			return refuse(domain.ErrUnavailable, "", "another program is migrating or adopting this database")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *Adoption) unlock(ctx context.Context) error {
	return a.exec(ctx, "SELECT pg_advisory_unlock($1)", lockKey())
}

// lockKey is that of the lock which Atlas takes to migrate.
func lockKey() int64 {
	name := fnv.New32()
	_, _ = name.Write([]byte("atlas_migrate_execute")) // never fails
	return int64(name.Sum32())
}
