package postgres

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// BenchmarkLists shows what the first and the 10,000th page of each order take, what a search takes, and what it is worth to find 1,000
// accounts at once. ACCOUNTS_BENCH_ROWS has the numbers of accounts: to make 10,000,000 takes a quarter of an hour and 8 GB. With the URL of a server in
// ACCOUNTS_BENCH_POSTGRES they are made once, in a database of it that stays (accounts_lists_10000000), and another run only measures. Drop it when
// the schema has changed.
func BenchmarkLists(b *testing.B) {
	for text := range strings.SplitSeq(benchRows(), ",") {
		rows, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			address := listsDatabase(b, rows)
			db := open(b, address)
			store, err := Open(b.Context(), address)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = store.Close() })
			b.Run("last_login without its index", func(b *testing.B) {
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(withoutIndex(b, store, "users_last_login", domain.ListQuery{Order: domain.OrderLastLogin}), "µs-first")
			})
			for _, order := range domain.Orders {
				for _, descending := range []bool{false, true} {
					query := domain.ListQuery{Order: order, Descending: descending}
					b.Run(fmt.Sprintf("%s,desc=%t", order, descending), func(b *testing.B) { firstAndLater(b, store, address, db, query, 499_950) })
				}
			}
			found := domain.ListQuery{Filter: domain.Filter{Domain: mailDomain("d7.example")}}
			b.Run("of a domain", func(b *testing.B) { firstAndLater(b, store, address, db, found, rows/1000-50) })
			b.Run("by name", func(b *testing.B) {
				query := domain.ListQuery{Filter: domain.Filter{Name: namePrefix("Ab12")}}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(quickest(b, 50, func() { page(b, store, query) })[0], "µs-first")
			})
			b.Run("FindByIDs", func(b *testing.B) { manyAtOnce(b, store, rows) })
		})
	}
}

// listsDatabase returns the URL of a database with so many accounts and the indexes of docs/lists.md.
func listsDatabase(b *testing.B, rows int) string {
	b.Helper()
	fill := func(address string) {
		db := open(b, address)
		fillLists(b, db, rows)
		for _, statement := range optionalIndexes(b) {
			mustExec(b, db, statement)
		}
		mustExec(b, db, "VACUUM ANALYZE users")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	server := os.Getenv("ACCOUNTS_BENCH_POSTGRES")
	if server == "" {
		address := migrated(b)
		fill(address)
		return address
	}
	name := fmt.Sprintf("accounts_lists_%d", rows)
	address := func(database string) string {
		u, err := url.Parse(server)
		if err != nil {
			b.Fatal(err)
		}
		u.Path = "/" + database
		return u.String()
	}
	admin := open(b, server)
	if queryInt(b, admin, "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'") == 0 {
		making := name + "_making" // until it is complete
		mustExec(b, admin, "DROP DATABASE IF EXISTS "+making)
		mustExec(b, admin, "CREATE DATABASE "+making)
		store, err := Open(b.Context(), address(making))
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(store.Migrate(b.Context()), store.Close()); err != nil {
			b.Fatal(err)
		}
		fill(address(making))
		mustExec(b, admin, "ALTER DATABASE "+making+" RENAME TO "+name)
	}
	return address(name)
}

// withoutIndex returns how many µs a page takes while an index is not there.
func withoutIndex(b *testing.B, store *infra.Store, index string, query domain.ListQuery) (took float64) {
	b.Helper()
	undo := errors.New("undo")
	err := store.InTx(b.Context(), func(tx *infra.Tx) error {
		if _, err := tx.SQL().ExecContext(b.Context(), "DROP INDEX "+index); err != nil {
			return err
		}
		took = quickest(b, 1, func() {
			if page, err := tx.List(b.Context(), query); err != nil || len(page.Users) == 0 {
				b.Fatalf("%d accounts, %v", len(page.Users), err)
			}
		})[0]
		return undo
	})
	if !errors.Is(err, undo) {
		b.Fatal(err)
	}
	return took
}

func benchRows() string {
	if rows := os.Getenv("ACCOUNTS_BENCH_ROWS"); rows != "" {
		return rows
	}
	return "600000"
}

// fillLists stores n accounts of 1,000 domains, of which two of three have signed in, with names, and without sessions.
func fillLists(b *testing.B, db *sql.DB, n int) {
	b.Helper()
	var indexes []string // built afterwards, which takes a fifth of the time
	rows, err := db.Query("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'users' AND indexname <> 'users_pkey'")
	if err != nil {
		b.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			b.Fatal(err)
		}
		names, indexes = append(names, name), append(indexes, definition)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(names) == 0 {
		b.Fatal(len(names), err)
	}
	mustExec(b, db, "DROP INDEX "+strings.Join(names, ", "))
	mustExec(b, db, "SET maintenance_work_mem = '1GB'")
	const batch = 500_000
	for first := 1; first <= n; first += batch {
		mustExec(b, db, `INSERT INTO users (id, email, username, hashed_password, first_name, last_name, last_login, created_at, updated_at)
			SELECT md5(i::text)::uuid, left(md5(i || 'e'), 12) || i || '@d' || i % 1000 || '.example', left(md5(i || 'u'), 8) || i, $1,
				initcap(left(md5(i || 'f'), 8)), initcap(left(md5(i || 'l'), 8)),
				CASE WHEN i % 3 > 0 THEN made + (hashint4(i) % 1000000) * interval '1 s' END, made, made
			FROM generate_series($2::int, $3::int) AS i, LATERAL (SELECT $4::timestamptz + i * interval '1 s' AS made) AS m`,
			passwordHash(b, "a").Stored(), first, min(first+batch-1, n), filledFrom)
	}
	for _, definition := range indexes {
		mustExec(b, db, definition)
	}
	mustExec(b, db, "VACUUM ANALYZE users")
}

// page reads a page, which must be full.
func page(b *testing.B, store *infra.Store, query domain.ListQuery) {
	b.Helper()
	page, err := store.List(b.Context(), query)
	if err != nil || len(page.Users) == 0 {
		b.Fatalf("%d accounts, %v", len(page.Users), err)
	}
}

// firstAndLater takes turns between the first page and the one behind so many accounts.
func firstAndLater(b *testing.B, store *infra.Store, address string, db *sql.DB, query domain.ListQuery, skipped int) {
	b.Helper()
	column, direction := string(query.Order), ""
	switch query.Order {
	case domain.OrderLastLogin:
		column = "coalesce(last_login, '0001-01-01 00:00:00+00')"
	case "":
		column = "created_at"
	case domain.OrderCreated:
		column = "created_at"
	}
	if query.Descending {
		direction = " DESC"
	}
	where := ""
	if d := query.Filter.Domain; !d.IsZero() {
		where = "WHERE substr(email, strpos(email, '@') + 1) = '" + d.String() + "'"
	}
	later := query
	var id domain.ID
	if query.Order == domain.OrderEmail || query.Order == domain.OrderUsername {
		var key string
		if err := db.QueryRow(fmt.Sprintf("SELECT %s FROM users ORDER BY 1%s OFFSET %d LIMIT 1", column, direction, skipped-1)).Scan(&key); err != nil {
			b.Fatal(err)
		}
		later.After = query.CursorAt(time.Time{}, id, key)
	} else {
		var at time.Time
		if err := db.QueryRow(fmt.Sprintf("SELECT %s, id FROM users %s ORDER BY 1%s, 2%[3]s OFFSET %[4]d LIMIT 1", column, where, direction, skipped-1)).
			Scan(&at, &id); err != nil {
			b.Fatal(err)
		}
		later.After = query.CursorAt(domain.StoredTime(at), id, "")
	}
	times := quickest(b, 400, func() { page(b, store, query) }, func() { page(b, store, later) })
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[0], "µs-first")
	b.ReportMetric(times[1], "µs-later")
	b.ReportMetric(times[1]/times[0], "ratio")
	b.ReportMetric(blocks(b, address, db, query), "blocks-first")
	b.ReportMetric(blocks(b, address, db, later), "blocks-later")
}

func manyAtOnce(b *testing.B, store *infra.Store, rows int) {
	ids := make([]domain.ID, 1000)
	for i := range ids {
		ids[i] = filledID(1 + rand.IntN(rows))
	}
	times := quickest(b, 20, func() {
		if users, err := store.FindByIDs(b.Context(), ids); err != nil || users[999] == nil {
			b.Fatal(users, err)
		}
	}, func() {
		for _, id := range ids {
			if _, err := store.FindByID(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[0], "µs-1000-at-once")
	b.ReportMetric(times[1], "µs-1000-one-by-one")
	b.ReportMetric(times[1]/times[0], "ratio")
}

// quickest lets some works take turns and returns how many µs each took at most in the quickest tenth of the rounds: what a machine that is
// at work otherwise disturbs least.
func quickest(b *testing.B, rounds int, works ...func()) []float64 {
	b.Helper()
	taken := make([][]float64, len(works))
	for round := range rounds + 1 {
		for i, work := range works {
			start := time.Now()
			work()
			if round > 0 { // the first one prepares the statements
				taken[i] = append(taken[i], float64(time.Since(start).Nanoseconds())/1e3)
			}
		}
	}
	times := make([]float64, len(works))
	for i := range taken {
		slices.Sort(taken[i])
		times[i] = taken[i][len(taken[i])/10]
	}
	return times
}

// blocks returns how many blocks of table and indexes the server looks at for a page.
func blocks(b *testing.B, address string, db *sql.DB, query domain.ListQuery) float64 {
	b.Helper()
	store, statements := recorded(b, address)
	page(b, store, query)
	sent := statements.take()[0]
	literals := make([]string, len(sent.args))
	for i, arg := range sent.args {
		literals[i] = literal(b, arg)
	}
	mustExec(b, db, "PREPARE counted AS "+sent.text)
	execute := "EXECUTE counted"
	if len(literals) > 0 {
		execute += " (" + strings.Join(literals, ", ") + ")"
	}
	var text []byte
	if err := db.QueryRow("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + execute).Scan(&text); err != nil {
		b.Fatal(err)
	}
	mustExec(b, db, "DEALLOCATE counted")
	var explained []struct {
		Plan struct {
			Hit  float64 `json:"Shared Hit Blocks"`
			Read float64 `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(text, &explained); err != nil {
		b.Fatal(err)
	}
	return explained[0].Plan.Hit + explained[0].Plan.Read
}

// BenchmarkOptionalIndexes shows what each of them adds to a create and to a sign-in: time and write-ahead log, on 100,000 accounts
// that take turns with a table without them.
func BenchmarkOptionalIndexes(b *testing.B) {
	const rows, operations = 100_000, 300
	statements := optionalIndexes(b)
	variants := []struct {
		name    string
		indexes []string
	}{{"none", nil}, {"last_login", statements[:1]}, {"email_domain", statements[1:2]}, {"names", statements[2:]}}
	type target struct {
		store *infra.Store
		db    *sql.DB
	}
	var targets []target
	for _, v := range variants {
		address := migrated(b)
		db := open(b, address)
		fillLists(b, db, rows)
		for _, statement := range v.indexes {
			mustExec(b, db, statement)
		}
		store, err := Open(b.Context(), address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = store.Close() })
		targets = append(targets, target{store, db})
	}
	works := map[string]func(target){
		"create": func(t target) {
			for range operations {
				u := newUser(b)
				s := u.State()
				s.FirstName, s.LastName = "Ana", "Roa"
				u, err := domain.RestoreUser(s)
				if err != nil {
					b.Fatal(err)
				}
				if err := t.store.Create(b.Context(), u); err != nil {
					b.Fatal(err)
				}
			}
		},
		"sign-in": func(t target) {
			for range operations {
				if _, err := t.store.RecordSignIn(b.Context(), filledID(1+rand.IntN(rows))); err != nil {
					b.Fatal(err)
				}
			}
		},
	}
	for _, name := range []string{"create", "sign-in"} {
		written := make([]int, len(targets))
		var turns []func()
		for i, t := range targets {
			turns = append(turns, func() {
				before := queryInt(b, t.db, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
				works[name](t)
				written[i] += queryInt(b, t.db, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint") - before
			})
		}
		const rounds = 60
		times := quickest(b, rounds, turns...)
		for i, v := range variants {
			b.Run(name+"/"+v.name, func(b *testing.B) {
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(times[i]/operations, "µs/op")
				b.ReportMetric(times[i]/times[0], "ratio")
				b.ReportMetric(float64(written[i])/(rounds+1)/operations, "WAL-bytes/op")
			})
		}
	}
}
