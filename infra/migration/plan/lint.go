package plan

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"ariga.io/atlas/sql/migrate"

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
// files, ordered by file and line. What a statement does is not guessed from its text but observed, in every schema: what
// it changes in the catalog and, on PostgreSQL, which locks it takes and with which lock_timeout, which tables it reads
// from end to end, and whose rows it may change. A table made by the same file is empty, and nothing is said of it. A
// statement of a file without a transaction is executed twice, to see whether it can be repeated.
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
	dir.Files = dir.Replayed()
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
	file       *script.File
	home       string    // the schema whose name is not mentioned
	start, end catalog   // before and after the file
	open       bool      // a transaction is
	seen       *watch    // behind the last statement, if its transaction is still open and has set no timeout
	catalogs   *sql.Stmt // PostgreSQL: the query of the catalogs, which takes as long to plan as to execute
	steps      []*step
	found      []Finding
}

// step is a statement and what it did.
type step struct {
	statement    *migrate.Stmt
	from, to     catalog
	events       []event
	rebuilt      bool // SQLite: drops a table that is there again at the end of the file
	outside      bool // executed without a transaction, for it cannot run in one
	refused      bool // although the file is one
	unrepeatable string

	// On PostgreSQL:
	lockTimeout int64           // in milliseconds
	held        map[string]bool // tables on which a statement before holds a lock that stops writes
	read        map[string]bool // tables
}

func lintFile(ctx context.Context, place *scratch, f *script.File) ([]Finding, error) {
	l := &linting{scratch: place, file: f}
	prepare, look, execute := func(context.Context) error { return nil }, l.inspectSQLite, l.executeSQLite
	if place.database.dialect == Postgres {
		prepare, look, execute = l.preparePostgres, l.inspectPostgres, l.executePostgres
		// Compiling the query of the catalogs takes longer than executing it.
		if err := l.exec(ctx, "SET jit = off"); err != nil {
			return nil, script.Failure("prepare the development database", err)
		}
		if err := l.conn.QueryRowContext(ctx, "SELECT coalesce(current_schema(), '')").Scan(&l.home); err != nil {
			return nil, script.Failure("inspect the development database", err)
		}
	}
	defer l.forgetCatalogs()
	var err error
	if l.start, err = look(ctx); err != nil {
		return nil, err
	}
	if err := prepare(ctx); err != nil {
		return nil, err
	}
	l.end = l.start
	for _, statement := range f.Statements {
		s := &step{statement: statement, from: l.end}
		s.events = []event{{what: executed, from: object{kind: "statement", id: "statement"}}}
		l.steps = append(l.steps, s)
		if dropsDatabase.MatchString(statement.Text) {
			continue // it would do so
		}
		if err := execute(ctx, s); err != nil {
			return nil, f.Failure(statement, err)
		}
		if !f.Transactional && !l.open && !controlsTransaction(statement.Text) && !script.CreatesConcurrently.MatchString(statement.Text) {
			if err := l.repeat(ctx, s); err != nil {
				return nil, f.Failure(statement, err)
			}
		}
		if s.to = s.from; !setsTimeout.MatchString(statement.Text) {
			if s.to, err = look(ctx); err != nil {
				return nil, err
			}
		}
		s.events = append(s.events, events(s.from, s.to)...)
		l.end = s.to
	}
	if l.open && place.database.dialect == Postgres {
		if err := l.exec(ctx, "COMMIT"); err != nil {
			return nil, f.Failure(f.Statements[len(f.Statements)-1], err)
		}
	}
	l.splitDifferently()
	l.applyRules()
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(l.found), nil
}

// applyRules reports what the rules find in what happened to objects that were there before the file.
func (l *linting) applyRules() {
	for _, s := range l.steps {
		if l.database.dialect == SQLite {
			s.understandSQLite(l.start, l.end)
		}
		for _, e := range s.events {
			for _, r := range rules {
				if r.dialect != "" && r.dialect != l.database.dialect || !slices.Contains(strings.Split(r.kind, ", "), e.object().kind) ||
					!slices.Contains(strings.Fields(r.what), e.what) || !r.fresh && !l.inUse(s, e) {
					continue
				}
				if reason := r.finds(l, s, e); reason != "" {
					l.report(s.statement, r.code, reason)
				}
			}
		}
	}
}

// inUse reports whether the object of an event, or for a new one its table, was there before the file.
func (l *linting) inUse(s *step, e event) bool {
	id := e.object().id
	if e.what == added {
		id = e.to.parent
		if _, ok := s.from[id]; !ok && !s.rebuilt {
			return false
		}
	}
	_, ok := l.start[id]
	return ok || e.what == executed
}

// report notes a finding, unless the statement or the file says that it is meant.
func (l *linting) report(statement *migrate.Stmt, code, reason string) {
	for _, codes := range append(statement.Directive("nolint"), l.file.Directive("nolint")...) {
		if named := strings.Fields(codes); codes == "" || slices.Contains(named, code) || slices.Contains(named, analyzerOf[code[:2]]) {
			return
		}
	}
	l.found = append(l.found, Finding{
		File: l.file.Name(), Line: l.file.Line(statement), Code: code, Reason: reason, Safer: safer(code),
	})
}

// table returns the name of an object's table, with its schema unless that is the usual one.
func (l *linting) table(s *step, o object) string {
	for _, c := range []catalog{s.from, s.to, l.start, l.end} {
		if parent, ok := c[o.parent]; ok && parent.kind != "schema" {
			o = parent
			break
		}
	}
	if schema := o.attrs["schema"]; schema != "" && schema != l.home {
		return fmt.Sprintf("%q", schema+"."+o.name)
	}
	return fmt.Sprintf("%q", o.name)
}

// analyzerOf gives the names of Atlas's analyzers, by which a directive may silence all their codes.
var analyzerOf = map[string]string{
	"DS": "destructive", "MF": "data_depend", "LT": "data_depend", "BC": "incompatible", "CD": "condrop", "PG": "concurrent_index",
}

// oldScanner reads a file as Atlas v0.13.1 does, whatever the database.
var oldScanner = migrate.Scanner{ScannerOptions: migrate.ScannerOptions{
	MatchDollarQuote: true, BackslashEscapes: true, HashComments: true,
}}

// splitDifferently looks for statements that builds of Atlas take apart in different ways, so that they would not agree on how
// much of a file is applied.
func (l *linting) splitDifferently() {
	scanner := oldScanner
	theirs, err := scanner.Scan(string(l.file.Bytes()))
	for i, ours := range l.file.Statements {
		if err != nil || i >= len(theirs) || theirs[i].Text != ours.Text {
			l.report(ours, "AC104", "Builds of Atlas differ in where this statement ends")
			return
		}
	}
}
