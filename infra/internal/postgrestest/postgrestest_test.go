package postgrestest_test

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/softbee/accounts/infra/internal/postgrestest"
)

func TestDatabaseIsNewAndEmpty(t *testing.T) {
	t.Parallel()
	first, second := open(t, postgrestest.Database(t)), open(t, postgrestest.Database(t))

	var tables int
	var encoding string
	const query = `SELECT count(*), current_setting('server_encoding') FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`
	if err := first.QueryRow(query).Scan(&tables, &encoding); err != nil {
		t.Fatal(err)
	}
	if tables != 0 || encoding != "UTF8" {
		t.Errorf("%d tables, encoding %s; want none, UTF8", tables, encoding)
	}

	mustExec(t, first, "CREATE TABLE only_in_the_first ()")
	if _, err := second.Exec("TABLE only_in_the_first"); err == nil {
		t.Error("two databases share a table")
	}
}

func TestClonesAreSeparateAndPreparedOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	postgrestest.Server(t) // skips the test itself where there is none
	var prepared atomic.Int32
	prepare := func(url string) error {
		prepared.Add(1)
		db, err := sql.Open("postgres", url)
		if err != nil {
			return err
		}
		_, err = db.Exec("CREATE TABLE thing AS SELECT 1 AS n")
		return errors.Join(err, db.Close())
	}
	t.Run("clones", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				db := open(t, postgrestest.Clone(t, "thing", prepare))
				mustExec(t, db, "INSERT INTO thing VALUES (2)")
				var rows int
				if err := db.QueryRow("SELECT count(*) FROM thing").Scan(&rows); err != nil {
					t.Fatal(err)
				}
				if rows != 2 {
					t.Errorf("%d rows; want the template's and the one inserted here", rows)
				}
			})
		}
	})
	if n := prepared.Load(); n != 1 {
		t.Errorf("the template was prepared %d times", n)
	}
}

// What a test leaves is not there for the next one, be it emptied or, where that is not enough, dropped.
func TestDatabaseIsUsedAgainEmpty(t *testing.T) {
	postgrestest.Server(t) // skips the test itself where there is none
	seen := map[string]bool{}
	for i, left := range []string{
		"CREATE TABLE thing (n integer)", "DROP SCHEMA public CASCADE", "CREATE SCHEMA other; CREATE TABLE other.thing (n integer)",
		"REVOKE ALL ON SCHEMA public FROM PUBLIC", "CREATE FUNCTION nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; " +
			"CREATE EVENT TRIGGER left_over ON ddl_command_end EXECUTE FUNCTION nothing()",
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 100', current_database()); END $$", "SELECT lo_create(0)",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			address := postgrestest.Database(t)
			name := databaseName(t, address)
			db, err := sql.Open("postgres", address)
			if err != nil {
				t.Fatal(err)
			}
			var leftovers int
			if err := db.QueryRow(`SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'other') + (SELECT count(*) FROM pg_class WHERE relname = 'thing') +
				(SELECT count(*) FROM pg_event_trigger) + (SELECT count(*) FROM pg_db_role_setting) + (SELECT count(*) FROM pg_largeobject_metadata) +
				(SELECT count(*) FROM unnest(ARRAY['USAGE', 'CREATE']) privilege WHERE NOT has_schema_privilege('public', privilege))`).Scan(&leftovers); err != nil {
				t.Fatal(err)
			}
			eventually(t, "no other connection is left", func() bool { // the one that emptied it is closed and may be ending
				var others int
				err := db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name).Scan(&others)
				return err == nil && others == 0
			})
			if leftovers != 0 {
				t.Errorf("%d things are left by the tests before", leftovers)
			}
			if used := seen[name]; i > 0 && i < 5 && !used {
				t.Error("the database is a new one, although nothing was left that cannot be emptied")
			}
			seen[name] = true
			mustExec(t, db, left) // and the connection stays open
		})
	}
}

// A schema of which more than rows was changed is not given to another test.
func TestSchemaIsUsedAgainUnchanged(t *testing.T) {
	postgrestest.Server(t) // skips the test itself where there is none
	prepare := func(address string) error {
		db, err := sql.Open("postgres", address)
		if err != nil {
			return err
		}
		_, err = db.Exec(`CREATE TABLE thing (n integer PRIMARY KEY); CREATE TABLE other (n integer REFERENCES thing ON DELETE CASCADE);
			DO $$ BEGIN EXECUTE format('CREATE SCHEMA %1$I; CREATE TABLE %1$I.history AS SELECT 1 AS version', 'accounts_migrations_' || current_schema()); END $$`)
		return errors.Join(err, db.Close())
	}
	before, unchanged := "", false
	for i, change := range []struct {
		statement string
		usedAgain bool
	}{
		{"INSERT INTO thing VALUES (1); INSERT INTO other VALUES (1)", true},
		{"BEGIN; DROP TABLE other; ROLLBACK", true},
		{"ALTER TABLE thing ADD COLUMN text text", false},
		{"ALTER TABLE other DISABLE TRIGGER ALL", false},
		{"CREATE INDEX ON other (n)", false},
		{"CREATE VIEW third AS TABLE thing", false},
		{"GRANT SELECT ON thing TO PUBLIC", false},
		{"COMMENT ON TABLE thing IS 'text'", false},
		{"INSERT INTO other VALUES (NULL); ANALYZE other", false},
		{"INSERT INTO thing SELECT generate_series(1, 100000)", false},
		{"CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS ''", false},
		{"DO $$ BEGIN EXECUTE format('UPDATE %I.history SET version = 2', 'accounts_migrations_' || current_schema()); END $$", false},
		{"SELECT", true},
	} {
		schema := ""
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			db := open(t, postgrestest.Reused(t, "thing", prepare))
			var rows int
			if err := db.QueryRow("SELECT current_schema(), (SELECT count(*) FROM thing) + (SELECT count(*) FROM other)").Scan(&schema, &rows); err != nil {
				t.Fatal(err)
			}
			if rows != 0 {
				t.Errorf("%d rows are left by the test before", rows)
			}
			if (schema == before) != unchanged {
				t.Errorf("the schema is %s, after %q: used again %v, want %v", schema, before, !unchanged, unchanged)
			}
			mustExec(t, db, change.statement)
		})
		before, unchanged = schema, change.usedAgain
	}
}

// A test process that is killed can clear up nothing itself.
func TestKilledProcessLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	if os.Getenv(childVariable) != "" {
		beKilled(t)
	}
	t.Run("own server", func(t *testing.T) {
		t.Parallel()
		postgrestest.BinDir(t)
		home := t.TempDir()
		cache := home
		if runtime.GOOS == "darwin" {
			cache = filepath.Join(home, "Library", "Caches")
		}
		ownServer := []string{"ACCOUNTS_TEST_POSTGRES=", "HOME=" + home, "XDG_CACHE_HOME=" + home}
		address, dir := killProcess(t, t.Name(), ownServer...)
		db := open(t, address)
		eventually(t, "the server stops", func() bool { return db.Ping() != nil })
		eventually(t, "its directory goes", func() bool {
			_, err := os.Stat(dir)
			return errors.Is(err, os.ErrNotExist)
		})

		copied, _ := killProcess(t, t.Name(), ownServer...)
		if password(t, copied) != password(t, address) {
			t.Error("the second server did not start from the cluster that the first one left in the cache")
		}
		prepared, err := filepath.Glob(filepath.Join(cache, "*", "*", "data", "PG_VERSION"))
		if err != nil || len(prepared) != 1 {
			t.Fatalf("prepared clusters: %v, %v; want one", prepared, err)
		}
		if err := os.Truncate(prepared[0], 0); err != nil {
			t.Fatal(err)
		}
		process := exec.Command(os.Args[0], "-test.run=^TestServerListensOnASocketToo$")
		process.Env = append(os.Environ(), ownServer...)
		if out, err := process.CombinedOutput(); err == nil || !strings.Contains(string(out), "the next run makes a new one") {
			t.Errorf("with a damaged cluster in the cache: %v, %s", err, out)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(left) > 0 {
			t.Errorf("the cache still holds %v", left)
		}
	})
	t.Run("given server", func(t *testing.T) {
		t.Parallel()
		address, _ := killProcess(t, t.Name(), "ACCOUNTS_TEST_POSTGRES="+postgrestest.Server(t))
		server := open(t, postgrestest.Server(t))
		name := databaseName(t, address)
		prefix := name[:strings.LastIndexByte(name, '_')]
		eventually(t, "its databases go", func() bool {
			return !slices.ContainsFunc(databases(t, server), func(name string) bool {
				return strings.HasPrefix(name, prefix)
			})
		})
	})
}

// childVariable tells a test that it runs in a process which the same test started.
const childVariable = "POSTGRESTEST_CHILD"

// beKilled uses a server until the process is killed.
func beKilled(t *testing.T) {
	postgrestest.Clone(t, "child", func(string) error { return nil })
	address := postgrestest.Database(t)
	var directory string
	if err := open(t, address).QueryRow("SHOW data_directory").Scan(&directory); err != nil {
		t.Fatal(err)
	}
	fmt.Println("using", address, directory)
	select {}
}

// killProcess runs [beKilled] in a process of its own, kills that when it uses its server, and returns the URL of its
// database and the directory of the server, in which the data directory is.
func killProcess(t *testing.T, test string, env ...string) (address, dir string) {
	t.Helper()
	test, _, _ = strings.Cut(test, "/")
	process := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	process.Env = append(append(os.Environ(), childVariable+"=1"), env...)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if field := strings.Fields(lines.Text()); len(field) == 3 && field[0] == "using" {
			address, dir = field[1], filepath.Dir(field[2])
			break
		}
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	if address == "" {
		t.Fatal("the process ended before it was killed")
	}
	return address, dir
}

func password(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return password
}

func TestServerListensOnASocketToo(t *testing.T) {
	t.Parallel()
	if os.Getenv("ACCOUNTS_TEST_POSTGRES") != "" {
		t.Skip("the server is not one that this package started")
	}
	address, err := url.Parse(postgrestest.Server(t))
	if err != nil {
		t.Fatal(err)
	}
	var directory string
	if err := open(t, address.String()).QueryRow("SHOW unix_socket_directories").Scan(&directory); err != nil {
		t.Fatal(err)
	}
	dsn := fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", directory, address.Port())
	if err := open(t, dsn).Ping(); err != nil {
		t.Error(err)
	}
}

func TestMissingProgramSkipsOrFails(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		postgrestest.BinDir(t, "no-such-program")
		t.Fatal("went on")
	}
	t.Parallel()
	for required, want := range map[string]string{"": "skipped", "1": "failed"} {
		process := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		process.Env = append(os.Environ(), childVariable+"=1", "ACCOUNTS_REQUIRE_POSTGRES="+required)
		out, err := process.CombinedOutput()
		got := "skipped"
		if err != nil {
			got = "failed"
		}
		if got != want || !strings.Contains(string(out), "apt-get install") || strings.Contains(string(out), "went on") {
			t.Errorf("with ACCOUNTS_REQUIRE_POSTGRES=%q the test %s; want %s, with what to install:\n%s",
				required, got, want, out)
		}
	}
}

func TestBinDir(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(filepath.Join(postgrestest.BinDir(t, "psql", "pgbench"), "psql"), "--version").Output()
	if err != nil || !strings.Contains(string(out), "PostgreSQL") {
		t.Errorf("psql --version: %q, %v", out, err)
	}
}

func open(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func databases(t *testing.T, server *sql.DB) []string {
	t.Helper()
	rows, err := server.Query("SELECT datname FROM pg_database")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

func databaseName(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// eventually waits for the end of another process's work, which nothing else announces.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 seconds", what)
		}
	}
}
