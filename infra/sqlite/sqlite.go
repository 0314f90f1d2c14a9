// Package sqlite opens a store in an SQLite file, by a driver in pure Go. It needs no set-up.
package sqlite

import (
	"context"
	stdsql "database/sql"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
	"modernc.org/sqlite" // registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
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
		return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: "is not the path of a file"}
	}
	db, err := stdsql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, unavailable(err)
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxLifetime(0)
	if err := connect(ctx, db); err != nil {
		return nil, errors.Join(unavailable(err), db.Close())
	}
	return infra.New(infra.Database{
		DB:       db,
		Driver:   timeWriter{sql.OpenDB(dialect.SQLite, db)},
		Diagnose: diagnose,
		Copy:     copyRows,
	}, options...), nil
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
		if !errors.As(err, &e) || e.Code()&primaryCode != sqlite3.SQLITE_BUSY {
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

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	reason := "cannot be opened"
	if d := diagnose(err); d.Code != "" {
		reason += " (SQLite " + d.Code + ")"
	}
	return &domain.Error{Kind: domain.ErrUnavailable, Field: "database", Reason: reason}
}

// primaryCode is what an extended result code says in general.
const primaryCode = 0xff

// diagnose tells errors by their result codes (https://sqlite.org/rescode.html). Which constraint failed is in the text
// alone; it names columns and checks, never values.
func diagnose(err error) infra.Diagnosis {
	if errors.Is(err, stdsql.ErrConnDone) || errors.Is(err, os.ErrClosed) || isClosed(err) {
		return infra.Diagnosis{Fault: infra.UnavailableFault, Code: "closed"}
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return infra.Diagnosis{}
	}
	d := infra.Diagnosis{Fault: infra.OtherFault, Code: strconv.Itoa(e.Code())}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		d.Fault, d.Constraint = infra.UniqueFault, uniqueName(failed(e, "UNIQUE"))
	case sqlite3.SQLITE_CONSTRAINT_CHECK:
		d.Fault, d.Constraint = infra.CheckFault, failed(e, "CHECK")
	default:
		switch e.Code() & primaryCode {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT,
			sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM,
			sqlite3.SQLITE_PROTOCOL:
			d.Fault = infra.UnavailableFault
		case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
			d.Fault = infra.CheckFault
		case sqlite3.SQLITE_ERROR:
			if strings.Contains(e.Error(), "no such table") || strings.Contains(e.Error(), "no such column") {
				d.Fault = infra.SchemaFault
			}
		}
	}
	return d
}

// isClosed tells whether the pool was closed, for which database/sql has no value to compare with.
func isClosed(err error) bool { return err != nil && err.Error() == "sql: database is closed" }

// failed returns what follows "UNIQUE constraint failed: " up to the end of the word.
func failed(e *sqlite.Error, constraint string) string {
	_, rest, _ := strings.Cut(e.Error(), constraint+" constraint failed: ")
	end := strings.IndexAny(rest, " ,")
	if end < 0 {
		return rest
	}
	return rest[:end]
}

// uniqueName gives a unique column the name that PostgreSQL has for its constraint: users.email is users_email_key.
func uniqueName(column string) string {
	if column == "users.id" {
		return "users_pkey"
	}
	return strings.ReplaceAll(column, ".", "_") + "_key"
}
