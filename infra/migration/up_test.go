package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"hash/fnv"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// Two files of two statements each, and one without a transaction.
const (
	first  = "20260101000000"
	second = "20260102000000"
	third  = "20260103000000"
)

var (
	twoFiles = map[string]string{
		first + "_things.sql":  "CREATE TABLE thing (id integer PRIMARY KEY);\nINSERT INTO thing VALUES (1);\n",
		second + "_others.sql": "CREATE TABLE other (id integer PRIMARY KEY);\nINSERT INTO other VALUES (1);\n",
	}
	unbound = "-- atlas:txmode none\n\nCREATE TABLE last (id integer PRIMARY KEY);\nINSERT INTO last VALUES (1);\nINSERT INTO last VALUES (2);\n"
)

func TestUpAppliesTheEmbeddedMigrations(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, d.embedded(t))
		if err := runner.Check(t.Context()); !errors.Is(err, domain.ErrPendingMigrations) {
			t.Errorf("check of an empty database: %v", err)
		}

		applied, err := runner.Up(t.Context(), migration.UpOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(applied) == 0 {
			t.Error("nothing was applied")
		}
		if err := runner.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if applied, err := runner.Up(t.Context(), migration.UpOptions{}); err != nil || len(applied) != 0 {
			t.Errorf("again: %v, %v; want nothing", applied, err)
		}
		mustExec(t, db, "INSERT INTO users (email, username, hashed_password) VALUES ('a@example.org', 'ann', '-')")
	})
}

// A database whose encoding is not UTF8 cannot hold every name, and refuses the checks of an address later on.
func TestUpRefusesAnotherEncoding(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		base := storetest.EmptyPostgresURL(t)
		name := "encoding_" + strings.ToLower(encoding)
		server, err := sql.Open("postgres", base)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		mustExec(t, server, "CREATE DATABASE "+name+" ENCODING '"+encoding+"' LOCALE 'C' TEMPLATE template0")
		defer func() { mustExec(t, server, "DROP DATABASE "+name) }()
		address, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		address.Path = "/" + name
		store, err := postgres.Open(t.Context(), address.String())
		if err != nil {
			t.Fatal(err)
		}
		err = store.Migrate(t.Context())
		if !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "database: has the encoding "+encoding+"; expected UTF8") {
			t.Errorf("%s: %v", encoding, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestUpReportsEachStatement(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		runner := d.runner(t, d.open(t, d.url(t)), directory(t, twoFiles))
		var steps []string
		_, err := runner.Up(t.Context(), migration.UpOptions{Progress: func(s migration.Step) {
			steps = append(steps, s.File.Version+" "+strings.Repeat("I", s.Statement)+" "+strings.Fields(s.SQL)[0])
			if s.Statements != 2 || s.Attempt != 1 || s.File.Name == "" {
				t.Errorf("%+v", s)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{first + " I CREATE", first + " II INSERT", second + " I CREATE", second + " II INSERT"}
		if !slices.Equal(steps, want) {
			t.Errorf("%q; want %q", steps, want)
		}
	})
}

func TestUpTo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, directory(t, twoFiles))
		if _, err := runner.Up(t.Context(), migration.UpOptions{To: "20250101000000"}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("to an unknown version: %v", err)
		}
		for range 2 {
			if _, err := runner.Up(t.Context(), migration.UpOptions{To: first}); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, runner, migration.Status{Current: first, Pending: []string{second}, Applied: 1})
		}
		mustUp(t, runner)
		wantStatus(t, runner, migration.Status{Current: second, Pending: []string{}, Applied: 2})
		if _, err := runner.Up(t.Context(), migration.UpOptions{To: first}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("to a version behind the database: %v", err)
		}
	})
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, directory(t, twoFiles))
		files, err := runner.Up(t.Context(), migration.UpOptions{DryRun: true, Progress: func(migration.Step) {
			t.Error("a statement was announced")
		}})
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 2 || len(files[0].Statements) != 2 || !files[0].Transactional {
			t.Errorf("%+v", files)
		}
		tables := "SELECT count(*) FROM sqlite_schema"
		if d.dialect == migration.Postgres {
			tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
		}
		if n := queryString(t, db, tables); n != "0" {
			t.Errorf("%s tables", n)
		}
		wantStatus(t, runner, migration.Status{Pending: []string{first, second}})
	})
}

func TestFailureRollsBackItsFile(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		broken := map[string]string{
			first + "_things.sql":  twoFiles[first+"_things.sql"],
			second + "_others.sql": "CREATE TABLE other (id integer PRIMARY KEY);\n\n-- the same again\nCREATE TABLE other (id integer);\n",
		}
		runner := d.runner(t, db, directory(t, broken))

		applied, err := runner.Up(t.Context(), migration.UpOptions{})
		var failed *migration.StatementError
		if !errors.As(err, &failed) || !errors.Is(err, domain.ErrPendingMigrations) {
			t.Fatalf("%v; want a StatementError", err)
		}
		if failed.File != second+"_others.sql" || failed.Line != 4 || failed.Statement != 2 || failed.Statements != 2 || !failed.RolledBack {
			t.Errorf("%+v", failed)
		}
		if text := err.Error(); !strings.Contains(text, "line 4") || !strings.Contains(text, "already exists") {
			t.Error(text)
		}
		if len(applied) != 1 || applied[0].Version != first {
			t.Errorf("applied %v", applied)
		}
		wantStatus(t, runner, migration.Status{Current: first, Pending: []string{second}, Applied: 1})

		mustUp(t, d.runner(t, db, directory(t, twoFiles)))
	})
}

func TestResumeOutsideTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		broken := strings.Replace(unbound, "(2)", "('two')", 1)
		if d.dialect == migration.SQLite {
			broken = strings.Replace(unbound, "(2)", "(1)", 1)
		}
		dir := directory(t, twoFiles)
		runner := d.runner(t, db, and(t, dir, map[string]string{third + "_last.sql": broken}))

		applied, err := runner.Up(t.Context(), migration.UpOptions{})
		var failed *migration.StatementError
		if !errors.As(err, &failed) || failed.Statement != 3 || failed.RolledBack {
			t.Fatalf("%v", err)
		}
		if strings.Contains(err.Error(), "two") {
			t.Errorf("the error quotes a value: %v", err)
		}
		if len(applied) != 2 {
			t.Errorf("applied %v", applied)
		}
		status, err := runner.Status(t.Context())
		if err != nil || status.Partial == nil || status.Partial.Version != third || status.Partial.Applied != 2 ||
			status.Partial.Total != 3 || status.Partial.Error == "" || status.Applied != 2 || status.Current != third {
			t.Errorf("%+v, %v", status, err)
		}
		if err := runner.Check(t.Context()); !errors.Is(err, domain.ErrPendingMigrations) || !strings.Contains(err.Error(), "2 of 3") {
			t.Errorf("check: %v", err)
		}

		// The part that was applied must stay as it was; the rest may be corrected.
		edited := d.runner(t, db, and(t, dir, map[string]string{third + "_last.sql": strings.Replace(unbound, "(1)", "(7)", 1)}))
		if _, err := edited.Up(t.Context(), migration.UpOptions{}); !errors.Is(err, domain.ErrChecksum) {
			t.Errorf("with an edited beginning: %v", err)
		}
		corrected := d.runner(t, db, and(t, dir, map[string]string{third + "_last.sql": unbound}))
		files, err := corrected.Up(t.Context(), migration.UpOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 1 || len(files[0].Statements) != 1 {
			t.Errorf("applied %+v; want one statement", files)
		}
		if err := corrected.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if n := queryString(t, db, "SELECT count(*) FROM last"); n != "2" {
			t.Errorf("%s rows; want 2", n)
		}
	})
}

// A file without a transaction may have one of its own. If a statement of it fails, what remains is what was done before its BEGIN.
func TestTransactionOfTheFile(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		db := d.open(t, d.url(t))
		text := lines("-- atlas:txmode none", "", "CREATE TABLE own (id integer PRIMARY KEY);", "BEGIN;", "INSERT INTO own VALUES (1);",
			"INSERT INTO own VALUES (2);", "COMMIT;", "INSERT INTO own VALUES (3);")
		broken := d.runner(t, db, directory(t, map[string]string{first + "_own.sql": strings.Replace(text, "(2)", "(1)", 1)}))
		_, err := broken.Up(t.Context(), migration.UpOptions{})
		var failed *migration.StatementError
		if !errors.As(err, &failed) || failed.Statement != 4 || failed.Applied != 1 ||
			!strings.HasSuffix(err.Error(), "its transaction was rolled back; 1 of 6 statements remain applied") {
			t.Fatalf("%v", err)
		}
		status, err := broken.Status(t.Context())
		if err != nil || status.Partial == nil || status.Partial.Applied != 1 || status.Partial.Error == "" {
			t.Errorf("%+v, %v", status, err)
		}
		if n := queryString(t, db, "SELECT count(*) FROM own"); n != "0" {
			t.Errorf("%s rows; want none", n)
		}
		mustUp(t, d.runner(t, db, directory(t, map[string]string{first + "_own.sql": text})))
		if n := queryString(t, db, "SELECT count(*) FROM own"); n != "3" {
			t.Errorf("%s rows; want 3", n)
		}

		for _, statement := range []string{"BEGIN", "START TRANSACTION", "BEGIN; COMMIT; BEGIN"} {
			if d.dialect == migration.SQLite && statement == "START TRANSACTION" {
				continue
			}
			unended := directory(t, map[string]string{first + "_own.sql": text, second + "_unended.sql": lines("-- atlas:txmode none", "", statement+";", "DROP TABLE own;")})
			if _, err := d.runner(t, db, unended).Up(t.Context(), migration.UpOptions{}); !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "line 3 begins") {
				t.Errorf("%s: %v", statement, err)
			}
		}
		for _, statement := range []string{"BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT AND CHAIN", "END TRANSACTION", "ROLLBACK WORK"} {
			ended := directory(t, map[string]string{first + "_own.sql": text, second + "_ended.sql": statement + ";\n"})
			if _, err := d.runner(t, db, ended).Up(t.Context(), migration.UpOptions{}); !errors.Is(err, domain.ErrInvalid) || !strings.Contains(err.Error(), "line 1 would end") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

func TestHistoryThatDiffers(t *testing.T) {
	t.Parallel()
	files := func(t *testing.T, names ...string) fs.FS {
		all := map[string]string{}
		for _, name := range names {
			all[name] = twoFiles[name]
		}
		return directory(t, all)
	}
	a, b := first+"_things.sql", second+"_others.sql"
	edited := map[string]string{a: "CREATE TABLE thing (id bigint PRIMARY KEY);\nINSERT INTO thing VALUES (1);\n"}
	tests := []struct {
		name     string
		applied  func(*testing.T) fs.FS
		dir      func(*testing.T) fs.FS
		status   migration.Status
		check    error
		contains string
	}{
		{
			"edited",
			func(t *testing.T) fs.FS { return files(t, a, b) },
			func(t *testing.T) fs.FS { return and(t, files(t, a, b), edited) },
			migration.Status{Current: second, Pending: []string{}, Applied: 2, Edited: first},
			domain.ErrChecksum,
			"edited",
		}, {
			"edited, with one pending",
			func(t *testing.T) fs.FS { return files(t, a) },
			func(t *testing.T) fs.FS { return and(t, files(t, a, b), edited) },
			migration.Status{Current: first, Pending: []string{second}, Applied: 1, Edited: first},
			domain.ErrChecksum,
			"edited",
		}, {
			"newer", // which is as it should be while a release is deployed, and no reason to run the older one's files
			func(t *testing.T) fs.FS { return files(t, a, b) },
			func(t *testing.T) fs.FS { return files(t, a) },
			migration.Status{Current: second, Pending: []string{}, Applied: 1, Unknown: []string{second}},
			nil,
			"newer",
		}, {
			"unknown",
			func(t *testing.T) fs.FS { return files(t, a, b) },
			func(t *testing.T) fs.FS { return files(t, b) },
			migration.Status{Current: second, Pending: []string{}, Applied: 1, Unknown: []string{first}},
			domain.ErrChecksum,
			"does not know",
		}, {
			"out of order",
			func(t *testing.T) fs.FS { return files(t, b) },
			func(t *testing.T) fs.FS { return files(t, a, b) },
			migration.Status{Current: second, Pending: []string{}, Applied: 1, OutOfOrder: []string{first}},
			domain.ErrChecksum,
			"added before",
		},
	}
	onEach(t, func(t *testing.T, d testDatabase) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				db := d.open(t, d.url(t))
				mustUp(t, d.runner(t, db, test.applied(t)))
				runner := d.runner(t, db, test.dir(t))
				wantStatus(t, runner, test.status)
				if err := runner.Check(t.Context()); !errors.Is(err, test.check) {
					t.Errorf("check: %v; want %v", err, test.check)
				}
				_, err := runner.Up(t.Context(), migration.UpOptions{})
				if !errors.Is(err, domain.ErrChecksum) || !strings.Contains(err.Error(), test.contains) {
					t.Errorf("up: %v", err)
				}
				if _, err := plan.Down(t.Context(), runner, plan.DownOptions{To: first, Dev: d.dev(t)}); !errors.Is(err, domain.ErrChecksum) {
					t.Errorf("down: %v", err)
				}
			})
		}
	})
}

func TestDirectoryMustMatchItsSum(t *testing.T) {
	t.Parallel()
	tests := map[string]func(map[string][]byte){
		"edited":  func(files map[string][]byte) { files[first+"_things.sql"] = []byte("CREATE TABLE thing ();") },
		"added":   func(files map[string][]byte) { files[third+"_new.sql"] = []byte("CREATE TABLE new ();") },
		"removed": func(files map[string][]byte) { delete(files, first+"_things.sql") },
		"missing": func(files map[string][]byte) { delete(files, "atlas.sum") },
		"damaged": func(files map[string][]byte) { files["atlas.sum"] = []byte("h1:x\n" + first + "_things.sql h1:y\n") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			dir := directory(t, twoFiles)
			files := map[string][]byte{}
			for name, file := range dir {
				files[name] = file.Data
			}
			change(files)
			path := t.TempDir()
			for name, data := range files {
				if err := os.WriteFile(filepath.Join(path, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := migration.New(nil, migration.SQLite, os.DirFS(path), migration.Schema{})
			if !errors.Is(err, domain.ErrChecksum) {
				t.Errorf("%v; want a checksum error", err)
			}
			if slices.Contains([]string{"edited", "added", "removed"}, name) && !strings.Contains(err.Error(), name) {
				t.Errorf("%v; want the word %q", err, name)
			}
		})
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"mode":         "-- atlas:txmode all\n\nCREATE TABLE thing (id integer);\n",
		"two modes":    "-- atlas:txmode none\n-- atlas:txmode file\n\nCREATE TABLE thing (id integer);\n",
		"open bracket": "CREATE TABLE thing (id integer;\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := migration.New(nil, migration.Postgres, directory(t, map[string]string{first + "_x.sql": text}), migration.Schema{}); err == nil {
				t.Error("was accepted")
			}
		})
	}
	if _, err := migration.New(nil, "mysql", directory(t, twoFiles), migration.Schema{}); err == nil {
		t.Error("an unknown dialect was accepted")
	}
}

func TestSessionIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		path := d.url(t)
		db := d.open(t, path)
		db.SetMaxOpenConns(1) // so that the next statement would get the connection of the run
		dir := directory(t, map[string]string{first + "_x.sql": "-- atlas:txmode none\n\nCREATE TABLE thing (id integer);\n"})
		if d.dialect == migration.Postgres {
			dir = and(t, dir, map[string]string{second + "_y.sql": "-- atlas:txmode none\n\nSET search_path = pg_catalog;\nSELECT 1;\n"})
		}
		mustUp(t, d.runner(t, db, dir))

		if d.dialect == migration.SQLite {
			if on := queryString(t, db, "PRAGMA foreign_keys"); on != "1" {
				t.Error("foreign keys are off")
			}
			if n := queryString(t, db, "SELECT count(*) FROM pragma_database_list"); n != "1" {
				t.Errorf("%s databases are attached", n)
			}
			if _, err := os.Stat(path + "-migration"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the lock's file: %v", err)
			}
			return
		}
		// What only reads gives back the connection that it took.
		session := queryString(t, db, "SELECT pg_backend_pid()::text")
		if _, err := plan.Compare(t.Context(), d.runner(t, db, dir), "CREATE TABLE thing (id integer);", nil); err != nil {
			t.Error(err)
		}
		if got := queryString(t, db, `SELECT concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'),
			current_setting('search_path'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), pg_backend_pid())`,
		); got != `0 0 "$user", public 0 `+session {
			t.Errorf("%s; the session was %s", got, session)
		}
	})
}

func TestUpTriesAgainForALock(t *testing.T) {
	t.Parallel()
	d := databases[0]
	dir := directory(t, twoFiles)
	for name, file := range map[string]string{
		"in a transaction": "CREATE TABLE x (id integer);\nALTER TABLE thing ADD COLUMN name text;\n",
		"outside":          "-- atlas:txmode none\n\nCREATE TABLE x (id integer);\nALTER TABLE thing ADD COLUMN name text;\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := d.url(t)
			db := d.open(t, url)
			mustUp(t, d.runner(t, db, dir))
			holder, err := d.open(t, url).BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.Exec("SELECT * FROM thing"); err != nil {
				t.Fatal(err)
			}

			attempts := 0
			_, err = d.runner(t, db, and(t, dir, map[string]string{third + "_x.sql": file})).Up(t.Context(), migration.UpOptions{
				LockTimeout: 20 * time.Millisecond,
				Progress: func(s migration.Step) {
					if s.Statement == 2 {
						attempts = s.Attempt
					}
					if s.Attempt == 3 && s.Statement == 2 {
						if err := holder.Rollback(); err != nil {
							t.Error(err)
						}
					}
				},
			})
			if err != nil || attempts != 3 {
				t.Errorf("%d attempts, %v", attempts, err)
			}
		})
	}
}

func TestUpGivesUp(t *testing.T) {
	t.Parallel()
	d := databases[0]
	url := d.url(t)
	db := d.open(t, url)
	dir := directory(t, twoFiles)
	mustUp(t, d.runner(t, db, dir))
	runner := d.runner(t, db, and(t, dir, map[string]string{third + "_x.sql": "ALTER TABLE thing ADD COLUMN name text;\n"}))
	holder, err := d.open(t, url).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()

	t.Run("on a table that stays locked", func(t *testing.T) {
		if _, err := holder.ExecContext(t.Context(), "BEGIN; SELECT * FROM thing"); err != nil {
			t.Fatal(err)
		}
		_, err := runner.Up(t.Context(), migration.UpOptions{LockTimeout: time.Millisecond})
		var failed *migration.StatementError
		if !errors.Is(err, domain.ErrUnavailable) || !errors.As(err, &failed) {
			t.Errorf("%v; want a StatementError that is unavailable", err)
		}
	})
	t.Run("when the context ends while it waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := runner.Up(ctx, migration.UpOptions{LockTimeout: time.Hour, Progress: func(migration.Step) {
			time.AfterFunc(50*time.Millisecond, cancel)
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v; want Canceled", err)
		}
		if _, err := holder.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("while another runner is at work", func(t *testing.T) {
		atlas := fnv.New32()
		_, _ = atlas.Write([]byte("atlas_migrate_execute")) // so does its command line
		if _, err := holder.ExecContext(t.Context(), "SELECT pg_advisory_lock($1)", int64(atlas.Sum32())); err != nil {
			t.Fatal(err)
		}
		if _, err := runner.Up(t.Context(), migration.UpOptions{Wait: time.Millisecond}); !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("%v; want unavailable", err)
		}
	})
}

func TestLimitsOutOfBounds(t *testing.T) {
	t.Parallel()
	d := databases[1]
	runner := d.runner(t, d.open(t, d.url(t)), directory(t, twoFiles))
	for _, options := range []migration.UpOptions{{LockTimeout: time.Microsecond}, {LockTimeout: -1}, {Wait: -1}} {
		if _, err := runner.Up(t.Context(), options); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%+v: %v; want invalid", options, err)
		}
	}
}

func TestUnreachableDatabase(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		url := "postgres://ann:secret@127.0.0.1:1/accounts?sslmode=disable"
		if d.dialect == migration.SQLite {
			url = filepath.Join(t.TempDir(), "no such directory", "accounts.db")
		}
		runner := d.runner(t, d.open(t, url), directory(t, twoFiles))
		_, up := runner.Up(t.Context(), migration.UpOptions{})
		_, status := runner.Status(t.Context())
		for _, err := range []error{up, status, runner.Check(t.Context())} {
			if !errors.Is(err, domain.ErrUnavailable) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v; want unavailable, without the password", err)
			}
		}
	})
}

func TestHistoryThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	d := databases[0]
	address := d.url(t)
	db := d.open(t, address)
	mustUp(t, d.runner(t, db, directory(t, twoFiles)))
	role := "accounts_reader_" + queryString(t, db, "SELECT oid FROM pg_database WHERE datname = current_database()")
	if queryString(t, db, "SELECT (rolsuper OR rolcreaterole)::text FROM pg_roles WHERE rolname = current_user") == "false" {
		t.Skip("the role of ACCOUNTS_TEST_POSTGRES may not create roles")
	}
	mustExec(t, db, "CREATE ROLE "+role+" LOGIN PASSWORD 'reader'")
	t.Cleanup(func() {
		if _, err := db.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role); err != nil {
			t.Error(err)
		}
	})
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(role, "reader")
	reader := d.open(t, parsed.String())
	if err := d.runner(t, reader, directory(t, twoFiles)).Check(t.Context()); !errors.Is(err, domain.ErrInternal) {
		t.Errorf("%v; want internal", err)
	}
	mustExec(t, db, "GRANT USAGE ON SCHEMA accounts_migrations TO "+role,
		"GRANT SELECT ON accounts_migrations.atlas_schema_revisions TO "+role)
	if err := d.runner(t, reader, directory(t, twoFiles)).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestForeignKeysWhileATableIsRebuilt(t *testing.T) {
	t.Parallel()
	d := databases[1]
	dir := directory(t, map[string]string{first + "_x.sql": lines(
		"CREATE TABLE parent (id integer PRIMARY KEY);",
		"CREATE TABLE child (parent integer REFERENCES parent ON DELETE CASCADE);",
	)})
	rebuild := lines(
		"PRAGMA foreign_keys = off;",
		"CREATE TABLE new_parent (id integer PRIMARY KEY, name text);",
		"INSERT INTO new_parent (id) SELECT id FROM parent;",
		"DROP TABLE parent;",
		"ALTER TABLE new_parent RENAME TO parent;",
		"PRAGMA foreign_keys = on;",
	)
	fill := func(t *testing.T) *sql.DB {
		db := d.open(t, d.url(t))
		mustUp(t, d.runner(t, db, dir))
		mustExec(t, db, "INSERT INTO parent VALUES (1), (2)", "INSERT INTO child VALUES (1), (2)")
		return db
	}
	t.Run("keeps the children", func(t *testing.T) {
		db := fill(t)
		mustUp(t, d.runner(t, db, and(t, dir, map[string]string{second + "_y.sql": rebuild})))
		if n := queryString(t, db, "SELECT count(*) FROM child"); n != "2" {
			t.Errorf("%s children; want 2", n)
		}
	})
	t.Run("may not lose a parent", func(t *testing.T) {
		db := fill(t)
		mustExec(t, db, "PRAGMA foreign_keys = off", "INSERT INTO child VALUES (9)", "PRAGMA foreign_keys = on") // broken before
		losing := strings.Replace(rebuild, "FROM parent", "FROM parent WHERE id = 1", 1)
		runner := d.runner(t, db, and(t, dir, map[string]string{second + "_y.sql": losing}))
		if _, err := runner.Up(t.Context(), migration.UpOptions{}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%v; want invalid", err)
		}
		if n := queryString(t, db, "SELECT count(*) FROM parent"); n != "2" {
			t.Errorf("%s parents; want 2", n)
		}
		if on := queryString(t, db, "PRAGMA foreign_keys"); on != "1" {
			t.Error("foreign keys are off")
		}
	})
}

func TestUnfinishedIndexIsBuiltAgain(t *testing.T) {
	t.Parallel()
	d := databases[0]
	tables := directory(t, twoFiles)
	valid := "SELECT indisvalid::text || ' ' || indisunique FROM pg_index WHERE indexrelid = 'thing_name'::regclass"
	for _, statement := range []string{
		"CREATE UNIQUE INDEX CONCURRENTLY thing_name ON thing (name);",
		`create unique index concurrently if not exists "thing_name" on thing (name);`,
	} {
		dir := and(t, tables, map[string]string{third + "_x.sql": "-- atlas:txmode none\n\n" +
			"ALTER TABLE thing ADD COLUMN IF NOT EXISTS name text;\n" + statement + "\n"})

		t.Run("after a failure", func(t *testing.T) {
			db := d.open(t, d.url(t))
			mustUp(t, d.runner(t, db, tables))
			mustExec(t, db, "ALTER TABLE thing ADD COLUMN name text", "INSERT INTO thing VALUES (7, 'same'), (8, 'same')")
			runner := d.runner(t, db, dir)
			if _, err := runner.Up(t.Context(), migration.UpOptions{}); err == nil || strings.Contains(err.Error(), "same") {
				t.Fatalf("%v; want an error about the index, without the value", err)
			}
			if got := queryString(t, db, valid); got != "false true" {
				t.Fatalf("the index is %s: the test does not test", got)
			}
			mustExec(t, db, "DELETE FROM thing WHERE id = 8")
			mustUp(t, runner)
			if got := queryString(t, db, valid); got != "true true" {
				t.Errorf("the index is %s", got)
			}
		})
		t.Run("after a kill, when PostgreSQL went on to the end", func(t *testing.T) {
			db := d.open(t, d.url(t))
			runner := d.runner(t, db, dir)
			mustUp(t, runner)
			mustExec(t, db, "UPDATE accounts_migrations.atlas_schema_revisions SET applied = 1, partial_hashes = "+
				"jsonb_build_array(partial_hash) FROM (SELECT 'h1:' || encode(sha256('ALTER TABLE thing ADD COLUMN IF NOT EXISTS name text;'), "+
				"'base64') AS partial_hash) h WHERE version = '"+third+"'")
			mustUp(t, runner)
			if got := queryString(t, db, valid); got != "true true" {
				t.Errorf("the index is %s", got)
			}
		})
	}
	t.Run("but not an index of somebody else", func(t *testing.T) {
		db := d.open(t, d.url(t))
		mustUp(t, d.runner(t, db, tables))
		mustExec(t, db, "CREATE INDEX thing_name ON thing (id)")
		runner := d.runner(t, db, and(t, tables, map[string]string{
			third + "_x.sql": "-- atlas:txmode none\n\nCREATE INDEX CONCURRENTLY thing_name ON thing (id, (id + 1));\n",
		}))
		for range 2 {
			if _, err := runner.Up(t.Context(), migration.UpOptions{}); err == nil || !strings.Contains(err.Error(), "already exists") {
				t.Errorf("%v; want: already exists", err)
			}
		}
	})
}

func wantStatus(t *testing.T, runner *migration.Runner, want migration.Status) {
	t.Helper()
	got, err := runner.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Current != want.Current || got.Applied != want.Applied || got.Edited != want.Edited || got.Partial != nil ||
		!slices.Equal(got.Pending, want.Pending) || !slices.Equal(got.Unknown, want.Unknown) ||
		!slices.Equal(got.OutOfOrder, want.OutOfOrder) {
		t.Errorf("status %+v; want %+v", got, want)
	}
}
