package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// DownOptions are the choices of [Down].
type DownOptions struct {
	To               string // the version to go back to, which stays applied; "0" is before the first
	DryRun           bool   // only plan
	AllowDestructive bool   // drop tables and columns, narrow types

	LockTimeout time.Duration // as in migration.UpOptions
	Wait        time.Duration // as in migration.UpOptions

	// Exclude are tables that stay as they are, whatever the files make in Dev: those of this module for an application's directory, whose
	// first file makes a stub of them there (entaccounts.Tables).
	Exclude []string

	// Dev gives the place in which the files up to To are executed to see what they make. On PostgreSQL it may be nil: then
	// that is the schema of the history, in a transaction that is rolled back.
	Dev Dev

	Progress func(migration.Step) // as in migration.UpOptions
}

// DownPlan is a way back.
type DownPlan struct {
	Statements  []string `json:"statements"`
	Destructive []string `json:"destructive"` // what of it destroys data, for people; empty if nothing does
	Versions    []string `json:"versions"`    // that will no longer be applied, the last first
}

// Down takes the database back to an earlier version: it works out what the files up to that version make, compares the live
// tables with it, and applies the difference and removes the later versions from the history, all in one transaction. What a
// later file did to rows is not undone.
//
// It returns the plan, also when it does not carry it out. The errors are those of [migration.Runner.Up], and
// [domain.ErrInvalid] if the plan destroys data and AllowDestructive is not set.
func Down(ctx context.Context, runner *migration.Runner, options DownOptions) (DownPlan, error) {
	plan := DownPlan{Statements: []string{}, Destructive: []string{}, Versions: []string{}}
	planned := false
	err := runner.Rewind(ctx, migration.RewindOptions{
		To: options.To, DryRun: options.DryRun, Progress: options.Progress, LockTimeout: options.LockTimeout, Wait: options.Wait,
	}, func(ctx context.Context, s *migration.Connection, rewind migration.Rewind) ([]string, error) {
		d, err := databaseOf(s.Dialect())
		if err != nil {
			return nil, err
		}
		driver, err := d.driver(s.Conn())
		if err != nil {
			return nil, script.Failure("inspect the database", err)
		}
		changes, gone, err := wayBack(ctx, s, d, driver, options, rewind)
		if err != nil {
			return nil, err
		}
		if plan.Statements, err = planStatements(ctx, driver, changes); err != nil {
			return nil, err
		}
		if d.dialect == SQLite {
			var made []string
			for _, f := range rewind.Files {
				made = append(made, f.Texts()...)
			}
			plan.Statements = append(gone.first, plan.Statements...) // for what it drops is not to be kept
			gone.first = nil
			if plan.Statements, err = carrying(ctx, s, plan.Statements, script.MadeBy(made)); err != nil {
				return nil, err
			}
		}
		plan.Statements = slices.Concat(gone.first, plan.Statements, gone.last)
		plan.Versions = rewind.Versions
		plan.Destructive = append(plan.Destructive, destructive(driver, changes)...)
		planned = true
		if len(plan.Destructive) > 0 && !options.AllowDestructive && !options.DryRun {
			return nil, script.Refuse(domain.ErrInvalid, "going back would destroy data: %s; to do so, run again with --allow-destructive",
				strings.Join(plan.Destructive, ", "))
		}
		return plan.Statements, nil
	})
	if err != nil && !planned {
		return DownPlan{}, err
	}
	return plan, err
}

// wayBack returns the changes from the live tables to what the files that are kept make, and what else of the later files has to
// go. Of views, what those have replaced does not come back.
func wayBack(
	ctx context.Context, s *migration.Connection, d database, driver migrate.Driver, options DownOptions, rewind migration.Rewind,
) (changes []schema.Change, gone drops, err error) {
	var target *schema.Schema
	var kept drops
	var made []*schema.Schema           // by the files, one after the other; all else is not ours
	var tables []string                 // of those that the files to be undone know
	var stored, last map[string]storage // what the files that are kept make of them, and what all do
	var routines []definition           // that the files that are kept make
	err = layOut(ctx, s, d, options.Dev, func(place *scratch) (err error) {
		place.besides = append(place.besides, options.Exclude...)
		if rewind.Keep == 0 {
			if target, err = place.inspect(ctx); err != nil {
				return err
			}
		}
		for i, f := range rewind.Files {
			if err := place.executeFirst(ctx, f.File, f.Statements); err != nil {
				return err
			}
			next, err := place.inspect(ctx)
			if err != nil {
				return err
			}
			made = append(made, next)
			others, err := d.drops(ctx, place.conn)
			if err != nil {
				return err
			}
			if gone.add(others); i == rewind.Keep-1 {
				kept = others
				var texts []string
				for _, f := range rewind.Files[:rewind.Keep] {
					texts = append(texts, f.Texts()[:f.Statements]...)
				}
				if routines, err = place.definitions(ctx, routinesOf(texts)); err != nil {
					return err
				}
			}
			if i >= rewind.Keep-1 {
				tables = append(tables, tableNames(next)...)
			}
			if last, err = d.storage(ctx, place.conn); err != nil {
				return err
			}
			if i == rewind.Keep-1 {
				target, stored = next, last
			}
		}
		return nil
	})
	if err != nil {
		return nil, drops{}, err
	}
	there, err := d.drops(ctx, s.Conn())
	if err != nil {
		return nil, drops{}, err
	}
	slices.Sort(tables)
	live, err := inspect(ctx, driver, slices.Compact(tables)...)
	if err != nil {
		return nil, drops{}, err
	}
	// Without a name, all tables are inspected.
	live.Tables = slices.DeleteFunc(live.Tables, func(t *schema.Table) bool { return !slices.Contains(tables, t.Name) })
	prune(live, target, made...)
	changes, err = difference(driver, live, target)
	gone = gone.without(kept).within(there)
	gone.last = append(gone.last, storageChanges(last, stored)...)
	if err != nil {
		return nil, drops{}, err
	}
	defined, err := d.definitions(ctx, s.Conn())
	for _, change := range changes { // whose triggers are not there any more
		if add, ok := change.(*schema.AddTable); ok {
			defined = slices.DeleteFunc(defined, func(d definition) bool { return d.table == add.T.Name })
		}
	}
	gone.last = append(gone.last, routineChanges(defined, routines)...)
	return changes, gone, err
}

// destructive describes the changes that lose data.
func destructive(driver migrate.Driver, changes []schema.Change) []string {
	name := func(t *schema.ColumnType) string {
		if formatter, ok := driver.(schema.TypeFormatter); ok {
			if name, err := formatter.FormatType(t.Type); err == nil {
				return name
			}
		}
		return t.Raw
	}
	var losses []string
	for _, change := range changes {
		switch change := change.(type) {
		case *schema.DropTable:
			losses = append(losses, fmt.Sprintf("drops table %s", change.T.Name))
		case *schema.ModifyTable:
			for _, c := range change.Changes {
				switch c := c.(type) {
				case *schema.DropColumn:
					losses = append(losses, fmt.Sprintf("drops column %s of %s", c.C.Name, change.T.Name))
				case *schema.ModifyColumn:
					if c.Change.Is(schema.ChangeType) && !widens(c.From.Type.Type, c.To.Type.Type) {
						losses = append(losses, fmt.Sprintf("narrows column %s of %s from %s to %s",
							c.From.Name, change.T.Name, name(c.From.Type), name(c.To.Type)))
					}
				}
			}
		}
	}
	return losses
}

// widens reports that every value of a type fits the other one unchanged.
func widens(from, to schema.Type) bool {
	switch to := to.(type) {
	case *schema.StringType:
		if to.Size == 0 {
			return true // everything has a text
		}
		from, ok := from.(*schema.StringType)
		return ok && from.Size != 0 && from.Size <= to.Size
	case *schema.IntegerType:
		from, ok := from.(*schema.IntegerType)
		return ok && integerBytes[from.T] != 0 && integerBytes[from.T] <= integerBytes[to.T]
	}
	return false
}

var integerBytes = map[string]int{"smallint": 2, "integer": 4, "bigint": 8}
