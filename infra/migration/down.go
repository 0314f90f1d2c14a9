package migration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
)

// DownOptions are the choices of [Runner.Down].
type DownOptions struct {
	To               string // the version to go back to, which stays applied
	DryRun           bool   // only plan
	AllowDestructive bool   // drop tables and columns, narrow types

	LockTimeout time.Duration // as in UpOptions
	Wait        time.Duration // as in UpOptions

	// Dev gives the place in which the files up to To are executed to see what they make. On PostgreSQL it may be nil: then
	// that is a schema of its own in the same database, for which the right to create schemas is needed.
	Dev Dev

	Progress func(Step) // as in UpOptions
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
// It returns the plan, also when it does not carry it out. The errors are those of [Runner.Up], and [domain.ErrInvalid] if
// the plan destroys data and AllowDestructive is not set.
func (r *Runner) Down(ctx context.Context, options DownOptions) (plan DownPlan, err error) {
	limits, err := newLimits(options.LockTimeout, options.Wait)
	if err != nil {
		return DownPlan{}, err
	}
	err = r.withLock(ctx, limits, func(s *session) error {
		if plan, err = r.planDown(ctx, s, options); err != nil || options.DryRun || len(plan.Versions) == 0 {
			return err
		}
		if len(plan.Destructive) > 0 && !options.AllowDestructive {
			return refuse(domain.ErrInvalid, "going back would destroy data: %s; to do so, run again with --allow-destructive",
				strings.Join(plan.Destructive, ", "))
		}
		return r.applyDown(ctx, s, plan, options)
	})
	return plan, err
}

func (r *Runner) planDown(ctx context.Context, s *session, options DownOptions) (DownPlan, error) {
	revisions, err := history{querier: s.conn, database: r.database}.read(ctx)
	if err != nil {
		return DownPlan{}, err
	}
	state := compare(r.dir, revisions)
	if err := state.differs(); err != nil {
		return DownPlan{}, err
	}
	last := slices.IndexFunc(r.dir.files, func(f *file) bool { return f.Version() == options.To })
	switch {
	case last < 0:
		return DownPlan{}, refuse(domain.ErrInvalid, "there is no migration %q", options.To)
	case options.To > state.Current:
		return DownPlan{}, refuse(domain.ErrInvalid, "the database is at %s, before %s; to go on, run: accounts migrate up --to %s",
			state.Current, options.To, options.To)
	case state.Partial != nil && state.Partial.Version == options.To:
		return DownPlan{}, refuse(domain.ErrInvalid, "migration %s is half applied: there is no way back to its end", options.To)
	}
	plan := DownPlan{Statements: []string{}, Destructive: []string{}, Versions: []string{}}
	for _, revision := range slices.Backward(revisions) {
		if revision.Version > options.To {
			plan.Versions = append(plan.Versions, revision.Version)
		}
	}
	if len(plan.Versions) == 0 {
		return plan, nil
	}
	changes, err := r.wayBack(ctx, s, options, last, state)
	if err != nil {
		return DownPlan{}, err
	}
	planned, err := planStatements(ctx, s.driver, changes)
	if err != nil {
		return DownPlan{}, err
	}
	plan.Statements = planned
	plan.Destructive = append(plan.Destructive, destructive(s.driver, changes)...)
	return plan, nil
}

// wayBack returns the changes from the live tables to what the files up to number last make.
func (r *Runner) wayBack(ctx context.Context, s *session, options DownOptions, last int, now state) ([]schema.Change, error) {
	var target *schema.Schema
	var later []string // tables that the files to be undone know; all others are not ours
	replay := func(place *scratch) (err error) {
		for i, f := range r.dir.files {
			if f.Version() > now.Current {
				break
			}
			statements := len(f.statements)
			if now.Partial != nil && now.Partial.Version == f.Version() {
				statements = now.Partial.Applied
			}
			if err := place.executeFirst(ctx, f, statements); err != nil {
				return err
			}
			if i < last {
				continue
			}
			made, err := inspect(ctx, place.driver)
			if err != nil {
				return err
			}
			if i == last {
				target = made
			}
			later = append(later, tableNames(made)...)
		}
		return nil
	}
	var err error
	if r.database.dialect == Postgres && options.Dev == nil {
		err = s.withScratchSchema(ctx, replay)
	} else {
		err = withScratch(ctx, r.database, options.Dev, replay)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(later)
	live, err := inspect(ctx, s.driver, slices.Compact(later)...)
	if err != nil {
		return nil, err
	}
	return difference(s.driver, live, target)
}

func (r *Runner) applyDown(ctx context.Context, s *session, plan DownPlan, options DownOptions) error {
	run := &fileRun{Driver: s.driver, session: s, progress: options.Progress, plan: File{
		Version: options.To, Name: "down to " + options.To, Statements: plan.Statements, Transactional: true,
	}}
	run.file = &file{LocalFile: migrate.NewLocalFile(run.plan.Name, nil), transactional: true}
	for _, statement := range plan.Statements {
		run.statements = append(run.statements, &migrate.Stmt{Text: statement})
	}
	return run.inTx(ctx, func() error {
		for _, statement := range run.statements {
			run.statement++
			if _, err := run.ExecContext(ctx, statement.Text); err != nil {
				return err
			}
		}
		for _, version := range plan.Versions {
			if err := (history{querier: s.conn, database: r.database}).DeleteRevision(ctx, version); err != nil {
				return err
			}
		}
		return nil
	})
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
