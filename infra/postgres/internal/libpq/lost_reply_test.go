package libpq

import (
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/softbee/accounts/infra/internal/fault"
	"github.com/softbee/accounts/infra/internal/postgrestest"
)

// A statement whose reply was lost may have been executed. database/sql executes it once more if the driver calls the
// connection bad, so it must not.
func TestLostReply(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := postgrestest.Schema(t)
			other := plain.open(t, address, 1)
			mustExec(t, other, "CREATE TABLE counter (id int, n int); INSERT INTO counter VALUES (1, 0)")
			proxy := postgrestest.NewProxy(t, address)
			db := w.open(t, proxy.URL, 1)

			want := 0
			for _, update := range []struct {
				query string
				args  []any
			}{
				{"UPDATE counter SET n = n + 1 WHERE id = $1 RETURNING n", []any{1}},
				{"UPDATE counter SET n = n + 1 RETURNING n", nil},
			} {
				run := map[string]func() error{
					"query": func() error { _, err := queryRow(db, update.query, update.args...); return err },
					"execution": func() error {
						_, err := db.Exec(update.query, update.args...)
						return err
					},
				}
				if prepared, err := db.Prepare(update.query); err != nil {
					t.Fatal(err)
				} else {
					defer prepared.Close()
					run["prepared by the caller"] = func() error { _, err := prepared.Exec(update.args...); return err }
				}
				for name, run := range run {
					if err := run(); err != nil { // which prepares it
						t.Fatal(err)
					}
					want++
					proxy.Cut.Store(true)
					err := run()
					want++
					if err == nil || errors.Is(err, driver.ErrBadConn) {
						t.Errorf("%s of %q whose reply was lost: %v; want an error that is not retried", name, update.query, err)
					}
					if f := fault.Of(err); f.Class != fault.Unavailable {
						t.Errorf("%v is classified as %v", err, f)
					}
					if n := queryInt(t, other, "SELECT n FROM counter"); n != want {
						t.Fatalf("%s of %q: n = %d; want %d", name, update.query, n, want)
					}
				}
			}
			queryInt(t, db, "SELECT $1::int", 1)
		})
	}
}

// What cannot have changed anything is tried again: preparing a statement, and beginning a transaction.
func TestLostReplyBeforeExecution(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, postgrestest.Schema(t))
	db := cached.open(t, proxy.URL, 1)
	queryInt(t, db, "SELECT 1")
	proxy.Cut.Store(true)
	queryInt(t, db, "SELECT $1::int", 1)
	proxy.Cut.Store(true)
	tx := begin(t, db)
	queryInt(t, tx, "SELECT $1::int", 1)
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}
