package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	"ariga.io/atlas/sql/sqlcheck"
	"ariga.io/atlas/sql/sqlclient"
	"ariga.io/atlas/sql/sqlite"

	_ "ariga.io/atlas/sql/postgres/postgrescheck" // registers the analyzers
	_ "ariga.io/atlas/sql/sqlite/sqlitecheck"     // registers the analyzers

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// Finding is a statement that may lose data, fail on data, break the release that is running, or hold up a table in use.
type Finding struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Code   string `json:"code"` // to be named in a comment "-- atlas:nolint CODE" if the statement is meant
	Reason string `json:"reason"`
	Safer  string `json:"safer"` // what to do instead
}

// LintOptions say what [Lint] reads.
type LintOptions struct {
	Dialect string
	Dir     fs.FS // of the migrations
	Latest  int   // how many of the newest files; zero means all
	Dev     Dev
}

// Lint executes the directory in a development database, file by file, and returns what is questionable about the newest
// files, ordered by file and line. Atlas's analyzers look at the changes (codes DS, MF, BC, CD, LT). What a statement does to
// a PostgreSQL table in use (codes PG, AC) is not guessed from its text but observed: which locks it takes and with which
// lock_timeout, and whether it writes the table anew. A table made by the same file is empty, and nothing is said of it.
//
// As in Atlas, a comment "-- atlas:nolint" above a statement, or at the top of the file and followed by an empty line,
// silences all findings, and "-- atlas:nolint CODE…" those.
//
// The error is that of a file which cannot be executed, or a [domain.ErrChecksum].
func Lint(ctx context.Context, options LintOptions) ([]Finding, error) {
	database, err := databaseOf(options.Dialect)
	if err != nil {
		return nil, err
	}
	dir, err := script.Read(options.Dir, options.Dialect)
	if err != nil {
		return nil, err
	}
	old := 0
	if options.Latest > 0 {
		old = max(0, len(dir.Files)-options.Latest)
	}
	findings := []Finding{}
	err = withScratch(ctx, database, options.Dev, func(place *scratch) error {
		for _, f := range dir.Files[:old] {
			if err := place.executeFile(ctx, f); err != nil {
				return err
			}
		}
		for _, f := range dir.Files[old:] {
			found, err := lintFile(ctx, place, f)
			if err != nil {
				return err
			}
			findings = append(findings, found...)
		}
		return nil
	})
	return findings, err
}

// linting is one file under observation.
type linting struct {
	*scratch
	file    *script.File
	changes []*sqlcheck.Change
	found   []sqlcheck.Diagnostic
}

func lintFile(ctx context.Context, place *scratch, f *script.File) ([]Finding, error) {
	before, err := inspect(ctx, place.driver)
	if err != nil {
		return nil, err
	}
	l := &linting{scratch: place, file: f}
	l.splitAlike()
	observe := l.observeSQLite
	if place.database.dialect == Postgres {
		observe = l.observePostgres
	}
	if err := observe(ctx, before); err != nil {
		return nil, err
	}
	after, err := inspect(ctx, place.driver)
	if err != nil {
		return nil, err
	}
	sum, err := difference(place.driver, before, after)
	if err != nil {
		return nil, err
	}
	l.disguisedRenames(sum)
	if err := l.analyze(ctx, sum); err != nil {
		return nil, err
	}
	return l.findings(), nil
}

func (l *linting) report(statement *migrate.Stmt, code, format string, args ...any) {
	l.found = append(l.found, sqlcheck.Diagnostic{Pos: statement.Pos, Code: code, Text: fmt.Sprintf(format, args...)})
}

// analyze runs Atlas's own analyzers.
func (l *linting) analyze(ctx context.Context, sum schema.Changes) error {
	name := postgres.DriverName
	if l.database.dialect == SQLite {
		name = sqlite.DriverName
	}
	analyzers, err := sqlcheck.AnalyzerFor(name, nil)
	if err != nil {
		return err
	}
	pass := &sqlcheck.Pass{
		File: &sqlcheck.File{File: l.file.LocalFile, Changes: l.changes, Sum: sum, Parser: filled{l.database.dialect}},
		Dev:  &sqlclient.Client{Name: name, Driver: l.driver},
	}
	for _, analyzer := range analyzers {
		failed := false
		pass.Reporter = sqlcheck.ReportWriterFunc(func(r sqlcheck.Report) {
			l.found = append(l.found, r.Diagnostics...)
			failed = true // some analyzers then return an error as well, which says less
		})
		if err := analyzer.Analyze(ctx, pass); err != nil && !failed {
			return err
		}
	}
	return nil
}

// findings returns what was found and not silenced.
func (l *linting) findings() []Finding {
	silenced := l.file.Directive("nolint")
	findings := []Finding{}
	for _, d := range l.found {
		directives := slices.Clone(silenced)
		statement := &migrate.Stmt{}
		for _, s := range l.file.Statements {
			if s.Pos == d.Pos {
				statement = s
				directives = append(directives, s.Directive("nolint")...)
			}
		}
		if slices.ContainsFunc(directives, func(codes string) bool {
			return codes == "" || slices.Contains(strings.Fields(codes), d.Code) ||
				slices.Contains(strings.Fields(codes), analyzerOf[d.Code[:2]])
		}) {
			continue
		}
		findings = append(findings, Finding{
			File: l.file.Name(), Line: l.file.Line(statement), Code: d.Code, Reason: d.Text, Safer: safer[d.Code],
		})
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return a.Line - b.Line })
	return findings
}

// analyzerOf gives the names of Atlas's analyzers, by which a directive may silence all their codes.
var analyzerOf = map[string]string{
	"DS": "destructive", "MF": "data_depend", "LT": "data_depend", "BC": "incompatible", "CD": "condrop", "PG": "concurrent_index",
}

// oldScanner reads a file as Atlas v0.13.1 does, whatever the database.
var oldScanner = migrate.Scanner{ScannerOptions: migrate.ScannerOptions{
	MatchDollarQuote: true, BackslashEscapes: true, HashComments: true,
}}

// splitAlike looks for statements that builds of Atlas take apart in different ways, so that they would not agree on how
// much of a file is applied.
func (l *linting) splitAlike() {
	scanner := oldScanner
	theirs, err := scanner.Scan(string(l.file.Bytes()))
	for i, ours := range l.file.Statements {
		if err != nil || i >= len(theirs) || theirs[i].Text != ours.Text {
			l.report(ours, "AC104", "Builds of Atlas differ in where this statement ends")
			return
		}
	}
}

// apply records what a statement changed.
func (l *linting) apply(statement *migrate.Stmt, from, to *schema.Schema) (schema.Changes, error) {
	changes, err := difference(l.driver, from, to)
	if err != nil {
		return nil, err
	}
	if renaming.MatchString(statement.Text) {
		changes = renames(changes)
	}
	l.changes = append(l.changes, &sqlcheck.Change{Stmt: statement, Changes: changes})
	return changes, nil
}

func (l *linting) observeSQLite(ctx context.Context, current *schema.Schema) error {
	for _, statement := range l.file.Statements {
		if _, err := l.conn.ExecContext(ctx, statement.Text); err != nil {
			return l.file.Failure(statement, err)
		}
		next, err := inspect(ctx, l.driver)
		if err != nil {
			return err
		}
		if _, err := l.apply(statement, current, next); err != nil {
			return err
		}
		current = next
	}
	return nil
}

var renaming = regexp.MustCompile(`(?i)\bRENAME\b`)

// renames turns what looks like a drop and an add, in one statement that says RENAME, into what it is.
func renames(changes schema.Changes) schema.Changes {
	drop := slices.IndexFunc(changes, func(c schema.Change) bool { _, ok := c.(*schema.DropTable); return ok })
	add := slices.IndexFunc(changes, func(c schema.Change) bool { _, ok := c.(*schema.AddTable); return ok })
	if drop >= 0 && add >= 0 {
		renamed := &schema.RenameTable{From: changes[drop].(*schema.DropTable).T, To: changes[add].(*schema.AddTable).T}
		changes = slices.DeleteFunc(slices.Clone(changes), func(c schema.Change) bool {
			return c == changes[drop] || c == changes[add]
		})
		return append(changes, renamed)
	}
	for _, c := range changes {
		table, ok := c.(*schema.ModifyTable)
		if !ok {
			continue
		}
		from, to := columnChanges(table.Changes)
		if len(from) != 1 || len(to) != 1 {
			continue
		}
		table.Changes = slices.DeleteFunc(table.Changes, func(c schema.Change) bool {
			switch c.(type) {
			case *schema.DropColumn, *schema.AddColumn:
				return true
			}
			return false
		})
		table.Changes = append(table.Changes, &schema.RenameColumn{From: from[0].C, To: to[0].C})
	}
	return changes
}

func columnChanges(changes []schema.Change) (dropped []*schema.DropColumn, added []*schema.AddColumn) {
	for _, c := range changes {
		switch c := c.(type) {
		case *schema.DropColumn:
			dropped = append(dropped, c)
		case *schema.AddColumn:
			added = append(added, c)
		}
	}
	return dropped, added
}

// disguisedRenames looks for a column that is dropped while another of the same type is added: so a planner, which sees only
// the two states, plans what was meant as a new name.
func (l *linting) disguisedRenames(sum schema.Changes) {
	format, ok := l.driver.(schema.TypeFormatter)
	if !ok {
		return
	}
	for _, c := range sum {
		table, ok := c.(*schema.ModifyTable)
		if !ok {
			continue
		}
		dropped, added := columnChanges(table.Changes)
		for _, from := range dropped {
			for _, to := range added {
				a, err := format.FormatType(from.C.Type.Type)
				b, err2 := format.FormatType(to.C.Type.Type)
				statement := l.dropping(table.T.Name, from.C.Name)
				if errors.Join(err, err2) == nil && a == b && statement != nil {
					l.report(statement, "AC102", "Dropping column %q and adding %q of the same type: if it is a new name, the values are lost",
						from.C.Name, to.C.Name)
				}
			}
		}
	}
}

// dropping returns the statement that drops a column. In SQLite that may be the one that drops the whole table, after its
// rows have been copied to the next one.
func (l *linting) dropping(table, column string) *migrate.Stmt {
	for _, change := range l.changes {
		for _, c := range change.Changes {
			switch c := c.(type) {
			case *schema.DropTable:
				if c.T.Name == table {
					return change.Stmt
				}
			case *schema.ModifyTable:
				dropped, _ := columnChanges(c.Changes)
				if c.T.Name == table && slices.ContainsFunc(dropped, func(d *schema.DropColumn) bool { return d.C.Name == column }) {
					return change.Stmt
				}
			}
		}
	}
	return nil
}

// filled answers Atlas's question whether a column was given values before it became NOT NULL.
type filled struct{ dialect string }

// ColumnFilledBefore reports whether a statement before pos fills the column. On PostgreSQL the question is another one,
// see [linting.observePostgres].
func (f filled) ColumnFilledBefore(statements []*migrate.Stmt, table *schema.Table, column *schema.Column, pos int) (bool, error) {
	if f.dialect == Postgres {
		return true, nil
	}
	const quote = "[`\"\\[]?"
	name := quote + regexp.QuoteMeta(column.Name) + `\b`
	fills, err := regexp.Compile(`(?is)\bUPDATE\s+` + quote + regexp.QuoteMeta(table.Name) + `\b.*\bSET\b.*` + name +
		`|\b(IFNULL|COALESCE)\s*\(\s*` + name)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(statements, func(s *migrate.Stmt) bool { return s.Pos < pos && fills.MatchString(s.Text) }), nil
}
