package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/infra/adoption"
	"github.com/softbee/accounts/infra/migration"
)

func (p *program) migrateAdoptCommand() *cobra.Command {
	var yes bool
	var zone, rule, mapping string
	const example = `accounts migrate adopt --zone UTC
accounts --json migrate adopt --zone America/Bogota >report.jsonl
accounts migrate adopt --zone UTC --on-collision newest --yes
accounts migrate adopt --map django.json --zone UTC --yes`
	c := p.command("adopt", "Take over a table of accounts that another program made", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			kind, address, err := p.databaseURL()
			if err != nil {
				return err
			}
			if kind == onSQLite {
				if _, err := os.Stat(address); err != nil { // which opening it would make
					return invalid("database", "cannot be read: "+systemReason(err))
				}
			}
			options := adoption.Options{Zone: zone, OnCollision: adoption.Rule(rule)}
			if mapping != "" {
				if options.Mapping, err = readMapping(mapping); err != nil {
					return err
				}
			}
			if options.Hasher, err = newHasher(); err != nil {
				return err
			}
			return p.aboutFile(p.adopt(ctx, kind, options, yes))
		})
	c.Long = `Take over a table of accounts that another program made.

Without --yes nothing is changed: the command reports what would become of each column, which rows cannot be kept as
they are, and what is changed in the others. With --yes it converts the table, keeps every account with its password, and
puts what cannot be kept into the table accounts_adoption.quarantine (on SQLite: accounts_adoption_quarantine). It can be interrupted at any point and run again.`
	c.Flags().BoolVar(&yes, "yes", false, "do it; otherwise only report")
	c.Flags().StringVar(&zone, "zone", "", "the `ZONE` of times that are stored without one: an IANA name, such as UTC")
	c.Flags().StringVar(&rule, "on-collision", string(adoption.Fail), "which of several accounts to keep: newest, oldest or fail")
	c.Flags().StringVar(&mapping, "map", "", "a `FILE` that describes a table other than the predecessor's")
	complete(c, "on-collision", string(adoption.Newest), string(adoption.Oldest), string(adoption.Fail))
	return c
}

func readMapping(path string) (_ *adoption.Mapping, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, invalid("map", "cannot be read: "+systemReason(err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return adoption.ParseMapping(f)
}

func (p *program) adopt(ctx context.Context, kind string, options adoption.Options, yes bool) (err error) {
	store, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }() //nolint:contextcheck // closing takes no context

	progress := p.newProgress()
	defer progress.clear()
	const every = 50_000 // rows
	options.Progress = func(done, total int64) {
		if done%every == 0 || done == total {
			progress.show(int(done), int(total), fmt.Sprintf("%d of %d rows read", done, total))
		}
	}
	dialect := migration.Postgres
	if kind == onSQLite {
		dialect = migration.SQLite
	}
	a, err := adoption.Inspect(ctx, store.DB(), dialect, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }() //nolint:contextcheck // closing takes no context

	if err := p.printPlannedAdoption(a); err != nil {
		return err
	}
	reported := func(problem adoption.Problem) error {
		progress.clear()
		return p.printProblem(problem)
	}
	work := a.Report
	if yes {
		work = a.Adopt
	}
	summary, err := work(ctx, reported)
	progress.clear()
	if err != nil {
		return err
	}
	return p.printAdoption(summary, options.Zone == "")
}

// printPlannedAdoption prints what is known without the rows. Of an adoption that is done it prints nothing.
func (p *program) printPlannedAdoption(a *adoption.Adoption) error {
	columns := make([]record, len(a.Columns))
	for i, c := range a.Columns {
		columns[i] = record{{"type", "column"}, {"column", c.Column}, {"from", orNull(c.From)}, {"to", orNull(c.To)}, {"change", c.Change}}
	}
	if err := p.printAll(columns, "column", "from", "to", "change"); err != nil {
		return err
	}
	for _, statement := range a.Statements {
		if err := p.printLine(record{{"type", "statement"}, {"sql", statement}}, statement+";"); err != nil {
			return err
		}
	}
	for _, obstacle := range a.Obstacles {
		if err := p.printLine(record{{"type", "obstacle"}, {"message", obstacle}}, "in the way: "+obstacle); err != nil {
			return err
		}
	}
	return nil
}

// printProblem prints what is reported of a row; for people, only what is not routine, which the summary counts.
func (p *program) printProblem(problem adoption.Problem) error {
	if problem.Routine() && !p.json {
		return nil
	}
	line := fmt.Sprintf("row %s: %s %s: %s", problem.Row, problem.Field, problem.Kind, problem.Outcome)
	if problem.Detail != "" {
		line += ", " + problem.Detail
	}
	if problem.Value != "" {
		line += fmt.Sprintf(", stored as %q", problem.Value)
	}
	if problem.Becomes != "" {
		line += fmt.Sprintf(", becomes %q", problem.Becomes)
	}
	if problem.With != "" {
		line += ", as row " + problem.With
	}
	return p.printLine(record{
		{"type", "row"},
		{"row", problem.Row},
		{"field", problem.Field},
		{"problem", problem.Kind},
		{"outcome", problem.Outcome},
		{"detail", orNull(problem.Detail)},
		{"value", orNull(problem.Value)},
		{"becomes", orNull(problem.Becomes)},
		{"with", orNull(problem.With)},
	}, line)
}

// printLine prints one result, in JSON or as the line for people.
func (p *program) printLine(r record, line string) error {
	if p.json {
		return p.print(r)
	}
	return p.write([]byte(printable(line) + "\n"))
}

func (p *program) printAdoption(s adoption.Summary, zoneAssumed bool) error {
	var problems any = s.Problems
	zone := orNull(s.Zone)
	if !p.json {
		var counts []string
		for _, kind := range slices.Sorted(maps.Keys(s.Problems)) {
			counts = append(counts, fmt.Sprintf("%s %d", kind, s.Problems[kind]))
		}
		problems = counts
		if s.Zone != "" && zoneAssumed && !s.Adopted {
			zone = s.Zone + " (assumed; --yes needs --zone)"
		}
	}
	summary := record{
		{"type", "summary"},
		{"table", s.Table},
		{"adopted", s.Adopted},
		{"at", nil},
		{"zone", zone},
		{"rows", s.Rows},
		{"kept", s.Kept},
		{"quarantined", s.Quarantined},
		{"blocking", s.Blocking},
		{"problems", problems},
		{"version", s.Version},
	}
	if s.At != nil {
		summary[3].value = *s.At
	}
	if !p.json {
		summary = summary[1:]
	}
	return p.print(summary)
}
