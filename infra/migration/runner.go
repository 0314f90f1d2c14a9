// Package migration brings a database to the schema of this program and back, step by step, from a directory of versioned
// SQL files with an atlas.sum. Such a directory is run by this package, and equally by the Atlas command line, on one
// history, so that what one of them has applied, even in part, the other takes up.
//
// The history is a table in Atlas's format. On PostgreSQL it is atlas_schema_revisions in a schema of its own for each schema
// with accounts (accounts_migrations_auth for the schema auth). On SQLite it is accounts_migrations, so that an application's own atlas_schema_revisions
// stays the application's; a history that Atlas began there is taken up where it is.
//
// What plans migrations, and links Atlas's knowledge of databases for it, is in infra/migration/plan.
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
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// Runner applies one directory of migrations to one database. It is safe for concurrent use, and any number of runners,
// in any number of processes, may work on the same database: they take turns.
type Runner struct {
	db      *sql.DB
	dialect string
	dir     *script.Directory
	watch   []domain.Observer
	history string // its name

	mu     sync.Mutex
	schema Schema // once it is known
}

// New returns a runner of the migrations in dir, which holds .sql files and their atlas.sum. It reads dir once and does
// not yet use db. dialect is [Postgres] or [SQLite]. On PostgreSQL everything happens in one schema, which Up creates if it
// is not there.
//
// The error is a [domain.ErrChecksum] if a file does not match atlas.sum, and a [domain.ErrInvalid] for a schema on SQLite, one whose
// name is too long, or an option that cannot be.
func New(db *sql.DB, dialect string, dir fs.FS, schema Schema, options ...Option) (*Runner, error) {
	r := &Runner{db: db, dialect: dialect, schema: schema, history: historyName}
	for _, option := range options {
		if err := option(r); err != nil {
			return nil, err
		}
	}
	switch {
	case dialect != Postgres && dialect != SQLite:
		return nil, script.Refuse(domain.ErrInvalid, "the dialect %q is neither %q nor %q", dialect, Postgres, SQLite)
	case dialect == SQLite && schema != Schema{}:
		return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "schema", Reason: "is given, but SQLite has none"}
	case schema.Name != "":
		if _, err := onPostgres(r.history, schema.Name); err != nil {
			return nil, err
		}
	}
	var err error
	if r.dir, err = script.Read(dir, dialect); err != nil {
		return nil, err
	}
	return r, nil
}

// Option is a choice of [New].
type Option func(*Runner) error

// WithHistory gives the history a name of its own, for a directory that is not this module's: that of an application, whose migrations run
// beside ours in the same database. On SQLite it is the name of the table; on PostgreSQL the history is the table atlas_schema_revisions in
// a schema that is called so, with the name of the tables' schema behind it (NAME_auth) unless that is public.
//
// The name is of lower-case letters, digits and "_", at most 40 of them, and does not begin with accounts_migrations. Anything else is a
// [domain.ErrInvalid].
func WithHistory(name string) Option {
	return func(r *Runner) error {
		if !validHistory.MatchString(name) || strings.HasPrefix(name, historyName) || strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "sqlite_") {
			return &domain.Error{Kind: domain.ErrInvalid, Field: "history", Reason: fmt.Sprintf(
				`is named %q; expected at most 40 lower-case letters, digits and "_" that do not begin with %s`, name, historyName)}
		}
		r.history = name
		return nil
	}
}

var validHistory = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// advice names a command of this module's command line, which knows no other migrations.
func (r *Runner) advice(text, command string) string {
	if r.history != historyName {
		return ""
	}
	return "; " + text + ": accounts migrate " + command
}

// Observe has observers see each run of Up that finds something to do, and each file of it: "migrate" and "apply migration". Call it before the
// runner is used.
func (r *Runner) Observe(observers ...domain.Observer) { r.watch = append(r.watch, observers...) }

// UpOptions are the choices of [Runner.Up]; the zero value applies everything.
type UpOptions struct {
	To     string // the last version to apply; empty means all
	DryRun bool   // change nothing, only tell what would be applied

	// LockTimeout is how long a statement waits for a lock on a table while others queue behind it: PostgreSQL's
	// lock_timeout. A file (outside a transaction: a statement) that waits longer is rolled back and tried again, after
	// a pause that lets the others through, ten times in all. Zero means 5 s, less than 1 ms is refused. CREATE and DROP INDEX CONCURRENTLY, which
	// keep no other statement waiting, wait as long as they need. A transaction that the file itself begins is not tried again.
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
		return limits{}, script.Refuse(domain.ErrInvalid, "the lock timeout must be at least 1 ms, and the wait not negative")
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
//   - [domain.ErrInvalid]: To is not a version of the directory, or is behind the database; a limit is out of bounds; or the
//     encoding of the database is not UTF8 (the field "database").
//   - [*StatementError]: a statement failed. Files before it are applied; its own file is rolled back, or, without a
//     transaction, half applied: up to the statement, or to the BEGIN of its own transaction.
//   - [domain.ErrUnavailable]: the database cannot be reached, or another runner is at work for longer than Wait.
func (r *Runner) Up(ctx context.Context, options UpOptions) ([]File, error) {
	limits, err := newLimits(options.LockTimeout, options.Wait)
	if err != nil {
		return nil, err
	}
	// Most runs find nothing to do; they need no lock.
	pending, err := r.pendingTo(ctx, r.db, options.To)
	if err != nil || len(pending) == 0 {
		return planned(pending), err
	}
	if err := r.checkEncoding(ctx); err != nil || options.DryRun {
		return planned(pending), err
	}

	var applied []File
	err = r.observe(ctx, "migrate", func(ctx context.Context) error {
		return r.withLock(ctx, limits, func(s *Connection) error {
			applied, err = r.applyPending(ctx, s, options)
			return err
		})
	})
	return applied, err
}

func (r *Runner) observe(ctx context.Context, operation string, work func(context.Context) error) error {
	return domain.Observe(ctx, r.watch, operation, func(ctx context.Context) (seen domain.Observation, err error) {
		if err = work(ctx); err != nil {
			seen.Cause = fault.Cause(err)
		}
		return seen, err
	})
}

// checkEncoding refuses a database of PostgreSQL that cannot store every text, and in which Unicode's functions fail.
func (r *Runner) checkEncoding(ctx context.Context) error {
	if r.dialect == SQLite {
		return nil
	}
	found, err := texts(ctx, r.db, "SELECT current_setting('server_encoding')")
	if err != nil {
		return script.Failure("read the encoding", err)
	}
	if found[0] != "UTF8" {
		return &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: fmt.Sprintf(
			"has the encoding %s; expected UTF8, as from: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", found[0])}
	}
	return nil
}

func (r *Runner) applyPending(ctx context.Context, s *Connection, options UpOptions) ([]File, error) {
	if err := s.createHistory(ctx); err != nil {
		return nil, err
	}
	pending, err := r.pendingTo(ctx, s.conn, options.To)
	if err != nil {
		return nil, err
	}
	for i, p := range pending {
		if err := r.observe(ctx, "apply migration", func(ctx context.Context) error {
			return r.apply(ctx, s, p, options.Progress)
		}); err != nil {
			return planned(pending[:i]), err
		}
	}
	return planned(pending), nil
}

// apply executes what is left of one file.
func (r *Runner) apply(ctx context.Context, s *Connection, p pending, progress func(Step)) error {
	switch statement := p.Unbalanced(); {
	case statement != nil && p.Transactional:
		return script.Refuse(domain.ErrInvalid, `migration %s, line %d would end the transaction in which the file is applied; `+
			`take it out, or begin the file with "-- atlas:txmode none" and an empty line`, p.Name(), p.Line(statement))
	case statement != nil:
		return script.Refuse(domain.ErrInvalid, "migration %s, line %d begins a transaction that the file does not end; expected a COMMIT",
			p.Name(), p.Line(statement))
	}
	file := &fileRun{Connection: s, pending: p, progress: progress, plan: p.describe()}
	executor, err := migrate.NewExecutor(file, r.dir.Atlas, history{s.conn, s.database, file},
		migrate.WithLogger(file), migrate.WithOperatorVersion(operator))
	if err != nil {
		return err
	}
	execute := func() error { return executor.Execute(ctx, p.File) }
	if s.database.dialect == SQLite {
		if execute, err = r.carrying(ctx, s, p, execute); err != nil {
			return script.Failure("apply migration "+p.Name(), err)
		}
	}
	if p.Transactional {
		return file.inTx(ctx, execute)
	}
	return file.failure(ctx, execute())
}

// carrying lets a file that makes a table of SQLite again keep what is not ours.
func (r *Runner) carrying(ctx context.Context, s *Connection, p pending, execute func() error) (func() error, error) {
	var made []string
	for _, f := range r.dir.Files {
		if f.Version() < p.Version() {
			made = append(made, f.Texts()...)
		}
	}
	before, after, err := script.Carry(ctx, s.conn, p.Texts(), script.MadeBy(made))
	if err != nil || len(before) == 0 {
		return execute, err
	}
	if !p.Transactional {
		if len(after) > 1 {
			return nil, script.Refuse(domain.ErrConflict, "it makes a table again outside a transaction, which holds what is not ours")
		}
		return execute, nil
	}
	return func() error {
		// The setting belongs to the connection, not to the transaction.
		defer func() { _ = s.exec(context.WithoutCancel(ctx), script.CheckRenames) }()
		if err := s.exec(ctx, before...); err != nil {
			return err
		}
		if err := execute(); err != nil {
			return err
		}
		return s.exec(ctx, after...)
	}, nil
}

// pendingTo reads the history and returns the files that are still to be applied, up to version.
func (r *Runner) pendingTo(ctx context.Context, q Querier, version string) ([]pending, error) {
	state, err := r.compare(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := state.differs(); err != nil {
		return nil, err
	}
	if len(state.Elsewhere) > 0 && r.schema.Default {
		return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "schema", Reason: fmt.Sprintf(
			"is not named, and %q, which the search_path leads to, has no accounts, but %q has; to begin here, name it: search_path=%[1]s",
			r.schema.Name, strings.Join(state.Elsewhere, `", "`))}
	}
	if version == "" {
		return state.pending, nil
	}
	i := slices.IndexFunc(r.dir.Files, func(f *script.File) bool { return f.Version() == version })
	if i < 0 {
		return nil, script.Refuse(domain.ErrInvalid, "there is no migration %s", version)
	}
	last := slices.IndexFunc(state.pending, func(p pending) bool { return p.Version() == version })
	if last < 0 && len(state.revisions) == 0 {
		return nil, script.Refuse(domain.ErrInvalid, "an empty database begins at the checkpoint %s, after %s", state.pending[0].Version(), version)
	}
	if last < 0 && version < state.Current {
		return nil, script.Refuse(domain.ErrInvalid, "the database is at %s, after %s%s",
			state.Current, version, r.advice("to go back, run", "down --to "+version))
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
