package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

func TestOpenRefusesWhatIsNoDatabase(t *testing.T) {
	directory := t.TempDir()
	text := filepath.Join(directory, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		kind domain.Kind
	}{
		"a text file":          {text, domain.ErrUnavailable},
		"a directory":          {directory, domain.ErrUnavailable},
		"a missing directory":  {filepath.Join(directory, "missing", "accounts.db"), domain.ErrUnavailable},
		"no path":              {"", domain.ErrInvalid},
		"a path with NUL":      {"a\x00b", domain.ErrInvalid},
		"a file as a folder":   {filepath.Join(text, "accounts.db"), domain.ErrUnavailable},
		"an over-long path":    {filepath.Join(directory, strings.Repeat("x", 5000)), domain.ErrUnavailable},
		"a truncated database": {truncated(t), domain.ErrUnavailable},
	} {
		store, err := sqlite.Open(t.Context(), test.path)
		if err == nil {
			err = store.Migrate(t.Context())
			_ = store.Close()
		}
		var detail *domain.Error
		if !errors.Is(err, test.kind) || !errors.As(err, &detail) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// truncated returns the path of a database that lacks its end.
func truncated(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.db")
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Migrate(t.Context()), store.Create(t.Context(), storetest.NewUser(t, "ana")), store.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whoever opens a new file first switches it to the write-ahead log. SQLite answers some of the others that it is busy,
// at once: one in 2,000 here.
func TestOpenANewFileAtOnce(t *testing.T) {
	for range 150 {
		path := filepath.Join(t.TempDir(), "accounts.db")
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				store, err := sqlite.Open(t.Context(), path)
				if err == nil {
					err = store.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
}

func TestPathsAreTakenLiterally(t *testing.T) {
	for _, name := range []string{"a b.db", "a?mode=memory", "100%.db", "a#b", "ñ.db", "%41.db"} {
		path := filepath.Join(t.TempDir(), name)
		store, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := errors.Join(store.Migrate(t.Context()), store.Close()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: no file of that name: %v", name, err)
		}
	}
}

// TestFullDisk lets the database grow no further, which is what SQLite meets on a full disk.
func TestFullDisk(t *testing.T) {
	store := open(t)
	first := storetest.NewUser(t, "first")
	if err := store.Create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := store.DB().QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := store.DB().Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
		t.Fatal(err)
	}
	created := 0
	var err error
	for i := range 10_000 {
		if err = store.Create(t.Context(), storetest.NewUser(t, fmt.Sprintf("user%d", i))); err != nil {
			break
		}
		created++
	}
	if !errors.Is(err, domain.ErrUnavailable) {
		t.Fatalf("after %d accounts: %v", created, err)
	}
	n, err := store.Count(t.Context(), domain.Filter{})
	if err != nil || n != created+1 {
		t.Errorf("%d accounts of %d, %v", n, created+1, err)
	}
	if _, err := store.FindByID(t.Context(), first.ID()); err != nil {
		t.Errorf("a stored account cannot be read: %v", err)
	}
}

func TestReadOnlyDatabase(t *testing.T) {
	store := open(t)
	if _, err := store.DB().Exec("PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestEveryConnectionIsSetUp drops the connection, so that the pool makes another.
func TestEveryConnectionIsSetUp(t *testing.T) {
	store := open(t)
	for range 2 {
		for pragma, want := range map[string]string{"foreign_keys": "1", "journal_mode": "wal", "busy_timeout": "10000", "synchronous": "2"} {
			var got string
			if err := store.DB().QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s, not %s (%v)", pragma, got, want, err)
			}
		}
		store.DB().SetMaxIdleConns(0)
	}
}
