package modernc

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// counted is a connector of connections that keep statements, and count those that they compile and do not close.
type counted struct {
	driver.Connector
	size                   int
	compiled, open, passed int
}

type countedConn struct {
	Conn
	*StatementCache
}

func (c *counted) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := base.(Conn)
	return &countedConn{conn, NewStatementCache(countedStatements{conn, c}, c.size)}, nil
}

func (c *countedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.StatementCache.ExecContext(ctx, query, args)
}

func (c *countedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.StatementCache.QueryContext(ctx, query, args)
}

func (c *countedConn) Close() error {
	return errors.Join(c.StatementCache.Close(), c.Conn.Close())
}

type countedStatements struct {
	Conn
	of *counted
}

func (c countedStatements) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	prepared, err := c.Conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.of.compiled++
	c.of.open++
	return &countedStatement{prepared.(statement), c.of}, nil
}

func (c countedStatements) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.of.passed++
	return c.Conn.ExecContext(ctx, query, args)
}

func (c countedStatements) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.of.passed++
	return c.Conn.QueryContext(ctx, query, args)
}

type countedStatement struct {
	statement
	of *counted
}

func (s *countedStatement) Close() error {
	s.of.open--
	return s.statement.Close()
}

// openCounted returns a pool of one connection to a new file, with a table t of a number n, which is unique, and a text s: 1 one, 2 two, 3 three.
func openCounted(t *testing.T, size int) (*stdsql.DB, *counted, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	base, err := sqlite.NewConnector("file:" + filepath.ToSlash(path) + "?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	connector := &counted{Connector: base, size: size}
	db := stdsql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	exec(t, db, "CREATE TABLE t (n integer UNIQUE, s text); INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
	return db, connector, path
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (stdsql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*stdsql.Rows, error)
}

func exec(t *testing.T, on querier, query string, args ...any) {
	t.Helper()
	if _, err := on.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// values returns the rows of a query, each as a line.
func values(t *testing.T, on querier, query string, args ...any) (lines []string) {
	t.Helper()
	rows, err := on.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(row...))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return lines
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (c *counted) want(t *testing.T, what string, compiled, open int) {
	t.Helper()
	if c.compiled != compiled || c.open != open {
		t.Errorf("%s: %d statements were compiled, %d are open, want %d and %d", what, c.compiled, c.open, compiled, open)
	}
}

const selectFrom = "SELECT * FROM t WHERE n >= ? ORDER BY n"

func TestStatementIsCompiledOnce(t *testing.T) {
	db, connector, path := openCounted(t, 8)
	for range 5 {
		want(t, "rows", values(t, db, selectFrom, 2), "2two", "3three")
		want(t, "no rows", values(t, db, selectFrom, 4))
		exec(t, db, "UPDATE t SET s = s WHERE n = ?", 1)
		want(t, "returned", values(t, db, "UPDATE t SET s = ? WHERE n = ? RETURNING s", "uno", 1), "uno")
	}
	connector.want(t, "five times", 3, 3)

	// One of whose rows only the first is read, in a transaction that is rolled back, has done all of its work, and can be used again.
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var s string
	if err := tx.QueryRow("UPDATE t SET s = ? WHERE n >= ? RETURNING s", "x", 1).Scan(&s); err != nil {
		t.Fatal(err)
	}
	want(t, "changed", values(t, tx, selectFrom, 1), "1x", "2x", "3x")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	want(t, "rolled back", values(t, db, selectFrom, 1), "1uno", "2two", "3three")
	connector.want(t, "in a transaction", 4, 4)

	// A PRAGMA and a script are executed as they are.
	passed := connector.passed
	for range 2 {
		exec(t, db, "PRAGMA cache_size = -1000; INSERT INTO t VALUES (NULL, 'script')")
	}
	if connector.passed != passed+2 {
		t.Error("a statement without arguments was kept")
	}
	want(t, "of a script executed twice", values(t, db, "SELECT count(*) FROM t WHERE s = ?", "script"), "2")

	// SQLite removes the log when the last connection is closed, and closes none that has statements.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still open: %v", err)
	}
	connector.want(t, "closed", 5, 0)
}

// TestQueryInItsOwnRows executes a query again while its rows are open.
func TestQueryInItsOwnRows(t *testing.T) {
	db, connector, _ := openCounted(t, 8)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.QueryContext(t.Context(), selectFrom, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for i := 1; rows.Next(); i++ {
		var n int
		var s string
		if err := rows.Scan(&n, &s); err != nil || n != i {
			t.Fatalf("row %d: %d %q, %v", i, n, s, err)
		}
		want(t, "inner rows", values(t, conn, selectFrom, 3), "3three")
	}
	if err := errors.Join(rows.Err(), rows.Close(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	connector.want(t, "one within the other", 2, 1)
}

func TestSchemaChangesUnderStatement(t *testing.T) {
	db, connector, path := openCounted(t, 8)
	want(t, "before", values(t, db, selectFrom, 3), "3three")
	exec(t, db, "ALTER TABLE t ADD COLUMN more integer DEFAULT 7")
	want(t, "with a new column", values(t, db, selectFrom, 3), "3three7")
	other, err := stdsql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	exec(t, other, "ALTER TABLE t DROP COLUMN s")
	want(t, "without a column, by another connection", values(t, db, selectFrom, 3), "3 7")
	exec(t, db, "CREATE TEMPORARY TABLE t AS SELECT 5 AS n")
	want(t, "of a temporary table", values(t, db, selectFrom, 3), "5")
	exec(t, db, "DROP TABLE temp.t; DROP TABLE t")
	if _, err := db.Exec(selectFrom, 3); err == nil {
		t.Error("read a table that was dropped")
	}
	connector.want(t, "without its table", 1, 0)
	exec(t, db, "CREATE TABLE t (n text); INSERT INTO t VALUES ('new')")
	want(t, "of another type", values(t, db, selectFrom, "new"), "new")
}

func TestFailedStatements(t *testing.T) {
	db, connector, _ := openCounted(t, 8)
	const insert = "INSERT INTO t VALUES (?, ?)"
	code := func(what string, err error, code int) {
		t.Helper()
		if refused := new(sqlite.Error); !errors.As(err, &refused) || refused.Code() != code {
			t.Errorf("%s: %v, want code %d", what, err, code)
		}
	}
	for i := range 3 {
		exec(t, db, insert, 10+i, "kept")
		_, err := db.Exec(insert, 1, "refused")
		code("exec", err, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
		_, err = db.Query(insert+" RETURNING n", 1, "refused") //nolint:rowserrcheck,sqlclosecheck // there are none
		code("query", err, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
		if _, err := db.Exec(insert, 1); err == nil {
			t.Error("an argument is missing, and there is no error")
		}
		// The second of the rows fails.
		rows, err := db.Query("SELECT json(s) FROM (SELECT '[]' AS s UNION ALL SELECT ?)", "no JSON")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			continue
		}
		code("rows", rows.Err(), sqlite3.SQLITE_ERROR)
		_ = rows.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := db.ExecContext(ctx, insert, 20, "late"); !errors.Is(err, context.Canceled) {
			t.Errorf("after its context: %v", err)
		}
	}
	if _, err := db.Exec("INSERT INTO nowhere VALUES (?)", 1); err == nil {
		t.Error("wrote where there is no table")
	}
	want(t, "stored", values(t, db, "SELECT count(*) FROM t WHERE s = ?", "kept"), "3")
	want(t, "not stored", values(t, db, "SELECT count(*) FROM t WHERE s IN (?, 'late')", "refused"), "0")
	if connector.open != 2 {
		t.Errorf("%d statements are open, want the two that did not fail", connector.open)
	}
}

func TestCacheIsBounded(t *testing.T) {
	db, connector, _ := openCounted(t, 2)
	query := func(column int) {
		t.Helper()
		if got := values(t, db, fmt.Sprintf("SELECT %d + ?", column), 1); len(got) != 1 || got[0] != fmt.Sprint(column+1) {
			t.Errorf("column %d: %q", column, got)
		}
	}
	query(1)
	query(2)
	query(1)
	query(3) // 2 was used before 1
	connector.want(t, "three", 3, 2)
	query(1)
	connector.want(t, "that is kept", 3, 2)
	query(2)
	connector.want(t, "that is not kept", 4, 2)
}
