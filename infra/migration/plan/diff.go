// Package plan works out migrations: the next one from the declared schema (Diff), what is questionable about those there are (Lint),
// how a database differs from the declaration (Verify), and the way back (Down). It links Atlas's knowledge of databases, which
// a program that only runs migrations does not need: that is infra/migration.
package plan

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// DiffOptions say what [Diff] compares. All are needed.
type DiffOptions struct {
	Dialect string
	Dir     string // path of the directory of migrations, in which the file is made
	Desired string // the desired state: CREATE statements, as go generate ./ent writes them
	Name    string // of the change, such as add_nickname: letters, digits, "_" and "-"
	Dev     Dev
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// versionFormat is the time in a version, UTC.
const versionFormat = "20060102150405"

// Diff plans the migration that leads from the end of the directory to the desired state, writes it as the directory's
// newest file and renews atlas.sum. It returns the path of the file, or "" if there is nothing to be done. The file is
// the same, to the byte, as "atlas migrate diff" writes with this project's atlas.hcl; but Atlas does not see storage parameters, nor triggers of
// SQLite, which are lost where a table is made again: this file makes them again too.
//
// The error is [domain.ErrInvalid] for a bad name or if the clock is behind the newest file, and [domain.ErrChecksum] if
// the directory does not match its atlas.sum.
func Diff(ctx context.Context, options DiffOptions) (path string, err error) {
	if !validName.MatchString(options.Name) {
		return "", invalidName()
	}
	database, err := databaseOf(options.Dialect)
	if err != nil {
		return "", err
	}
	dir, err := script.Read(os.DirFS(options.Dir), options.Dialect)
	if err != nil {
		return "", err
	}
	planned, err := planDiff(ctx, options, database, dir)
	if err != nil || planned == nil {
		return "", err
	}
	version, err := nextVersion(options.Dir, options.Name, dir)
	if err != nil {
		return "", err
	}
	planned.Version, planned.Name = version, options.Name
	return write(options.Dir, database, planned)
}

// nextVersion returns the version of a new file: the time, or that of the newest file of another database's directory beside, if
// it has the same name and this directory is not past it. So one change has one version.
func nextVersion(path, name string, dir *script.Directory) (string, error) {
	newest := ""
	if last := len(dir.Files) - 1; last >= 0 {
		newest = dir.Files[last].Version()
	}
	beside, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(path)), "*", "*.sql"))
	if err != nil {
		return "", err
	}
	newestOf := map[string]string{} // directory → file
	for _, file := range beside {
		newestOf[filepath.Dir(file)] = filepath.Base(file) // they are sorted
	}
	for _, file := range newestOf {
		version, rest, _ := strings.Cut(strings.TrimSuffix(file, ".sql"), "_")
		if rest == name && len(version) == len(versionFormat) && version > newest {
			return version, nil
		}
	}
	version := time.Now().UTC().Format(versionFormat)
	if newest >= version { // made in the same second, or by a clock that is ahead of this one
		at, err := time.Parse(versionFormat, newest)
		if err != nil {
			return "", script.Refuse(domain.ErrInvalid, "the newest migration's version %s is no time; want 14 digits, as in %s", newest, versionFormat)
		}
		version = at.Add(time.Second).Format(versionFormat)
	}
	return version, nil
}

// New makes an empty migration, to be written by hand, as the directory's newest file and renews atlas.sum. It returns the
// path of the file. The errors are those of [Diff].
func New(options DiffOptions) (path string, err error) {
	if !validName.MatchString(options.Name) {
		return "", invalidName()
	}
	database, err := databaseOf(options.Dialect)
	if err != nil {
		return "", err
	}
	dir, err := script.Read(os.DirFS(options.Dir), options.Dialect)
	if err != nil {
		return "", err
	}
	version, err := nextVersion(options.Dir, options.Name, dir)
	if err != nil {
		return "", err
	}
	return write(options.Dir, database, &migrate.Plan{Version: version, Name: options.Name})
}

// Checkpoint writes a file that makes at once what the files of the directory make one after the other, and renews atlas.sum. An
// empty database begins there; one with a history passes over it. It returns the path of the file. The errors are those of
// [Diff]; Desired is not needed.
func Checkpoint(ctx context.Context, options DiffOptions) (path string, err error) {
	if !validName.MatchString(options.Name) {
		return "", invalidName()
	}
	d, err := databaseOf(options.Dialect)
	if err != nil {
		return "", err
	}
	dir, err := script.Read(os.DirFS(options.Dir), options.Dialect)
	if err != nil {
		return "", err
	}
	if len(dir.Files) == 0 {
		return "", script.Refuse(domain.ErrInvalid, "there is no migration to stand for")
	}
	var planned *migrate.Plan
	err = withScratch(ctx, d, options.Dev, func(s *scratch) error {
		nothing, err := s.inspect(ctx)
		if err != nil {
			return err
		}
		for _, f := range dir.Replayed() {
			if err := s.executeFile(ctx, f); err != nil {
				return err
			}
		}
		made, err := s.inspect(ctx)
		if err != nil {
			return err
		}
		stored, err := d.storage(ctx, s.conn)
		if err != nil {
			return err
		}
		if planned, err = d.planned(ctx, s, options.Name, nothing, made, storageChanges(nil, stored)); err != nil || planned == nil {
			return err
		}
		var texts []string
		for _, f := range dir.Replayed() {
			texts = append(texts, f.Texts()...)
		}
		for _, r := range routinesOf(texts) { // which Atlas does not see
			planned.Changes = append(planned.Changes, &migrate.Change{Cmd: strings.TrimSuffix(r.statement, ";")})
		}
		return nil
	})
	if err != nil || planned == nil {
		return "", err
	}
	if planned.Version, err = nextVersion(options.Dir, options.Name, dir); err != nil {
		return "", err
	}
	planned.Name = options.Name
	if separate(d, planned); planned.Delimiter != "" {
		planned.Directives = []string{"-- atlas:checkpoint"} // behind the delimiter, which is read in the first line alone
		return write(options.Dir, d, planned)
	}
	local, err := migrate.NewLocalDir(options.Dir)
	if err != nil {
		return "", err
	}
	if err := migrate.NewPlanner(nil, local, migrate.PlanFormat(d.format)).WriteCheckpoint(planned, ""); err != nil {
		return "", err
	}
	return filepath.Join(options.Dir, planned.Version+"_"+planned.Name+".sql"), nil
}

func write(path string, d database, planned *migrate.Plan) (string, error) {
	separate(d, planned)
	local, err := migrate.NewLocalDir(path)
	if err != nil {
		return "", err
	}
	if err := migrate.NewPlanner(nil, local, migrate.PlanFormat(d.format)).WritePlan(planned); err != nil {
		return "", err
	}
	return filepath.Join(path, planned.Version+"_"+planned.Name+".sql"), nil
}

// separate lets a file that makes a trigger of SQLite say what ends its statements: builds of Atlas do not agree on it.
func separate(d database, planned *migrate.Plan) {
	if d.dialect == SQLite && slices.ContainsFunc(planned.Changes, func(c *migrate.Change) bool { return makesRoutine.MatchString(c.Cmd) }) {
		planned.Delimiter = ";\n\n"
	}
}

func invalidName() error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "name", Reason: `takes letters, digits, "_" and "-", at most 100`}
}

// planDiff returns nil if there is nothing to be done.
func planDiff(ctx context.Context, options DiffOptions, d database, dir *script.Directory) (*migrate.Plan, error) {
	var current, desired *schema.Schema
	var stored map[string]storage
	var defined []definition
	err := withScratch(ctx, d, options.Dev, func(s *scratch) (err error) {
		for _, f := range dir.Replayed() {
			if err := s.executeFile(ctx, f); err != nil {
				return err
			}
		}
		if defined, err = d.definitions(ctx, s.conn); err != nil {
			return err
		}
		if stored, err = d.storage(ctx, s.conn); err != nil {
			return err
		}
		current, err = s.inspect(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	var planned *migrate.Plan
	err = withScratch(ctx, d, options.Dev, func(s *scratch) (err error) {
		if err := s.executeText(ctx, options.Desired); err != nil {
			return err
		}
		if desired, err = s.inspect(ctx); err != nil {
			return err
		}
		declared, err := d.storage(ctx, s.conn)
		if err != nil {
			return err
		}
		forms, err := s.forms(ctx)
		if err != nil {
			return err
		}
		unify(current, desired, forms)
		planned, err = d.planned(ctx, s, options.Name, current, desired, storageChanges(stored, declared))
		return err
	})
	if err == nil && planned != nil && d.dialect == SQLite {
		keepTriggers(planned, defined)
	}
	return planned, err
}

// keepTriggers adds to a plan the triggers of tables that it makes again.
func keepTriggers(planned *migrate.Plan, defined []definition) {
	var statements []string
	for _, c := range planned.Changes {
		statements = append(statements, c.Cmd)
	}
	remade := script.Remade(statements)
	for _, trigger := range defined {
		if slices.Contains(remade, strings.ToLower(trigger.table)) {
			planned.Changes = append(planned.Changes, &migrate.Change{Cmd: trigger.text, Comment: "make again trigger " + trigger.name})
		}
	}
}

// planned returns the plan from one schema to another, or nil if there is nothing to be done.
func (d database) planned(
	ctx context.Context, s *scratch, name string, from, to *schema.Schema, parameters []string,
) (planned *migrate.Plan, err error) {
	changes, err := difference(s.driver, from, to)
	if err != nil || len(changes)+len(parameters) == 0 {
		return nil, err
	}
	planned = new(migrate.Plan)
	if len(changes) > 0 {
		if planned, err = plan(ctx, s.driver, name, d.indent, changes); err != nil {
			return nil, err
		}
	}
	for _, statement := range parameters {
		planned.Changes = append(planned.Changes, &migrate.Change{Cmd: strings.TrimSuffix(statement, ";"), Comment: "set storage parameters"})
	}
	return planned, nil
}

// formatPostgres is the format of atlas.hcl. Whichever program runs the file, its statements do not queue up for a lock, and others
// behind them, for longer than five seconds.
var formatPostgres = migrate.TemplateFormatter{{
	N: migrate.DefaultFormatter[0].N,
	C: template.Must(template.New("").Parse("SET LOCAL lock_timeout = '5s';\n" +
		"{{ range .Changes }}{{ with .Comment }}-- {{ . }}\n{{ end }}{{ .Cmd }};\n{{ end }}")),
}}

// Hash renews the atlas.sum of the directory at path, after a file was edited that has not been applied anywhere yet.
func Hash(path string) error {
	dir, err := migrate.NewLocalDir(path)
	if err != nil {
		return err
	}
	sum, err := dir.Checksum()
	if err != nil {
		return err
	}
	return migrate.WriteSumFile(dir, sum)
}
