//go:build unix

package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// rounds is how often something is killed: 200 times if ACCOUNTS_TEST_LONG is set.
func rounds(few int) int {
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		return 200
	}
	return few
}

const killedVariable = "ACCOUNTS_AUDIT_TEST_DATABASE"

func TestMain(m *testing.M) {
	if address := os.Getenv(killedVariable); address != "" {
		if err := changeForEver(address); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func open(ctx context.Context, address string) (*infra.Store, error) {
	trail := audit.WithTrail(audit.Options{})
	if strings.HasPrefix(address, "postgres://") {
		return postgres.Open(ctx, address, trail)
	}
	return sqlite.Open(ctx, address, trail)
}

// changeForEver activates an account, which on PostgreSQL has its entry in the same statement, and deactivates it, which has it in a transaction, again and
// again, in several goroutines, until it is killed. It is run by a process of its own.
func changeForEver(address string) error {
	ctx := context.Background()
	store, err := open(ctx, address)
	if err != nil {
		return err
	}
	username, err := domain.ParseUsername("ana")
	if err != nil {
		return err
	}
	u, err := store.FindByUsername(ctx, username)
	if err != nil {
		return err
	}
	if _, err := store.Deactivate(ctx, u.ID()); err != nil {
		return err
	}
	fmt.Println("ready")
	failed := make(chan error)
	for range 4 {
		go func() {
			for n := int64(0); ; n++ {
				if _, err := store.Deactivate(ctx, u.ID()); err != nil {
					failed <- err
				}
				if _, err := store.Activate(ctx, u.ID()); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// agree demands as many entries as there were changes: each has raised the version by one. It reads them in one statement, since the server may
// still be at work for a process that was killed, and again where the connection was one to a server that was killed.
func agree(t *testing.T, store *infra.Store) (version int64) {
	t.Helper()
	var entries, edits int64
	postgrestest.Await(t, "the server answers", func() bool {
		return store.DB().QueryRow(`SELECT (SELECT version FROM users), (SELECT count(*) FROM account_events),
			(SELECT count(*) FROM account_events WHERE kind IN ('activated', 'deactivated'))`).Scan(&version, &entries, &edits) == nil
	})
	if edits != version-1 || entries != edits+1 {
		t.Fatalf("%d entries, %d of them of edits, for version %d", entries, edits, version)
	}
	return version
}

// TestKilledProcess kills, by SIGKILL, a process that changes an account: the change and its entry are both there, or neither.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return t.TempDir() + "/accounts.db" },
		"postgres": func(t *testing.T) string { return storetest.PostgresURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			address := address(t)
			store, err := open(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			create(t, t.Context(), store, "ana")
			begun := agree(t, store)
			for range rounds(2) {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), killedVariable+"="+address)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "ready" {
					t.Fatalf("the process says %q", lines.Text())
				}
				time.Sleep(rand.N(30 * time.Millisecond))
				_ = cmd.Process.Kill()
				if err := cmd.Wait(); err == nil {
					t.Fatal("the process was not killed")
				}
				agree(t, store)
			}
			if ended := agree(t, store); ended == begun {
				t.Error("nothing was changed")
			}
		})
	}
}

// TestKilledServer kills, by SIGKILL, the server's process that works on a change, upon which PostgreSQL recovers as after a crash.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	if os.Getenv("ACCOUNTS_TEST_LONG") == "" {
		t.Log("set ACCOUNTS_TEST_LONG=1 for 200 rounds on a server of its own")
	}
	cluster := postgrestest.NewCluster(t)
	store := storetest.OpenPostgres(t, cluster.URL, audit.WithTrail(audit.Options{}))
	u := create(t, t.Context(), store, "ana")
	begun := agree(t, store)
	for range rounds(1) {
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		for range 4 {
			working.Go(func() {
				for ctx.Err() == nil {
					_, _ = store.Deactivate(ctx, u.ID()) // whose outcome is unknown when the server dies
					_, _ = store.Activate(ctx, u.ID())
				}
			})
		}
		postgrestest.Await(t, "an edit is made", func() bool {
			found, err := store.FindByID(t.Context(), u.ID())
			return err == nil && found.Version() > begun
		})
		time.Sleep(rand.N(30 * time.Millisecond))
		var pid string
		postgrestest.Await(t, "a process of the server works", func() bool {
			return store.DB().QueryRow("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend' LIMIT 1").Scan(&pid) == nil
		})
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(n, syscall.SIGKILL)
		time.Sleep(rand.N(20 * time.Millisecond))
		cancel()
		working.Wait()
		postgrestest.Await(t, "the server has recovered", func() bool { return store.DB().PingContext(t.Context()) == nil })
		agree(t, store)
	}
	if ended := agree(t, store); ended == begun {
		t.Error("nothing was changed")
	}
}
