package adoption

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/ent/migrate/desired"
	files "github.com/softbee/accounts/ent/migrate/postgres"
)

// ColumnChange says what becomes of a column.
type ColumnChange struct {
	Column string `json:"column"`
	From   string `json:"from,omitempty"` // type before, and column if that has another name; empty if it is added
	To     string `json:"to,omitempty"`   // type after; empty if it does not stay
	Change string `json:"change"`         // for people
}

// target is what the table is to become.
type target struct {
	table    *schema.Table
	others   []*schema.Table // that are made beside it
	version  string          // of the newest embedded migration
	storage  []string        // statements of the migrations that the declared schema cannot say
	routines []string        // likewise: triggers of the others, and their functions
}

// scratchSchema is where something is tried in a transaction that is rolled back.
const scratchSchema = sideSchema + "_scratch"

// readTarget lets the database itself say what the declared schema means, in a transaction that is rolled back.
func (a *Adoption) readTarget(ctx context.Context) (_ *target, err error) {
	statements, err := (*postgres.Driver)(nil).ScanStmts(desired.Postgres)
	if err != nil {
		return nil, err
	}
	if err := a.exec(ctx, "BEGIN"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.exec(context.WithoutCancel(ctx), "ROLLBACK")) }()
	for _, statement := range []string{"CREATE SCHEMA " + scratchSchema, "SET LOCAL search_path = " + scratchSchema} {
		if err := a.exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	for _, statement := range statements {
		if err := a.exec(ctx, statement.Text); err != nil {
			return nil, err
		}
	}
	found, err := a.driver.InspectSchema(ctx, "", nil)
	if err != nil {
		return nil, failure("inspect the declared schema", err)
	}
	t := &target{}
	for _, table := range found.Tables {
		if table.Name == "users" {
			t.table = table
		} else {
			t.others = append(t.others, table)
		}
	}
	if t.table == nil {
		return nil, errors.New("adoption: the declared schema has no table users")
	}
	return t, t.readMigrations()
}

// plan works out statements and changes for people.
func (a *Adoption) plan(ctx context.Context) error {
	live := *a.source.live
	if a.source.inPlace {
		a.Statements = a.preparation()
		live.Indexes = slices.DeleteFunc(slices.Clone(live.Indexes), func(i *schema.Index) bool { return uniqueConstraint(i) != "" && a.replaces(i) })
	}
	planned, err := a.statements(ctx, &live)
	if err != nil {
		return err
	}
	for i, change := range planned {
		a.Statements = append(a.Statements, change.Cmd)
		if i == 0 && !a.source.inPlace { // the new table
			a.Statements = append(a.Statements, a.target.storage...)
		}
	}
	if a.source.inPlace && len(a.Obstacles) == 0 {
		reason, err := a.rehearse(ctx)
		if err != nil {
			return err
		}
		if reason != "" {
			a.Obstacles = append(a.Obstacles, reason)
		}
	}
	s := a.source
	for _, column := range a.target.table.Columns {
		change := ColumnChange{Column: column.Name, To: format(column), Change: "added: " + absent(column.Name)}
		origin := s.Columns[column.Name]
		from := origin.Column + origin.Set
		if slices.Contains(tokens, column.Name) && s.inPlace {
			from = column.Name
		}
		if _, there := s.types[from]; there {
			change.From = s.types[from]
			if live, ok := s.live.Column(from); ok {
				change.From = format(live)
			}
			if from != column.Name {
				change.From = from + " " + change.From
			}
			change.Change = s.describe(column.Name, origin)
		} else if origin.Constant != nil {
			change.Change = "added: " + s.value("", column.Name)
		}
		a.Columns = append(a.Columns, change)
	}
	for _, name := range s.others() {
		a.Columns = append(a.Columns, ColumnChange{
			Column: name, From: s.types[name], To: s.types[name], Change: "stays: it is not this program's",
		})
	}
	return nil
}

func (s *source) describe(name string, origin Origin) string {
	switch {
	case slices.Contains(tokens, name):
		return "emptied: what it holds is no digest"
	case origin.Set != "":
		return "true where there is a value"
	case name == "id" && s.types[origin.Column] != "uuid":
		return "new ids; " + sideSchema + ".origin has both"
	case mappable[name] == instant && isNaive(s.types[origin.Column]):
		return "read in " + s.zone
	case name == "email" || name == "username" || name == "phone":
		return "in canonical form"
	case absent(name) != "NULL":
		return "NULL becomes " + absent(name)
	}
	return "kept"
}

func format(c *schema.Column) string {
	text, err := postgres.FormatType(c.Type.Type)
	if err != nil {
		text = c.Type.Raw
	}
	if !c.Type.Null {
		text += " NOT NULL"
	}
	return text
}

// statements lets Atlas plan the way from the live table to the declared one; in place, with an expression for every column
// that stays. For a table that is copied it plans a new one.
func (a *Adoption) statements(ctx context.Context, live *schema.Table) ([]*migrate.Change, error) {
	to := a.target.table
	here := schema.New(a.source.schema)
	to.Schema = here
	changes := []schema.Change{&schema.AddTable{T: to}}
	if a.source.inPlace {
		live = a.ours(live)
		live.Schema = here
		from, into := schema.New(a.source.schema).AddTables(live), schema.New(a.source.schema).AddTables(to)
		diff, err := a.driver.SchemaDiff(from, into)
		if err != nil {
			return nil, failure("compare the tables", err)
		}
		modify := &schema.ModifyTable{T: to}
		for _, change := range diff {
			if m, ok := change.(*schema.ModifyTable); ok && m.T.Name == to.Name {
				modify = m
			}
		}
		a.convert(live, modify)
		changes = []schema.Change{modify}
	}
	for _, other := range a.target.others {
		other.Schema = here
		for _, key := range other.ForeignKeys {
			if key.RefTable.Name == to.Name {
				key.RefTable = to
			}
		}
		changes = append(changes, &schema.AddTable{T: other})
	}
	unqualified := ""
	plan, err := a.driver.PlanChanges(ctx, "adopt", changes, func(o *migrate.PlanOptions) { o.SchemaQualifier = &unqualified })
	if err != nil {
		return nil, failure("plan the conversion", err)
	}
	for _, statement := range a.target.routines {
		plan.Changes = append(plan.Changes, &migrate.Change{Cmd: statement})
	}
	return plan.Changes, nil
}

// ours returns the table without what is not this program's and stays as it is: columns, checks, foreign keys and comments that
// are not declared, and indexes unless they serve the columns of a declared one, which replaces them.
func (a *Adoption) ours(live *schema.Table) *schema.Table {
	ours, declared := *live, a.target.table
	ours.Columns = nil
	for _, column := range live.Columns {
		to, ok := declared.Column(column.Name)
		if !ok {
			continue
		}
		kept := *column
		kept.Attrs = withoutComments(column.Attrs, to.Attrs)
		ours.Columns = append(ours.Columns, &kept)
	}
	ours.Indexes = slices.DeleteFunc(slices.Clone(live.Indexes), func(i *schema.Index) bool { return !a.replaces(i) })
	ours.ForeignKeys = slices.DeleteFunc(slices.Clone(live.ForeignKeys), func(k *schema.ForeignKey) bool {
		_, ok := declared.ForeignKey(k.Symbol)
		return !ok
	})
	ours.Attrs = slices.DeleteFunc(withoutComments(live.Attrs, declared.Attrs), func(attr schema.Attr) bool {
		check, ok := attr.(*schema.Check)
		return ok && !slices.ContainsFunc(declared.Attrs, func(d schema.Attr) bool {
			named, ok := d.(*schema.Check)
			return ok && named.Name == check.Name
		})
	})
	return &ours
}

func withoutComments(attrs, declared []schema.Attr) []schema.Attr {
	isComment := func(attr schema.Attr) bool { _, ok := attr.(*schema.Comment); return ok }
	if slices.ContainsFunc(declared, isComment) {
		return slices.Clone(attrs)
	}
	return slices.DeleteFunc(slices.Clone(attrs), isComment)
}

// replaces tells whether a declared index takes the place of a live one: it has its name, or serves the same columns.
func (a *Adoption) replaces(live *schema.Index) bool {
	if _, named := a.target.table.Index(live.Name); named {
		return true
	}
	columns := func(i *schema.Index) (names []string) {
		for _, part := range i.Parts {
			if part.C == nil {
				return nil // an expression
			}
			names = append(names, part.C.Name)
		}
		return names
	}
	partial := slices.ContainsFunc(live.Attrs, func(attr schema.Attr) bool { _, ok := attr.(*postgres.IndexPredicate); return ok })
	names := columns(live)
	return !partial && len(names) > 0 && slices.ContainsFunc(a.target.table.Indexes, func(declared *schema.Index) bool {
		return slices.Equal(columns(declared), names)
	})
}

// convert gives every column that stays an expression, so that one rewriting of the table does it all: types, zones, NULLs
// and tokens. Collations, which Atlas does not compare, come with the types.
func (a *Adoption) convert(live *schema.Table, modify *schema.ModifyTable) {
	for _, to := range a.target.table.Columns {
		from, ok := live.Column(to.Name)
		if !ok || to.Name == "id" {
			continue
		}
		i := slices.IndexFunc(modify.Changes, func(c schema.Change) bool {
			m, ok := c.(*schema.ModifyColumn)
			return ok && m.To.Name == to.Name
		})
		if i < 0 {
			modify.Changes = append(modify.Changes, &schema.ModifyColumn{From: from, To: to})
			i = len(modify.Changes) - 1
		}
		column := modify.Changes[i].(*schema.ModifyColumn)
		column.Change |= schema.ChangeType
		column.Extra = append(column.Extra, &postgres.ConvertUsing{X: a.source.value("", to.Name)})
	}
}

// storageParameters begins a statement that Atlas would not plan, because it does not compare what it sets.
var storageParameters = regexp.MustCompile(`(?i)^ALTER TABLE\s+"?users"?\s+(RE)?SET\s*\(`)

// createsRoutine begins one that Atlas does not see.
var createsRoutine = regexp.MustCompile(`(?i)^CREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|TRIGGER)\b`)

// readMigrations reads what the embedded migrations say beyond the declared schema, and where they end.
func (t *target) readMigrations() error {
	names, err := fs.Glob(files.Files, "*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := fs.ReadFile(files.Files, name)
		if err != nil {
			return err
		}
		file := migrate.NewLocalFile(name, text)
		t.version = file.Version()
		statements, err := (*postgres.Driver)(nil).ScanStmts(string(text))
		if err != nil {
			return err
		}
		for _, statement := range statements {
			if storageParameters.MatchString(statement.Text) {
				t.storage = append(t.storage, strings.TrimSuffix(statement.Text, ";"))
			}
			if createsRoutine.MatchString(statement.Text) {
				t.routines = append(t.routines, strings.TrimSuffix(statement.Text, ";"))
			}
		}
	}
	return nil
}
