package migration

import (
	"context"
	"database/sql"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
)

// Lock keeps every run, of this package's and of Atlas's, away from the database until unlock is called or conn, which is one
// of its connections, is closed. It waits a minute for a run that is at work; then the error is a [domain.ErrUnavailable].
func (r *Runner) Lock(ctx context.Context, conn *sql.Conn) (unlock func() error, err error) {
	s := &session{conn: conn, database: r.database}
	return s.lock(ctx, defaultLimits.wait)
}

// Baseline begins the history of a database that got its schema otherwise: it records, as "atlas migrate apply --baseline"
// does, that the database stands where the directory ends. It works on conn, in the transaction that is open there, if one
// is; it takes no lock, for which there is [Runner.Lock].
//
// The error is a [domain.ErrConflict] if there is a history already, and a [domain.ErrInvalid] if the directory is empty.
func (r *Runner) Baseline(ctx context.Context, conn *sql.Conn) error {
	if len(r.dir.files) == 0 {
		return refuse(domain.ErrInvalid, "there is no migration to begin at")
	}
	s := &session{conn: conn, database: r.database}
	// To look first whether the table exists would be an error, and the end of a transaction on PostgreSQL.
	if err := s.exec(ctx, r.database.create...); err != nil {
		return failure("create the history of migrations", err)
	}
	h := history{querier: conn, database: r.database}
	revisions, err := h.read(ctx)
	if err != nil {
		return err
	}
	if len(revisions) > 0 {
		return refuse(domain.ErrConflict, "the database has a history of migrations already")
	}
	last := r.dir.files[len(r.dir.files)-1]
	return failure("begin the history of migrations", h.WriteRevision(ctx, &migrate.Revision{
		Version:         last.Version(),
		Description:     last.Desc(),
		Type:            migrate.RevisionTypeBaseline,
		ExecutedAt:      time.Now(),
		OperatorVersion: operator,
	}))
}
