package migration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

func TestDiffRefusals(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		dir := onDisk(t, d.embedded(t))
		options := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.desired(t), Name: "x", Dev: d.dev(t)}
		for _, name := range []string{"", "a b", "../x", "a/b", "x.sql", strings.Repeat("x", 101), "é"} {
			named := options
			named.Name = name
			if _, err := plan.Diff(t.Context(), named); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("name %q: %v", name, err)
			}
		}

		broken := options
		broken.Desired = "CREATE TABLE users (;"
		if _, err := plan.Diff(t.Context(), broken); err == nil {
			t.Error("a desired state that cannot be read was accepted")
		}

		files, err := filepath.Glob(filepath.Join(dir, "*.sql"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[0], []byte("CREATE TABLE x (id integer);\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Diff(t.Context(), options); !errors.Is(err, domain.ErrChecksum) {
			t.Errorf("with an edited file: %v", err)
		}
	})
}

// One change has one version, in whichever order the files for the two databases are made.
func TestOneVersionForBothDatabases(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var versions []string
	for i, name := range []string{"change", "change", "more", "more", "change", "change"} {
		d := databases[i%2]
		dir := filepath.Join(root, d.name)
		if i < 2 {
			// What is older in the other directory has no say.
			if err := os.CopyFS(dir, directory(t, map[string]string{fmt.Sprint("2026010101010", i, "_change.sql"): "CREATE TABLE x (id integer);\n"})); err != nil {
				t.Fatal(err)
			}
		}
		for len(versions) > 0 && i%2 == 0 && time.Now().UTC().Format("20060102150405") == versions[len(versions)-1] {
			time.Sleep(10 * time.Millisecond) // a directory gets one version a second
		}
		path, err := plan.New(plan.DiffOptions{Dialect: d.dialect, Dir: dir, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		version, _, _ := strings.Cut(filepath.Base(path), "_")
		versions = append(versions, version)
		if _, err := migration.New(nil, d.dialect, os.DirFS(dir), migration.Schema{}); err != nil {
			t.Error(err)
		}
	}
	for i := 0; i < len(versions); i += 2 {
		if versions[i] != versions[i+1] || i > 0 && versions[i] <= versions[i-1] {
			t.Errorf("versions %q; want pairs, rising", versions)
		}
	}
}

func TestDiffOfAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		dir := t.TempDir()
		options := plan.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.desired(t), Name: "create", Dev: d.dev(t)}
		path, err := plan.Diff(t.Context(), options)
		if err != nil || path == "" {
			t.Fatal(path, err)
		}
		db := d.open(t, d.url(t))
		runner := d.runner(t, db, os.DirFS(dir))
		mustUp(t, runner)
		if err := plan.Verify(t.Context(), runner, options.Desired, options.Dev); err != nil {
			t.Error(err)
		}
	})
}

func TestTemporaryDatabasesAreDropped(t *testing.T) {
	t.Parallel()
	d := databases[0]
	admin := d.open(t, postgrestest.Server(t))
	var made []string
	dev := plan.DevPostgres(postgrestest.Server(t), func(_ context.Context, url string) (*sql.DB, error) {
		db, err := sql.Open("postgres", url)
		if err == nil {
			var name string
			err = db.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name)
			made = append(made, name)
		}
		return db, err
	})
	options := plan.DiffOptions{Dialect: d.dialect, Dir: onDisk(t, d.embedded(t)), Desired: d.desired(t), Name: "x", Dev: dev}
	_, err := plan.Diff(t.Context(), options)
	options.Desired = "CREATE TABLE x (a nothing);"
	_, failed := plan.Diff(t.Context(), options)
	if err != nil || failed == nil {
		t.Fatal(err, failed)
	}
	temporary := 0
	for _, name := range made {
		if !strings.HasPrefix(name, "accounts_dev_") {
			continue
		}
		temporary++
		var n int
		if err := admin.QueryRow("SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d databases %s are left, %v", n, name, err)
		}
	}
	if temporary == 0 {
		t.Errorf("no temporary database among %q", made)
	}

	for _, url := range []string{"sqlite:x", "postgres://ann:secret@[", ""} {
		_, _, err := plan.DevPostgres(url, nil)(t.Context())
		if !errors.Is(err, domain.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// The newest file may be of this second, or of a clock that is ahead: what is made next comes after it nevertheless.
func TestNewFileBehindOneOfTheFuture(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		dir := onDisk(t, and(t, d.embedded(t), map[string]string{"29991231235959_of_the_future.sql": "CREATE TABLE future (id integer);\n"}))
		path, err := plan.New(plan.DiffOptions{Dialect: d.dialect, Dir: dir, Name: "next"})
		if err != nil || filepath.Base(path) != "30000101000000_next.sql" {
			t.Errorf("%s, %v", path, err)
		}
	})
}
