package migration

import (
	"context"
	"database/sql"
	"errors"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// fileRun executes the statements of one file for a [migrate.Executor], as its driver and its logger.
type fileRun struct {
	migrate.Driver // that Atlas demands, and does not use
	*Connection
	pending
	progress  func(Step)
	plan      File
	attempt   int
	statement int   // the one being executed, counted from 1
	begun     int   // the one that has begun a transaction of the file's own, which is open; 0 if there is none
	undone    bool  // that was rolled back
	failed    error // why it failed
}

var (
	_ migrate.Driver      = (*fileRun)(nil)
	_ migrate.StmtScanner = (*fileRun)(nil)
	_ migrate.Logger      = (*fileRun)(nil)
)

// ScanStmts reads the statements as the directory has read them.
func (f *fileRun) ScanStmts(text string) ([]*migrate.Stmt, error) {
	return script.Scan(f.database.dialect, text)
}

// Log counts the statements.
func (f *fileRun) Log(entry migrate.LogEntry) {
	switch entry := entry.(type) {
	case migrate.LogFile:
		f.statement = entry.Skip
	case migrate.LogStmt:
		f.statement++
	}
}

// ExecContext executes a statement of the file. Outside a transaction it tries again if a lock was not to be had.
func (f *fileRun) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	if f.Transactional {
		return f.execute(ctx, statement, args...)
	}
	isConcurrent := f.database.dialect == Postgres && script.Concurrently.MatchString(statement)
	if isConcurrent {
		// It waits for other transactions without making any wait, and must not be given up half way.
		if err := f.exec(ctx, "SET "+f.lockTimeoutSetting(0)); err != nil {
			return nil, err
		}
		defer func() {
			ctx, cancel := afterwards(ctx)
			defer cancel()
			_ = f.exec(ctx, "SET "+f.lockTimeoutSetting(f.lockTimeout))
		}()
	}
	for f.attempt = 1; ; f.attempt++ {
		if isConcurrent {
			if err := f.dropUnfinishedIndex(ctx, statement); err != nil {
				return nil, err
			}
		}
		result, err := f.execute(ctx, statement, args...)
		if err == nil || f.attempt == attempts || f.begun > 0 || !f.isLockTimeout(err) {
			return result, f.followTransaction(ctx, statement, err)
		}
		if paused := f.pause(ctx); paused != nil {
			return nil, errors.Join(paused, err)
		}
	}
}

// followTransaction notes which transaction of the file's own is open behind a statement, and rolls it back if the statement has failed. It
// returns err.
func (f *fileRun) followTransaction(ctx context.Context, statement string, err error) error {
	switch {
	case err == nil && script.Begins(statement):
		f.begun = f.statement
	case err == nil && script.Ends(statement):
		f.begun = 0
	case err != nil && f.begun > 0:
		// SQLite keeps it open; and the record of the failure must not be in it.
		ctx, cancel := afterwards(ctx)
		defer cancel()
		_ = f.exec(ctx, "ROLLBACK")
		f.undone = true
	}
	return err
}

// remaining is how many statements of the file remain applied when one has failed.
func (f *fileRun) remaining() int {
	switch {
	case f.Transactional:
		return 0
	case f.begun > 0:
		return f.begun - 1
	}
	return f.statement - 1
}

func (f *fileRun) execute(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	if f.progress != nil {
		f.progress(Step{
			File: f.plan, Statement: f.statement, Statements: len(f.Statements), SQL: statement, Attempt: f.attempt,
		})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	result, err := f.conn.ExecContext(ctx, statement, args...)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	f.failed = err
	return result, err
}

// dropUnfinishedIndex drops what an earlier attempt at a CREATE INDEX CONCURRENTLY has left: an invalid index or, if the runner
// was killed after PostgreSQL had begun, perhaps a valid one.
func (f *fileRun) dropUnfinishedIndex(ctx context.Context, statement string) error {
	match := script.CreatesConcurrently.FindStringSubmatch(statement)
	if match == nil {
		return nil
	}
	ifNotExists, name := match[2] != "", match[3]
	var valid bool
	err := f.conn.QueryRowContext(ctx, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", name).Scan(&valid)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	killed := f.attempt == 1 && f.statement == f.applied+1 && f.started && !f.stopped
	if err != nil || valid && (ifNotExists || !killed) {
		return err
	}
	return f.exec(ctx, "DROP INDEX CONCURRENTLY "+name)
}

// inTx executes the file in a transaction, again and again if a lock was not to be had.
func (f *fileRun) inTx(ctx context.Context, execute func() error) error {
	for f.attempt = 1; ; f.attempt++ {
		f.statement, f.failed = 0, nil
		err := f.Connection.inTx(ctx, execute)
		if err == nil || f.attempt == attempts || !f.isLockTimeout(err) {
			return f.failure(ctx, err)
		}
		if paused := f.pause(ctx); paused != nil {
			return errors.Join(paused, f.failure(ctx, err))
		}
	}
}

// failure describes the end of the run.
func (f *fileRun) failure(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case f.failed == nil && ctx.Err() != nil:
		return script.Failure("apply migration "+f.Name(), ctx.Err())
	case f.failed == nil: // not the fault of a statement
		return script.Failure("apply migration "+f.Name(), err)
	}
	statement := f.Statements[f.statement-1]
	return &StatementError{
		File: f.Name(), Line: f.Line(statement), Statement: f.statement, Statements: len(f.Statements), SQL: statement.Text,
		Applied: f.remaining(), RolledBack: f.Transactional, Err: f.failed,
	}
}
