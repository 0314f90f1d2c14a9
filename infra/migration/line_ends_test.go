package migration_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
)

// A clone for Windows may give the files, and atlas.sum, the ends of lines of Windows after they were hashed.
func TestFilesWithTheLinesOfWindows(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d testDatabase) {
		embedded := d.embedded(t)
		names, err := fs.Glob(embedded, "*")
		if err != nil {
			t.Fatal(err)
		}
		windows := fstest.MapFS{}
		for _, name := range names {
			text, err := fs.ReadFile(embedded, name)
			if err != nil {
				t.Fatal(err)
			}
			unix := strings.ReplaceAll(string(text), "\r\n", "\n")
			windows[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(unix, "\n", "\r\n"))}
		}
		db := d.open(t, d.url(t))
		mustUp(t, d.runner(t, db, windows))
		if err := d.runner(t, db, embedded).Check(t.Context()); err != nil {
			t.Errorf("the history differs from that of the same files with the lines of Unix: %v", err)
		}
		// What is hashed with these ends of lines is taken as it is, but for a file with a directive, which Atlas would not read.
		hashed := map[string]string{}
		for name, file := range windows {
			if strings.HasSuffix(name, ".sql") {
				hashed[name] = string(file.Data)
			}
		}
		var want error
		for _, text := range hashed {
			if strings.Contains(text, "-- atlas:") {
				want = domain.ErrInvalid
			}
		}
		if _, err := migration.New(db, d.dialect, directory(t, hashed), migration.Schema{}); !errors.Is(err, want) {
			t.Errorf("%v; want %v", err, want)
		}
	})
}
