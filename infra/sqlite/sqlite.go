// Package sqlite opens a store in an SQLite file, by a driver in pure Go. It needs no set-up.
package sqlite

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite" // registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/migration"
)

// busyTimeout is how long a statement waits for another process that is writing.
const busyTimeout = 10 * time.Second

// Open opens the database in the file at path, which is made if it is not there; ":memory:" gives a database that ends
// with the store. Nothing is migrated: call [infra.Store.Migrate].
//
// The store has one connection, so that its methods take turns, as SQLite's writers must. Every connection has foreign
// keys, a write-ahead log, and a busy timeout of 10 s for other processes. Open returns [domain.ErrUnavailable] when the
// file cannot be opened or is not a database.
func Open(ctx context.Context, path string, options ...infra.Option) (*infra.Store, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return nil, invalid("is not the path of a file")
	}
	db, err := stdsql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, infra.ConnectFailure(ctx, err)
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxLifetime(0)
	if err := connect(ctx, db); err != nil {
		return nil, errors.Join(infra.ConnectFailure(ctx, err), db.Close())
	}
	store, err := infra.New(ctx, infra.Database{Dialect: migration.SQLite, DB: db, Copy: copyRows, Close: db.Close}, options...)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return store, nil
}

// New returns a store on a pool of the application. The store changes no setting of the pool; Close leaves it open. It checks what it
// relies on, and returns [domain.ErrInvalid] on the field "database" for a pool that is nil, whose connections do not enforce foreign
// keys (_pragma=foreign_keys(1) in the DSN), or whose driver does not return the column of a time as a time; and
// [domain.ErrUnavailable] when the file cannot be read.
//
// For transactions that write, set _txlock=immediate in the DSN: one that reads first and then writes fails, as SQLite has it, when
// another connection has written in between. Set a busy_timeout too.
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
	name := ":memory:"
	if path != ":memory:" {
		name = "file:" + (&url.URL{Path: path}).EscapedPath()
	}
	pragmas := []string{
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
		"foreign_keys(1)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // a commit survives a loss of power
	}
	return name + "?_txlock=immediate&_pragma=" + strings.Join(pragmas, "&_pragma=")
}
