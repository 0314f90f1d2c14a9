package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

const testPassword = "correct horse battery"

// outcome is how a run of the program with --json ended.
type outcome struct {
	kind   domain.Kind // of the error; empty when there was none
	result map[string]any
}

// accounts runs the program in a process of its own.
func accounts(t *testing.T, database, stdin string, args ...string) outcome {
	t.Helper()
	program := exec.Command("accounts", append([]string{"--json", "--database", database}, args...)...)
	program.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	program.Stdout, program.Stderr = &stdout, &stderr
	err := program.Run()

	var o outcome
	if err == nil {
		if err := json.Unmarshal(stdout.Bytes(), &o.result); err != nil {
			t.Errorf("%v: %v in %q", args, err, stdout.String())
		}
		return o
	}
	var refusal struct{ Error struct{ Kind domain.Kind } }
	if err := json.Unmarshal(stderr.Bytes(), &refusal); err != nil || refusal.Error.Kind == "" {
		t.Errorf("%v: no error on standard error, but %q", args, stderr.String())
	}
	o.kind = refusal.Error.Kind
	return o
}

// mustRun is accounts for what must succeed.
func mustRun(t *testing.T, database, stdin string, args ...string) map[string]any {
	t.Helper()
	o := accounts(t, database, stdin, args...)
	if o.kind != "" {
		t.Fatalf("%v: %s", args, o.kind)
	}
	return o.result
}

// processes is how many run at once.
const processes = 8

// atOnce runs the program in that many processes at once and returns how each ended.
func atOnce(t *testing.T, run func() outcome) []outcome {
	t.Helper()
	outcomes := make([]outcome, processes)
	var running sync.WaitGroup
	for i := range outcomes {
		running.Go(func() { outcomes[i] = run() })
	}
	running.Wait()
	return outcomes
}

// kinds counts the outcomes by kind.
func kinds(outcomes []outcome) map[domain.Kind]int {
	count := map[domain.Kind]int{}
	for _, o := range outcomes {
		count[o.kind]++
	}
	return count
}

func createAnn(t *testing.T, database string) {
	t.Helper()
	mustRun(t, database, testPassword, "user", "create", "--email", "ann@example.org", "--username", "ann", "--password-stdin")
}

func TestProcessesGuessAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	database := storetest.PostgresURL(t)
	createAnn(t, database)
	guess := func(maxFailures string) []outcome {
		return atOnce(t, func() outcome {
			return accounts(t, database, "wrong password", "user", "login", "ann", "--password-stdin", "--max-failures", maxFailures, "--lock-for", "1h")
		})
	}
	check := func(outcomes []outcome, wrong, locked, counted int) {
		t.Helper()
		if got := kinds(outcomes); got[domain.ErrBadCredentials] != wrong || got[domain.ErrLocked] != locked {
			t.Errorf("the guesses ended with %v; want %d bad_credentials, %d locked", got, wrong, locked)
		}
		ann := mustRun(t, database, "", "user", "show", "ann")
		if got := ann["failed_login_attempts"]; got != float64(counted) {
			t.Errorf("%v failures were counted; want %d", got, counted)
		}
		if isLocked := ann["locked_until"] != nil; isLocked != (locked > 0) {
			t.Errorf("locked until %v", ann["locked_until"])
		}
	}
	check(guess("5"), 5, processes-5, 5)
}

func TestProcessesRotateOneToken(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	database := storetest.PostgresURL(t)
	createAnn(t, database)
	rotate := func(token any, grace string) outcome {
		return accounts(t, database, token.(string), "session", "rotate", "--grace", grace)
	}

	t.Run("without grace one wins, and the session ends", func(t *testing.T) {
		issued := mustRun(t, database, "", "session", "issue", "ann")
		outcomes := atOnce(t, func() outcome { return rotate(issued["token"], "0") })
		got := kinds(outcomes)
		if got[""] != 1 || got[domain.ErrTokenReused] == 0 || got[""]+got[domain.ErrTokenReused]+got[domain.ErrTokenInvalid] != len(outcomes) {
			t.Errorf("the rotations ended with %v; want one without an error, others token_reused or, the session being gone, token_invalid", got)
		}
		for _, o := range outcomes {
			if o.kind == "" {
				if kind := rotate(o.result["token"], "0").kind; kind != domain.ErrTokenInvalid {
					t.Errorf("the winner's token: %q; want token_invalid", kind)
				}
			}
		}
	})
}

// TestProcessesRotateOneTokenWithinGrace demands that all get the one token that is stored then. It takes 200 rounds with
// ACCOUNTS_TEST_LONG=1.
func TestProcessesRotateOneTokenWithinGrace(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	rounds := 1
	if os.Getenv("ACCOUNTS_TEST_LONG") == "1" {
		rounds = 200
	}
	for name, open := range map[string]func(*testing.T) string{
		"postgres": func(t *testing.T) string { return storetest.PostgresURL(t) },
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "accounts.db") },
	} {
		t.Run(name, func(t *testing.T) {
			database := open(t)
			createAnn(t, database)
			issued := mustRun(t, database, "", "session", "issue", "ann")
			token := issued["token"].(string)
			for round := range rounds {
				outcomes := atOnce(t, func() outcome { return accounts(t, database, token, "session", "rotate", "--grace", "1h") })
				for _, o := range outcomes {
					if o.kind != "" || o.result["token"] != outcomes[0].result["token"] || o.result["session_id"] != issued["session_id"] {
						t.Fatalf("round %d: %q, session %v; or not the token that the others got", round, o.kind, o.result["session_id"])
					}
				}
				next := outcomes[0].result["token"].(string)
				mustRun(t, database, next, "session", "show")
				if next == token && round < domain.MaxGraceRotations {
					t.Fatalf("round %d gave the old token", round)
				}
				if token = next; round%10 == 9 { // the next ten are of another session, so that none comes to the bound of rotations within grace
					issued = mustRun(t, database, "", "session", "issue", "ann")
					token = issued["token"].(string)
				}
			}
		})
	}
}

func TestProcessesIssueAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	database := storetest.PostgresURL(t)
	createAnn(t, database)
	got := kinds(atOnce(t, func() outcome { return accounts(t, database, "", "session", "issue", "ann") }))
	if got[""] != processes {
		t.Errorf("the issues ended with %v", got)
	}
	if sessions := mustRun(t, database, "", "user", "show", "ann")["sessions"]; sessions != float64(processes) {
		t.Errorf("%v sessions; want %d", sessions, processes)
	}
}

func TestProcessesCreateOneAccount(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	database := storetest.PostgresURL(t)
	got := kinds(atOnce(t, func() outcome {
		return accounts(t, database, "", "user", "create", "--email", "ann@example.org", "--username", "ann", "--no-password")
	}))
	if got[""] != 1 || got[domain.ErrTaken] != processes-1 {
		t.Errorf("the creations ended with %v; want one without an error, %d taken", got, processes-1)
	}
}

// TestProcessesVerifyWhileOthersPurge demands that no account is deleted that a process has verified. With ACCOUNTS_TEST_LONG=1 there are
// 600 accounts.
func TestProcessesVerifyWhileOthersPurge(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	n := 8
	if os.Getenv("ACCOUNTS_TEST_LONG") == "1" {
		n = 600
	}
	for name, open := range map[string]func(*testing.T) (string, *infra.Store){
		"postgres": func(t *testing.T) (string, *infra.Store) {
			url := storetest.PostgresURL(t)
			return url, storetest.OpenPostgres(t, url)
		},
		"sqlite": func(t *testing.T) (string, *infra.Store) {
			path := filepath.Join(t.TempDir(), "accounts.db")
			return "sqlite:" + path, storetest.OpenSQLite(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			database, store := open(t)
			users := make([]*domain.User, n)
			for i := range users {
				users[i] = storetest.NewUser(t, fmt.Sprintf("user%d", i))
			}
			if refused, err := store.CreateMany(t.Context(), users); errors.Join(append(refused, err)...) != nil {
				t.Fatal(refused, err)
			}
			if _, err := store.DB().ExecContext(t.Context(), "UPDATE users SET created_at = '2020-01-01 00:00:00'"); err != nil {
				t.Fatal(err)
			}
			verified := make([]bool, n)
			purged := make([]int, 2)
			var running sync.WaitGroup
			for i := range processes {
				running.Go(func() {
					for at := i; at < n; at += processes {
						switch kind := accounts(t, database, "", "user", "verify", users[(at*7)%n].ID().String()).kind; kind {
						case "":
							verified[(at*7)%n] = true
						case domain.ErrNotFound:
						default:
							t.Errorf("verify: %s", kind)
						}
					}
				})
			}
			for i := range purged {
				running.Go(func() {
					for {
						o := accounts(t, database, "", "user", "purge", "--unverified-for", "1h", "--limit", "2", "--yes")
						step, _ := o.result["purged"].(float64)
						if purged[i] += int(step); step == 0 {
							return
						}
					}
				})
			}
			running.Wait()
			there := 0
			for i, u := range users {
				_, err := store.FindByID(t.Context(), u.ID())
				if err == nil {
					there++
				}
				if (err == nil) != verified[i] {
					t.Errorf("account %d: verified %t, and found: %v", i, verified[i], err)
				}
			}
			deleted := purged[0] + purged[1]
			t.Logf("%d verified, %d deleted", there, deleted)
			if there+deleted != n {
				t.Errorf("%d accounts are there and %d were deleted, of %d", there, deleted, n)
			}
		})
	}
}

func TestClosedStandardOutput(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	program := exec.Command("accounts", "version")
	program.Stdout = writer
	var stderr bytes.Buffer
	program.Stderr = &stderr
	if err := errors.Join(program.Run(), writer.Close()); err == nil {
		t.Error("the program says that it has printed its version")
	}
	if strings.Contains(stderr.String(), "panic") {
		t.Errorf("standard error: %s", stderr.String())
	}
}

// A signal, which ends the context, is heeded while the program waits for standard input.
func TestInterruptWhileReading(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	stdin, user := io.Pipe()
	go func() {
		_, _ = user.Write([]byte("the begin")) // returns when it was read
		interrupt()
	}()
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"--json", "--database", "sqlite::memory:", "session", "rotate"}, stdin, &stdout, &stderr)
	const want = `{"error":{"kind":"unavailable","message":"interrupted"}}` + "\n"
	if status != 1 || stdout.Len() > 0 || stderr.String() != want {
		t.Errorf("status %d, %q, %q; want 1, nothing, %q", status, stdout.String(), stderr.String(), want)
	}
}
