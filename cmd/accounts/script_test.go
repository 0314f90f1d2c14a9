package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(cheaply{m}, map[string]func(){"accounts": main})
}

// cheaply runs the tests with hashes of little cost, and with the connections in pools. A process of the program, which a test starts, has
// neither.
type cheaply struct{ *testing.M }

func (tests cheaply) Run() int {
	newHasher = func() (*password.Hasher, error) { return password.Fast(), nil }
	openPostgres = func(ctx context.Context, url string, options ...infra.Option) (*infra.Store, error) {
		if pool, ok := pools.Load(url); ok {
			return postgres.New(pool.(func() *sql.DB)(), options...)
		}
		return postgres.Open(ctx, url, options...)
	}
	return tests.M.Run()
}

// pools holds connections to the databases of the scripts, by URL: a new one for each call of the program would take most of its time. The script
// with every command and those with databases of their own connect as the program does.
var pools sync.Map

// pooled returns the URL of a migrated schema, connections to which are in pools until the test ends.
func pooled(t testing.TB) string {
	url := storetest.PostgresURL(t)
	pools.Store(url, sync.OnceValue(func() *sql.DB { return storetest.OpenPostgres(t, url).DB() }))
	t.Cleanup(func() { pools.Delete(url) })
	return url
}

// TestScripts runs the scripts on both databases, and those in the directory of one database on that. Each script has a
// database of its own, which $ACCOUNTS_DATABASE_URL names and whose schema is the program's.
func TestScripts(t *testing.T) {
	template := filepath.Join(t.TempDir(), "migrated.db")
	storetest.OpenSQLite(t, template)
	migrated, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	databases := map[string]func(testing.TB, *testscript.Env) string{
		onSQLite: func(t testing.TB, env *testscript.Env) string {
			path := filepath.Join(env.WorkDir, "script.db")
			if err := os.WriteFile(path, migrated, 0o600); err != nil {
				t.Fatal(err)
			}
			return "sqlite:" + path
		},
		onPostgres: func(t testing.TB, _ *testscript.Env) string { return pooled(t) },
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for kind, databaseURL := range databases {
		t.Run(kind, func(t *testing.T) {
			forRun(t)
			if kind == onPostgres {
				storetest.PostgresServer(t) // skips here where there is none, rather than in each script
			}
			testscript.Run(t, testscript.Params{
				Files:               append(scripts(t, "testdata/script"), scripts(t, "testdata/script/"+kind)...),
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup: func(env *testscript.Env) error {
					test := env.T().(testing.TB) // it is one in a script that Run started
					env.Values[testKey{}] = test
					env.Setenv(databaseVariable, databaseURL(test, env))
					env.Setenv("KIND", kind)
					env.Setenv("MIGRATIONS", filepath.Join(source, "ent", "migrate"))
					env.Setenv("TABLES", filepath.Join(source, "infra", "adoption", "testdata"))
					env.Setenv("GOGC", "off") // over a thousand processes, each of which ends at once
					return setUpBadInput(env)
				},
				Condition: func(condition string) (bool, error) {
					return condition == kind || condition == "mount" && mayMount(), nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"run":           scriptRun,
					"exits":         scriptExits,
					"json":          scriptJSON,
					"capture":       scriptCapture,
					"tofile":        scriptToFile,
					"substitute":    scriptSubstitute,
					"emptydatabase": scriptEmptyDatabase,
					"sql":           scriptSQL,
				},
			})
		})
	}
}

// forRun restores at the end of a test what scriptRun changes.
func forRun(t *testing.T) {
	t.Helper()
	t.Chdir(".")
	t.Setenv(databaseVariable, "")
}

func scripts(t *testing.T, dir string) []string {
	t.Helper()
	dir, err := filepath.Abs(dir) // a script is read while others, in their directories, run the program
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mayMount tells whether the machine lets an ordinary process mount file systems in a namespace of its own.
var mayMount = sync.OnceValue(func() bool {
	return exec.Command("unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt").Run() == nil
})

// testKey finds a script's test among its values.
type testKey struct{}

// setUpBadInput gives a script what it cannot hold itself.
func setUpBadInput(env *testscript.Env) error {
	env.Setenv("LONG", strings.Repeat("x", 1000))
	env.Setenv("NOTUTF8", "\xff\xfe")
	env.Setenv("ESCAPE", "\x1b[31m")
	return errors.Join(
		os.WriteFile(filepath.Join(env.WorkDir, "megabyte"), bytes.Repeat([]byte("x"), 1<<20), 0o600),
		os.WriteFile(filepath.Join(env.WorkDir, "nul"), []byte("correct\x00horse battery\n"), 0o600),
		os.WriteFile(filepath.Join(env.WorkDir, "notutf8"), []byte("correct horse \xff battery\n"), 0o600),
	)
}

// runs keeps calls of run apart: the working directory and the environment belong to the process.
var runs sync.Mutex

// scriptRun runs the program without a process of its own, which costs less; it must end with a certain status. An argument "<FILE" at the
// end is what standard input holds, of which there is nothing otherwise: run STATUS ARGS… [<FILE]
//
// No other test may run at the same time that needs the working directory, so a test that uses it calls Chdir and is not parallel.
func scriptRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: run STATUS ARGS… [<FILE]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	runInScript(ts, want, ts.Stdout(), args[1:])
}

// runInScript runs the program in this process, as scriptRun says.
func runInScript(ts *testscript.TestScript, want int, stdout io.Writer, args []string) {
	var stdin string
	if last := len(args) - 1; last >= 0 {
		if file, ok := strings.CutPrefix(args[last], "<"); ok {
			stdin, args = ts.ReadFile(file), args[:last]
		}
	}
	runs.Lock()
	defer runs.Unlock()
	ts.Check(errors.Join(os.Chdir(ts.MkAbs(".")), os.Setenv(databaseVariable, ts.Getenv(databaseVariable))))
	if got := run(context.Background(), args, strings.NewReader(stdin), stdout, ts.Stderr()); got != want {
		ts.Fatalf("exit status %d; want %d", got, want)
	}
}

// scriptExits is exec for a program that must end with a certain status: exits STATUS PROGRAM ARGS…
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d; want %d", got, want)
	}
}

// scriptJSON is run for a program with --json that must succeed and print one JSON object in each line, with certain members in that order. Forms that
// can be in one result are divided by "|"; "*" takes any, and "" no result: json MEMBERS ARGS… [<FILE]
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: json MEMBERS ARGS… [<FILE]")
	}
	var stdout strings.Builder
	runInScript(ts, 0, io.MultiWriter(&stdout, ts.Stdout()), append([]string{"--json"}, args[1:]...))
	lines := 0
	for line := range strings.Lines(stdout.String()) {
		members, err := membersOf(line)
		ts.Check(err)
		if args[0] != "*" && !slices.Contains(strings.Split(args[0], "|"), members) {
			ts.Fatalf("found the members %q; want %q", members, args[0])
		}
		lines++
	}
	if (lines == 0) != (args[0] == "") {
		ts.Fatalf("%d lines; want %q", lines, args[0])
	}
}

// membersOf returns the names of the members of a JSON object in their order.
func membersOf(line string) (string, error) {
	decoder := json.NewDecoder(strings.NewReader(line))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return "", fmt.Errorf("%q is no JSON object: %w", line, err)
	}
	var names []string
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return "", err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return "", err
		}
		names = append(names, fmt.Sprint(name))
	}
	if _, err := decoder.Token(); err != nil { // the brace
		return "", err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%q is more than a JSON object", line)
	}
	return strings.Join(names, " "), nil
}

// TestEveryCommandHasAScript demands that the scripts use every command and every flag with --json, and with success.
func TestEveryCommandHasAScript(t *testing.T) {
	root := (&program{output: output{results: io.Discard, messages: io.Discard}}).rootCommand()
	used := make(map[string]bool)
	for _, dir := range []string{"testdata/script", "testdata/script/sqlite", "testdata/script/postgres"} {
		for _, file := range scripts(t, dir) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				call, ok := strings.CutPrefix(line, "run 0 --json ")
				if rest, isJSON := strings.CutPrefix(line, "json "); isJSON {
					call, ok = rest[jsonMembers.FindStringIndex(rest)[1]:], true
				}
				if !ok {
					continue
				}
				words := strings.Fields(call)
				command, _, err := root.Find(words)
				if err != nil {
					t.Fatalf("%s: %s: %v", file, line, err)
				}
				used[command.CommandPath()] = true
				for _, word := range words {
					if name, isFlag := strings.CutPrefix(word, "--"); isFlag {
						name, _, _ = strings.Cut(name, "=")
						used[command.CommandPath()+" --"+name] = true
					}
				}
			}
		}
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			walk(child)
		}
		if c.HasSubCommands() || c.Name() == "init" { // TestInit uses it, which takes longer than a script may
			return
		}
		if !used[c.CommandPath()] {
			t.Errorf("no script uses %s", c.CommandPath())
		}
		for _, flag := range shownFlags.FindAllStringSubmatch(c.LocalNonPersistentFlags().FlagUsages(), -1) {
			if !used[c.CommandPath()+" "+flag[1]] {
				t.Errorf("no script uses %s %s", c.CommandPath(), flag[1])
			}
		}
	}
	walk(root)
}

// shownFlags finds the flags in the text of the help.
var shownFlags = regexp.MustCompile(`(?m)^ +(--[\w-]+)`)

// jsonMembers is the first argument of the command json, which may be of quoted parts.
var jsonMembers = regexp.MustCompile(`^('[^']*'|[^' ])+ `)

// scriptCapture sets a variable to what the group in a pattern matches in the last standard output: capture NAME PATTERN
func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	match := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(match) != 2 {
		ts.Fatalf("no match for %#q with one group", args[1])
	}
	ts.Setenv(args[0], match[1])
}

// scriptToFile writes lines to a file: tofile FILE LINE…
func scriptToFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tofile FILE LINE…")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\n")+"\n"), 0o600))
}

// scriptSubstitute replaces what matches a pattern in a file, in which it must: substitute FILE PATTERN REPLACEMENT
func scriptSubstitute(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: substitute FILE PATTERN REPLACEMENT")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	before := ts.ReadFile(args[0])
	after := pattern.ReplaceAllString(before, args[2])
	if after == before {
		ts.Fatalf("no match for %#q in %s", args[1], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o600))
}

// scriptEmptyDatabase makes $ACCOUNTS_DATABASE_URL name another database, in which there is nothing.
func scriptEmptyDatabase(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: emptydatabase")
	}
	url := "sqlite:" + ts.MkAbs("empty.db")
	if strings.HasPrefix(ts.Getenv(databaseVariable), "postgres") {
		url = storetest.EmptyPostgresURL(ts.Value(testKey{}).(testing.TB))
	}
	ts.Setenv(databaseVariable, url)
}

// scriptSQL executes statements in the database of the script, of which a file may hold several: sql STATEMENT, or sql <FILE
func scriptSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sql STATEMENT, or sql <FILE")
	}
	text := args[0]
	if file, ok := strings.CutPrefix(text, "<"); ok {
		text = ts.ReadFile(file)
	}
	ctx := context.Background()
	store, err := (&program{database: ts.Getenv(databaseVariable)}).open(ctx)
	ts.Check(err)
	_, err = store.DB().ExecContext(ctx, text)
	ts.Check(errors.Join(err, store.Close()))
}
