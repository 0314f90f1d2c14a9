package libpq

import (
	"testing"

	"github.com/softbee/accounts/infra/internal/postgrestest"
)

// An application may use the store's pool for a COPY of its own, as lib/pq documents it: a row in each call.
func TestCopyOfAnApplication(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		db := w.open(t, address, 1)
		mustExec(t, db, "DROP TABLE IF EXISTS thing; CREATE TABLE thing (name text, tags text[])")
		tx := begin(t, db)
		statement, err := tx.Prepare("COPY thing (name, tags) FROM STDIN")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range [][]any{{"a\tb\\\n", []string{"x", "y"}}, {nil, nil}} {
			if _, err := statement.Exec(row...); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := statement.Exec(); err != nil {
			t.Fatal(err)
		}
		if err := statement.Close(); err != nil {
			t.Error(err)
		}
		one, err := tx.Prepare("COPY thing (name) FROM STDIN")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range [][]any{{"one"}, {}} {
			if _, err := one.Exec(row...); err != nil {
				t.Fatal(err)
			}
		}
		if err := one.Close(); err != nil {
			t.Error(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if n := queryInt(t, db, `SELECT count(*) FROM thing WHERE name = E'a\tb\\\n' AND tags = '{x,y}' OR name = 'one' OR name IS NULL`); n != 3 {
			t.Errorf("%s: %d rows as they were copied; want 3", name, n)
		}
	}
}
