package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

// skeletons are the templates of an application's files. Each is named as the file, with .tmpl behind it.
//
//go:embed skeleton
var skeletons embed.FS

// application is what the templates are filled with.
type application struct {
	Name    string // of the program and its database
	Module  string
	Version string // of accounts
	Source  string // a directory with accounts that stands for the version; empty for one that is released
}

const modulePath = "github.com/softbee/accounts"

func (p *program) initCommand() *cobra.Command {
	var module, sources string
	const example = `accounts init shop && cd shop && go run .
accounts init shop --module example.org/shop`
	c := p.command("init DIR", "Write the beginnings of an application with accounts into a new directory", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return invalid("dir", "cannot be found: "+systemReason(err))
			}
			app := application{Name: filepath.Base(dir), Module: cmp.Or(module, filepath.Base(dir))}
			if err := app.check(dir, module != ""); err != nil {
				return err
			}
			if app.Version, app.Source, err = accountsModule(sources); err != nil {
				return err
			}
			if _, err := exec.LookPath("go"); err != nil {
				return invalid("go", "is not installed, or not in PATH: see https://go.dev/doc/install")
			}
			if err := p.writeApplication(ctx, dir, app); err != nil {
				return err
			}
			if app.Source != "" && !p.json {
				_, _ = fmt.Fprintf(p.messages, "go.mod takes accounts from %s. To take a release: go mod edit -dropreplace=%s && go get %[2]s@latest\n", app.Source, modulePath)
			}
			return p.print(record{{"dir", dir}, {"module", app.Module}, {"accounts", cmp.Or(app.Source, app.Version)}})
		})
	c.Long = `Write the beginnings of an application with accounts into a new directory: an ent schema that holds the accounts and a table of the
application's own, the generated client, the first migration, and a program that migrates an SQLite file, registers an account
and signs it in.

It needs Go, which fetches the modules and generates the client. go.mod requires the version of this program, or, where this program was
built in a directory of its source, that directory.`
	c.Flags().StringVar(&module, "module", "", "the `PATH` of the module (default: the name of DIR)")
	c.Flags().StringVar(&sources, "source", "", "a `DIR` with the source of accounts, to be used in place of a release")
	must(c.MarkFlagDirname("source"))
	return c
}

var (
	// moduleName is what go.mod takes as a module's path, less those that cannot be directories everywhere.
	moduleName = regexp.MustCompile(`^[a-z0-9][a-z0-9._~-]*(/[a-zA-Z0-9][a-zA-Z0-9._~-]*)*$`)
	released   = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
)

// check refuses a directory that holds something, and names that cannot be.
func (a application) check(dir string, named bool) error {
	if !moduleName.MatchString(a.Module) {
		if !named {
			return invalid("dir", fmt.Sprintf("is named %q, which no module can be: choose another, or give --module", a.Name))
		}
		return invalid("module", "is not the path of a module, such as example.org/shop")
	}
	if strings.ContainsAny(a.Name, "\"`\\\n%") {
		return invalid("dir", "has a name that cannot stand in a program: expected letters, digits, - and _")
	}
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return invalid("dir", "cannot be read: "+systemReason(err))
	case len(entries) > 0:
		return invalid("dir", "exists and is not empty")
	}
	return nil
}

// accountsModule returns from where an application gets this module: a version that was released, or the directory of its source.
func accountsModule(chosen string) (version, source string, err error) {
	const unreleased = "v0.0.0" // which the directory stands for
	if chosen != "" {
		if source, err = filepath.Abs(chosen); err != nil || !isSource(source) {
			return "", "", invalid("source", "is not a directory with the source of "+modulePath)
		}
		return unreleased, source, nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if info.Main.Sum == "" { // not built from a module that was fetched, but in a directory
		if _, file, _, ok := runtime.Caller(0); ok {
			if source := above(filepath.Dir(file)); source != "" {
				return unreleased, source, nil
			}
		}
	}
	if released.MatchString(info.Main.Version) {
		return info.Main.Version, "", nil
	}
	if directory, err := os.Getwd(); err == nil {
		if source := above(directory); source != "" {
			return unreleased, source, nil
		}
	}
	return "", "", invalid("source", fmt.Sprintf(
		"is required, since the version of this program is %q: expected --source DIR with the source of %s", info.Main.Version, modulePath))
}

// above returns the directory with the source of this module that holds a directory, or "".
func above(directory string) string {
	for filepath.IsAbs(directory) {
		if isSource(directory) {
			return directory
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return ""
		}
		directory = parent
	}
	return ""
}

func isSource(directory string) bool {
	text, err := os.ReadFile(filepath.Join(directory, "go.mod"))
	first, _, _ := strings.Cut(string(text), "\n")
	return err == nil && strings.TrimSpace(first) == "module "+modulePath
}

// writeApplication makes the directory whole, or not at all.
func (p *program) writeApplication(ctx context.Context, dir string, app application) (err error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // a source directory
		return invalid("dir", "cannot be made: "+systemReason(err))
	}
	made, err := os.MkdirTemp(parent, "."+app.Name+"-*")
	if err != nil {
		return invalid("dir", "cannot be made: "+systemReason(err))
	}
	defer func() { _ = os.RemoveAll(made) }() // what is left of it, where a step failed
	progress := p.newProgress()
	defer progress.clear()
	steps := []struct {
		name string
		work func() error
	}{
		{"write the schema", func() error { return app.write(made, "go.mod", "ent") }},
		{"go mod tidy", func() error { return goCommand(ctx, made, "mod", "tidy") }},
		{"go generate ./ent", func() error { return goCommand(ctx, made, "generate", "./ent") }},
		{"plan the first migration", func() error { return firstMigration(ctx, made) }},
		{"write the program", func() error { return app.write(made) }},
		{"go mod tidy", func() error { return goCommand(ctx, made, "mod", "tidy") }},
	}
	for done, step := range steps {
		progress.show(done, len(steps), step.name)
		if err := step.work(); err != nil {
			return err
		}
	}
	if err := os.Chmod(made, 0o755); err != nil { //nolint:gosec // a source directory
		return invalid("dir", "cannot be made: "+systemReason(err))
	}
	_ = os.Remove(dir) // an empty one
	if err := os.Rename(made, dir); err != nil {
		return invalid("dir", "cannot be made: "+systemReason(err))
	}
	return nil
}

// write writes the files of the application whose paths begin so; without any, all.
func (a application) write(dir string, only ...string) error {
	return fs.WalkDir(skeletons, "skeleton", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file := strings.TrimSuffix(strings.TrimPrefix(name, "skeleton/"), ".tmpl")
		wanted := len(only) == 0
		for _, beginning := range only {
			wanted = wanted || strings.HasPrefix(file, beginning)
		}
		if !wanted || file == "go.mod" && len(only) == 0 { // tidy by now
			return nil
		}
		text, err := a.fill(name)
		if err != nil {
			return err
		}
		if file == "gitignore" {
			file = ".gitignore"
		}
		path := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a source directory
			return invalid("dir", "cannot be made: "+systemReason(err))
		}
		if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // a source file
			return invalid("dir", "cannot be written: "+systemReason(err))
		}
		return nil
	})
}

// fill returns what a template becomes.
func (a application) fill(name string) ([]byte, error) {
	source, err := skeletons.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Funcs(template.FuncMap{"quote": strconv.Quote}).Option("missingkey=error").Parse(string(source))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = t.Execute(&text, a)
	return text.Bytes(), err
}

// firstMigration writes the one that leads to the schema from nothing.
func firstMigration(ctx context.Context, dir string) error {
	desired, err := os.ReadFile(filepath.Join(dir, schemaFile(onSQLite)))
	if err != nil {
		return invalid("dir", "cannot be read: "+systemReason(err))
	}
	files := filepath.Join(dir, "migrations")
	if err := os.MkdirAll(files, 0o755); err != nil { //nolint:gosec // a source directory
		return invalid("dir", "cannot be made: "+systemReason(err))
	}
	if err := plan.Hash(files); err != nil {
		return err
	}
	_, err = plan.Diff(ctx, plan.DiffOptions{
		Dialect: migration.SQLite, Dir: files, Desired: string(desired), Name: "create_tables", Dev: devSQLite,
	})
	return err
}

// goCommand runs Go in a directory, by its own go.mod.
func goCommand(ctx context.Context, dir string, args ...string) error {
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the arguments are constants
	command.Dir = dir
	command.Env = append(command.Environ(), "GOWORK=off")
	out, err := command.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return invalid("go", fmt.Sprintf("go %s failed: %v\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out)))
	}
	return nil
}
