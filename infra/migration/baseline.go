package migration

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// Lock keeps every run, of this package's and of Atlas's, away from the database until unlock is called or conn, which is one
// of its connections, is closed. It waits a minute for a run that is at work; then the error is a [domain.ErrUnavailable].
func (r *Runner) Lock(ctx context.Context, conn *sql.Conn) (unlock func() error, err error) {
	d, err := r.locate(ctx, conn)
	if err != nil {
		return nil, script.Failure("lock", err)
	}
	s := &Connection{conn: conn, database: d}
	return s.lock(ctx, defaultLimits.wait)
}

// Baseline begins the history of a database that got its schema otherwise: it records, as "atlas migrate apply --baseline"
// does, that the database stands where the directory ends. It works on conn, in the transaction that is open there, if one
// is; it takes no lock, for which there is [Runner.Lock].
//
// The error is a [domain.ErrConflict] if there is a history already, and a [domain.ErrInvalid] if the directory is empty.
func (r *Runner) Baseline(ctx context.Context, conn *sql.Conn) error {
	d, err := r.locate(ctx, conn)
	if err != nil {
		return script.Failure("begin the history of migrations", err)
	}
	return r.baseline(ctx, &Connection{conn: conn, database: d}, "")
}

// BeginAt is Baseline at a version, or where the directory ends if it is empty, under a lock and in a transaction of its own.
// The error is a [domain.ErrInvalid] if there is no such version.
func (r *Runner) BeginAt(ctx context.Context, version string) error {
	return r.withLock(ctx, defaultLimits, func(s *Connection) error {
		return s.inTx(ctx, func() error { return r.baseline(ctx, s, version) })
	})
}

func (r *Runner) baseline(ctx context.Context, s *Connection, version string) error {
	i := slices.IndexFunc(r.dir.Files, func(f *script.File) bool { return f.Version() == version })
	switch {
	case len(r.dir.Files) == 0:
		return script.Refuse(domain.ErrInvalid, "there is no migration to begin at")
	case version == "":
		i = len(r.dir.Files) - 1
	case i < 0:
		return script.Refuse(domain.ErrInvalid, "there is no migration %s", version)
	}
	// To read a table that does not exist would be the end of a transaction on PostgreSQL.
	if err := s.createHistory(ctx); err != nil {
		return err
	}
	h, revisions, err := r.readHistory(ctx, s.conn)
	if err != nil {
		return err
	}
	if len(revisions) > 0 {
		return script.Refuse(domain.ErrConflict, "the database has a history of migrations already")
	}
	return script.Failure("begin the history of migrations", h.WriteRevision(ctx, &migrate.Revision{
		Version:         r.dir.Files[i].Version(),
		Description:     r.dir.Files[i].Desc(),
		Type:            migrate.RevisionTypeBaseline,
		ExecutedAt:      time.Now(),
		OperatorVersion: operator,
	}))
}
