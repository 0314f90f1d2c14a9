package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
)

func (p *program) migrateCommand() *cobra.Command {
	return group("migrate", "Bring a database to this program's schema, and the schema to its next version",
		p.migrateUpCommand(),
		p.migrateStatusCommand(),
		p.migrateVerifyCommand(),
		p.migrateDownCommand(),
		p.migrateBaselineCommand(),
		p.migrateAcceptCommand(),
		p.migrateDiffCommand(), p.migrateNewCommand(), p.migrateCheckpointCommand(),
		p.migrateLintCommand(), p.migrateHashCommand(),
		p.migrateAdoptCommand(),
	)
}

// withRunner calls work with the migrations that are embedded in the program. Nothing is migrated before.
func (p *program) withRunner(ctx context.Context, work func(*migration.Runner) error) (err error) {
	store, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }() //nolint:contextcheck // closing takes no context

	runner, err := store.Migrations()
	if err == nil {
		err = work(runner)
	}
	return p.aboutFile(aboutSchema(err))
}

// aboutSchema lets the text of an unexpected error be shown, since one that is about the schema quotes no accounts.
func aboutSchema(err error) error {
	if err == nil || domain.KindOf(err) != "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &domain.Error{Kind: domain.ErrUnavailable, Reason: err.Error()}
}

func (p *program) migrateUpCommand() *cobra.Command {
	var options migration.UpOptions
	const example = `accounts migrate up
accounts migrate up --dry-run >plan.sql
accounts migrate up --to 20261122190238`
	c := p.command("up", "Apply the pending migrations", example, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.withRunner(ctx, func(runner *migration.Runner) error {
			progress := p.newProgress()
			options.Progress = progress.migrating
			files, err := runner.Up(ctx, options)
			progress.clear()
			switch {
			case err != nil:
				return err
			case options.DryRun:
				return p.printPlan(files)
			}
			status, err := runner.Status(ctx)
			if err != nil {
				return err
			}
			versions := make([]string, len(files))
			for i, file := range files {
				versions[i] = file.Version
			}
			return p.print(append(record{{"migrated", versions}}, statusRecord(status)...))
		})
	})
	c.Flags().BoolVar(&options.DryRun, "dry-run", false, "only print what would be executed")
	c.Flags().StringVar(&options.To, "to", "", "stop after the migration of this `VERSION`")
	return c
}

// printPlan prints what would be executed.
func (p *program) printPlan(files []migration.File) error {
	if p.json {
		return p.print(record{{"plan", files}})
	}
	var script []string
	for _, file := range files {
		script = append(script, "-- "+file.Name)
		script = append(script, file.Statements...)
	}
	return p.printScript(script)
}

// printScript prints SQL statements and comments, so that they can be executed.
func (p *program) printScript(script []string) error {
	var text strings.Builder
	for _, statement := range script {
		text.WriteString(escaped(statement, "\n\t"))
		if !strings.HasPrefix(statement, "--") && !strings.HasSuffix(statement, ";") {
			text.WriteByte(';')
		}
		text.WriteByte('\n')
	}
	return p.write([]byte(text.String()))
}

func (p *program) migrateStatusCommand() *cobra.Command {
	const example = `accounts migrate status
accounts --json --database postgres://app@localhost/app migrate status`
	return p.command("status", "Compare the database's history with the migrations of this program", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			return p.withRunner(ctx, func(runner *migration.Runner) error {
				status, err := runner.Status(ctx)
				if err != nil {
					return err
				}
				return p.print(statusRecord(status))
			})
		})
}

func statusRecord(s migration.Status) record {
	status := record{{"current", s.Current}, {"pending", s.Pending}, {"applied", s.Applied}}
	if s.Partial != nil {
		status = append(status, field{"partial", *s.Partial})
	}
	if s.Edited != "" {
		status = append(status, field{"edited", s.Edited})
	}
	if len(s.Unknown) > 0 {
		status = append(status, field{"unknown", s.Unknown})
	}
	if len(s.OutOfOrder) > 0 {
		status = append(status, field{"out_of_order", s.OutOfOrder})
	}
	if len(s.Elsewhere) > 0 {
		status = append(status, field{"elsewhere", s.Elsewhere})
	}
	return status
}

func (p *program) migrateVerifyCommand() *cobra.Command {
	const example = `accounts migrate verify`
	return p.command("verify", "Compare the live tables with the declared schema, and print the difference as SQL", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			kind, _, err := p.databaseURL()
			if err != nil {
				return err
			}
			return p.withRunner(ctx, func(runner *migration.Runner) error {
				found, err := plan.Compare(ctx, runner, declared(kind), devFor(kind))
				if err != nil {
					return err
				}
				if len(found.Difference) > 0 {
					err = &plan.DriftError{Statements: found.Difference}
				}
				if p.json {
					return errors.Join(err, p.print(record{{"difference", found.Difference}, {"additional", found.Additional}}))
				}
				for _, additional := range found.Additional {
					found.Difference = append(found.Difference, "-- additional, and no difference: "+strings.ReplaceAll(additional, "\n", " "))
				}
				return errors.Join(err, p.printScript(found.Difference))
			})
		})
}

// declared returns the declared schema of a kind of database.
func declared(kind string) string {
	if kind == onSQLite {
		return desired.SQLite
	}
	return desired.Postgres
}

// devFor returns where the program's own migrations are executed to see what they make: in memory, or on PostgreSQL, where
// that is nil, in a schema beside the tables, which is gone afterwards.
func devFor(kind string) plan.Dev {
	if kind == onSQLite {
		return devSQLite
	}
	return nil
}

func (p *program) migrateDownCommand() *cobra.Command {
	var options plan.DownOptions
	const example = `accounts migrate down --to 20261122190238 --dry-run
accounts migrate down --to 20261122190238 --allow-destructive
accounts migrate down --to 0 --allow-destructive`
	c := p.command("down --to VERSION", "Go back to the schema of an earlier version, and print how", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			kind, _, err := p.databaseURL()
			if err != nil {
				return err
			}
			return p.withRunner(ctx, func(runner *migration.Runner) error {
				progress := p.newProgress()
				options.Progress, options.Dev = progress.migrating, devFor(kind)
				way, err := plan.Down(ctx, runner, options)
				progress.clear()
				if way.Versions == nil { // it failed before there was a plan
					return err
				}
				if p.json {
					return errors.Join(err, p.print(record{
						{"versions", way.Versions}, {"statements", way.Statements}, {"destructive", way.Destructive},
					}))
				}
				return errors.Join(err, p.printScript(way.Statements))
			})
		})
	c.Flags().StringVar(&options.To, "to", "", "the last `VERSION` to stay applied; 0 is none")
	c.Flags().BoolVar(&options.DryRun, "dry-run", false, "only print what would be executed")
	c.Flags().BoolVar(&options.AllowDestructive, "allow-destructive", false, "also drop tables and columns, and narrow types")
	require(c, "to")
	return c
}

func (p *program) migrateBaselineCommand() *cobra.Command {
	var version string
	const example = `accounts migrate baseline
accounts migrate baseline --to 20261122190238`
	c := p.command("baseline", "Record that a database which got its tables otherwise is at a version", example,
		cobra.NoArgs, func(ctx context.Context, _ []string) error {
			return p.withRunner(ctx, func(runner *migration.Runner) error {
				if err := runner.BeginAt(ctx, version); err != nil {
					return err
				}
				status, err := runner.Status(ctx)
				if err != nil {
					return err
				}
				return p.print(statusRecord(status))
			})
		})
	c.Flags().StringVar(&version, "to", "", "the `VERSION` at which the tables are (default the newest)")
	return c
}

func (p *program) migrateAcceptCommand() *cobra.Command {
	const example = `accounts migrate accept 20261122190238`
	return p.command("accept VERSION", "Record that a migration which counts as edited is, as it stands, what was applied", example,
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return p.withRunner(ctx, func(runner *migration.Runner) error {
				if err := runner.Accept(ctx, args[0]); err != nil {
					return err
				}
				status, err := runner.Status(ctx)
				if err != nil {
					return err
				}
				return p.print(statusRecord(status))
			})
		})
}
