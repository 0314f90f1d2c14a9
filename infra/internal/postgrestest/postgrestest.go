// Package postgrestest gives tests a real PostgreSQL server, and schemas or databases of their own on it.
//
// The server is the one at the URL in ACCOUNTS_TEST_POSTGRES (its role must be allowed to create databases) or, where
// that is not set, a throw-away server started from the binaries installed on the machine: one per test process, on
// first use, with durability off. Run by root, it runs as the user postgres or nobody, because PostgreSQL refuses root.
//
// Without either, a test that asks for the server is skipped with a line that says what to install; with
// ACCOUNTS_REQUIRE_POSTGRES set, as continuous integration sets it, the test fails instead.
//
// Nothing is left behind, however the test process ends (return, panic, time-out of go test, SIGKILL): a second process,
// started from the same executable, waits for the end of the first one and then stops the server and removes its
// directory, or drops the databases on the server that it was given. For that the package's init takes over a process
// which finds ACCOUNTS_POSTGRESTEST_SUPERVISOR in its environment. What stays is a prepared, empty cluster in the user's cache directory
// (accounts-postgrestest, 40 MB), which servers start from. Import this package from tests only.
//
// All functions may be called from parallel tests, and several test processes may share one ACCOUNTS_TEST_POSTGRES.
package postgrestest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lib/pq"
)

const (
	urlVariable     = "ACCOUNTS_TEST_POSTGRES"
	requireVariable = "ACCOUNTS_REQUIRE_POSTGRES"
)

// errNotInstalled means that there is neither a URL nor what is needed to start a server.
var errNotInstalled = errors.New("not installed")

// Server returns the URL of the server's maintenance database. Tests that only need tables use [Schema], [Clone] or [Database].
func Server(t testing.TB) string {
	t.Helper()
	return running(t).url.String()
}

// Schema returns a URL that leads to a new, empty schema: the only one in its search_path. It is dropped, with all that is in
// it, when the test ends. The database is the same one for all schemas of the process, so that a schema is made and dropped
// in milliseconds, where a database takes a tenth of a second and a checkpoint of the server. Tests that look at, or change,
// what a database has once (extensions, settings, advisory locks, other schemas) use [Clone] or [Database].
func Schema(t testing.TB) string {
	t.Helper()
	s := running(t)
	schema, url := s.createSchema(t)
	t.Cleanup(func() {
		s.dropSchema(t, schema)
	})
	return url
}

// Reused is [Schema] with what prepare makes in it: tables without rows, and perhaps their history in the schema of migrations. It takes a
// tenth of the time where a test before, with the same key, has left a schema as it was but for rows, which are deleted in between.
func Reused(t testing.TB, key string, prepare func(url string) error) string {
	t.Helper()
	s := running(t)
	made, _ := s.pools.LoadOrStore(key, new(pool))
	p := made.(*pool)
	one, ok := p.take()
	if !ok {
		one.name, one.url = s.createSchema(t)
		err := prepare(one.url)
		if err == nil {
			err = s.shared.db.QueryRow(`SELECT string_agg(format('TABLE %I.%I', schemaname, tablename), ' UNION ALL ') FROM pg_tables
				WHERE schemaname = 'accounts_migrations_' || $1::text`, one.name).Scan(&one.history)
		}
		if err == nil {
			one.state, err = s.schemaState(one)
		}
		if err != nil {
			t.Fatalf("prepare a test schema for %q: %v", key, err)
		}
	}
	t.Cleanup(func() {
		if s.deleteRows(one) != nil {
			s.dropSchema(t, one.name)
			return
		}
		p.give(one)
	})
	return one.url
}

// schemaState describes what is in a schema but for the rows of its tables: the catalog's rows, by their places and the transactions that wrote them, and the
// history of migrations. A large schema has none, for it would be slow to empty.
func (s *server) schemaState(of place) (state string, err error) {
	rows := "SELECT NULL"
	if of.history.Valid {
		rows = "SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM (" + of.history.String + ") AS r"
	}
	err = s.shared.db.QueryRow(`WITH spaces AS (SELECT oid FROM pg_namespace WHERE nspname IN ($1::text, 'accounts_migrations_' || $1::text)),
			relations AS (SELECT oid FROM pg_class WHERE relnamespace IN (TABLE spaces)), parts AS (
				SELECT tableoid, ctid, xmin FROM pg_namespace WHERE oid IN (TABLE spaces)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_class WHERE relnamespace IN (TABLE spaces)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_proc WHERE pronamespace IN (TABLE spaces)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_type WHERE typnamespace IN (TABLE spaces)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_constraint WHERE connamespace IN (TABLE spaces)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_attribute WHERE attrelid IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_attrdef WHERE adrelid IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_index WHERE indrelid IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_trigger WHERE tgrelid IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_rewrite WHERE ev_class IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_policy WHERE polrelid IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_description WHERE objoid IN (TABLE relations)
				UNION ALL SELECT tableoid, ctid, xmin FROM pg_statistic WHERE starelid IN (TABLE relations))
		SELECT concat_ws(' ', (SELECT md5(string_agg(concat_ws(' ', tableoid, ctid, xmin), ',' ORDER BY tableoid, ctid)) FROM parts), (`+rows+`))
		WHERE (SELECT sum(pg_relation_size(oid)) FROM relations) < 2e6`, of.name).Scan(&state)
	return state, err
}

// deleteRows makes a schema what it was when its state was described, or returns an error. It waits for what is still written there.
func (s *server) deleteRows(of place) error {
	state, err := s.schemaState(of)
	if err == nil && state != of.state {
		err = errors.New("it was changed")
	}
	if err != nil {
		return err
	}
	// A table may have a trigger that refuses this; only a superuser may pass it by.
	_, err = s.shared.db.Exec("SET lock_timeout = '20s'; DO $$ DECLARE name text; BEGIN SET LOCAL session_replication_role = replica; " +
		"FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = " + pq.QuoteLiteral(of.name) + " ORDER BY tablename DESC LOOP " +
		"EXECUTE 'LOCK TABLE ' || name; EXECUTE 'DELETE FROM ' || name; END LOOP; END $$")
	return err
}

// place is a database or a schema.
type place struct {
	name, url string
	history   sql.NullString // a query for that of the migrations
	state     string         // as [server.schemaState] describes it
}

// pool holds places that no test uses.
type pool struct {
	mu   sync.Mutex
	free []place
}

func (p *pool) take() (one place, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return one, false
	}
	one, p.free = p.free[n-1], p.free[:n-1]
	return one, true
}

func (p *pool) give(one place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, one)
}

// Database returns the URL of an empty database in UTF-8. When the test ends, connections are closed, and the database is emptied
// and given to the next one, or dropped if there is anything left then that is not of an empty one: a setting, an event trigger.
func Database(t testing.TB) string {
	t.Helper()
	url, giveBack := Borrow(t)
	t.Cleanup(giveBack)
	return url
}

// Borrow is [Database] for less than a test's time: until the database is given back.
func Borrow(t testing.TB) (url string, giveBack func()) {
	t.Helper()
	s := running(t)
	one, ok := s.empty.take()
	if !ok {
		one.name = s.newName()
		if err := s.create(one.name, s.template(t, "", func(url string) (err error) {
			// The first connection to a database writes what it has learned of the catalogs to a file, which is copied with the others.
			s.pristine, err = fingerprint(url)
			return err
		})); err != nil {
			t.Fatalf("create a test database: %v", err)
		}
	}
	url = s.databaseURL(one.name, "")
	return url, func() {
		if err := s.makeEmpty(one.name); err == nil {
			s.empty.give(one)
		} else if err := drop(context.Background(), s.admin, one.name); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	}
}

// Clone returns the URL of a new copy of the template called key. The template is made once per process: a new, empty
// database on which prepare has run (applied the migrations, say); prepare must have closed its connections when it
// returns. The copy is dropped when the test ends, connections or not; the template goes when the process ends.
func Clone(t testing.TB, key string, prepare func(url string) error) string {
	t.Helper()
	s := running(t)
	name := s.newName()
	if err := s.create(name, s.template(t, key, prepare)); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := drop(context.Background(), s.admin, name); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	return s.databaseURL(name, "")
}

// BinDir returns the directory of PostgreSQL's programs that holds all the named ones (initdb and postgres, if none is
// named): that of pg_config --bindir, of the PATH, or the newest of /usr/lib/postgresql/*/bin. Without one, the test is
// skipped, or fails, as if there were no server.
func BinDir(t testing.TB, programs ...string) string {
	t.Helper()
	dir, err := findBinDir(programs...)
	if err != nil {
		unavailable(t, err)
	}
	return dir
}

// server is the running server as this process sees it.
type server struct {
	url       *url.URL // of the maintenance database
	admin     *sql.DB  // connected to it
	prefix    string   // begins the name of every database of this process, and of no other
	databases atomic.Int64
	templates sync.Map // key → *template
	pools     sync.Map // key → *pool
	empty     pool     // of databases
	pristine  string   // the fingerprint of an empty database
	shared    struct { // the database of the schemas
		once sync.Once
		name string
		db   *sql.DB
		err  error
	}
	copying string // an option of CREATE DATABASE
	*supervisor
}

type template struct {
	once sync.Once
	name string
	err  error
}

var start = sync.OnceValues(func() (*server, error) {
	request := request{Prefix: "accounts_test_" + randomHex(6), URL: os.Getenv(urlVariable)}
	if request.URL != "" {
		if u, err := url.Parse(request.URL); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			// The parser's error would repeat the URL and, with it, the password.
			return nil, errors.New(urlVariable + " is not a postgres:// URL")
		}
	} else {
		var err error
		if request.BinDir, err = findBinDir(); err != nil {
			return nil, err
		}
	}

	supervisor, address, err := startSupervisor(request)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the server's URL cannot be parsed")
	}
	connector, err := pq.NewConnector(address)
	if err != nil {
		return nil, err
	}
	admin := sql.OpenDB(connector)
	admin.SetMaxOpenConns(4)
	if err := admin.Ping(); err != nil {
		return nil, fmt.Errorf("connect to the test server: %w", err)
	}
	s := &server{url: u, admin: admin, prefix: request.Prefix, supervisor: supervisor}
	// Since 15 a copy goes through the log by default, which takes three times as long.
	if err := admin.QueryRow(`SELECT CASE WHEN current_setting('server_version_num')::int >= 150000 THEN ' STRATEGY file_copy' ELSE '' END`).
		Scan(&s.copying); err != nil {
		return nil, fmt.Errorf("ask the test server for its version: %w", err)
	}
	return s, nil
})

func running(t testing.TB) *server {
	t.Helper()
	s, err := start()
	if errors.Is(err, errNotInstalled) {
		unavailable(t, err)
	}
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	return s
}

func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv(requireVariable) != "" {
		t.Fatalf("%v (%s is set)", err, requireVariable)
	}
	t.Skip(err)
}

func (s *server) newName() string {
	return s.prefix + "_" + strconv.FormatInt(s.databases.Add(1), 10)
}

func (s *server) dropSchema(t testing.TB, schema string) {
	t.Helper()
	// What a test left open holds locks on its tables; without a limit it would stop the drop, and so the whole run.
	drop := func() error {
		_, err := s.shared.db.Exec("SET lock_timeout = '20s'; DROP SCHEMA " + pq.QuoteIdentifier(schema) + " CASCADE; " +
			"DROP SCHEMA IF EXISTS " + pq.QuoteIdentifier("accounts_migrations_"+schema) + " CASCADE")
		return err
	}
	err := drop()
	// A statement of a process that was killed may still be running, and lock the tables in another order.
	for deadlocked := new(pq.Error); errors.As(err, &deadlocked) && deadlocked.Code == "40P01"; {
		err = drop()
	}
	if err != nil {
		t.Errorf("drop the test schema: %v", err)
	}
}

// createSchema makes a schema, which is there until the process ends unless it is dropped.
func (s *server) createSchema(t testing.TB) (name, url string) {
	t.Helper()
	s.shared.once.Do(func() {
		s.shared.err = errors.New("it was not made")
		name := s.newName()
		if _, s.shared.err = s.admin.Exec("CREATE DATABASE " + pq.QuoteIdentifier(name) + " TEMPLATE template0 ENCODING 'UTF8'" + s.copying); s.shared.err != nil {
			return
		}
		if s.shared.db, s.shared.err = open(s.databaseURL(name, "")); s.shared.err != nil {
			return
		}
		s.shared.db.SetMaxOpenConns(4)
		s.shared.name = name
	})
	if s.shared.err != nil {
		t.Fatalf("make the database of the schemas: %v", s.shared.err)
	}
	name = s.newName()
	if _, err := s.shared.db.Exec("CREATE SCHEMA " + pq.QuoteIdentifier(name)); err != nil {
		t.Fatalf("create a test schema: %v", err)
	}
	return name, s.databaseURL(s.shared.name, name)
}

// databaseURL returns the URL of a database or, if one is named, of a schema in it.
func (s *server) databaseURL(name, schema string) string {
	u := *s.url
	u.Path = "/" + name
	query := u.Query()
	query.Del("dbname") // would win over the path
	if schema != "" {
		query.Set("search_path", schema)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// template returns the name of the template called key.
func (s *server) template(t testing.TB, key string, prepare func(url string) error) string {
	t.Helper()
	made, _ := s.templates.LoadOrStore(key, new(template))
	tmpl := made.(*template)
	tmpl.once.Do(func() {
		tmpl.err = errors.New("prepare did not return")
		tmpl.name = s.newName()
		tmpl.err = s.makeTemplate(tmpl.name, prepare)
	})
	if tmpl.err != nil {
		t.Fatalf("prepare the template database %q: %v", key, tmpl.err)
	}
	return tmpl.name
}

func (s *server) create(name, template string) error {
	_, err := s.admin.Exec("CREATE DATABASE " + pq.QuoteIdentifier(name) + " TEMPLATE " + pq.QuoteIdentifier(template) + s.copying)
	return err
}

// EmptyDatabase is a statement that drops all that is in schemas of the connection's database, and makes its schema public as in a new one.
const EmptyDatabase = `DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
			EXECUTE format('DROP SCHEMA %I CASCADE', name);
		END LOOP;
		CREATE SCHEMA public;
		COMMENT ON SCHEMA public IS 'standard public schema';
		IF current_setting('server_version_num')::int >= 150000 THEN
			ALTER SCHEMA public OWNER TO pg_database_owner;
			GRANT USAGE ON SCHEMA public TO PUBLIC;
		ELSE
			GRANT ALL ON SCHEMA public TO PUBLIC;
		END IF;
END $$`

// makeEmpty makes a database what it was when it was new, in a fifth of the time that a new one takes, or returns an error.
func (s *server) makeEmpty(name string) error {
	if _, err := s.admin.Exec("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", name); err != nil {
		return err
	}
	found, err := fingerprint(s.databaseURL(name, ""), "SET lock_timeout = '10s'", EmptyDatabase)
	if err == nil && found != s.pristine {
		err = errors.New("something is left")
	}
	return err
}

// fingerprint executes statements in a database, and returns a description of it: the same for two that are empty.
func fingerprint(url string, statements ...string) (found string, err error) {
	db, err := open(url)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return "", err
		}
	}
	err = db.QueryRow(`SELECT concat_ws(' ',
		(SELECT string_agg(concat_ws(' ', nspname, nspowner, nspacl), ', ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'),
		(SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_type), (SELECT count(*) FROM pg_extension),
		(SELECT count(*) FROM pg_event_trigger), (SELECT count(*) FROM pg_default_acl), (SELECT count(*) FROM pg_publication),
		(SELECT count(*) FROM pg_foreign_data_wrapper), (SELECT count(*) FROM pg_foreign_server), (SELECT count(*) FROM pg_cast),
		(SELECT count(*) FROM pg_language), (SELECT count(*) FROM pg_largeobject_metadata),
		(SELECT concat_ws(' ', datdba, datacl, datconnlimit, (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = d.oid))
			FROM pg_database d WHERE datname = current_database()))`).Scan(&found)
	return found, err
}

func (s *server) makeTemplate(name string, prepare func(url string) error) error {
	quoted := pq.QuoteIdentifier(name)
	if _, err := s.admin.Exec("CREATE DATABASE " + quoted + " TEMPLATE template0 ENCODING 'UTF8'" + s.copying); err != nil {
		return err
	}
	if err := prepare(s.databaseURL(name, "")); err != nil {
		return err
	}
	// A database can only be copied while no one is connected to it.
	_, err := s.admin.Exec("ALTER DATABASE " + quoted + " ALLOW_CONNECTIONS false")
	return err
}

func drop(ctx context.Context, db *sql.DB, name string) error {
	_, err := db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
	return err
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// findBinDir implements [BinDir].
func findBinDir(programs ...string) (string, error) {
	if len(programs) == 0 {
		programs = []string{"initdb", "postgres"}
	}
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		dirs = append(dirs, dir)
		// A single program may be linked into a directory of the PATH, away from the ones it calls.
		if program, err := filepath.EvalSymlinks(filepath.Join(dir, programs[0])); err == nil {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(versions, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	dirs = append(dirs, versions...)

	for _, dir := range dirs {
		if filepath.IsAbs(dir) && !slices.ContainsFunc(programs, func(program string) bool {
			_, err := exec.LookPath(filepath.Join(dir, program))
			return err != nil
		}) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL is %w: no %s in pg_config --bindir, PATH or /usr/lib/postgresql/*/bin; install it "+
		"(Debian: apt-get install postgresql; macOS: brew install postgresql) or set %s to a server's URL",
		errNotInstalled, strings.Join(programs, " and "), urlVariable)
}

// majorVersion of /usr/lib/postgresql/17/bin is 17.
func majorVersion(binDir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(binDir)))
	return n
}
