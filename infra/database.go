package infra

import (
	"context"
	stdsql "database/sql"
	"iter"
)

// Database is what the package of a driver supplies to the store. Everything else, the statements, what an error means and how a
// value is written, is the store's own and the same for each driver of a database.
type Database struct {
	// Dialect is [migration.Postgres] or [migration.SQLite].
	Dialect string

	// Name is what errors call the database, such as its file; it may be empty.
	Name string

	// DB is the pool as database/sql has it. Transactions and migrations run on it.
	DB *stdsql.DB

	// Handle executes the statements outside transactions; nil stands for DB. A driver has one of its own where it is faster, or
	// cancels better, than through database/sql.
	Handle Handle

	// Copy writes rows into a table in the driver's fastest way, within tx, which runs on conn. Each row is valid until the next.
	// nil stands for INSERT statements of many rows.
	Copy func(ctx context.Context, conn *stdsql.Conn, tx *stdsql.Tx, table string, columns []string, rows iter.Seq2[[]any, error]) error

	// Lost returns an error if what was written just now is not where the next connection would find it; nil where that cannot be.
	Lost func() error

	// Confirmed returns an error if a change that was committed on a connection may not last: a synchronous standby has not confirmed it. nil
	// where Commit itself returns that error.
	Confirmed func(conn *stdsql.Conn) error

	// Close closes what the package opened; nil for a pool of the application.
	Close func() error
}

// Handle executes SQL, on a pool or in a transaction. Its errors are the driver's. Arguments are nil, bool, int, int64, string,
// [time.Time] (not on SQLite) or a driver.Valuer.
type Handle interface {
	// Query returns rows, which the caller closes.
	Query(ctx context.Context, query string, args ...any) (Rows, error)

	// Exec returns how many rows the statement changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
}

// Rows are those of a query, as in database/sql. The destinations implement [stdsql.Scanner] or point to a basic type.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// executor is what a pool, a connection and a transaction of database/sql have in common.
type executor interface {
	QueryContext(ctx context.Context, query string, args ...any) (*stdsql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (stdsql.Result, error)
}

type sqlHandle struct{ executor }

func (h sqlHandle) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	rows, err := h.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
	if err != nil {
		return nil, err // and no typed nil
	}
	return rows, nil
}

func (h sqlHandle) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := h.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
