// Package sqlite opens a store in an SQLite file, by a driver in pure Go. It needs no set-up.
package sqlite

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/fault"
	"github.com/softbee/accounts/infra/migration"
)

// busyTimeout is how long a statement waits for another process that is writing.
const busyTimeout = 10 * time.Second

// inMemory is the path of a database that is in no file.
const inMemory = ":memory:"

// Open opens the database in the file at path, which is made if it is not there, readable for its owner alone (mode 0600, which the
// files of SQLite beside it take over); ":memory:" gives a database that ends with the store. Nothing is migrated: call
// [infra.Store.Migrate].
//
// The store has one connection that writes, so that its changes and transactions take turns, as SQLite's writers must. Beside it are
// connections that read, each from the state of the last commit, so that neither waits for the other; a database in memory has none
// of these. Every connection has foreign keys, a write-ahead log, and a busy timeout of 10 s for other processes. Open returns
// [domain.ErrUnavailable], with the path and the reason, when the file cannot be opened or is not a database; methods return that kind when it
// has been removed or replaced since.
//
// The pool, which is the store's DB, writes times and JSON in the stored form, also those of the application's own statements: see [NewConnector].
//
// The log is in the files path-wal and path-shm beside the database, so that its directory must be writable, also for reading; they belong
// to the database until Close has returned, and what removes them after a crash removes the latest changes.
func Open(ctx context.Context, path string, options ...infra.Option) (*infra.Store, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return nil, invalid("is not the path of a file")
	}
	if err := create(path); err != nil {
		return nil, cannotOpen(ctx, path, err)
	}
	db, err := openDB(dsn(path))
	if err != nil {
		return nil, cannotOpen(ctx, path, err)
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxLifetime(0)
	if err := connect(ctx, db); err != nil {
		return nil, errors.Join(cannotOpen(ctx, path, err), db.Close())
	}
	database := infra.Database{Dialect: migration.SQLite, Name: strconv.Quote(path), DB: db, Copy: copyRows, Close: db.Close}
	if path != inMemory {
		readers, err := openDB(dsn(path) + "&_pragma=query_only(1)")
		if err != nil {
			return nil, errors.Join(cannotOpen(ctx, path, err), db.Close())
		}
		readers.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
		readers.SetMaxIdleConns(max(4, runtime.GOMAXPROCS(0)))
		database.Handle = handle{writer: db, readers: readers}
		f, err := fileOf(path, db, readers)
		if err != nil {
			return nil, errors.Join(cannotOpen(ctx, path, err), readers.Close(), db.Close())
		}
		database.Lost = f.lost
		database.Close = func() error { return errors.Join(f.lost(), readers.Close(), db.Close()) } // the writer tidies the log up
	}
	store, err := infra.New(ctx, database, options...)
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	return store, nil
}

func openDB(dsn string) (*stdsql.DB, error) {
	connector, err := NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return stdsql.OpenDB(connector), nil
}

// creating keeps others in this process from opening a file that create is about to close: closing it releases all locks that the
// process has on it (https://sqlite.org/howtocorrupt.html, 2.2).
var creating sync.Mutex

// create makes an empty file, which is an empty database, unless there is one of that name.
func create(path string) error {
	if path == inMemory {
		return nil
	}
	creating.Lock()
	defer creating.Unlock()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		if _, statErr := os.Stat(path); statErr == nil { // a directory in which nothing can be made may hold the file
			return nil
		}
		return err
	}
	return file.Close()
}

// cannotOpen is the error of Open for a file: with its path, and with the reason of the operating system where that is known.
func cannotOpen(ctx context.Context, path string, err error) error {
	known := infra.ConnectFailure(ctx, err)
	refused := new(domain.Error)
	if ctx.Err() != nil || !errors.As(known, &refused) {
		return known
	}
	named := &domain.Error{Kind: domain.ErrUnavailable, Field: "database", Cause: refused.Cause}
	reason := fault.Of(err).Where
	var system *fs.PathError
	if errors.As(err, &system) {
		reason = system.Err.Error()
	} else if info, err := os.Stat(path); err == nil && info.IsDir() {
		reason = "it is a directory"
	} else if refusal := denied(path); err == nil && refusal != nil {
		reason = refusal.Error()
	}
	named.Reason = fmt.Sprintf("the file %q cannot be opened: %s", path, reason)
	return named
}

// file is the one that was opened. SQLite writes on into a file that was removed, or replaced, without an error.
type file struct {
	path  string
	pools []*stdsql.DB
	mu    sync.Mutex
	info  os.FileInfo
}

func fileOf(path string, pools ...*stdsql.DB) (*file, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(whole)
	return &file{path: whole, pools: pools, info: info}, err
}

// lost returns [domain.ErrUnavailable] if the file is not the one that was opened. Where there is another one at its path, the next
// statement opens that.
func (f *file) lost() error {
	now, err := os.Stat(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && os.SameFile(now, f.info) {
		return nil
	}
	reason := "the file was removed while it was open; nothing is stored"
	if err == nil {
		reason = "the file was replaced while it was open; nothing is stored in the new one"
		f.info = now
		for _, pool := range f.pools {
			pool.SetMaxIdleConns(-1) // closes them
			pool.SetMaxIdleConns(pool.Stats().MaxOpenConnections)
		}
	}
	return &domain.Error{Kind: domain.ErrUnavailable, Field: "database", Reason: reason}
}

// New returns a store on a pool of the application. The store changes no setting of the pool; Close leaves it open. It checks what it
// relies on, and returns [domain.ErrInvalid] on the field "database" for a pool that is nil, whose connections do not enforce foreign
// keys (_pragma=foreign_keys(1) in the DSN), or whose driver does not return the column of a time as a time; and
// [domain.ErrUnavailable] when the file cannot be read.
//
// For transactions that write, set _txlock=immediate in the DSN: one that reads first and then writes fails, as SQLite has it, when
// another connection has written in between. Set a busy_timeout too. A pool on which the application also writes accounts, or times of its own beside them,
// without the store, needs the connections of [NewConnector].
func New(db *stdsql.DB, options ...infra.Option) (*infra.Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	store, err := infra.New(ctx, infra.Database{Dialect: migration.SQLite, DB: db, Copy: copyRows}, options...)
	if err != nil {
		return nil, err
	}
	if err := check(ctx, db); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return store, nil
}

// check refuses a pool on which the store's statements would not mean what they say.
func check(ctx context.Context, db *stdsql.DB) error {
	var foreignKeys bool
	if err := db.QueryRowContext(ctx, "PRAGMA foreign_keys").Scan(&foreignKeys); err != nil {
		return infra.ConnectFailure(ctx, err)
	}
	if !foreignKeys {
		return invalid("does not enforce foreign keys; expected _pragma=foreign_keys(1) in the DSN")
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return infra.ConnectFailure(ctx, err)
	}
	defer func() { _ = conn.Close() }()
	for _, statement := range []string{ // a table of the connection's own, for which the file need not be writable
		"CREATE TEMPORARY TABLE accounts_check (at datetime)", "INSERT INTO accounts_check VALUES ('2026-01-02 03:04:05.000006')",
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return infra.ConnectFailure(ctx, err)
		}
	}
	var read any
	err = conn.QueryRowContext(ctx, "SELECT at FROM accounts_check").Scan(&read)
	if _, dropErr := conn.ExecContext(ctx, "DROP TABLE accounts_check"); err != nil || dropErr != nil {
		return infra.ConnectFailure(ctx, errors.Join(err, dropErr))
	}
	if at, ok := read.(time.Time); !ok || !at.Equal(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)) {
		return invalid(fmt.Sprintf("returns a datetime column as %T, or in another time zone; expected a time.Time in UTC", read))
	}
	return nil
}

func invalid(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: reason}
}

// connect makes the connection. Opening is lazy, and so is reading the file: reading tells whether it is a database. When
// another process switches a new file to the write-ahead log at that moment, SQLite does not wait for it.
func connect(ctx context.Context, db *stdsql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		var tables int
		err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables)
		var e *sqlite.Error
		if !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func dsn(path string) string {
	// The path is percent-encoded as a whole, so that no character of it reads as a parameter.
	name := inMemory
	if path != inMemory {
		path = filepath.ToSlash(path)
		if filepath.VolumeName(path) != "" {
			path = "/" + path
		}
		if strings.HasPrefix(path, "/") { // with an authority, so that the path's own slashes do not begin one
			path = "//" + (&url.URL{Path: path}).EscapedPath()
		} else {
			path = (&url.URL{Path: path}).EscapedPath()
		}
		name = "file:" + path
	}
	pragmas := []string{
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
		"foreign_keys(1)",
		"journal_mode(WAL)",
		"synchronous(FULL)",       // a commit survives a loss of power
		"wal_autocheckpoint(256)", // of 4 kB: the log takes no more than 1 MB of a disk that is almost full, and holds less of what is new
	}
	return name + "?_txlock=immediate&_pragma=" + strings.Join(pragmas, "&_pragma=")
}
