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

// Conn returns the connection of database/sql.
func (s *Connection) Conn() *sql.Conn { return s.conn }

// Dialect returns [Postgres] or [SQLite].
func (s *Connection) Dialect() string { return s.database.dialect }

// Tables returns the schema of PostgreSQL in which the tables are.
func (s *Connection) Tables() string { return s.database.tables }

// InTransaction tells whether the connection is in a transaction, as that of [Runner.Inspect] is on PostgreSQL.
func (s *Connection) InTransaction() bool { return s.reading }

// History returns the name of the table of the history and, on PostgreSQL, its schema.
func (s *Connection) History() (schema, table string) { return s.database.schema, s.database.table }

// Statements returns those of all files, in their order.
func (r *Runner) Statements() (statements []string) {
	for _, f := range r.dir.Files {
		statements = append(statements, f.Texts()...)
	}
	return statements
}

// Inspect calls work with a connection of its own, without a lock: it is for reading. On PostgreSQL it is in a transaction that is rolled back. It
// is what infra/migration/plan builds on.
func (r *Runner) Inspect(ctx context.Context, work func(*Connection) error) error {
	return r.withConnection(ctx, defaultLimits.lockTimeout, true, work)
}

// RewindOptions are the choices of [Runner.Rewind].
type RewindOptions struct {
	To       string // the version to go back to, which stays applied; "0" is before the first
	DryRun   bool   // only plan
	Progress func(Step)

	LockTimeout, Wait time.Duration // as in UpOptions
}

// Rewind is what is to be taken back.
type Rewind struct {
	Versions []string   // that will no longer be applied, the last first
	Files    []Executed // what the database has behind it, in order
	Keep     int        // how many of Files stay applied
}

// Executed is a file, and how many of its statements were executed.
type Executed struct {
	*script.File
	Statements int
}

// Rewind takes the history back to an earlier version. plan works out the statements for that; they are executed and the later
// versions removed from the history in one transaction. Nothing happens if there is nothing to take back, or plan returns an
// error, which Rewind returns. plan.Down is this with a plan.
//
// The errors are those of [Runner.Up].
func (r *Runner) Rewind(
	ctx context.Context, options RewindOptions, plan func(context.Context, *Connection, Rewind) (statements []string, err error),
) error {
	limits, err := newLimits(options.LockTimeout, options.Wait)
	if err != nil {
		return err
	}
	return r.withLock(ctx, limits, func(s *Connection) error {
		rewind, err := r.rewind(ctx, s, options.To)
		if err != nil {
			return err
		}
		statements := []string{}
		if len(rewind.Versions) > 0 {
			if statements, err = plan(ctx, s, rewind); err != nil {
				return err
			}
		}
		if options.DryRun || len(rewind.Versions) == 0 {
			return nil
		}
		return s.applyRewind(ctx, rewind, statements, options)
	})
}

func (r *Runner) rewind(ctx context.Context, s *Connection, to string) (Rewind, error) {
	state, err := r.compare(ctx, s.conn)
	if err != nil {
		return Rewind{}, err
	}
	if err := state.differs(); err != nil {
		return Rewind{}, err
	}
	keep := 0
	if to != "0" {
		keep = 1 + slices.IndexFunc(r.dir.Files, func(f *script.File) bool { return f.Version() == to })
		switch {
		case keep == 0:
			return Rewind{}, script.Refuse(domain.ErrInvalid, "there is no migration %q", to)
		case to > state.Current:
			return Rewind{}, script.Refuse(domain.ErrInvalid, "the database is at %s, before %s%s",
				state.Current, to, r.advice("to go on, run", "up --to "+to))
		case state.Partial != nil && state.Partial.Version == to:
			return Rewind{}, script.Refuse(domain.ErrInvalid, "migration %s is half applied: there is no way back to its end", to)
		}
	}
	if to != "0" && len(state.revisions) > 0 && to < state.revisions[0].Version {
		return Rewind{}, script.Refuse(domain.ErrInvalid, "the history of the database begins at %s: there is no way back to %s", state.revisions[0].Version, to)
	}
	keep -= skipped(r.dir, keep)
	rewind := Rewind{Keep: keep}
	for _, revision := range slices.Backward(state.revisions) {
		if to == "0" || revision.Version > to {
			rewind.Versions = append(rewind.Versions, revision.Version)
		}
	}
	for _, f := range r.dir.Replayed() {
		if f.Version() > state.Current {
			break
		}
		executed := Executed{f, len(f.Statements)}
		if state.Partial != nil && state.Partial.Version == f.Version() {
			executed.Statements = state.Partial.Applied
		}
		rewind.Files = append(rewind.Files, executed)
	}
	return rewind, nil
}

// skipped counts the checkpoints among the first files that are not replayed.
func skipped(d *script.Directory, files int) (n int) {
	for i, f := range d.Files[:files] {
		if i > 0 && f.IsCheckpoint() {
			n++
		}
	}
	return n
}

func (s *Connection) applyRewind(ctx context.Context, rewind Rewind, statements []string, options RewindOptions) error {
	run := &fileRun{Connection: s, progress: options.Progress, plan: File{
		Version: options.To, Name: "down to " + options.To, Statements: statements, Transactional: true,
	}}
	run.File = &script.File{LocalFile: migrate.NewLocalFile(run.plan.Name, nil), Transactional: true}
	for _, statement := range statements {
		run.Statements = append(run.Statements, &migrate.Stmt{Text: statement})
	}
	return run.inTx(ctx, func() error {
		for _, statement := range run.Statements {
			run.statement++
			if _, err := run.ExecContext(ctx, statement.Text); err != nil {
				return err
			}
		}
		for _, version := range rewind.Versions {
			if err := (history{Querier: s.conn, database: s.database}).DeleteRevision(ctx, version); err != nil {
				return err
			}
		}
		return nil
	})
}
