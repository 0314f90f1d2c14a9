package plan

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"ariga.io/atlas/sql/schema"
	"ariga.io/atlas/sql/sqlite"

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// inspectSQLite reads tables as Atlas does. Objects are known by their names.
func (l *linting) inspectSQLite(ctx context.Context) (_ catalog, err error) {
	tables, err := inspect(ctx, l.driver)
	if err != nil {
		return nil, err
	}
	found := catalog{}
	for _, t := range tables.Tables {
		found.add(object{kind: "table", id: t.Name, name: t.Name})
		add := func(kind, name string, attrs map[string]string) {
			found.add(object{kind, t.Name + "." + kind + "." + name, t.Name, name, attrs})
		}
		for _, c := range t.Columns {
			attrs := map[string]string{"type": c.Type.Raw, "null": boolean(c.Type.Null), "default": expression(c.Default)}
			for _, a := range c.Attrs {
				if g, ok := a.(*schema.GeneratedExpr); ok {
					attrs["computed"] = g.Expr
				}
			}
			add("column", c.Name, attrs)
		}
		for _, i := range t.Indexes {
			var columns []string
			for _, p := range i.Parts {
				if p.C != nil {
					columns = append(columns, p.C.Name)
				} else {
					columns = append(columns, expression(p.X))
				}
			}
			add("index", i.Name, map[string]string{"unique": boolean(i.Unique), "columns": strings.Join(columns, ","), "where": predicate(i)})
		}
		for _, f := range t.ForeignKeys {
			columns := make([]string, len(f.Columns))
			for i, c := range f.Columns {
				columns[i] = c.Name
			}
			list := strings.Join(columns, ",")
			add("foreign key", list, map[string]string{"columns": list, "definition": f.RefTable.Name})
		}
		for _, a := range t.Attrs {
			if c, ok := a.(*schema.Check); ok {
				name := c.Name
				if name == "" {
					name = c.Expr
				}
				add("check", name, map[string]string{"definition": c.Expr})
			}
		}
	}
	rows, err := l.conn.QueryContext(ctx, "SELECT type, name FROM sqlite_schema WHERE type IN ('view', 'trigger')")
	if err != nil {
		return nil, script.Failure("inspect the development database", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var o object
		if err := rows.Scan(&o.kind, &o.name); err != nil {
			return nil, err
		}
		o.id = o.kind + " " + o.name
		found.add(o)
	}
	return found, rows.Err()
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func expression(e schema.Expr) string {
	switch e := e.(type) {
	case *schema.Literal:
		return e.V
	case *schema.RawExpr:
		return e.X
	}
	return ""
}

func predicate(i *schema.Index) string {
	for _, a := range i.Attrs {
		if p, ok := a.(*sqlite.IndexPredicate); ok {
			return p.P
		}
	}
	return ""
}

// executeSQLite executes a statement.
func (l *linting) executeSQLite(ctx context.Context, s *step) error {
	if controlsTransaction(s.statement.Text) {
		if l.file.Transactional {
			return nil // which is a finding; the file is executed without a transaction here
		}
		l.open = script.Begins(s.statement.Text)
	}
	if match := deletesAll.FindStringSubmatch(s.statement.Text); match != nil {
		table := s.from[strings.Trim(match[1], "`\"[]")]
		s.events = append(s.events, event{emptied, table, table})
	}
	_, err := l.conn.ExecContext(ctx, s.statement.Text)
	return err
}

// understandSQLite finds new names, and tables that were made again under the same name: what is dropped is compared
// with what the file leaves in its place.
func (s *step) understandSQLite(start, end catalog) {
	if renames.MatchString(s.statement.Text) {
		for _, kind := range []string{"table", "column"} {
			s.events = pair(s.events, func(d, a object) bool {
				return d.kind == kind && a.kind == kind && d.parent == a.parent
			}, renamed)
		}
	}
	var all []event
	for _, e := range s.events {
		_, before := start[e.from.id]
		_, after := end[e.from.id]
		if e.what == dropped && e.from.kind == "table" && before && after {
			s.rebuilt = true
			all = append(all, events(start.within(e.from.id), end.within(e.from.id))...)
		} else {
			all = append(all, e)
		}
	}
	s.events = all
}

// isFilled reports whether a statement of the file gives a column values where it has none.
func (l *linting) isFilled(column object) bool {
	const quote = "[`\"\\[]?"
	name := quote + regexp.QuoteMeta(column.name) + `\b`
	fills := regexp.MustCompile(`(?is)\bUPDATE\s+` + quote + regexp.QuoteMeta(column.parent) + `\b.*\bSET\b.*` + name +
		`|\b(IFNULL|COALESCE)\s*\(\s*` + name)
	for _, s := range l.file.Statements {
		if fills.MatchString(s.Text) {
			return true
		}
	}
	return false
}
