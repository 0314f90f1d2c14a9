// Package migration brings a database to the schema of this program and back, step by step, from a directory of versioned
// SQL files with an atlas.sum. Such a directory is run by this package, and equally by the Atlas command line: both keep
// the history in the table atlas_schema_revisions (on PostgreSQL in the schema accounts_migrations), so that what one
// of them has applied, even in part, the other takes up.
//
// On PostgreSQL connect without a pooler, or with one in session mode: the lock and the settings of a run belong to the
// session.
package migration

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
)

// The databases, as database/sql and ent name them.
const (
	Postgres = "postgres"
	SQLite   = "sqlite3"
)

// Runner applies one directory of migrations to one database. It is safe for concurrent use, and any number of runners,
// in any number of processes, may work on the same database: they take turns.
type Runner struct {
	db       *sql.DB
	database database
	dir      *directory
}

// New returns a runner of the migrations in dir, which holds .sql files and their atlas.sum. It reads dir once and does
// not yet use db. dialect is [Postgres] or [SQLite].
//
// The error is a [domain.ErrChecksum] if a file does not match atlas.sum.
func New(db *sql.DB, dialect string, dir fs.FS) (*Runner, error) {
	database, err := databaseOf(dialect)
	if err != nil {
		return nil, err
	}
	directory, err := readDirectory(dir, database)
	if err != nil {
		return nil, err
	}
	return &Runner{db: db, database: database, dir: directory}, nil
}

// UpOptions are the choices of [Runner.Up]; the zero value applies everything.
type UpOptions struct {
	To     string // the last version to apply; empty means all
	DryRun bool   // change nothing, only tell what would be applied

	// LockTimeout is how long a statement waits for a lock on a table while others queue behind it: PostgreSQL's
	// lock_timeout. A file (outside a transaction: a statement) that waits longer is rolled back and tried again, after
	// a pause that lets the others through, ten times in all. Zero means 5 s, less than 1 ms is refused. CREATE and DROP INDEX CONCURRENTLY, which
	// stop nobody, wait as long as they need.
	LockTimeout time.Duration

	// Wait is how long to wait for another runner to finish. Zero means a minute.
	Wait time.Duration

	// Progress, if set, is called before each statement and whenever one has to be tried again.
	Progress func(Step)
}

// Step is a statement about to be executed.
type Step struct {
	File       File
	Statement  int // counted from 1
	Statements int // in the file
	SQL        string
	Attempt    int // counted from 1; more than 1 after waiting too long for a lock
}

// File is a migration.
type File struct {
	Version       string   `json:"version"`
	Name          string   `json:"name"`          // of the file
	Statements    []string `json:"statements"`    // those that are still to be executed
	Transactional bool     `json:"transactional"` // all in one transaction; otherwise each in its own
}

// attempts is how often a file, or outside a transaction a statement, is tried if it waits too long for a lock.
const attempts = 10

// limits say how long a run waits, for tables and for other runners.
type limits struct{ lockTimeout, wait time.Duration }

var defaultLimits = limits{5 * time.Second, time.Minute}

func newLimits(lockTimeout, wait time.Duration) (limits, error) {
	l := limits{cmp.Or(lockTimeout, defaultLimits.lockTimeout), cmp.Or(wait, defaultLimits.wait)}
	if l.lockTimeout < time.Millisecond || l.wait < 0 {
		// PostgreSQL counts in milliseconds, and takes none as no limit.
		return limits{}, refuse(domain.ErrInvalid, "a lock is waited for at least a millisecond")
	}
	return l, nil
}

// Up applies the pending migrations in order and returns those it has applied, or with DryRun would apply. Each file is
// one transaction; the statements of a file marked "-- atlas:txmode none" are executed one by one, and what was
// executed is recorded after each, so that the next run continues there. A process that is killed between a statement and
// its record executes that statement again: write such files so that each statement can be repeated.
//
// The errors are:
//   - [domain.ErrChecksum]: the database's history is not this directory's. Nothing was changed.
//   - [domain.ErrInvalid]: To is not a version of the directory, or is behind the database; or a limit is out of bounds.
//   - [*StatementError]: a statement failed. Files before it are applied; its own file is rolled back, or, without a
//     transaction, half applied.
//   - [domain.ErrUnavailable]: the database cannot be reached, or another runner is at work for longer than Wait.
func (r *Runner) Up(ctx context.Context, options UpOptions) ([]File, error) {
	limits, err := newLimits(options.LockTimeout, options.Wait)
	if err != nil {
		return nil, err
	}
	// Most runs find nothing to do; they need no lock.
	pending, err := r.pendingTo(ctx, r.db, options.To)
	if err != nil || len(pending) == 0 || options.DryRun {
		return planned(pending), err
	}

	var applied []File
	err = r.withLock(ctx, limits, func(s *session) error {
		applied, err = r.applyPending(ctx, s, options)
		return err
	})
	return applied, err
}

func (r *Runner) applyPending(ctx context.Context, s *session, options UpOptions) ([]File, error) {
	if err := s.createHistory(ctx); err != nil {
		return nil, err
	}
	pending, err := r.pendingTo(ctx, s.conn, options.To)
	if err != nil {
		return nil, err
	}
	for i, p := range pending {
		if err := r.apply(ctx, s, p, options.Progress); err != nil {
			return planned(pending[:i]), err
		}
	}
	return planned(pending), nil
}

// apply executes what is left of one file.
func (r *Runner) apply(ctx context.Context, s *session, p pending, progress func(Step)) error {
	file := &fileRun{Driver: s.driver, session: s, pending: p, progress: progress, plan: p.describe()}
	executor, err := migrate.NewExecutor(file, r.dir.atlas, history{s.conn, r.database, file},
		migrate.WithLogger(file), migrate.WithOperatorVersion(operator))
	if err != nil {
		return err
	}
	execute := func() error { return executor.Execute(ctx, p.file) }
	if p.transactional {
		return file.inTx(ctx, execute)
	}
	return file.failure(ctx, execute())
}

// pendingTo reads the history and returns the files that are still to be applied, up to version.
func (r *Runner) pendingTo(ctx context.Context, q querier, version string) ([]pending, error) {
	revisions, err := history{querier: q, database: r.database}.read(ctx)
	if err != nil {
		return nil, err
	}
	state := compare(r.dir, revisions)
	if err := state.differs(); err != nil {
		return nil, err
	}
	if version == "" {
		return state.pending, nil
	}
	i := slices.IndexFunc(r.dir.files, func(f *file) bool { return f.Version() == version })
	if i < 0 {
		return nil, refuse(domain.ErrInvalid, "there is no migration %s", version)
	}
	last := slices.IndexFunc(state.pending, func(p pending) bool { return p.Version() == version })
	if last < 0 && version < state.Current {
		return nil, refuse(domain.ErrInvalid, "the database is at %s, after %s; to go back, run: accounts migrate down --to %s",
			state.Current, version, version)
	}
	return state.pending[:last+1], nil
}

func planned(files []pending) []File {
	plan := make([]File, len(files))
	for i, p := range files {
		plan[i] = p.describe()
	}
	return plan
}

func refuse(kind domain.Kind, format string, args ...any) error {
	return &domain.Error{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}
