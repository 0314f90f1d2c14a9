package infra_test

import (
	"bytes"
	"embed"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	migratepostgres "github.com/softbee/accounts/ent/migrate/postgres"
	migratesqlite "github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

var update = flag.Bool("update", false, "write the golden files")

// TestRowsOfEveryVersion stores the rows of testdata/history/DATABASE/VERSION.sql in a database of that version, migrates
// it to the newest one, and reads them through the store. What is read must be what VERSION.json says. A version whose file
// changes no column needs no rows of its own; every other one does.
func TestRowsOfEveryVersion(t *testing.T) {
	for _, database := range databases {
		names, err := fs.Glob(files[database], "*.sql")
		if err != nil || len(names) == 0 {
			t.Fatalf("%s has no migrations: %v", database, err)
		}
		for _, file := range names {
			version, _, _ := strings.Cut(file, "_")
			rows, err := os.ReadFile(filepath.Join("testdata", "history", database, version+".sql"))
			if os.IsNotExist(err) && !changesColumns(t, database, file) {
				continue
			}
			if err != nil {
				t.Errorf("version %s of %s has no rows to try: %v", version, database, err)
				continue
			}
			t.Run(database+"/"+version, func(t *testing.T) {
				store := openEmpty(t, database)
				migrateThrough(t, store, version, string(rows))
				compareWithGolden(t, store, filepath.Join("testdata", "history", database, version+".json"))
			})
		}
	}
}

var databases = []string{"postgres", "sqlite"}

var files = map[string]embed.FS{"postgres": migratepostgres.Files, "sqlite": migratesqlite.Files}

// openEmpty returns a store on a new database, in which there is nothing yet.
func openEmpty(t *testing.T, database string) *infra.Store {
	t.Helper()
	var store *infra.Store
	var err error
	if database == "postgres" {
		store, err = postgres.Open(t.Context(), postgrestest.Database(t))
	} else {
		store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "accounts.db"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// changesColumns tells whether a migration does anything to columns. It errs on the side of asking for rows.
func changesColumns(t *testing.T, database, file string) bool {
	t.Helper()
	text, err := files[database].ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	upper := strings.ToUpper(string(text))
	for _, word := range []string{"CREATE TABLE", " COLUMN ", "UPDATE "} {
		if strings.Contains(upper, word) {
			return true
		}
	}
	return false
}

func migrateThrough(t *testing.T, store *infra.Store, version, rows string) {
	t.Helper()
	runner, err := store.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runner.Up(t.Context(), migration.UpOptions{To: version}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.DB().Exec(rows); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func compareWithGolden(t *testing.T, store *infra.Store, golden string) {
	t.Helper()
	page, err := store.List(t.Context(), domain.ListQuery{Order: domain.OrderEmail})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	encoder := json.NewEncoder(&got)
	encoder.SetIndent("", "  ")
	for _, listed := range page.Users {
		u, err := store.FindByID(t.Context(), listed.ID()) // a list has no secrets
		if err != nil {
			t.Fatal(err)
		}
		if err := encoder.Encode(plain(u)); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s says\n%s\nbut the store reads\n%s", golden, want, got.Bytes())
	}
}

// plain is an account's state with its secrets revealed.
func plain(u *domain.User) any {
	state := u.State()
	return struct {
		domain.UserState
		PasswordHash, ResetToken, VerificationToken, PhoneCode string
		Sessions                                               []string
		LiveSessions                                           int
	}{
		UserState:         state,
		PasswordHash:      state.PasswordHash.Stored(),
		ResetToken:        state.ResetToken.Stored(),
		VerificationToken: state.VerificationToken.Stored(),
		PhoneCode:         state.PhoneCode.Stored(),
		Sessions:          state.Sessions,
		LiveSessions:      len(u.Sessions(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))),
	}
}

// TestMigrationsLeaveOtherTablesAlone migrates a database that an application has tables in already.
func TestMigrationsLeaveOtherTablesAlone(t *testing.T) {
	for _, database := range databases {
		t.Run(database, func(t *testing.T) {
			store := openEmpty(t, database)
			if _, err := store.DB().Exec("CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders VALUES (42)"); err != nil {
				t.Fatal(err)
			}
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			var id int
			if err := store.DB().QueryRow("SELECT id FROM orders").Scan(&id); err != nil || id != 42 {
				t.Errorf("the application's table: %d, %v", id, err)
			}
		})
	}
}
