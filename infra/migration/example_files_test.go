package migration_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	atlas "ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

const (
	nicknameFile    = "29990101000000_add_trial_nickname.sql"
	displayNameFile = "29990103000000_trial_display_name.sql"
)

// forTrial gives what docs/migrations.md shows names that are nowhere else and versions behind all others, so that the example
// can be tried also where somebody has carried it out.
var forTrial = strings.NewReplacer("nickname", "trial_nickname", "display_name", "trial_display_name", "2027010", "2999010")

// documentedFiles returns the files that docs/migrations.md shows for PostgreSQL, for trial.
func documentedFiles(t testing.TB) map[string]string {
	t.Helper()
	block := regexp.MustCompile("(?ms)^```sql (\\d{14}_\\w+\\.sql)\n(.*?)^```$")
	files := map[string]string{}
	for _, match := range block.FindAllStringSubmatch(readFile(t, "../../docs/migrations.md"), -1) {
		files[forTrial.Replace(match[1])] = forTrial.Replace(match[2])
	}
	if files[nicknameFile] == "" || files[displayNameFile] == "" || len(files) != 3 {
		t.Fatalf("the documentation shows %d files: %v", len(files), files)
	}
	return files
}

func withColumns(desired string) string {
	desired = strings.Replace(desired, `  "version" bigint`, `  "trial_nickname" character varying(50) NULL,`+"\n"+
		`  "trial_display_name" character varying(151) NOT NULL,`+"\n"+`  "version" bigint`, 1)
	return desired + `CREATE INDEX "users_trial_nickname" ON "users" ("trial_nickname");` + "\n"
}

// insertUsers makes n accounts. The documented batches are of 2000.
func insertUsers(n int) string {
	return fmt.Sprintf(`INSERT INTO users (email, username, hashed_password, first_name, last_name)
		SELECT 'u' || n || '@example.org', 'u' || n, '-', CASE WHEN n %% 2 = 0 THEN 'First' || n END, CASE WHEN n %% 3 = 0 THEN 'Last' END
		FROM generate_series(1, %d) n`, n)
}

func TestDocumentedPlanIsThePlan(t *testing.T) {
	t.Parallel()
	d := databases[0]
	dir := onDisk(t, d.embedded(t))
	desired := strings.Replace(d.desired(t), `  "version" bigint`, `  "trial_nickname" character varying(50) NULL,`+"\n"+`  "version" bigint`, 1)
	file, err := plan.Diff(t.Context(), plan.DiffOptions{
		Dialect: d.dialect, Dir: dir, Desired: desired, Name: "add_trial_nickname", Dev: d.dev(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, file), documentedFiles(t)[nicknameFile]; got != want {
		t.Errorf("the plan is\n%s\nthe documentation says\n%s", got, want)
	}
}

func TestDocumentedFiles(t *testing.T) {
	t.Parallel()
	d := databases[0]
	dir := and(t, d.embedded(t), documentedFiles(t))
	findings, err := plan.Lint(t.Context(), plan.LintOptions{Dialect: d.dialect, Dir: dir, Latest: 3, Dev: d.dev(t)})
	if err != nil || len(findings) != 0 {
		t.Errorf("%+v, %v", findings, err)
	}

	db := d.open(t, d.url(t))
	mustUp(t, d.runner(t, db, d.embedded(t)))
	mustExec(t, db, insertUsers(2500))
	runner := d.runner(t, db, dir)
	mustUp(t, runner)
	if err := plan.Verify(t.Context(), runner, withColumns(d.desired(t)), nil); err != nil {
		t.Error(err)
	}
	if got := queryString(t, db, `SELECT string_agg(trial_display_name, ', ' ORDER BY n)
		FROM (SELECT trial_display_name, substr(username, 2)::integer AS n FROM users) u WHERE n < 7`); got != "u1, First2, Last, First4, u5, First6 Last" {
		t.Error(got)
	}
}

// A process that is killed after a statement, before that is recorded, executes it again.
func TestDocumentedStatementsCanBeRepeated(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	d := databases[0]
	dir := and(t, d.embedded(t), documentedFiles(t))
	for name, text := range documentedFiles(t) {
		if !strings.Contains(text, "txmode none") {
			continue
		}
		version, _, _ := strings.Cut(name, "_")
		statements, err := atlas.Stmts(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			db := d.open(t, d.url(t))
			mustUp(t, d.runner(t, db, d.embedded(t)))
			mustExec(t, db, insertUsers(50))
			runner := d.runner(t, db, dir)
			for n := 1; n <= len(statements); n++ { // each is executed, and again before the next one is
				ctx, cancel := context.WithCancel(t.Context())
				last := 0
				_, err := runner.Up(ctx, migration.UpOptions{To: version, Progress: func(s migration.Step) {
					if s.File.Version == version && s.Statement == n+1 {
						cancel()
					} else {
						last = s.Statement
					}
				}})
				cancel()
				if n < len(statements) && !errors.Is(err, context.Canceled) || n == len(statements) && err != nil || last != n {
					t.Fatalf("statement %d: %v; want Canceled before the next one", n, err)
				}
				mustExec(t, db, "UPDATE accounts_migrations.atlas_schema_revisions SET error = '', applied = "+strconv.Itoa(n-1)+
					", partial_hashes = '"+partialHashes(t, text, n-1)+"' WHERE version = '"+version+"'")
			}
			mustUp(t, runner)
			if err := plan.Verify(t.Context(), runner, withColumns(d.desired(t)), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// partialHashes returns what the history holds when the first statements of a file are done.
func partialHashes(t *testing.T, text string, done int) string {
	t.Helper()
	statements, err := atlas.Stmts(text)
	if err != nil {
		t.Fatal(err)
	}
	hashes := []string{}
	sum := sha256.New()
	for _, statement := range statements[:done] {
		sum.Write([]byte(statement.Text))
		hashes = append(hashes, `"h1:`+base64.StdEncoding.EncodeToString(sum.Sum(nil))+`"`)
	}
	return "[" + strings.Join(hashes, ",") + "]"
}

func TestFillingIsKilledAndGoesOn(t *testing.T) {
	t.Parallel()
	d := databases[0]
	dir := and(t, d.embedded(t), map[string]string{displayNameFile: documentedFiles(t)[displayNameFile]})
	j := job{URL: d.url(t), Dir: onDisk(t, dir)}
	db := d.open(t, j.URL)
	mustUp(t, d.runner(t, db, d.embedded(t)))
	mustExec(t, db, insertUsers(5000))
	// The second batch waits, so that the process is killed between two batches.
	holder, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()
	if _, err := holder.ExecContext(t.Context(), "SELECT pg_advisory_lock(7)"); err != nil {
		t.Fatal(err)
	}
	third := queryString(t, db, "SELECT id FROM users ORDER BY id OFFSET 3000 LIMIT 1")
	mustExec(t, db, "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "+
		"$$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN new; END $$",
		"CREATE TRIGGER wait BEFORE UPDATE ON users FOR EACH ROW WHEN (new.id = '"+third+"') EXECUTE FUNCTION wait()")
	const filled = "SELECT count(*) FROM users WHERE trial_display_name IS NOT NULL"
	j.killAt(t, "statement 3 of "+displayNameFile[:14], func() {
		for queryString(t, db, filled) == "0" {
			time.Sleep(5 * time.Millisecond)
		}
	})
	if n := queryString(t, db, filled); n != "2000" {
		t.Errorf("%s rows were filled when the process was killed; want 2000", n)
	}
	if _, err := holder.ExecContext(t.Context(), "SELECT pg_advisory_unlock(7)"); err != nil {
		t.Fatal(err)
	}
	runner := d.runner(t, db, dir)
	if status, err := runner.Status(t.Context()); err != nil || status.Partial == nil || status.Partial.Applied != 2 {
		t.Errorf("%+v, %v", status, err)
	}
	mustUp(t, runner)
	if n := queryString(t, db, filled); n != "5000" {
		t.Errorf("%s rows are filled; want 5000", n)
	}
}
