package main

import (
	"cmp"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/plan"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

// migrationFiles is a directory of migrations in a working copy of this program's source, and the database in which they
// are tried out.
type migrationFiles struct {
	dir     string
	schema  string // the file with the declared schema, beside dir
	dialect string
	dev     plan.Dev
}

const devVariable = "ACCOUNTS_DEV_URL"

// schemaFile is the name of the file with the declared schema of a kind of database.
func schemaFile(kind string) string { return "schema." + kind + ".sql" }

// migrationFilesCommand returns a command about the files for the kind of database that --database names.
func (p *program) migrationFilesCommand(
	use, short, example string, args cobra.PositionalArgs,
	run func(ctx context.Context, files migrationFiles, args []string) error,
) *cobra.Command {
	var dir, devURL string
	c := p.command(use, short, example, args, func(ctx context.Context, args []string) error {
		kind, address, err := p.databaseURL()
		if err != nil {
			return err
		}
		files := migrationFiles{
			dir:     cmp.Or(dir, filepath.Join("ent", "migrate", kind)),
			dialect: migration.SQLite,
			dev:     devSQLite,
		}
		files.schema = filepath.Join(filepath.Dir(files.dir), schemaFile(kind))
		if kind == onPostgres {
			files.dialect = migration.Postgres
			files.dev = devPostgres(cmp.Or(devURL, os.Getenv(devVariable), address))
		}
		if _, err := os.Stat(files.dir); err != nil {
			return invalid("dir", "cannot be read: "+systemReason(err))
		}
		return aboutSchema(run(ctx, files, args))
	})
	c.Flags().StringVar(&dir, "dir", "", "the `DIR` of the migrations (default ent/migrate/postgres or ent/migrate/sqlite)")
	must(c.MarkFlagDirname("dir"))
	c.Flags().StringVar(&devURL, "dev-url", "",
		"a PostgreSQL database beside which, or in a schema of which, migrations are tried out (default $"+devVariable+", else that of --database)")
	return c
}

// devSQLite opens databases in memory.
var devSQLite = plan.DevSQLite(func(ctx context.Context) (*sql.DB, error) {
	store, err := sqlite.Open(ctx, ":memory:")
	if err != nil {
		return nil, err
	}
	return store.DB(), nil
})

// devPostgres opens temporary databases on a server.
func devPostgres(server string) plan.Dev {
	return plan.DevPostgres(server, func(ctx context.Context, url string) (*sql.DB, error) {
		store, err := postgres.Open(ctx, url)
		if err != nil {
			return nil, err
		}
		return store.DB(), nil
	})
}

func (p *program) migrateDiffCommand() *cobra.Command {
	const example = `go generate ./ent
accounts migrate diff add_nickname
accounts --database postgres://localhost/postgres migrate diff add_nickname`
	return p.migrationFilesCommand("diff NAME", "Write the migration from the newest file to the declared schema", example, cobra.ExactArgs(1),
		func(ctx context.Context, files migrationFiles, args []string) error {
			desired, err := os.ReadFile(files.schema)
			if err != nil {
				return invalid("dir", "has no "+filepath.Base(files.schema)+" beside it: "+systemReason(err))
			}
			path, err := plan.Diff(ctx, plan.DiffOptions{
				Dialect: files.dialect, Dir: files.dir, Desired: string(desired), Name: args[0], Dev: files.dev,
			})
			if err != nil {
				return err
			}
			return p.print(record{{"file", orNull(path)}})
		})
}

func (p *program) migrateNewCommand() *cobra.Command {
	const example = `accounts migrate new fill_nickname
accounts --database postgres: migrate new fill_nickname`
	c := p.migrationFilesCommand("new NAME", "Make an empty migration, to be written by hand", example, cobra.ExactArgs(1),
		func(_ context.Context, files migrationFiles, args []string) error {
			path, err := plan.New(plan.DiffOptions{Dialect: files.dialect, Dir: files.dir, Name: args[0]})
			if err != nil {
				return err
			}
			return p.print(record{{"file", path}})
		})
	must(c.Flags().MarkHidden("dev-url")) // nothing is tried out
	return c
}

func (p *program) migrateCheckpointCommand() *cobra.Command {
	const example = `accounts migrate checkpoint squashed
accounts --database postgres://localhost/postgres migrate checkpoint squashed`
	c := p.migrationFilesCommand("checkpoint NAME", "Write a file that makes at once what all files make, where new databases begin", example,
		cobra.ExactArgs(1), func(ctx context.Context, files migrationFiles, args []string) error {
			path, err := plan.Checkpoint(ctx, plan.DiffOptions{Dialect: files.dialect, Dir: files.dir, Name: args[0], Dev: files.dev})
			if err != nil {
				return err
			}
			return p.print(record{{"file", orNull(path)}})
		})
	return c
}

func (p *program) migrateLintCommand() *cobra.Command {
	var latest int
	const example = `accounts migrate lint --latest 1
accounts --database postgres://localhost/postgres migrate lint`
	c := p.migrationFilesCommand("lint", "Look for what may lose data or hold up a table in use", example, cobra.NoArgs,
		func(ctx context.Context, files migrationFiles, _ []string) error {
			if latest < 0 {
				return invalid("latest", "is negative")
			}
			findings, err := plan.Lint(ctx, plan.LintOptions{
				Dialect: files.dialect, Dir: os.DirFS(files.dir), Latest: latest, Dev: files.dev,
			})
			if err != nil {
				return err
			}
			if err := p.printFindings(findings); err != nil || len(findings) == 0 {
				return err
			}
			return &domain.Error{Kind: domain.ErrInvalid, Reason: "lint: " + plural(len(findings), "finding")}
		})
	c.Flags().IntVar(&latest, "latest", 0, "look at the newest `N` files only (default all)")
	return c
}

func (p *program) migrateHashCommand() *cobra.Command {
	const example = `accounts migrate hash
accounts --database postgres: migrate hash`
	c := p.migrationFilesCommand("hash", "Renew atlas.sum after a file was edited that was not applied anywhere yet", example, cobra.NoArgs,
		func(_ context.Context, files migrationFiles, _ []string) error {
			if err := plan.Hash(files.dir); err != nil {
				return err
			}
			return p.print(record{{"file", filepath.Join(files.dir, "atlas.sum")}})
		})
	must(c.Flags().MarkHidden("dev-url")) // nothing is tried out
	return c
}

func (p *program) printFindings(findings []plan.Finding) error {
	if p.json {
		rows := make([]record, len(findings))
		for i, f := range findings {
			rows[i] = record{{"file", f.File}, {"line", f.Line}, {"code", f.Code}, {"reason", f.Reason}, {"safer", f.Safer}}
		}
		return p.printAll(rows)
	}
	var text []byte
	for _, f := range findings {
		text = append(text, f.File+":"+strconv.Itoa(f.Line)+": "+f.Reason+" ("+f.Code+")\n\t"+f.Safer+"\n"...)
	}
	return p.write(text)
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
