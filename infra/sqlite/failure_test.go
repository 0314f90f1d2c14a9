package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
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
		says string
	}{
		"a text file":          {text, domain.ErrUnavailable, text + `" cannot be opened: the file is no database`},
		"a directory":          {directory, domain.ErrUnavailable, directory + `" cannot be opened: it is a directory`},
		"a missing directory":  {filepath.Join(directory, "missing", "accounts.db"), domain.ErrUnavailable, `missing/accounts.db" cannot be opened: no such file or directory`},
		"no path":              {"", domain.ErrInvalid, "is not the path of a file"},
		"a path with NUL":      {"a\x00b", domain.ErrInvalid, "is not the path of a file"},
		"a file as a folder":   {filepath.Join(text, "accounts.db"), domain.ErrUnavailable, `text/accounts.db" cannot be opened: not a directory`},
		"an over-long path":    {filepath.Join(directory, strings.Repeat("x", 5000)), domain.ErrUnavailable, `" cannot be opened: file name too long`},
		"a truncated database": {truncated(t), domain.ErrUnavailable, "the file is damaged"},
	} {
		store, err := sqlite.Open(t.Context(), test.path)
		if err == nil {
			err = store.Migrate(t.Context())
			_ = store.Close()
		}
		var detail *domain.Error
		if !errors.Is(err, test.kind) || !errors.As(err, &detail) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v; want %s", name, err, test.says)
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

// The first to open a new file switches it to the write-ahead log. SQLite answers some of the others that it is busy,
// at once: one in 2,000 here, as many as there are with ACCOUNTS_TEST_LONG=1.
func TestOpenANewFileAtOnce(t *testing.T) {
	rounds := 20
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		rounds = 150
	}
	for range rounds {
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

// A path that begins with two slashes is no authority, and one may be relative.
func TestPathsOfAllSorts(t *testing.T) {
	directory := t.TempDir()
	t.Chdir(directory)
	for i, path := range []string{"relative.db", "./dot.db", "a:b.db", "localhost", "/" + directory + "/slashes.db", "//" + directory + "/more.db"} {
		store, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := errors.Join(store.Migrate(t.Context()), store.Close()); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if files, err := os.ReadDir(directory); err != nil || len(files) != i+1 {
			t.Errorf("%s: made %v, %v", path, files, err)
		}
	}
}

// The file and those beside it hold hashes: they are for their owner, whatever the process's umask lets others read.
func TestFilesAreForTheirOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permissions")
	}
	path := filepath.Join(t.TempDir(), "accounts.db")
	store := storetest.OpenSQLite(t, path)
	if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o; want 600", filepath.Base(name), got)
		}
	}
}

// A file that is there keeps its mode, which its owner chose.
func TestAnExistingFileKeepsItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	storetest.OpenSQLite(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v", info, err)
	}
}

// TestReadersDoNotWait reads while a transaction that writes is open, and sees the state before it.
func TestReadersDoNotWait(t *testing.T) {
	store := open(t)
	ana := storetest.NewUser(t, "ana")
	if err := store.Create(t.Context(), ana); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := store.InTx(ctx, func(tx *infra.Tx) error {
		if err := tx.Create(ctx, storetest.NewUser(t, "eva")); err != nil {
			return err
		}
		if n, err := store.Count(ctx, domain.Filter{}); err != nil || n != 1 {
			t.Errorf("outside, %d accounts, %v; want 1", n, err)
		}
		n, err := tx.Count(ctx, domain.Filter{})
		if n != 2 {
			t.Errorf("inside, %d accounts; want 2", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := store.Count(ctx, domain.Filter{}); err != nil || n != 2 {
		t.Errorf("afterwards, %d accounts, %v; want 2", n, err)
	}
}

// TestChangesInALoop changes accounts in the loop of an export, which has not ended.
func TestChangesInALoop(t *testing.T) {
	store := open(t)
	for i := range 5 {
		if err := store.Create(t.Context(), storetest.NewUser(t, fmt.Sprintf("user%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for u, err := range store.Export(ctx) {
		if err == nil {
			_, err = store.Deactivate(ctx, u.ID())
		}
		if err != nil {
			t.Fatal(err)
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
	err := store.Create(t.Context(), storetest.NewUser(t, "ana"))
	if !errors.Is(err, domain.ErrUnavailable) || !strings.Contains(err.Error(), `accounts.db" is not available (it cannot be written, SQLite 8)`) {
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

// What is written into a file that is gone is not stored, and no call says that it is.
func TestFileIsRemovedWhileOpen(t *testing.T) {
	ctx := t.Context()
	for name, remove := range map[string]func(path string) error{
		"file":      os.Remove,
		"directory": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"replaced": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "inner", "accounts.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			store, err := sqlite.Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(store.Migrate(ctx), store.Create(ctx, storetest.NewUser(t, "ana"))); err != nil {
				t.Fatal(err)
			}
			if err := remove(path); err != nil {
				t.Skip("an open file cannot be removed here: ", err)
			}
			if name == "replaced" {
				if err := store.Create(ctx, storetest.NewUser(t, "eve")); !errors.Is(err, domain.ErrUnavailable) {
					t.Errorf("create: %v", err)
				}
				if err := errors.Join(store.Migrate(ctx), store.Create(ctx, storetest.NewUser(t, "eve")), store.Close()); err != nil {
					t.Errorf("in the new file: %v", err)
				}
				return
			}
			for what, err := range map[string]error{
				"create":      store.Create(ctx, storetest.NewUser(t, "bob")),
				"transaction": store.InTx(ctx, func(tx *infra.Tx) error { return tx.Create(ctx, storetest.NewUser(t, "joe")) }),
				"close":       store.Close(),
			} {
				if !errors.Is(err, domain.ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}
