package bulk_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/bulk"
	"github.com/softbee/accounts/infra/internal/rowtest"
	"github.com/softbee/accounts/infra/storetest"
)

const (
	onSQLite   = "sqlite"
	onPostgres = "postgres"
)

// emptyStore opens a new database of a kind.
func emptyStore(t *testing.T, kind string) *infra.Store {
	t.Helper()
	if kind == onSQLite {
		return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	}
	return storetest.OpenPostgres(t, storetest.PostgresURL(t))
}

// filledStore opens a database with any rows that it accepts, and identities.
func filledStore(t *testing.T, kind string) (store *infra.Store, rows int) {
	t.Helper()
	rows = 300
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		rows = 20_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	store = emptyStore(t, kind)
	generator := &rowtest.Generator{Random: rand.New(rand.NewPCG(seed, 1)), SQLite: kind == onSQLite}
	if users, identities, err := generator.Fill(t.Context(), store.DB(), rows); err != nil || users < rows || identities < rows/4 {
		t.Fatalf("%d users, %d identities, %v", users, identities, err)
	}
	return store, rows
}

// exported returns the export of a store, with hashes.
func exported(t *testing.T, store *infra.Store, format bulk.Format) []byte {
	t.Helper()
	var file bytes.Buffer
	if _, err := bulk.Export(t.Context(), store, &file, bulk.ExportOptions{Format: format, WithHashes: true}); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestExportAndImportAreInverses demands that the export of a database, imported into an empty one, is exported there to the same bytes. What
// PostgreSQL accepts, SQLite does.
func TestExportAndImportAreInverses(t *testing.T) {
	for _, pair := range [][2]string{{onSQLite, onSQLite}, {onPostgres, onPostgres}, {onPostgres, onSQLite}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			t.Parallel()
			store, rows := filledStore(t, pair[0])
			signedIn := storetest.NewUser(t, "signed-in")
			if err := store.Create(t.Context(), signedIn); err != nil {
				t.Fatal(err)
			}
			if _, err := store.IssueToken(t.Context(), signedIn.ID(), domain.SessionPolicy{}); err != nil {
				t.Fatal(err)
			}
			for _, format := range []bulk.Format{bulk.JSONLines, bulk.CSV} {
				first := exported(t, store, format)
				if bytes.Count(first, []byte("\n")) < rows/2 {
					t.Fatalf("%s", first)
				}
				other := emptyStore(t, pair[1])
				if summary, refused := load(t, other, format, string(first)); len(refused) > 0 {
					t.Fatalf("%s: %+v, %v", format, summary, refused)
				}
				if again := exported(t, other, format); !bytes.Equal(again, first) {
					t.Errorf("%s: the export differs: %s", format, difference(first, again))
				}
				if summary, refused := load(t, other, format, string(first)); summary.Imported > 0 || len(refused) > 0 {
					t.Errorf("%s again: %+v, %v", format, summary, refused)
				}
			}
		})
	}
}

// TestSQLiteExportIsRefusedByLine carries what SQLite accepts to PostgreSQL, whose columns are narrower and whose checks know more letters: what it
// does not take is refused line by line, and all others come back, byte for byte.
func TestSQLiteExportIsRefusedByLine(t *testing.T) {
	t.Parallel()
	store, _ := filledStore(t, onSQLite)
	first := exported(t, store, bulk.JSONLines)
	other := emptyStore(t, onPostgres)
	_, refusals := load(t, other, bulk.JSONLines, string(first))
	lines := bytes.SplitAfter(first, []byte("\n"))
	accounts := len(lines) - 1 // the last one is empty
	refused := make(map[string]bool)
	for _, r := range refusals {
		if r.kind != string(domain.ErrInvalid) {
			t.Errorf("%+v: %s", r, lines[r.line-1])
		}
		refused[idOf(lines[r.line-1])] = true
	}
	isRefused := func(line []byte) bool { return refused[idOf(line)] } // one of which an identity is refused is stored
	want := bytes.Join(slices.DeleteFunc(lines, isRefused), nil)
	got := bytes.Join(slices.DeleteFunc(bytes.SplitAfter(exported(t, other, bulk.JSONLines), []byte("\n")), isRefused), nil)
	if !bytes.Equal(got, want) {
		t.Errorf("the export differs: %s", difference(want, got))
	}
	t.Logf("%d accounts, %d of them refused", accounts, len(refused))
	if len(refused) == 0 || len(refused) > accounts/2 {
		t.Errorf("%d of %d accounts refused: %+v", len(refused), accounts, refusals)
	}
}

// difference returns the first lines that differ.
func difference(a, b []byte) string {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("line %d:\n%q\n%q", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// idOf returns the first member of a line of an export, or "" for none.
func idOf(line []byte) string {
	id, _, _ := bytes.Cut(line, []byte(","))
	return string(id)
}
