package infra_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	jackpgx "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
	"github.com/softbee/accounts/ent/user"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// onEachDriver runs a test on a new store of each driver, on its own pool and on one of the application.
func onEachDriver(t *testing.T, test func(t *testing.T, store *infra.Store)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) *infra.Store{
		"sqlite": func(t *testing.T) *infra.Store {
			return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
		},
		"sqlite, New": func(t *testing.T) *infra.Store {
			connector, err := sqlite.NewConnector(applicationDSN(t)) // ent's client writes on it too
			if err != nil {
				t.Fatal(err)
			}
			db := stdsql.OpenDB(connector)
			t.Cleanup(func() { _ = db.Close() })
			store, err := sqlite.New(db)
			if err == nil {
				err = store.Migrate(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			return store
		},
		"lib-pq":      func(t *testing.T) *infra.Store { return storetest.OpenPostgres(t, storetest.PostgresURL(t)) },
		"lib-pq, New": func(t *testing.T) *infra.Store { return onPool(t, "postgres", storetest.PostgresURL(t), time.Now) },
		"pgx":         func(t *testing.T) *infra.Store { return openPGX(t, storetest.PostgresURL(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func onSQLite(store *infra.Store) bool { return store.Schema() == "" }

// withPosts makes a table of the application that refers to accounts.
func withPosts(t *testing.T, store *infra.Store) {
	t.Helper()
	idType := "uuid"
	if onSQLite(store) {
		idType = "text"
	}
	if _, err := store.DB().Exec("CREATE TABLE posts (title varchar(50) PRIMARY KEY, author " + idType + " NOT NULL REFERENCES users (id))"); err != nil {
		t.Fatal(err)
	}
	dropped(t, store, "TABLE posts")
}

// dropped drops something when the test ends, so that the schema can be used again.
func dropped(t *testing.T, store *infra.Store, what string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := store.DB().Exec("DROP " + what); err != nil {
			t.Error(err)
		}
	})
}

func post(ctx context.Context, tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (stdsql.Result, error)
}, title string, author domain.ID) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO posts (title, author) VALUES ('"+title+"', '"+author.String()+"')")
	return err
}

func posts(t *testing.T, store *infra.Store) (n int) {
	t.Helper()
	if err := store.DB().QueryRow("SELECT count(*) FROM posts").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAccountAndRowOfTheApplication stores and undoes both in one transaction, begun by the store and by the application.
func TestAccountAndRowOfTheApplication(t *testing.T) {
	failed := errors.New("failed")
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		withPosts(t, store)
		ctx := t.Context()
		both := func(tx *infra.Tx, sqlTx *stdsql.Tx, name string) error {
			u := storetest.NewUser(t, name)
			if err := tx.Create(ctx, u); err != nil {
				return err
			}
			if err := post(ctx, sqlTx, name, u.ID()); err != nil {
				return err
			}
			// An ent client of the application, in the same transaction.
			databaseName := dialect.Postgres
			if onSQLite(store) {
				databaseName = dialect.SQLite
			}
			client := ent.NewClient(ent.Driver(entaccounts.Driver(databaseName, sqlTx)))
			seen, err := client.User.Query().Where(user.Username(name)).Only(ctx)
			if err != nil || seen.ID != u.ID().UUID() {
				return errors.Join(errors.New("ent's client does not see the account"), err)
			}
			// Both begin a transaction, which is part of this one.
			if _, err := seen.Update().SetFirstName("Ana").Save(ctx); err != nil {
				return err
			}
			within, err := client.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			if _, err := within.User.UpdateOneID(seen.ID).SetLastName("Roa").Save(ctx); err != nil {
				return err
			}
			if err := errors.Join(within.Commit(), client.Close()); err != nil {
				return err
			}
			if read, err := tx.FindByID(ctx, u.ID()); err != nil || read.FirstName() != "Ana" || read.LastName() != "Roa" {
				return fmt.Errorf("the store reads %v, %w", read, err)
			}
			return nil
		}
		want := 0
		check := func(what string) {
			t.Helper()
			if p, n := posts(t, store), count(t, store); p != want || n != want {
				t.Errorf("%s: %d posts and %d accounts; want %d of both", what, p, n, want)
			}
		}

		if err := store.InTx(ctx, func(tx *infra.Tx) error { return both(tx, tx.SQL(), "one") }); err != nil {
			t.Fatal(err)
		}
		want++
		check("InTx, committed")
		if err := store.InTx(ctx, func(tx *infra.Tx) error { return errors.Join(both(tx, tx.SQL(), "two"), failed) }); !errors.Is(err, failed) {
			t.Error(err)
		}
		check("InTx, rolled back")

		for _, commit := range []bool{true, false} {
			sqlTx, err := store.DB().Begin()
			if err != nil {
				t.Fatal(err)
			}
			if err := both(store.WithTx(sqlTx), sqlTx, "three"+map[bool]string{true: "a", false: "b"}[commit]); err != nil {
				t.Error(err)
			}
			end := sqlTx.Rollback
			if commit {
				end = sqlTx.Commit
				want++
			}
			if err := end(); err != nil {
				t.Error(err)
			}
			check("WithTx")
		}
		if err := store.Delete(ctx, find(t, store, "one").ID()); !errors.Is(err, domain.ErrReferenced) {
			t.Errorf("an account that a post refers to: %v; want referenced", err)
		}
	})
}

func find(t *testing.T, store *infra.Store, name string) *domain.User {
	t.Helper()
	username, err := domain.ParseUsername(name)
	if err != nil {
		t.Fatal(err)
	}
	u, err := store.FindByUsername(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestColumnsOfTheApplication creates accounts in a table to which the application has added a required column.
func TestColumnsOfTheApplication(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		if _, err := store.DB().Exec(`ALTER TABLE users ADD COLUMN "org id" varchar(20) NOT NULL DEFAULT 'none'`); err != nil {
			t.Fatal(err)
		}
		if !onSQLite(store) { // which cannot drop a default
			if _, err := store.DB().Exec(`ALTER TABLE users ALTER COLUMN "org id" DROP DEFAULT`); err != nil {
				t.Fatal(err)
			}
			var refused *domain.Error
			if err := store.Create(ctx, storetest.NewUser(t, "bob")); !errors.As(err, &refused) || refused.Kind != domain.ErrInvalid || refused.Field != "org id" {
				t.Errorf("without the required column: %v", err)
			}
		}
		if err := store.CreateWith(ctx, storetest.NewUser(t, "ana"), infra.Column{Name: "org id", Value: "acme"}); err != nil {
			t.Fatal(err)
		}
		var org string
		if err := store.DB().QueryRow(`SELECT "org id" FROM users`).Scan(&org); err != nil || org != "acme" {
			t.Errorf("%q, %v", org, err)
		}
		for _, name := range []string{"", "email"} {
			if err := store.CreateWith(ctx, storetest.NewUser(t, "eve"), infra.Column{Name: name, Value: "x"}); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("column %q: %v", name, err)
			}
		}
	})
}

// TestPGXTransaction stores an account in a transaction of pgx itself.
func TestPGXTransaction(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store, err := pgx.New(pool)
	if err != nil {
		t.Fatal(err)
	}
	withPosts(t, store)
	ctx := t.Context()
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		u := storetest.NewUser(t, "ana")
		bound := pgx.WithTx(store, tx)
		if bound.SQL() != nil {
			t.Error("a transaction of pgx is one of database/sql")
		}
		err = bound.InTx(ctx, func(inner *infra.Tx) error {
			if refusals, err := inner.CreateMany(ctx, []*domain.User{u}); err != nil || refusals[0] != nil {
				return errors.Join(err, refusals[0])
			}
			_, err := tx.Exec(ctx, "INSERT INTO posts (title, author) VALUES ('one', $1)", u.ID().UUID())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if commit {
			err = tx.Commit(ctx)
		} else {
			err = tx.Rollback(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{true: 1}[commit]
		if p, n := posts(t, store), count(t, store); p != want || n != want {
			t.Errorf("%d posts and %d accounts; want %d of both", p, n, want)
		}
	}
	var none jackpgx.Tx
	if err := pgx.WithTx(store, none).Create(ctx, storetest.NewUser(t, "bob")); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("no transaction: %v", err)
	}
}

// TestSavepoints undoes a part of a transaction, also after a statement that failed.
func TestSavepoints(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		ana, bob := storetest.NewUser(t, "ana"), storetest.NewUser(t, "bob")
		err := store.InTx(ctx, func(tx *infra.Tx) error {
			if err := tx.Create(ctx, ana); err != nil {
				return err
			}
			if err := tx.InTx(ctx, func(inner *infra.Tx) error { return inner.Create(ctx, ana) }); err == nil {
				t.Errorf("an account that exists: %v", err)
			}
			return tx.InTx(ctx, func(inner *infra.Tx) error {
				return inner.InTx(ctx, func(innermost *infra.Tx) error { return innermost.Create(ctx, bob) })
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, store); n != 2 {
			t.Errorf("%d accounts; want 2", n)
		}
	})
}

// TestSwallowedError commits a transaction of PostgreSQL in which a statement failed: nothing is stored, and the caller learns it.
func TestSwallowedError(t *testing.T) {
	for name, store := range map[string]*infra.Store{
		"lib-pq": storetest.OpenPostgres(t, storetest.PostgresURL(t)), "pgx": openPGX(t, storetest.PostgresURL(t)),
	} {
		err := store.InTx(t.Context(), func(tx *infra.Tx) error {
			u := storetest.NewUser(t, "ana")
			_ = tx.Create(t.Context(), u)
			_ = tx.Create(t.Context(), u)
			return nil
		})
		if !errors.Is(err, domain.ErrInternal) || count(t, store) != 0 {
			t.Errorf("%s: %v, %d accounts", name, err, count(t, store))
		}
	}
}

// TestRetriedTransaction increments a row of the application in serializable transactions at once: with Retry all count.
func TestRetriedTransaction(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		if _, err := store.DB().Exec("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)"); err != nil {
			t.Fatal(err)
		}
		dropped(t, store, "TABLE counter")
		const workers, rounds = 8, 4
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for range rounds {
					if err := store.InTx(ctx, func(tx *infra.Tx) error {
						var n int
						if err := tx.SQL().QueryRowContext(ctx, "SELECT n FROM counter").Scan(&n); err != nil {
							return err
						}
						_, err := tx.SQL().ExecContext(ctx, "UPDATE counter SET n = $1", n+1)
						return err
					}, infra.Isolation(stdsql.LevelSerializable), infra.Retry(1000)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		var n int
		if err := store.DB().QueryRow("SELECT n FROM counter").Scan(&n); err != nil || n != workers*rounds {
			t.Errorf("%d, %v; want %d", n, err, workers*rounds)
		}
		if onSQLite(store) {
			return
		}
		err := store.InTx(ctx, func(tx *infra.Tx) error { return tx.Create(ctx, storetest.NewUser(t, "ana")) }, infra.ReadOnly())
		if !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("a change in a transaction that reads only: %v", err)
		}
	})
}

// TestTwoStoresInOneDatabase migrates, uses, verifies and takes down two schemas independently, and looks at what a schema of the role's
// name that appears later does.
func TestTwoStoresInOneDatabase(t *testing.T) {
	ctx, address := t.Context(), storetest.EmptyPostgresURL(t)
	open := func(options ...infra.Option) *infra.Store {
		t.Helper()
		store, err := postgres.Open(ctx, address, options...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	plain := open()
	if plain.Schema() != "public" {
		t.Errorf("the schema is %s", plain.Schema())
	}
	auth, odd := open(infra.WithSchema("auth")), open(infra.WithSchema(`a.b "Te nant"`))
	for _, store := range []*infra.Store{plain, auth, odd} {
		if err := store.CheckMigrations(ctx); !errors.Is(err, domain.ErrPendingMigrations) {
			t.Errorf("%s before it is migrated: %v", store.Schema(), err)
		}
		if err := errors.Join(store.Migrate(ctx), store.Migrate(ctx), store.CheckMigrations(ctx)); err != nil {
			t.Fatalf("%s: %v", store.Schema(), err)
		}
		created(t, store, "ana")
		if n := count(t, store); n != 1 {
			t.Errorf("%s holds %d accounts", store.Schema(), n)
		}
	}
	if _, err := plain.DB().Exec(`DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_user); END $$`); err != nil {
		t.Fatal(err)
	}
	later := open() // whose search_path finds the role's schema first
	if err := later.CheckMigrations(ctx); err != nil || later.Schema() != "public" || count(t, later) != 1 {
		t.Errorf("with a schema of the role: %s, %v", later.Schema(), err)
	}
	runner, err := auth.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if schema, err := runner.Schema(ctx); schema != "auth" || err != nil {
		t.Errorf("the runner works in %q, %v", schema, err)
	}
	if _, err := infra.New(ctx, infra.Database{Dialect: migration.Postgres, DB: plain.DB()}, infra.WithSchema(strings.Repeat("x", 64))); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("a name that PostgreSQL would cut: %v", err)
	}
	if _, err := sqlite.Open(ctx, ":memory:", infra.WithSchema("auth")); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("a schema on SQLite: %v", err)
	}
}

// TestPoolsThatAreRefused opens stores on pools on which their statements would not mean what they say.
func TestPoolsThatAreRefused(t *testing.T) {
	for name, dsn := range map[string]string{
		"without foreign keys":           "file:" + filepath.Join(t.TempDir(), "a.db"),
		"with times as they are written": "file:" + filepath.Join(t.TempDir(), "b.db") + "?_pragma=foreign_keys(1)&_timezone=America/Bogota",
	} {
		db, err := stdsql.Open("sqlite", dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var refused *domain.Error
		if _, err := sqlite.New(db); !errors.As(err, &refused) || refused.Kind != domain.ErrInvalid || refused.Field != "database" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, sqliteErr := sqlite.New(nil)
	_, postgresErr := postgres.New(nil)
	_, pgxErr := pgx.New(nil)
	for _, err := range []error{sqliteErr, postgresErr, pgxErr} {
		if !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("no pool: %v", err)
		}
	}
}

// TestForeignPoolIsLeftAlone closes a store on a pool of the application, which works on.
func TestForeignPoolIsLeftAlone(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		name := t.Name()
		if !strings.HasSuffix(name, "New") {
			return
		}
		before := store.DB().Stats().MaxOpenConnections
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := store.DB().PingContext(t.Context()); err != nil || store.DB().Stats().MaxOpenConnections != before {
			t.Errorf("the pool after Close: %v", err)
		}
	})
}

// isolationLevels are what a server can default to.
var isolationLevels = []string{"read committed", "repeatable read", "serializable"}

// TestIsolationLevels works on one account at once under each default level, by lib/pq and by pgx: everything counts.
func TestIsolationLevels(t *testing.T) {
	for _, level := range isolationLevels {
		for driver, open := range map[string]func(url string) *infra.Store{
			"lib-pq": func(url string) *infra.Store { return openSmall(t, url) },
			"pgx":    func(url string) *infra.Store { return openPGX(t, url+"&pool_max_conns=8") },
		} {
			t.Run(level+" by "+driver, func(t *testing.T) {
				store := open(storetest.PostgresURL(t) + "&default_transaction_isolation=" + strings.ReplaceAll(level, " ", "%20"))
				u := created(t, store, "ana")
				const workers = 32
				var group sync.WaitGroup
				for i := range workers {
					group.Go(func() {
						if _, err := store.RecordFailure(t.Context(), u.ID(), domain.LockPolicy{Attempts: 100}); err != nil {
							t.Errorf("failure: %v", err)
						}
						if i%4 == 0 {
							if _, err := store.IssueToken(t.Context(), u.ID(), domain.SessionPolicy{}); err != nil {
								t.Errorf("session: %v", err)
							}
						}
						if i%8 == 0 {
							if _, err := store.Update(t.Context(), u.ID(), func(u *domain.User) error { return u.Rename(strings.Repeat("a", 1+i/8), "") }); err != nil {
								t.Errorf("update: %v", err)
							}
						}
					})
				}
				group.Wait()
				found, err := store.FindByID(t.Context(), u.ID())
				if err != nil {
					t.Fatal(err)
				}
				if n, s := found.FailedLoginAttempts(), len(found.Sessions(time.Now())); n != workers || s != workers/4 {
					t.Errorf("%d failures and %d sessions are stored; want %d and %d", n, s, workers, workers/4)
				}
			})
		}
	}
}

// openSmall opens a store with eight connections.
func openSmall(t *testing.T, url string) *infra.Store {
	t.Helper()
	store, err := postgres.OpenWithPool(t.Context(), url, postgres.Pool{MaxOpen: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// TestIsolationLevelsByProcesses does the same by 4 processes, serializably, or at each level by 16 if ACCOUNTS_TEST_LONG is set.
func TestIsolationLevelsByProcesses(t *testing.T) {
	const each = 4
	processes, levels := 4, []string{"serializable"}
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		processes, levels = 16, isolationLevels
	}
	if address := os.Getenv("ISOLATION_TEST_URL"); address != "" {
		store, err := postgres.OpenWithPool(t.Context(), address, postgres.Pool{MaxOpen: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		id := find(t, store, "ana").ID()
		var group sync.WaitGroup
		for range each {
			group.Go(func() {
				if _, err := store.RecordFailure(t.Context(), id, domain.LockPolicy{Attempts: 100}); err != nil {
					t.Error(err)
				}
			})
		}
		if _, err := store.IssueToken(t.Context(), id, domain.SessionPolicy{}); err != nil {
			t.Error(err)
		}
		group.Wait()
		return
	}
	for _, level := range levels {
		address := storetest.PostgresURL(t) + "&default_transaction_isolation=" + strings.ReplaceAll(level, " ", "%20")
		store := storetest.OpenPostgres(t, address)
		u := created(t, store, "ana")
		var group sync.WaitGroup
		for range processes {
			group.Go(func() {
				child := exec.Command(os.Args[0], "-test.run=^TestIsolationLevelsByProcesses$")
				child.Env = append(os.Environ(), "ISOLATION_TEST_URL="+address)
				if output, err := child.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, output)
				}
			})
		}
		group.Wait()
		found, err := store.FindByID(t.Context(), u.ID())
		if err != nil {
			t.Fatal(err)
		}
		if n, s := found.FailedLoginAttempts(), len(found.Sessions(time.Now())); n != processes*each || s != processes {
			t.Errorf("%s: %d failures and %d sessions are stored; want %d and %d", level, n, s, processes*each, processes)
		}
	}
}
