package migration_test

import (
	"os"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra/migration"
)

func TestDiff(t *testing.T) {
	onEach(t, func(t *testing.T, d testDatabase) {
		dir := onDisk(t, d.embedded(t))
		options := migration.DiffOptions{Dialect: d.dialect, Dir: dir, Desired: d.desired(t), Name: "add_nickname", Dev: d.dev(t)}
		if path, err := migration.Diff(t.Context(), options); err != nil || path != "" {
			t.Fatalf("without a change: %q, %v", path, err)
		}
		options.Desired = strings.Replace(options.Desired, "  PRIMARY KEY", "  \"nickname\" varchar(50) NULL,\n  PRIMARY KEY", 1)
		path, err := migration.Diff(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(path)
		t.Logf("%s\n%s", path, text)
		findings, err := migration.Lint(t.Context(), migration.LintOptions{Dialect: d.dialect, Dir: os.DirFS(dir), Latest: 1, Dev: d.dev(t)})
		t.Log(findings, err)

		db := d.open(t, d.url(t))
		r := d.runner(t, db, os.DirFS(dir))
		mustUp(t, r)
		t.Log(r.Verify(t.Context(), options.Desired, d.dev(t)))
		err = r.Verify(t.Context(), d.desired(t), d.dev(t))
		t.Logf("%#v", err)
		if d.dialect == migration.Postgres {
			t.Log(r.Verify(t.Context(), options.Desired, nil))
		}
		plan, err := r.Down(t.Context(), migration.DownOptions{To: "20261122190238", Dev: d.dev(t)})
		t.Log(plan, err)
		plan, err = r.Down(t.Context(), migration.DownOptions{To: "20261122190238", Dev: d.dev(t), AllowDestructive: true})
		t.Log(plan, err)
		t.Log(r.Verify(t.Context(), d.desired(t), d.dev(t)))
		t.Log(r.Status(t.Context()))
	})
}
