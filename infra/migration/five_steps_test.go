package migration_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra/migration/plan"
)

// The five steps of docs/migrations.md, from the declared schema with a new column to a database that has it, and back. That "go generate"
// declares it, and that the repository's tests pass then, is tried in .ci/example.
func TestFiveSteps(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	desired := func(d testDatabase) string { return readFile(t, p.desiredPath(d)) }
	before := map[string]string{}
	for d, column := range map[*testDatabase][2]string{
		&databases[0]: {`  "phone" `, `  "trial_nickname" character varying(50) NULL,`},
		&databases[1]: {"  `phone` ", "  `trial_nickname` text NULL,"},
	} {
		before[d.name] = desired(*d)
		changed := strings.Replace(before[d.name], column[0], column[1]+"\n"+column[0], 1)
		if err := os.WriteFile(p.desiredPath(*d), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			if desired(d) == before[d.name] {
				t.Fatal("the desired state is not another one")
			}
			url := d.url(t)
			db := d.open(t, url)
			old := d.runner(t, db, os.DirFS(p.dir(d)))
			mustUp(t, old)
			last, err := old.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}

			file, err := plan.Diff(t.Context(), plan.DiffOptions{
				Dialect: d.dialect, Dir: p.dir(d), Desired: desired(d), Name: "add_trial_nickname", Dev: d.dev(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			findings, err := plan.Lint(t.Context(), plan.LintOptions{
				Dialect: d.dialect, Dir: os.DirFS(p.dir(d)), Latest: 1, Dev: d.dev(t),
			})
			if err != nil || len(findings) > 0 {
				t.Errorf("%+v, %v", findings, err)
			}
			t.Run("as Atlas does", func(t *testing.T) {
				ours := readFile(t, file)
				theirs := newProject(t)
				if err := os.WriteFile(theirs.desiredPath(d), []byte(desired(d)), 0o600); err != nil {
					t.Fatal(err)
				}
				theirs.mustAtlas(t, d, "", "diff", "add_trial_nickname")
				files, err := filepath.Glob(filepath.Join(theirs.dir(d), "*_add_trial_nickname.sql"))
				if err != nil || len(files) != 1 {
					t.Fatal(files, err)
				}
				if text := readFile(t, files[0]); text != ours {
					t.Errorf("we write\n%s\nAtlas writes\n%s", ours, text)
				}
			})

			runner := d.runner(t, db, os.DirFS(p.dir(d)))
			mustUp(t, runner)
			if err := plan.Verify(t.Context(), runner, desired(d), d.dev(t)); err != nil {
				t.Error(err)
			}
			found, err := plan.Compare(t.Context(), runner, before[d.name], d.dev(t))
			if err != nil || !slices.Contains(found.Additional, "column trial_nickname of users") {
				t.Errorf("against the schema before: %+v, %v; want the column as additional", found, err)
			}
			// The release that is running goes on.
			mustExec(t, db, "INSERT INTO users (email, username, hashed_password) VALUES ('a@example.org', 'ann', '-')")

			options := plan.DownOptions{To: last.Current, Dev: d.dev(t), AllowDestructive: true}
			if _, err := plan.Down(t.Context(), runner, options); err != nil {
				t.Fatal(err)
			}
			if err := old.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if err := plan.Verify(t.Context(), old, before[d.name], d.dev(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
