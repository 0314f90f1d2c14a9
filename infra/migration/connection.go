package migration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// Connection is a connection taken out of the pool and prepared for one run. On PostgreSQL its search_path is the schema of the
// tables alone.
type Connection struct {
	conn        *sql.Conn
	database    database
	lockTimeout time.Duration
	foreignKeys bool // SQLite: are enforced on this connection outside runs
	reading     bool // PostgreSQL: all happens in a transaction that is rolled back, the settings included
}

// open takes a connection and prepares it for a run or, on PostgreSQL, for reading.
func (r *Runner) open(ctx context.Context, lockTimeout time.Duration, reading bool) (*Connection, error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return nil, script.Failure("connect", err)
	}
	s := &Connection{conn: conn, lockTimeout: lockTimeout, reading: reading && r.dialect == Postgres}
	if s.database, err = r.locate(ctx, conn); err != nil {
		return nil, errors.Join(script.Failure("prepare the connection", err), conn.Close())
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(script.Failure("prepare the connection", err), s.close(ctx))
	}
	return s, nil
}

func (s *Connection) prepare(ctx context.Context) error {
	if s.database.dialect == Postgres {
		set := "SET "
		if s.reading {
			set = "SET LOCAL "
			if err := s.exec(ctx, "BEGIN"); err != nil {
				return err
			}
		}
		// Limits that the URL or the role may set for ordinary work do not suit an index on a large table.
		if err := s.exec(ctx,
			set+"statement_timeout = 0", set+"idle_in_transaction_session_timeout = 0", set+s.lockTimeoutSetting(s.lockTimeout),
			set+"search_path = "+identifier.Quote(s.database.tables),
			set+"quote_all_identifiers = off", // by which expressions would be printed in another way
		); err != nil || s.reading {
			return err
		}
		// From PostgreSQL 14 on, where the system allows it: if this process is killed, what it has begun ends soon.
		_ = s.exec(ctx, "SET client_connection_check_interval = 1000")
	} else if err := s.conn.QueryRowContext(ctx, "PRAGMA foreign_keys").Scan(&s.foreignKeys); err != nil {
		return err
	}
	return nil
}

func (*Connection) lockTimeoutSetting(d time.Duration) string {
	return fmt.Sprintf("lock_timeout = %d", d.Milliseconds())
}

// withConnection calls work with a connection of its own.
func (r *Runner) withConnection(ctx context.Context, lockTimeout time.Duration, reading bool, work func(*Connection) error) error {
	s, err := r.open(ctx, lockTimeout, reading)
	if err != nil {
		return err
	}
	return errors.Join(work(s), s.close(ctx))
}

// withLock calls work with a connection of its own, while no other runner is at work.
func (r *Runner) withLock(ctx context.Context, limits limits, work func(*Connection) error) error {
	return r.withConnection(ctx, limits.lockTimeout, false, func(s *Connection) error {
		unlock, err := s.lock(ctx, limits.wait)
		if err != nil {
			return err
		}
		return errors.Join(work(s), unlock())
	})
}

// close gives a connection that is as it was back to the pool: one of SQLite, which may hold the whole database, or one of PostgreSQL that has
// only read. Otherwise PostgreSQL's is closed, and the settings of the run with it.
func (s *Connection) close(ctx context.Context) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if s.database.dialect == Postgres && (!s.reading || s.exec(ctx, "ROLLBACK") != nil) {
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn }) // so it closes the connection
		return nil
	}
	return s.conn.Close()
}

// createHistory creates the table of revisions and the schemas, if need be.
func (s *Connection) createHistory(ctx context.Context) error {
	table, schema, tables, err := s.database.historyExists(ctx, s.conn)
	var create []string
	// CREATE SCHEMA IF NOT EXISTS would need the right to create one even where it exists.
	if !tables {
		create = append(create, "CREATE SCHEMA "+identifier.Quote(s.database.tables))
	}
	if !schema {
		create = append(create, "CREATE SCHEMA "+identifier.Quote(s.database.schema))
	}
	if !table {
		create = append(create, s.database.create)
	}
	if err == nil {
		err = s.exec(ctx, create...)
	}
	return script.Failure("create the history of migrations", err)
}

// lock waits until no other runner is at work. The lock ends with the process, however that ends.
func (s *Connection) lock(ctx context.Context, wait time.Duration) (unlock func() error, err error) {
	lock := s.lockPostgres
	if s.database.dialect == SQLite {
		lock = s.lockSQLite
	}
	const longestPause = time.Second
	deadline := time.Now().Add(wait)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		unlock, err := lock(ctx)
		if err != nil {
			return nil, script.Failure("lock", err)
		}
		if unlock != nil {
			return unlock, nil
		}
		if time.Until(deadline) < 0 {
			return nil, script.Refuse(domain.ErrUnavailable, "another program is migrating this database, since more than %v", wait)
		}
		if err := sleep(ctx, pause/2+rand.N(pause)); err != nil {
			return nil, err
		}
	}
}

// atlasLock is the name of the lock that Atlas takes. Waiting for it with pg_advisory_lock would be a transaction, for
// whose end CREATE INDEX CONCURRENTLY in the other runner would wait in turn.
const atlasLock = "atlas_migrate_execute"

func (s *Connection) lockPostgres(ctx context.Context) (func() error, error) {
	name := fnv.New32()
	_, _ = name.Write([]byte(atlasLock)) // never fails
	var taken bool
	err := s.conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", int64(name.Sum32())).Scan(&taken)
	if err != nil || !taken {
		return nil, err
	}
	return func() error {
		// The end of the connection is the sure way; this is the prompt one.
		ctx, cancel := afterwards(ctx)
		defer cancel()
		_, _ = s.conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", int64(name.Sum32()))
		return nil
	}, nil
}

// lockSQLite locks a file beside the database, by SQLite's own means: an attached database in exclusive locking mode stays
// locked from its first change until it is detached, whatever transactions the main database has meanwhile. A database in
// memory needs no lock between processes.
func (s *Connection) lockSQLite(ctx context.Context) (func() error, error) {
	var path string
	err := s.conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return func() error { return nil }, nil
	}
	path += "-migration"
	before, missing := os.Stat(path)
	attached := false
	err = s.withoutWaiting(ctx, func() error { // for which ATTACH waits, too
		if _, err := s.conn.ExecContext(ctx, "ATTACH ?1 AS migration_lock", path); err != nil {
			return err
		}
		attached = true
		return s.exec(ctx,
			"PRAGMA migration_lock.locking_mode = EXCLUSIVE",
			"PRAGMA migration_lock.journal_mode = OFF",
			"PRAGMA migration_lock.user_version = 1")
	})
	detach := func() error {
		if !attached {
			return nil
		}
		return s.exec(context.WithoutCancel(ctx), "DETACH migration_lock")
	}
	// The one who had the lock before has removed the file, so this may be a lock on what is no file any more.
	after, gone := os.Stat(path)
	switch {
	case script.IsBusy(err), err == nil && (missing != nil || gone != nil || !os.SameFile(before, after)):
		return nil, detach()
	case err != nil:
		return nil, errors.Join(err, detach())
	}
	return func() error {
		_ = os.Remove(path) // Windows keeps an open file
		return detach()
	}, nil
}

// withoutWaiting calls fn while SQLite reports a busy file at once.
func (s *Connection) withoutWaiting(ctx context.Context, fn func() error) error {
	var timeout int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	if err := s.exec(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	err := fn()
	if restored := s.exec(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout = %d", timeout)); restored != nil {
		return errors.Join(err, restored)
	}
	return err
}

// exec executes statements without arguments, up to the first that fails.
func (s *Connection) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := s.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// inTx runs fn in a transaction. On SQLite it is one that may break foreign keys in between, as making a table again does,
// but not in the end.
func (s *Connection) inTx(ctx context.Context, fn func() error) (err error) {
	if s.database.dialect == Postgres {
		return s.transaction(ctx, "BEGIN", fn)
	}
	if !s.foreignKeys {
		return s.transaction(ctx, "BEGIN IMMEDIATE", fn)
	}
	if err := s.exec(ctx, "PRAGMA foreign_keys = off"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.exec(context.WithoutCancel(ctx), "PRAGMA foreign_keys = on")) }()
	return s.transaction(ctx, "BEGIN IMMEDIATE", func() error {
		before, err := s.brokenForeignKeys(ctx)
		if err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
		after, err := s.brokenForeignKeys(ctx)
		if err == nil && after > before {
			err = script.Refuse(domain.ErrInvalid, "%d rows would refer to rows that do not exist", after-before)
		}
		return err
	})
}

func (s *Connection) transaction(ctx context.Context, begin string, fn func() error) error {
	err := s.exec(ctx, begin)
	if err != nil {
		return err
	}
	if err = fn(); err == nil {
		if err = s.exec(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	// After some errors the transaction, or the connection, is gone already.
	ctx, cancel := afterwards(ctx)
	defer cancel()
	_ = s.exec(ctx, "ROLLBACK")
	return err
}

// afterwards returns a context for what is to be done even when ctx has ended, and cannot wait for a network that has gone silent: it
// ends a second after ctx.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, cancel) })
	return lasting, func() { stop(); cancel() }
}

func (s *Connection) brokenForeignKeys(ctx context.Context) (n int, err error) {
	err = s.conn.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&n)
	return n, err
}

// pause lets those through who waited behind this run's request for a lock.
func (s *Connection) pause(ctx context.Context) error {
	return sleep(ctx, s.lockTimeout+rand.N(s.lockTimeout))
}

func (s *Connection) isLockTimeout(err error) bool {
	code := script.SQLState(err)
	return code == "55P03" || code == "40P01" || script.IsBusy(err) // lock_not_available, deadlock_detected
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
