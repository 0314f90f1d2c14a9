//go:build unix

package sqlite_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

const killedVariable = "ACCOUNTS_TEST_KILLED"

// A process that is killed loses nothing that it has acknowledged, as long as the files beside the database stay where they are. Without the write-ahead log the database is
// one of an earlier time, and whole: at most the changes of the last megabyte of log are missing.
func TestProcessIsKilled(t *testing.T) {
	ctx := t.Context()
	if path := os.Getenv(killedVariable); path != "" {
		store, err := sqlite.Open(ctx, path)
		if err == nil {
			err = store.Migrate(ctx)
		}
		for i := 0; err == nil; i++ {
			u := storetest.NewUser(t, fmt.Sprintf("user%d", i))
			if err = store.Create(ctx, u); err == nil {
				fmt.Println("created", u.ID())
			}
		}
		t.Fatal(err)
	}
	for range 5 { // the log may have been written into the file right before
		acknowledged, without := kill(t)
		if without < acknowledged {
			return
		}
	}
	t.Error("in five runs nothing was in the log alone; the test shows nothing")
}

// kill kills a process that creates accounts, and returns how many it acknowledged, all of which must be there, and how many are there without the log.
func kill(t *testing.T) (n, without int) {
	t.Helper()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "accounts.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, self, "-test.run", "^"+t.Name()+"$")
	command.Env = append(os.Environ(), killedVariable+"="+path)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	const wanted = 300
	var acknowledged []domain.ID
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, created := strings.CutPrefix(lines.Text(), "created ")
		if !created {
			continue
		}
		id, err := domain.ParseID(text)
		if err != nil {
			break // a line that was cut
		}
		if acknowledged = append(acknowledged, id); len(acknowledged) == wanted {
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := command.Wait(); err == nil || len(acknowledged) < wanted {
		t.Fatalf("the process ended by itself (%v) after %d accounts", err, len(acknowledged))
	}
	file, err := os.ReadFile(path) // as somebody copies it who does not know of the log
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "alone.db")
	if err := os.WriteFile(alone, file, 0o600); err != nil {
		t.Fatal(err)
	}
	store := storetest.OpenSQLite(t, path)
	found, err := store.FindByIDs(ctx, acknowledged)
	if err != nil {
		t.Fatal(err)
	}
	for i, u := range found {
		if u == nil {
			t.Errorf("account %d of %d was acknowledged and is not there", i, len(found))
		}
	}
	old, err := sqlite.Open(ctx, alone)
	if err != nil {
		t.Fatal(err)
	}
	var says string
	if err := old.DB().QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&says); err != nil || says != "ok" {
		t.Errorf("without its log the database is damaged: %s, %v", says, err)
	}
	without, err = old.Count(ctx, domain.Filter{})
	if err != nil && !errors.Is(err, domain.ErrInternal) { // it may be older than the tables
		t.Error(err)
	}
	t.Logf("%d acknowledged; without the log %d are there (%v)", len(acknowledged), without, err)
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	return len(acknowledged), without
}
