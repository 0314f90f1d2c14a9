package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

func (p *program) sessionCommand() *cobra.Command {
	return group("session", "Begin, continue, list and end sessions",
		p.sessionIssueCommand(),
		p.sessionRotateCommand(),
		p.sessionShowCommand(),
		p.sessionListCommand(),
		p.sessionRevokeCommand(),
		p.sessionSweepCommand(),
	)
}

func (p *program) sessionIssueCommand() *cobra.Command {
	var policy domain.SessionPolicy
	const example = `accounts session issue ann
accounts --json session issue ann --label "Firefox on Linux" --cap 5 --idle 24h --absolute 168h`
	c := p.command("issue REF", "Begin a session and print its first token", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			_, outOfBounds := policy.Resolve()
			if err := cmp.Or(positive("cap", policy.Cap), positive("idle", policy.Idle), positive("absolute", policy.Absolute), outOfBounds); err != nil {
				return err
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				grant, err := store.IssueToken(ctx, id, policy)
				if err != nil {
					return err
				}
				return p.print(grantRecord(grant))
			})
		})
	c.Flags().StringVar(&policy.Label, "label", "", "what the owner shall see of it in the list of sessions")
	c.Flags().IntVar(&policy.Cap, "cap", domain.DefaultSessionCap, "sessions of the account, this one included; the oldest end")
	c.Flags().DurationVar(&policy.Idle, "idle", domain.DefaultSessionIdle, "lifetime of a token")
	c.Flags().DurationVar(&policy.Absolute, "absolute", domain.DefaultSessionAbsolute, "lifetime of the session, however often its token is rotated")
	return c
}

func (p *program) sessionRotateCommand() *cobra.Command {
	var policy domain.SessionPolicy
	const example = `accounts --json session rotate <token.txt
accounts session rotate --grace 0 <token.txt`
	c := p.command("rotate", "Exchange a token, from standard input, for the next one of its session", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if policy.Grace < 0 {
				return invalid("grace", "is negative")
			}
			if policy.Grace == 0 {
				policy.Grace = domain.NoGrace
			}
			_, outOfBounds := policy.Resolve()
			if err := cmp.Or(positive("idle", policy.Idle), outOfBounds); err != nil {
				return err
			}
			token, err := p.refreshToken(ctx)
			if err != nil {
				return err
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				grant, err := store.RotateToken(ctx, token, policy)
				if err != nil {
					return err
				}
				return p.print(grantRecord(grant))
			})
		})
	c.Flags().DurationVar(&policy.Grace, "grace", domain.DefaultSessionGrace, "how long the old token still gets the new one; 0 for not at all")
	c.Flags().DurationVar(&policy.Idle, "idle", domain.DefaultSessionIdle, "lifetime of the new token")
	return c
}

// refreshToken reads a token from standard input.
func (p *program) refreshToken(ctx context.Context) (domain.RefreshToken, error) {
	text, err := p.token(ctx)
	if err != nil {
		return domain.RefreshToken{}, err
	}
	return domain.ParseRefreshToken(text)
}

func (p *program) sessionShowCommand() *cobra.Command {
	const example = `accounts --json session show <token.txt`
	return p.command("show", "Show the session of a live token, from standard input, and change nothing", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			token, err := p.refreshToken(ctx)
			if err != nil {
				return err
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				user, session, err := store.FindByToken(ctx, token)
				if err != nil {
					return err
				}
				return p.print(append(record{{"user_id", user.ID()}}, sessionRecord(session)...))
			})
		})
}

func (p *program) sessionListCommand() *cobra.Command {
	const example = `accounts session list ann`
	return p.command("list REF", "List the live sessions of an account, the oldest first", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			return p.withStore(ctx, func(store *infra.Store) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				sessions, err := store.Sessions(ctx, id)
				if err != nil {
					return err
				}
				rows := make([]record, len(sessions))
				for i, session := range sessions {
					rows[i] = sessionRecord(session)
				}
				return p.printAll(rows, "session_id", "label", "issued_at", "rotated_at", "expires_at", "absolute_expires_at")
			})
		})
}

func (p *program) sessionRevokeCommand() *cobra.Command {
	var session string
	var all, everybody, yes bool
	var from fromFile
	const example = `accounts session revoke ann --session Vd0xSpbfXo0bCJzeRO5Ucw
accounts session revoke ann --all
accounts session revoke --all --from accounts.txt
accounts session revoke --everybody --yes`
	arguments := func(c *cobra.Command, args []string) error {
		if everybody {
			return cobra.NoArgs(c, args)
		}
		return from.arguments(c, args)
	}
	c := p.command("revoke REF (--session ID | --all) | revoke --all --from FILE | revoke --everybody --yes", "End one session of an account, or all, or those of everybody", example, arguments,
		func(ctx context.Context, args []string) error {
			if everybody {
				if !yes {
					return usageError{"everybody would have to sign in again; add --yes to end all sessions"}
				}
				return p.sweep(ctx, (*infra.Store).RevokeEverybody)
			}
			if from.name != "" {
				return p.changeMany(ctx, from, revokeMany)
			}
			revoke := (*infra.Store).RevokeSessions
			if !all {
				id, err := domain.ParseSessionID(session)
				if err != nil {
					return err
				}
				revoke = func(store *infra.Store, ctx context.Context, user domain.ID) (*domain.User, error) {
					return store.RevokeSession(ctx, user, id)
				}
			}
			return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
				return revoke(store, ctx, id)
			})
		})
	c.Flags().StringVar(&session, "session", "", "the `ID` that session list prints")
	c.Flags().BoolVar(&all, "all", false, "end all sessions of the account")
	c.Flags().BoolVar(&everybody, "everybody", false, "end all sessions of all accounts")
	c.Flags().BoolVar(&yes, "yes", false, "do it, with --everybody")
	c.MarkFlagsOneRequired("session", "all", "everybody")
	from.add(c)
	c.MarkFlagsMutuallyExclusive("session", "all", "everybody")
	c.MarkFlagsMutuallyExclusive("session", "from")
	c.MarkFlagsMutuallyExclusive("everybody", "from")
	return c
}

func (p *program) sessionSweepCommand() *cobra.Command {
	const example = `accounts session sweep`
	return p.command("sweep", "Remove the expired sessions of all accounts", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return p.sweep(ctx, (*infra.Store).SweepSessions) })
}

// sweepStep is how many accounts one statement of a sweep visits, so that it holds no lock for long.
const sweepStep = 1000

// sweep takes a step until there are no more accounts.
func (p *program) sweep(ctx context.Context, step func(*infra.Store, context.Context, domain.ID, int) (domain.Sweep, error)) error {
	return p.withStore(ctx, func(store *infra.Store) error {
		var visited, swept int
		var taken domain.Sweep
		for !taken.Done {
			var err error
			if taken, err = step(store, ctx, taken.Next, sweepStep); err != nil {
				return err
			}
			visited += taken.Visited
			swept += taken.Swept
		}
		return p.print(record{{"visited", visited}, {"swept", swept}})
	})
}
