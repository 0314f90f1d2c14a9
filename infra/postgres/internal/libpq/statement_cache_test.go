package libpq

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
)

// plain, cached and uncached are the ways to a server that the tests compare.
var (
	plain = way{wrap: func(config pq.Config) driver.Connector {
		connector, _ := pq.NewConnectorConfig(config) // never fails
		return connector
	}}
	cached   = way{wrap: func(config pq.Config) driver.Connector { return newCachingConnector(config, 8) }}
	uncached = way{wrap: func(config pq.Config) driver.Connector { return newUncachedConnector(config) }, binary: true}
)

type way struct {
	wrap   func(pq.Config) driver.Connector
	binary bool
}

// rounds returns how often a test tries what a chance decides: many times if ACCOUNTS_TEST_LONG is set.
func rounds(few, many int) int {
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		return many
	}
	return few
}

// open returns a pool of at most n connections.
func (w way) open(t testing.TB, address string, n int) *sql.DB {
	t.Helper()
	config, err := pq.NewConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	config.BinaryParameters = w.binary
	db := sql.OpenDB(w.wrap(config))
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db
}

func TestStatementIsPreparedOncePerConnection(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 1)
	for i := range 10 {
		if n := queryInt(t, db, "SELECT $1::int + 1", i); n != i+1 {
			t.Fatalf("%d + 1 is %d", i, n)
		}
	}
	for i := range 10 {
		mustExec(t, db, "SELECT set_config('accounts.i', $1, false)", strconv.Itoa(i))
	}
	if n := queryInt(t, db, "SELECT count(*) FROM pg_prepared_statements"); n != 2 {
		t.Errorf("%d statements are prepared; want 2", n)
	}
	if n := queryInt(t, db, "SELECT sum(generic_plans + custom_plans) FROM pg_prepared_statements"); n != 20 {
		t.Errorf("they were executed %d times; want 20", n)
	}
}

func TestTransactionUsesTheCache(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 1)
	queryInt(t, db, "SELECT $1::int", 0)
	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		tx := begin(t, db)
		queryInt(t, tx, "SELECT $1::int", 1)
		queryInt(t, tx, "SELECT $1::int + 1", 1) // stays prepared after a rollback
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	if n := queryInt(t, db, "SELECT count(*) FROM pg_prepared_statements"); n != 2 {
		t.Errorf("%d statements are prepared; want 2", n)
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, postgrestest.Schema(t))
	const query = "SELECT $1::int"
	for _, test := range []struct {
		name string
		way  way
		want int64
	}{{"plain", plain, 2}, {"cached", cached, 1}, {"uncached", uncached, 1}} {
		db := test.way.open(t, proxy.URL, 1)
		queryInt(t, db, query, 1)
		before := proxy.Trips.Load()
		queryInt(t, db, query, 2)
		if n := proxy.Trips.Load() - before; n != test.want {
			t.Errorf("%s: %d round trips for a query; want %d", test.name, n, test.want)
		}
		before = proxy.Trips.Load()
		mustExec(t, db, query, 2)
		if n := proxy.Trips.Load() - before; n != test.want {
			t.Errorf("%s: %d round trips for an execution; want %d", test.name, n, test.want)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 1)
	for i := range 20 {
		queryInt(t, db, fmt.Sprintf("SELECT $1::int + %d", i), 1)
		queryInt(t, db, "SELECT $1::int + 0", 1) // again and again, so it stays
	}
	var got, want []string
	rows, err := db.Query("SELECT statement FROM pg_prepared_statements ORDER BY prepare_time")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			t.Fatal(err)
		}
		got = append(got, statement)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 13, 14, 15, 16, 17, 18, 19} {
		want = append(want, fmt.Sprintf("SELECT $1::int + %d", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("prepared on the server:\n%q; want\n%q", got, want)
	}
}

// A statement that was prepared before its table changed works as one that is new: at once outside a transaction, after
// a failure inside one.
func TestTableChangesUnderStatement(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		query    string
		primer   any
		change   string
		argument any
		want     string
		code     pqerror.Code // of the failure in a transaction
	}{
		{
			"new column", "SELECT * FROM thing WHERE id = $1", 1,
			"ALTER TABLE thing ADD COLUMN extra text DEFAULT 'extra'", 1, "[1 10 extra]", pqerror.FeatureNotSupported,
		}, {
			"new type of a result", "SELECT n FROM thing WHERE id = $1", 1,
			"ALTER TABLE thing ALTER n TYPE text USING n || '!'", 1, "[10!]", pqerror.FeatureNotSupported,
		}, {
			"wider type of a parameter", "UPDATE thing SET n = $1 RETURNING n > 100", 10,
			"ALTER TABLE thing ALTER n TYPE bigint", 3_000_000_000, "[true]", pqerror.NumericValueOutOfRange,
		}, {
			"other type of a comparison", "SELECT id FROM thing WHERE n = $1", 10,
			"ALTER TABLE thing ALTER n TYPE text", "10", "[1]", pqerror.UndefinedFunction,
		}, {
			"other type of a parameter", "SELECT id FROM thing WHERE n = $1", 10,
			"ALTER TABLE thing ALTER n TYPE text USING n || '!'", "10!", "[1]", pqerror.InvalidTextRepresentation,
		}, {
			"another table of the name", "SELECT n FROM thing WHERE id = $1", 1,
			"ALTER TABLE thing RENAME TO old; CREATE TABLE thing AS SELECT id, n + 1 AS n FROM old", 1, "[11]", "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, inTransaction := range []bool{false, true} {
				address := postgrestest.Schema(t)
				other, db := plain.open(t, address, 1), cached.open(t, address, 1)
				mustExec(t, other, "CREATE TABLE thing (id int, n int); INSERT INTO thing VALUES (1, 10)")
				if _, err := queryRow(db, test.query, test.primer); err != nil {
					t.Fatal(err)
				}
				mustExec(t, other, test.change)

				if inTransaction && test.code != "" {
					tx := begin(t, db)
					if row, err := queryRow(tx, test.query, test.argument); pq.As(err, test.code) == nil {
						t.Fatalf("in a transaction: %s, %v; want %s", row, err, test.code)
					}
					if _, err := tx.Exec("SELECT 1"); pq.As(err, pqerror.InFailedSQLTransaction) == nil {
						t.Errorf("the transaction goes on after a failure: %v", err)
					}
					if err := tx.Rollback(); err != nil {
						t.Fatal(err)
					}
				}
				var q querier = db
				if inTransaction {
					tx := begin(t, db)
					defer func() { _ = tx.Rollback() }()
					q = tx
				}
				if row, err := queryRow(q, test.query, test.argument); err != nil || row != test.want {
					t.Errorf("in a transaction: %t: %s, %v; want %s", inTransaction, row, err, test.want)
				}
				if n := queryInt(t, q, "SELECT count(*) FROM pg_prepared_statements"); n != 1 {
					t.Errorf("%d statements are prepared; want 1", n)
				}
			}
		})
	}
}

// A mistake of the caller is reported as without the cache, also when the statement is in it.
func TestFailureIsReported(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 1)
	for range 3 {
		queryInt(t, db, "SELECT 10 / $1::int", 5)
		if _, err := queryRow(db, "SELECT 10 / $1::int", 0); pq.As(err, pqerror.DivisionByZero) == nil {
			t.Errorf("division by zero: %v", err)
		}
		if _, err := queryRow(db, "SELECT $1::int FROM nowhere", 0); pq.As(err, pqerror.UndefinedTable) == nil {
			t.Errorf("undefined table: %v", err)
		}
		if _, err := db.Exec("SELECT 10 / $1::int", 0); pq.As(err, pqerror.DivisionByZero) == nil {
			t.Errorf("division by zero: %v", err)
		}
		if _, err := db.Exec("SELECT $1::int", 1, 2); err == nil || pq.As(err) != nil {
			t.Errorf("two arguments for one: %v; want an error that is not the server's", err)
		}
	}
}

func TestStatementsDeallocatedBySomebodyElse(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	queries := []string{"SELECT $1::int", "SELECT $1::int + 1", "SELECT $1::int + 2"}
	for _, deallocate := range []string{"DEALLOCATE ALL", "DISCARD ALL", `DEALLOCATE "1"`} {
		db := cached.open(t, address, 1)
		prime := func() {
			for i, query := range queries {
				if n := queryInt(t, db, query, 1); n != 1+i {
					t.Errorf("%s: %s = %d", deallocate, query, n)
				}
			}
		}
		prime()
		mustExec(t, db, deallocate)
		prime()

		mustExec(t, db, "DEALLOCATE ALL")
		tx := begin(t, db)
		if _, err := queryRow(tx, queries[0], 1); pq.As(err, pqerror.InvalidSQLStatementName) == nil {
			t.Errorf("in a transaction: %v; want %s", err, pqerror.InvalidSQLStatementName)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		tx = begin(t, db)
		for _, query := range queries { // the one failure was enough for all of them
			queryInt(t, tx, query, 1)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if n := queryInt(t, db, "SELECT count(*) FROM pg_prepared_statements"); n != len(queries) {
			t.Errorf("%d statements are prepared; want %d", n, len(queries))
		}
	}
}

// A transaction that was begun as a statement, behind the driver's back, gets the failure that aborted it.
func TestTableChangesInTransactionBegunByStatement(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	other, db := plain.open(t, address, 1), cached.open(t, address, 1)
	mustExec(t, other, "CREATE TABLE thing (id int); INSERT INTO thing VALUES (1)")
	const query = "SELECT * FROM thing WHERE id = $1"
	if _, err := queryRow(db, query, 1); err != nil {
		t.Fatal(err)
	}
	mustExec(t, other, "ALTER TABLE thing ADD COLUMN extra int DEFAULT 2")
	mustExec(t, db, "BEGIN")
	if _, err := queryRow(db, query, 1); pq.As(err, pqerror.FeatureNotSupported) == nil {
		t.Errorf("in a transaction: %v; want %s", err, pqerror.FeatureNotSupported)
	}
	mustExec(t, db, "ROLLBACK")
	if row, err := queryRow(db, query, 1); err != nil || row != "[1 2]" {
		t.Errorf("after it: %s, %v", row, err)
	}
}

func TestNextStatementWhileRowsAreOpen(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 1)
	for _, query := range []string{"SELECT * FROM generate_series(1, $1)", "SELECT * FROM generate_series(1, 1000)"} {
		var args []any
		if strings.Contains(query, "$1") {
			args = []any{1000}
		}
		tx := begin(t, db)
		rows, err := tx.Query(query, args...)
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		for rows.Next() {
			if read++; read%300 != 0 {
				continue
			}
			for i := range 20 { // enough to evict every statement, were they executed
				if _, err := queryRow(tx, fmt.Sprintf("SELECT $1::int + %d", i), 1); !errors.Is(err, errRowsOpen) {
					t.Fatalf("query: %v; want %v", err, errRowsOpen)
				}
			}
			if _, err := tx.Exec("SELECT $1::int", 1); !errors.Is(err, errRowsOpen) {
				t.Fatalf("execution: %v; want %v", err, errRowsOpen)
			}
			if _, err := tx.Exec("SELECT 1"); !errors.Is(err, errRowsOpen) {
				t.Fatalf("execution without arguments: %v; want %v", err, errRowsOpen)
			}
		}
		if err := rows.Err(); err != nil || read != 1000 {
			t.Errorf("%d rows, %v; want 1000", read, err)
		}
		if n := queryInt(t, tx, "SELECT $1::int", 7); n != 7 {
			t.Errorf("after the rows: %d", n)
		}
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
	}
}

// Types and values are the same whichever way they came.
func TestRowsAreThoseOfPlainConnection(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	mustExec(t, plain.open(t, address, 1), `CREATE TABLE kinds (
			id uuid, i2 smallint, i4 int, i8 bigint, f double precision, n numeric(10,2), b boolean, t text,
			v varchar(10), c char(5), ts timestamptz, d date, j jsonb, raw bytea, list text[], absent text);
		INSERT INTO kinds VALUES ('11111111-2222-3333-4444-555555555555', 2, 4, 8, 1.5, 12.34, true, 'text',
			'varchar', 'char', '2026-01-02 03:04:05.678901+02', '2026-01-02', '{"a": [1]}', '\x00ff', '{a,b}', NULL)`)
	read := func(w way) (types, values []string) {
		rows, err := w.open(t, address, 1).Query("SELECT * FROM kinds WHERE i4 = $1", 4)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.ColumnTypes()
		if err != nil {
			t.Fatal(err)
		}
		row := make([]any, len(columns))
		for i, column := range columns {
			length, hasLength := column.Length()
			precision, scale, isDecimal := column.DecimalSize()
			types = append(types, fmt.Sprintln(column.Name(), column.DatabaseTypeName(), column.ScanType(),
				length, hasLength, precision, scale, isDecimal))
			row[i] = new(any)
		}
		if !rows.Next() {
			t.Fatal("no row: ", rows.Err())
		}
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		for _, value := range row {
			values = append(values, fmt.Sprintf("%T %[1]v", *value.(*any)))
		}
		return types, values
	}
	wantTypes, wantValues := read(plain)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		types, values := read(w)
		if !slices.Equal(types, wantTypes) {
			t.Errorf("%s: types\n%q; want\n%q", name, types, wantTypes)
		}
		if !slices.Equal(values, wantValues) {
			t.Errorf("%s: values\n%q; want\n%q", name, values, wantValues)
		}
	}
}

// Several results of one string of statements go through as they are.
func TestSeveralResults(t *testing.T) {
	t.Parallel()
	rows, err := cached.open(t, postgrestest.Schema(t), 1).Query("SELECT 1; SELECT 'two', 'deux'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var results []string
	for more := true; more; more = rows.NextResultSet() {
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			results = append(results, strconv.Itoa(len(columns)))
		}
	}
	if err := rows.Err(); err != nil || !slices.Equal(results, []string{"1", "2"}) {
		t.Errorf("columns of the results: %v, %v; want 1, 2", results, err)
	}
}

func TestJSONArguments(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	for name, w := range map[string]way{"plain": plain, "cached": cached, "uncached": uncached} {
		db := w.open(t, address, 1)
		for _, test := range []struct {
			argument any
			want     string
		}{
			{[]byte(`["a"]`), `["a"]`},
			{json.RawMessage(`{"b":1}`), `{"b": 1}`},
			{jsonValuer{`["c"]`}, `["c"]`},
			{`["d"]`, `["d"]`},
			{[]byte(nil), "absent"},
			{json.RawMessage(nil), "absent"},
			{nil, "absent"},
		} {
			var got string
			if err := db.QueryRow("SELECT coalesce($1::jsonb::text, 'absent')", test.argument).Scan(&got); err != nil {
				t.Errorf("%s: %v: %v", name, test.argument, err)
			} else if got != test.want {
				t.Errorf("%s: %v is stored as %s; want %s", name, test.argument, got, test.want)
			}
			if _, err := db.Exec("SELECT $1::jsonb", test.argument); err != nil {
				t.Errorf("%s: execution with %v: %v", name, test.argument, err)
			}
		}
	}
}

type jsonValuer struct{ document string }

func (v jsonValuer) Value() (driver.Value, error) { return []byte(v.document), nil }

// What cannot be executed leaves the connection usable.
func TestRefusedStatements(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		db := w.open(t, address, 1)
		mustExec(t, db, "CREATE TABLE IF NOT EXISTS thing (n int)")
		pid := queryInt(t, db, "SELECT pg_backend_pid()")
		for _, test := range []struct {
			query string
			args  []any
		}{
			{"SELECT $65536::int", make([]any, 65536)},
			{"COPY thing FROM STDIN", []any{1}},
			{"SELECT $1::int", []any{"one"}},
			{"SELECT", []any{struct{}{}}},
			{"not SQL $1", []any{1}},
		} {
			if _, err := queryRow(db, test.query, test.args...); err == nil {
				t.Errorf("%s: %s: no error", name, test.query)
			}
			if _, err := db.Exec(test.query, test.args...); err == nil {
				t.Errorf("%s: execution of %s: no error", name, test.query)
			}
			if n := queryInt(t, db, "SELECT pg_backend_pid() + $1", 0); n != pid {
				t.Errorf("%s: %s: the connection is lost", name, test.query)
			}
		}
	}

	tx := begin(t, cached.open(t, address, 1))
	if _, err := tx.Exec("COPY thing FROM STDIN", 1); err == nil { // outside a transaction lib/pq refuses it
		t.Error("COPY with an argument: no error")
	}
	queryInt(t, tx, "SELECT count(*) FROM thing WHERE n = $1", 1)
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}

// A cancelled query ends at once, and the cancellation does not hit a later query on the connection.
func TestCancelledQuery(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		t.Run(name, func(t *testing.T) {
			db, other := w.open(t, address, 1), plain.open(t, address, 1)
			for i := range rounds(6, 40) {
				ctx, cancel := context.WithCancel(t.Context())
				var q querier = db
				if i%2 == 1 {
					tx, err := db.BeginTx(ctx, nil)
					if err != nil {
						t.Fatal(err)
					}
					q = tx
				}
				go callWhenSleeping(t, other, cancel)
				var n int
				err := q.QueryRowContext(ctx, "SELECT $1::int FROM pg_sleep(60)", i).Scan(&n)
				if !errors.Is(err, context.Canceled) && pq.As(err, pqerror.QueryCanceled) == nil {
					t.Fatalf("the cancelled query: %v", err)
				}
				for range 5 {
					queryInt(t, db, "SELECT $1::int", i)
				}
			}
		})
	}
}

func TestCancelledWhileReadingRows(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 1)
	for range rounds(3, 30) {
		ctx, cancel := context.WithCancel(t.Context())
		rows, err := db.QueryContext(ctx, "SELECT generate_series(1, $1::int)", 100_000_000)
		if err != nil {
			t.Fatal(err)
		}
		rows.Next()
		cancel()
		for rows.Next() { // ends
		}
		if err := rows.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("rows: %v; want %v", err, context.Canceled)
		}
		queryInt(t, db, "SELECT $1::int", 1)
	}
}

// A connection that the server has closed is replaced by a new one, with nothing in its cache.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	other := plain.open(t, address, 1)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		db := w.open(t, address, 1)
		for range 3 {
			pid := queryInt(t, db, "SELECT pg_backend_pid() + $1", 0)
			mustExec(t, other, "SELECT pg_terminate_backend($1, 10000)", pid)
			if again := queryInt(t, db, "SELECT pg_backend_pid() + $1", 0); again == pid {
				t.Errorf("%s: the connection was not lost", name)
			}
		}
	}
}

// Many goroutines on few connections with caches that are too small get each statement's own result, and every change
// is made once.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	small := way{wrap: func(config pq.Config) driver.Connector { return newCachingConnector(config, 3) }}
	db := small.open(t, address, 4)
	mustExec(t, db, "CREATE TABLE counter (id int PRIMARY KEY, n int); INSERT INTO counter SELECT i, 0 FROM generate_series(0, 7) i")

	const goroutines, rounds = 16, 30
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range rounds {
				if n := queryInt(t, db, fmt.Sprintf("SELECT $1::int * 1000 + %d", i%6), g); n != g*1000+i%6 {
					t.Errorf("%d is the result of another statement than %d", n, g*1000+i%6)
				}
				const update = "UPDATE counter SET n = n + 1 WHERE id = $1"
				switch i % 3 {
				case 0:
					mustExec(t, db, update, i%8)
				case 1:
					queryInt(t, db, update+" RETURNING n", i%8)
				case 2:
					tx := begin(t, db)
					queryInt(t, tx, update+" RETURNING n", i%8)
					queryInt(t, tx, "SELECT n FROM counter WHERE id = $1", i%8)
					if err := tx.Commit(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if n := queryInt(t, db, "SELECT sum(n) FROM counter"); n != goroutines*rounds {
		t.Errorf("%d changes are stored; want %d", n, goroutines*rounds)
	}
}

func TestHandleAndTransactionShareTheCache(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), cached.open(t, postgrestest.Schema(t), 1)
	handle := Handle(db)
	for range 3 {
		if n, err := pooledInt(ctx, handle, "SELECT $1::int", 1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := handle.Exec(ctx, "SELECT $1::int + 1", 1); err != nil {
			t.Fatal(err)
		}
		tx := begin(t, db)
		queryInt(t, tx, "SELECT $1::int", 1)
		mustExec(t, tx, "SELECT $1::int + 1", 1)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if n := queryInt(t, db, "SELECT count(*) FROM pg_prepared_statements"); n != 2 {
		t.Errorf("%d statements are prepared; want 2", n)
	}
	if n := queryInt(t, db, "SELECT sum(generic_plans + custom_plans) FROM pg_prepared_statements"); n != 12 {
		t.Errorf("they were executed %d times; want 12", n)
	}
}

// More clients than server connections, with JSON arguments and transactions, through a real pooler.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode        string
		way         way
		connections int // of the clients
	}{
		{"transaction", uncached, 12},
		{"session", cached, 3}, // a session holds its server connection
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			const clients, rounds, servers = 12, 20, 3
			direct := postgrestest.Database(t) // PgBouncer knows no search_path
			mustExec(t, plain.open(t, direct, 1),
				"CREATE TABLE doc (id int PRIMARY KEY, list jsonb); INSERT INTO doc SELECT i, '[]' FROM generate_series(0, 3) i")
			db := test.way.open(t, pgBouncer(t, direct, test.mode, servers), test.connections)

			var pids sync.Map
			var group sync.WaitGroup
			for client := range clients {
				group.Go(func() {
					for round := range rounds {
						id, entry := round%4, fmt.Appendf(nil, `["%d.%d"]`, client, round)
						if round%2 == 0 {
							mustExec(t, db, "UPDATE doc SET list = list || $1 WHERE id = $2", entry, id)
							continue
						}
						tx := begin(t, db)
						pids.Store(queryInt(t, tx, "SELECT pg_backend_pid() + $1", 0), true)
						var list []string
						var stored []byte
						err := tx.QueryRow("SELECT list FROM doc WHERE id = $1 FOR UPDATE", id).Scan(&stored)
						err = errors.Join(err, json.Unmarshal(stored, &list))
						list = append(list, fmt.Sprintf("%d.%d", client, round))
						stored, marshalErr := json.Marshal(list)
						_, execErr := tx.Exec("UPDATE doc SET list = $1 WHERE id = $2", json.RawMessage(stored), id)
						if err := errors.Join(err, marshalErr, execErr, tx.Commit()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()

			const distinct = "SELECT count(DISTINCT e) FROM doc, jsonb_array_elements(list) e"
			if n := queryInt(t, db, distinct); n != clients*rounds {
				t.Errorf("%d entries are stored; want %d", n, clients*rounds)
			}
			used := 0
			pids.Range(func(any, any) bool { used++; return true })
			if used == 0 || used > servers {
				t.Errorf("%d server connections were used; want 1 to %d", used, servers)
			}

			// A statement is cancelled through the pooler as well, and other clients' are not.
			endsWithContext(t, Handle(db), plain.open(t, direct, 1), func(ctx context.Context, p infra.Handle) error {
				_, err := pooledInt(ctx, p, "SELECT $1::int FROM pg_sleep(60)", 1)
				return err
			})
		})
	}
}

// pgBouncer runs PgBouncer in front of the server of a database, with so many connections to it, for as long as the test
// runs, and returns the URL of the database through it.
func pgBouncer(t *testing.T, address, mode string, connections int) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer") // where Debian puts it, in root's PATH only
	}
	if err != nil {
		const message = "pgbouncer is not installed (Debian: apt-get install pgbouncer)"
		if os.Getenv("ACCOUNTS_REQUIRE_PGBOUNCER") != "" {
			t.Fatal(message + " and ACCOUNTS_REQUIRE_PGBOUNCER is set")
		}
		t.Skip(message)
	}
	server, err := pq.NewConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}

	config := filepath.Join(t.TempDir(), "pgbouncer.ini")
	target := fmt.Sprintf("host=%s port=%d user=%s", server.Host, server.Port, server.User)
	if server.Password != "" { // PgBouncer takes no empty value
		target += " password=" + server.Password
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, `[databases]
%s = %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = %d
`, server.Database, target, port, mode, connections), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{program, config}
	if os.Geteuid() == 0 { // which PgBouncer refuses to run as
		arguments = append(arguments, "--user=nobody")
	}
	// The shell ends it when the input ends, which it does however this process may end.
	process := exec.Command("sh", append([]string{"-c", `"$@" & read -r _; kill -KILL $!; wait`, "sh"}, arguments...)...)
	var messages bytes.Buffer
	process.Stdout, process.Stderr = &messages, &messages
	input, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = input.Close()
		_ = process.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("pgbouncer:\n%s", messages.String())
		}
	})

	through := url.URL{
		Scheme: "postgres", User: url.User(server.User), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path: "/" + server.Database, RawQuery: "sslmode=disable",
	}
	db := uncached.open(t, through.String(), 1)
	defer db.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := db.Ping()
		if err == nil {
			return through.String()
		}
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("pgbouncer does not answer: %v\n%s", err, messages.String())
		}
	}
}

// BenchmarkLookup reads one row of 10,000 by its primary key.
func BenchmarkLookup(b *testing.B) {
	address := postgrestest.Schema(b)
	mustExec(b, plain.open(b, address, 1), `CREATE TABLE person (id uuid PRIMARY KEY, email varchar(255), active boolean,
			tokens jsonb, version bigint, created_at timestamptz);
		INSERT INTO person SELECT md5(i::text)::uuid, i || '@example.org', true, '[]', 1, now() FROM generate_series(1, 10000) i;
		ANALYZE person`)
	var ids []uuid.UUID
	rows, err := plain.open(b, address, 1).Query("SELECT id FROM person")
	if err != nil {
		b.Fatal(err)
	}
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}

	const query = "SELECT id, email, active, tokens, version, created_at FROM person WHERE id = $1"
	lookup := func(b *testing.B, query func(args ...any) *sql.Row) {
		var person struct {
			id      uuid.UUID
			email   string
			active  bool
			tokens  []byte
			version int64
			created time.Time
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := query(ids[i*7919%len(ids)]).Scan(&person.id, &person.email, &person.active, &person.tokens,
				&person.version, &person.created); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, w := range []struct {
		name string
		way
	}{{"plain", plain}, {"uncached", uncached}, {"cached", cached}} {
		b.Run(w.name, func(b *testing.B) {
			db := w.open(b, address, 1)
			lookup(b, func(args ...any) *sql.Row { return db.QueryRow(query, args...) })
		})
	}
	b.Run("prepared by hand", func(b *testing.B) {
		statement, err := plain.open(b, address, 1).Prepare(query)
		if err != nil {
			b.Fatal(err)
		}
		defer statement.Close()
		lookup(b, func(args ...any) *sql.Row { return statement.QueryRow(args...) })
	})
}

// querier is a [sql.DB] or [sql.Tx].
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func begin(t testing.TB, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return tx
}

func mustExec(t testing.TB, q querier, query string, args ...any) {
	t.Helper()
	if _, err := q.ExecContext(context.Background(), query, args...); err != nil {
		t.Errorf("%s: %v", query, err)
		runtime.Goexit()
	}
}

func queryInt(t testing.TB, q querier, query string, args ...any) int {
	t.Helper()
	var n int
	if err := q.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Errorf("%s: %v", query, err)
		runtime.Goexit()
	}
	return n
}

// queryRow returns the only row of a query, as text.
func queryRow(q querier, query string, args ...any) (string, error) {
	rows, err := q.QueryContext(context.Background(), query, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	row, pointers := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		pointers[i] = &row[i]
	}
	if !rows.Next() {
		return "", cmp.Or(rows.Err(), sql.ErrNoRows)
	}
	if err := rows.Scan(pointers...); err != nil {
		return "", err
	}
	return fmt.Sprint(row), rows.Close()
}
