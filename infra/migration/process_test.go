package migration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

// job is what a process of its own is to do: Up, printing a line before each statement.
type job struct {
	Database  int // of databases
	URL, Dir  string
	Statement int // of Version, before which to stop and wait to be killed; zero means none
	Version   string
}

const jobVariable = "ACCOUNTS_MIGRATION_TEST_JOB"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		var j job
		if err := errors.Join(json.Unmarshal([]byte(text), &j), j.do()); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func (j job) do() error {
	d := databases[j.Database]
	db, err := openURL(d, j.URL)
	if err != nil {
		return err
	}
	runner, err := migration.New(db, d.dialect, os.DirFS(j.Dir), migration.Schema{})
	if err != nil {
		return err
	}
	files, err := runner.Up(context.Background(), migration.UpOptions{Progress: func(s migration.Step) {
		fmt.Println("statement", s.Statement, "of", s.File.Version)
		if s.Statement == j.Statement && s.File.Version == j.Version {
			select {}
		}
	}})
	fmt.Println("applied", len(files))
	return errors.Join(err, db.Close())
}

// start returns the running process and its output.
func (j job) start(t *testing.T) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// killAt starts the job, kills it with SIGKILL when it has printed a line and wait has returned, and waits for its end.
func (j job) killAt(t *testing.T, line string, wait func()) {
	t.Helper()
	cmd, out := j.start(t)
	for out.Scan() && out.Text() != line {
	}
	if out.Text() != line {
		t.Fatalf("the process ended before it printed %q", line)
	}
	wait()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the process was not killed")
	}
}

func TestFiveProcessesAtOnce(t *testing.T) {
	t.Parallel()
	for i, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dir := and(t, d.embedded(t), map[string]string{"29990101000000_last.sql": unbound})
			j := job{Database: i, URL: d.url(t), Dir: onDisk(t, dir)}
			var processes sync.WaitGroup
			ends := make([]string, 5)
			for n := range ends {
				processes.Go(func() {
					cmd, out := j.start(t)
					for out.Scan() {
						ends[n] = out.Text()
					}
					if err := cmd.Wait(); err != nil {
						t.Error(err, ends[n])
					}
				})
			}
			processes.Wait()

			files, err := fs.Glob(dir, "*.sql")
			if err != nil {
				t.Fatal(err)
			}
			working := 0
			for _, end := range ends {
				switch end {
				case fmt.Sprint("applied ", len(files)):
					working++
				case "applied 0":
				default:
					t.Errorf("a process ended with %q", end)
				}
			}
			if working != 1 {
				t.Errorf("%d processes applied the files; want 1: %q", working, ends)
			}
			if err := d.runner(t, d.open(t, j.URL), dir).Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFiveGoroutinesAtOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		url := d.url(t)
		var runs sync.WaitGroup
		var mu sync.Mutex
		working := 0
		for range 5 {
			runner := d.runner(t, d.open(t, url), d.embedded(t))
			runs.Go(func() {
				files, err := runner.Up(t.Context(), migration.UpOptions{})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(files) > 0 {
					working++
				}
			})
		}
		runs.Wait()
		if working != 1 {
			t.Errorf("%d runners applied the files; want 1", working)
		}
	})
}

func TestKilledBetweenStatements(t *testing.T) {
	t.Parallel()
	for i, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dir := directory(t, map[string]string{third + "_last.sql": unbound})
			j := job{Database: i, URL: d.url(t), Dir: onDisk(t, dir), Statement: 3, Version: third}
			j.killAt(t, "statement 3 of "+third, func() {})

			db := d.open(t, j.URL)
			runner := d.runner(t, db, dir)
			if err := runner.Check(t.Context()); !errors.Is(err, domain.ErrPendingMigrations) || !strings.Contains(err.Error(), "2 of 3") {
				t.Errorf("check: %v", err)
			}
			files, err := runner.Up(t.Context(), migration.UpOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != 1 || len(files[0].Statements) != 1 {
				t.Errorf("applied %+v; want one statement", files)
			}
			if n := queryString(t, db, "SELECT count(*) FROM last"); n != "2" {
				t.Errorf("%s rows; want 2", n)
			}
			if err := runner.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestKilledInATransaction(t *testing.T) {
	t.Parallel()
	for i, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dir := directory(t, twoFiles)
			j := job{Database: i, URL: d.url(t), Dir: onDisk(t, dir), Statement: 2, Version: second}
			j.killAt(t, "statement 2 of "+second, func() {})

			runner := d.runner(t, d.open(t, j.URL), dir)
			mustUp(t, runner)
			wantStatus(t, runner, migration.Status{Current: second, Pending: []string{}, Applied: 2})
		})
	}
}

// PostgreSQL goes on with a statement whose client is gone; the next run must not start over beside it.
func TestKilledInAStatement(t *testing.T) {
	t.Parallel()
	d := databases[0]
	dir := directory(t, map[string]string{third + "_slow.sql": lines(
		"-- atlas:txmode none",
		"",
		"CREATE TABLE batch (n integer);",
		"DO $$",
		"BEGIN",
		"  FOR n IN (SELECT coalesce(max(b.n), 0) + 1 FROM batch b) .. 20 LOOP",
		"    INSERT INTO batch VALUES (n);",
		"    COMMIT;",
		"    PERFORM pg_sleep(0.1);",
		"  END LOOP;",
		"END $$;",
	)})
	j := job{URL: d.url(t), Dir: onDisk(t, dir)}
	db := d.open(t, j.URL)
	j.killAt(t, "statement 2 of "+third, func() {
		for queryString(t, db, "SELECT count(*) FROM batch") == "0" {
			time.Sleep(5 * time.Millisecond)
		}
	})
	if n := queryString(t, db, "SELECT count(*) FROM batch"); n == "0" || n == "20" {
		t.Fatalf("%s batches were done when the process was killed: the test does not test", n)
	}
	mustUp(t, d.runner(t, db, dir))
	if got := queryString(t, db, "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || max(n) FROM batch"); got != "20 20 20" {
		t.Errorf("%s; want each of 20 batches once", got)
	}
}
