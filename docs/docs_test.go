// Package docs holds the documentation against the repository: every block of code is executed by a test, every link leads somewhere, and
// every test that a guarantee names exists.
package docs

import (
	"bytes"
	"fmt"
	"image/png"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

const root = ".."

// document is a file of the documentation, by its path in the repository.
type document struct {
	name, text string
}

// block is a block of code. Its language is the first word after the fence; more words say how it is executed.
type block struct {
	document, heading, language, how, text string
	line                                   int
}

func documents(t *testing.T) []document {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			names = append(names, strings.TrimPrefix(filepath.ToSlash(name), root+"/"))
		}
	}
	all := make([]document, len(names))
	for i, name := range names {
		all[i] = document{name, read(t, name)}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// blocks returns the fenced blocks of a document, without their indentation, and the lines that are code by indentation alone.
func (d document) blocks() (fenced []block, indented []int) {
	var current *block
	heading, blank := "", true
	n := 0
	for line := range strings.Lines(d.text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```") && current == nil:
			language, how, _ := strings.Cut(strings.TrimPrefix(trimmed, "```"), " ")
			current = &block{document: d.name, heading: heading, language: language, how: how, line: n}
		case trimmed == "```":
			fenced, current = append(fenced, *current), nil
		case current != nil:
			current.text += trimmed + "\n"
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		case blank && strings.HasPrefix(line, "    "):
			indented = append(indented, n)
		}
		blank = trimmed == "" && current == nil
	}
	return fenced, indented
}

// executors are the tests that execute the blocks of the shell and of SQL that say nothing else, by document, heading and language. An empty heading
// stands for any. The other blocks are executed
//
//   - go: by the test or program that has the same lines (TestGoBlocks)
//   - sh accounts, sh accounts postgres: by TestDocumentedCommands of cmd/accounts
//   - sh go: by TestDocumentedGoCommands
//
// and text and ini are no programs: the former is compared or is a format, the latter configures a server.
var executors = []struct{ document, heading, language, file, test string }{
	{"README.md", "accounts", "sh", ".ci/run", "readme()"},
	{"docs/start.md", "1. A module", "sh", ".ci/example/example_test.go", "TestStart"},
	{"docs/start.md", "3. Run it", "sh", "docs/start/main_test.go", "TestDocumentedRequests"},
	{"docs/embedding.md", "Managed", "sh", "infra/entaccounts/atlas_test.go", "TestDocumentedCommands"},
	{"docs/embedding.md", "Composed", "sh", "examples/composed/composed_test.go", "TestDocumentedCommands"},
	{"docs/embedding.md", "Composed", "sql", "examples/composed/composed_test.go", "TestStatements"},
	{"docs/migrations.md", "The five steps of a change", "", ".ci/example/example_test.go", "TestFollowingTheDocument"},
	{"docs/migrations.md", "The five steps of a change", "sql", "infra/migration/example_files_test.go", "TestDocumentedPlanIsThePlan"},
	{"docs/migrations.md", "An index", "sql", "infra/migration/example_files_test.go", "TestDocumentedFiles"},
	{"docs/migrations.md", "Backfilling rows, and NOT NULL", "sql", "infra/migration/example_files_test.go", "TestDocumentedFiles"},
	{"docs/migrations.md", "Running them", "sql", "docs/docs_test.go", "TestDocumentedRights"},
	{"docs/migrations.md", "What lint finds", "sql", "infra/migration/lint_test.go", "TestDocumentedNolint"},
	{"docs/migrations.md", "Which Atlas", "sh", "infra/migration/schema_test.go", "TestDocumentedAtlas"},
	{"docs/migrations.md", "Which Atlas", "sql", "infra/migration/atlas_test.go", "TestAtlasGoesOnFromOurBaseline"},
	{"docs/lists.md", "Indexes that you may add", "sql", "infra/postgres/explain_test.go", "TestQueriesUseIndexes"},
	{"docs/lists.md", "Indexes that you may add", "sql", "infra/many_test.go", "TestOptionalIndexesOnSQLite"},
	{"docs/adopt.md", "Other tables: the mapping file", "json", "cmd/accounts/documents_test.go", "TestDocumentedMapping"},
	{"docs/adopt.md", "Other tables: the mapping file", "sql", "cmd/accounts/documents_test.go", "TestDocumentedMapping"},
	{"docs/application.md", "Operation", "sql", "docs/docs_test.go", "TestDocumentedCleaning"},
	{"docs/webapp.md", "", "sh", "examples/webapp/webapp_test.go", "TestDocumentedCommands"},
	{"docs/import.md", "Running it twice", "json", "docs/docs_test.go", "TestDocumentedOutput"},
}

// TestEveryBlockIsExecuted fails for a block that no test executes, for an executor that is not there or has nothing to do, and for code that is
// marked by its indentation alone.
func TestEveryBlockIsExecuted(t *testing.T) {
	used := make([]bool, len(executors))
	for _, d := range documents(t) {
		fenced, indented := d.blocks()
		for _, line := range indented {
			t.Errorf("%s:%d: an indented block; say ``` and its language", d.name, line)
		}
		for _, b := range fenced {
			found := b.language == "go" || b.language == "text" || b.language == "ini" ||
				b.language == "sh" && slices.Contains([]string{"accounts", "accounts postgres", "go"}, b.how)
			for i, e := range executors {
				if e.document == b.document && (e.heading == b.heading || e.heading == "") && (e.language == b.language || e.language == "") {
					found, used[i] = true, true
				}
			}
			if !found {
				t.Errorf("%s:%d: no test executes this block under %q:\n%s", b.document, b.line, b.heading, b.text)
			}
		}
	}
	for i, e := range executors {
		if !used[i] {
			t.Errorf("%s of %s has no block under %q of %s", e.test, e.file, e.heading, e.document)
		}
		if !strings.Contains(read(t, e.file), e.test) {
			t.Errorf("%s has no %s", e.file, e.test)
		}
	}
}

// TestGoBlocks demands that each block of Go is in a file that the tests compile or run, line by line but for the indentation. Blocks that say
// where they are to be inserted are those of docs/migrations.md, which .ci/example inserts.
func TestGoBlocks(t *testing.T) {
	var sources strings.Builder
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		slashed := strings.TrimPrefix(filepath.ToSlash(file), root+"/")
		if entry.IsDir() {
			if strings.HasPrefix(entry.Name(), ".") && file != root || strings.HasPrefix(slashed, "ent/") || slices.Contains([]string{"bench", "node_modules"}, slashed) {
				return filepath.SkipDir
			}
			return nil
		}
		// What can be copied from: examples, tests, and programs.
		if !strings.HasSuffix(file, ".go") || !strings.HasPrefix(slashed, "examples/") && !strings.HasPrefix(slashed, "docs/") &&
			!strings.HasSuffix(file, "_test.go") && !strings.Contains(slashed, "/testdata/") || strings.HasPrefix(slashed, "examples/") && strings.Contains(slashed, "/ent/") && !strings.Contains(slashed, "/schema/") {
			return nil
		}
		for line := range strings.Lines(read(t, slashed)) {
			sources.WriteString(strings.TrimSpace(line) + "\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := sources.String()
	for _, d := range documents(t) {
		fenced, _ := d.blocks()
		for _, b := range fenced {
			if b.language == "go" && b.how == "" && !strings.Contains(all, "\n"+b.text) {
				t.Errorf("%s:%d: no test and no example has\n%s", b.document, b.line, b.text)
			}
		}
	}
}

// goCommand is a command of Go in a text, up to its end or to the end of the code that it stands in.
var goCommand = regexp.MustCompile(`\bgo (?:test|run) [^` + "`" + `\n#]+`)

// TestDocumentedGoCommands looks up the packages, tests, benchmarks and flags that commands in the documents name. With ACCOUNTS_TEST_LONG it
// executes the benchmarks, on few rows.
func TestDocumentedGoCommands(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, command := range goCommand.FindAllString(strings.ReplaceAll(d.text, "\\\n", " "), -1) {
			found++
			if err := checkGoCommand(strings.TrimRight(command, " )")); err != nil {
				t.Errorf("%s: %s: %v", d.name, command, err)
			}
		}
	}
	if found < 30 {
		t.Errorf("%d commands", found)
	}
	if os.Getenv("ACCOUNTS_TEST_LONG") == "" {
		return
	}
	for _, d := range documents(t) {
		fenced, _ := d.blocks()
		for _, b := range fenced {
			if b.language == "sh" && b.how == "go" {
				executeShortly(t, b)
			}
		}
	}
}

// shortened are the sizes in commands that take long.
var shortened = []struct {
	size  *regexp.Regexp
	short string
}{
	{regexp.MustCompile(`_ROWS=[\d,]+`), "_ROWS=2000"},
	{regexp.MustCompile(`-benchtime \d+x?`), "-benchtime 1x"},
	{regexp.MustCompile(`-rows [\d,]+`), "-rows 1000"},
	{regexp.MustCompile(`-rounds \d+`), "-rounds 1"},
	{regexp.MustCompile(` -url \S+`), ""},
	{regexp.MustCompile(`-quick`), "-quick -rounds 1"},
	{regexp.MustCompile(`-docs \S+`), "-docs $(mktemp -d)"},
}

func executeShortly(t *testing.T, b block) {
	t.Helper()
	for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "ACCOUNTS_ATLAS=/path") || strings.Contains(line, "ACCOUNTS_TEST_POSTGRES=") || strings.Contains(line, "-full") || strings.Contains(line, "-bench Lists") {
			continue // needs another Atlas, another engine, half an hour, or 10,000 pages
		}
		for _, s := range shortened {
			line = s.size.ReplaceAllString(line, s.short)
		}
		if strings.HasPrefix(line, "go run .") {
			line = "cd bench && " + line
		}
		t.Run(line, func(t *testing.T) {
			command := exec.Command("sh", "-euc", line)
			command.Dir = root
			if output, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// function is a test, a benchmark or a fuzz test.
var function = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)

// checkGoCommand reports what a command names and the repository does not have. Programs are those of the module or of bench.
func checkGoCommand(command string) error {
	words := strings.Fields(command)
	var packages, patterns []string
	for i := 2; i < len(words); i++ {
		word := strings.Trim(words[i], "'\"")
		switch {
		case word == "-run" || word == "-bench" || word == "-fuzz":
			if i++; i < len(words) {
				patterns = append(patterns, strings.Trim(words[i], "'\""))
			}
		case slices.Contains([]string{"-tags", "-timeout", "-benchtime", "-count", "-p"}, word):
			i++
		case strings.HasPrefix(word, "./") || word == ".":
			packages = append(packages, word)
			if words[1] == "run" {
				i = len(words) // what follows are its arguments
			}
		}
	}
	if words[1] == "run" {
		for _, name := range packages {
			programs, err := filepath.Glob(filepath.Join(root, name, "*.go"))
			if more, benchErr := filepath.Glob(filepath.Join(root, "bench", name, "*.go")); err != nil || benchErr != nil || len(programs)+len(more) == 0 {
				return fmt.Errorf("there is no program in %s", name)
			}
		}
		return nil
	}
	var functions []string
	for _, name := range packages {
		directory := filepath.Join(root, strings.TrimSuffix(name, "/..."))
		if _, err := os.Stat(directory); err != nil {
			return err
		}
		err := filepath.WalkDir(directory, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() && file != directory && !strings.HasSuffix(name, "/...") {
				if err == nil {
					err = filepath.SkipDir
				}
				return err
			}
			if !strings.HasSuffix(file, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(file)
			for _, found := range function.FindAllSubmatch(text, -1) {
				functions = append(functions, string(found[1]))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, pattern := range patterns {
		if pattern == "^$" || pattern == "-" {
			continue
		}
		first, _, _ := strings.Cut(pattern, "/")
		for alternative := range strings.SplitSeq(first, "|") {
			expression, err := regexp.Compile(alternative)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(functions, expression.MatchString) {
				return fmt.Errorf("no test or benchmark of %v matches %s", packages, alternative)
			}
		}
	}
	return nil
}

// link is a link of Markdown: its text, and where it leads.
var link = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)

// TestLinks follows the links within the repository, to their headings too.
func TestLinks(t *testing.T) {
	anchors := map[string][]string{}
	for _, d := range documents(t) {
		anchors[d.name] = headings(d.text)
	}
	for _, d := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(withoutCode(d.text), -1) {
			target, anchor, _ := strings.Cut(found[2], "#")
			if strings.Contains(target, "://") {
				continue
			}
			name := d.name
			if target != "" {
				name = path.Join(path.Dir(d.name), target)
			}
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: %s leads nowhere", d.name, found[0])
			} else if anchor != "" && strings.HasSuffix(name, ".md") && !slices.Contains(anchors[name], anchor) {
				t.Errorf("%s: %s: there is no such heading", d.name, found[0])
			}
		}
	}
}

// TestScreenshots demands that the pictures of the web application are small, and shown where it is described.
func TestScreenshots(t *testing.T) {
	shown := map[string][]string{} // by picture, the documents
	for _, d := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(withoutCode(d.text), -1) {
			name := path.Join(path.Dir(d.name), found[2])
			shown[name] = append(shown[name], d.name)
		}
	}
	pictures, err := filepath.Glob(filepath.Join(root, "docs/webapp/*"))
	if err != nil || len(pictures) != 3 {
		t.Fatalf("docs/webapp has %d pictures, %v; want 3", len(pictures), err)
	}
	for _, picture := range pictures {
		name := strings.TrimPrefix(filepath.ToSlash(picture), root+"/")
		for _, document := range []string{"docs/webapp.md", "examples/webapp/README.md"} {
			if !slices.Contains(shown[name], document) {
				t.Errorf("%s does not show %s", document, name)
			}
		}
		content, err := os.ReadFile(picture)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := png.DecodeConfig(bytes.NewReader(content)); err != nil || c.Width < 390 || len(content) > 64<<10 {
			t.Errorf("%s: %d bytes, %d pixels wide, %v; want at most 64 KiB, and at least 390 pixels", name, len(content), c.Width, err)
		}
	}
}

// headings are the anchors of a document, as GitHub makes them.
func headings(text string) (anchors []string) {
	for line := range strings.Lines(withoutCode(text)) {
		if strings.HasPrefix(line, "#") {
			anchor := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
			anchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(anchor, "")
			anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	return anchors
}

// withoutCode leaves out the blocks of code.
func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(text, "")
}

// TestReadmeListsTheDocuments demands each document of docs in the README, by a link.
func TestReadmeListsTheDocuments(t *testing.T) {
	readme := read(t, "README.md")
	for _, d := range documents(t) {
		if path.Dir(d.name) == "docs" && !strings.Contains(readme, "("+d.name+")") {
			t.Errorf("README.md has no link to %s", d.name)
		}
	}
}

// TestGuaranteesAreTested demands that each guarantee of security.md names a test, and that the test exists: a function, a case of the contract suite,
// or a script.
func TestGuaranteesAreTested(t *testing.T) {
	test := regexp.MustCompile("\\[`([^`]+)`\\]\\(\\.\\./([^)]+)\\)")
	numbers := 0
	for line := range strings.Lines(read(t, "docs/security.md")) {
		if !regexp.MustCompile(`^\| \d+ \|`).MatchString(line) {
			continue
		}
		numbers++
		if !strings.HasPrefix(line, fmt.Sprintf("| %d |", numbers)) {
			t.Errorf("guarantee %d is out of order: %s", numbers, line)
		}
		tests := test.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("guarantee %d names no test", numbers)
		}
		for _, found := range tests {
			name, file := found[1], found[2]
			text := read(t, file)
			switch {
			case strings.HasSuffix(file, ".txtar"):
				if path.Base(file) != name {
					t.Errorf("guarantee %d: %s is not %s", numbers, file, name)
				}
			case strings.HasSuffix(file, "_test.go"):
				if !strings.Contains(text, "func "+name+"(") {
					t.Errorf("guarantee %d: %s has no %s", numbers, file, name)
				}
			default:
				if !strings.Contains(text, fmt.Sprintf("%q", name)) {
					t.Errorf("guarantee %d: %s has no case %q", numbers, file, name)
				}
			}
		}
	}
	if numbers == 0 {
		t.Error("docs/security.md has no guarantees")
	}
}

// TestDecisionsAreListed holds the index of decisions.md against its headings, in their order. Those with a date in the heading are newer than the
// last release, and are not listed yet.
func TestDecisionsAreListed(t *testing.T) {
	text := read(t, "docs/decisions.md")
	var index []string
	for _, row := range regexp.MustCompile(`(?m)^\| \[[^\]]+\]\(#([^)]+)\) \| [^|]+ \| (?:in force|replaced by \[[^\]]+\]\(#[^)]+\)|until [^|]+) \|$`).FindAllStringSubmatch(text, -1) {
		index = append(index, row[1])
	}
	dated := regexp.MustCompile(`^20\d\d-\d\d-\d\d-`)
	want := slices.DeleteFunc(headings(text)[1:], dated.MatchString)
	if !slices.Equal(index, want) {
		t.Errorf("the index is\n%s\nthe decisions are\n%s", strings.Join(index, "\n"), strings.Join(want, "\n"))
	}
}

// TestPlainWords demands standard words in place of mannered ones.
func TestPlainWords(t *testing.T) {
	mannered := regexp.MustCompile(`(?i)\b(anew|alike|thereby|whoever|nobody|judge[ds]?|judging|mend(?:s|ed|ing)?|told|loosen(?:s|ed|ing)?)\b`)
	for _, d := range documents(t) {
		for n, line := range strings.Split(d.text, "\n") {
			if word := mannered.FindString(line); word != "" {
				t.Errorf("%s:%d: %q", d.name, n+1, word)
			}
		}
	}
}

// TestDocumentedCleaning executes the statement of application.md for a restored backup, on both databases.
func TestDocumentedCleaning(t *testing.T) {
	statement := only(t, "docs/application.md", "Operation", "sql")
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ana := storetest.NewUser(t, "ana")
		if err := store.Create(t.Context(), ana); err != nil {
			t.Fatal(err)
		}
		if _, err := store.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		found, err := store.FindByID(t.Context(), ana.ID())
		if err != nil {
			t.Fatal(err)
		}
		if state := found.State(); len(state.Sessions) != 0 || !state.ResetToken.IsZero() || !state.VerificationToken.IsZero() {
			t.Errorf("there remains %+v", state)
		}
	})
}

// TestDocumentedRights lets a role with the rights of migrations.md use a store.
func TestDocumentedRights(t *testing.T) {
	statements := only(t, "docs/migrations.md", "Running them", "sql")
	url := storetest.PostgresDatabaseURL(t)
	store := storetest.OpenPostgres(t, url)
	var database string
	if err := store.DB().QueryRowContext(t.Context(), "SELECT current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	role := "app_" + strings.ToLower(database)
	for statement := range strings.SplitSeq("CREATE ROLE "+role+";"+strings.ReplaceAll(statements, "TO app;", "TO "+role+";"), ";") {
		if _, err := store.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	t.Cleanup(func() { // the context of the test is over
		if _, err := store.DB().Exec("DROP OWNED BY " + role + "; DROP ROLE " + role); err != nil {
			t.Error(err)
		}
	})
	// The default is set for new connections, so that the store's are the role's.
	if _, err := store.DB().ExecContext(t.Context(), fmt.Sprintf("ALTER DATABASE %q SET role = %s", database, role)); err != nil {
		t.Fatal(err)
	}
	restricted, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer restricted.Close()
	if err := restricted.CheckMigrations(t.Context()); err != nil {
		t.Error(err)
	}
	ana := storetest.NewUser(t, "ana")
	if err := restricted.Create(t.Context(), ana); err != nil {
		t.Error(err)
	}
	if err := restricted.Delete(t.Context(), ana.ID()); err != nil {
		t.Error(err)
	}
	if _, err := restricted.DB().ExecContext(t.Context(), "DROP TABLE users"); err == nil {
		t.Error("the role may drop the table")
	}
}

// TestDocumentedOutput looks up the lines of JSON that import.md shows in the scripts that demand them. Numbers may differ.
func TestDocumentedOutput(t *testing.T) {
	number := regexp.MustCompile(`\d+`)
	script := number.ReplaceAllString(read(t, "cmd/accounts/testdata/script/user_import.txtar"), "0")
	for line := range strings.Lines(only(t, "docs/import.md", "Running it twice", "json")) {
		if line = strings.TrimSpace(line); !strings.Contains(script, number.ReplaceAllString(line, "0")) {
			t.Errorf("no script has %s", line)
		}
	}
}

// only returns the blocks of a language under a heading.
func only(t *testing.T, name, heading, language string) (text string) {
	t.Helper()
	fenced, _ := document{name, read(t, name)}.blocks()
	for _, b := range fenced {
		if b.heading == heading && b.language == language {
			text += b.text
		}
	}
	if text == "" {
		t.Fatalf("%s has no block of %s under %q", name, language, heading)
	}
	return text
}
