// Command accounts administers the user accounts of an application in its own database.
//
// It is wiring: each command reads its arguments into values of the domain, calls the store once or twice, and prints what
// comes back. Run "accounts --help" for the commands.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out one command line and returns the exit status: 0 done, 1 refused or failed, 2 wrong usage.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{
		input:  newInput(stdin, stderr),
		output: output{results: stdout, messages: stderr},
	}
	root := p.rootCommand() //nolint:contextcheck // the commands get theirs when they are executed
	ctx = domain.WithOrigin(ctx, domain.Origin{Actor: actor()})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if !p.began {
		// What is refused before a command begins is the command line. It may not have been read as far as --json.
		err = usageError{err.Error() + "; see " + command.CommandPath() + " --help"}
		p.readFormat(args)
	}
	return p.fail(err)
}

// readFormat looks for the flags of the form of results in a command line that could not be read as far as them.
func (p *program) readFormat(args []string) {
	for i, arg := range args {
		name, given := strings.CutPrefix(arg, "--output=")
		if arg == "--output" && i+1 < len(args) {
			name, given = args[i+1], true
		}
		if given {
			_ = form{&p.output}.Set(name) // one that is none leaves it as it is
		}
		if arg == "--json" {
			p.json = true
		}
	}
}

// program is one run of the program.
type program struct {
	input
	output
	database string             // the flag
	silent   []domain.EventKind // that the audit trail does not get
	began    bool               // the command line was understood
}

const rootExample = `  # an account in a new SQLite file, accounts.db
  accounts user create --email ann@example.org --username ann
  accounts user show ann

  # the same on PostgreSQL, whose schema is changed by hand only
  export ACCOUNTS_DATABASE_URL=postgres://app@localhost/app
  accounts migrate up
  accounts user create --email ann@example.org --username ann

  # check a password, begin a session, and go on with its token
  accounts user login ann
  accounts --json session issue ann | jq -r .token | accounts --json session rotate`

func (p *program) rootCommand() *cobra.Command {
	root := group("accounts", "Administer user accounts in your own database",
		p.userCommand(), p.identityCommand(), p.sessionCommand(), p.migrateCommand(),
		p.eventsCommand(), p.healthCommand(), p.initCommand(), p.versionCommand())
	root.Long = `Administer user accounts in your own database.

Results go to standard output, everything else to standard error. Passwords and tokens are read from standard input,
or asked for without echo on a terminal; they are never arguments. The exit status is 0 for done, 1 for refused or
failed and 2 for wrong usage.

Where a command takes a REF, give the account's id, its e-mail address or its username.`
	root.Example = rootExample
	root.Version, _, _ = build()
	root.SetVersionTemplate("accounts {{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetUsageTemplate(usageTemplate(root))

	// The URL may hold a password, so the environment's is not made the default, which help would print.
	root.PersistentFlags().StringVar(&p.database, "database", "",
		"`URL`: postgres://… or sqlite:PATH (default $"+databaseVariable+", else "+defaultDatabase+")")
	root.PersistentFlags().BoolVar(&p.json, "json", false, "print one JSON object per line, and errors as one: --output json")
	root.PersistentFlags().Var(form{&p.output}, "output", "the `FORM` of results and errors: table, for people, json or yaml")
	root.MarkFlagsMutuallyExclusive("json", "output")
	complete(root, "output", formats...)
	root.AddCommand(p.manCommand(root))
	return root
}

// usageTemplate is Cobra's, which shows a command with subcommands as one that also runs by itself when it has a RunE.
func usageTemplate(c *cobra.Command) string {
	return strings.Replace(c.UsageTemplate(), "{{if .Runnable}}", "{{if not .HasAvailableSubCommands}}", 1)
}

// group returns a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("a command is missing after " + strconv.Quote(c.CommandPath()))
			}
			message := "unknown command " + strconv.Quote(args[0]) + " for " + strconv.Quote(c.CommandPath())
			if like := c.SuggestionsFor(args[0]); len(like) > 0 {
				message += ": did you mean " + strings.Join(like, " or ") + "?"
			}
			return errors.New(message)
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // without it Cobra prints help and calls that success
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(commands...)
	return c
}

// command returns a command that does something. Its example is one command line per line.
func (p *program) command(
	use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error,
) *cobra.Command {
	long := short + "."
	if strings.Contains(use, " REF") {
		long += "\n\nREF is the account's id, its e-mail address or its username."
	}
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: "  " + strings.ReplaceAll(example, "\n", "\n  "),
		Args:    args,
		RunE: func(c *cobra.Command, args []string) error {
			p.began = true
			return run(c.Context(), args)
		},
	}
}

// require makes flags compulsory.
func require(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		must(c.MarkFlagRequired(name))
	}
}

// complete lets shells complete the values of a flag.
func complete(c *cobra.Command, flag string, values ...string) {
	must(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// must stops the program at a mistake in itself: a flag that the command does not have.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
