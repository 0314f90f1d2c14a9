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
		p.sessionListCommand(),
		p.sessionRevokeCommand(),
		p.sessionSweepCommand(),
	)
}

func (p *program) sessionIssueCommand() *cobra.Command {
	var policy domain.SessionPolicy
	const example = `accounts session issue ann
accounts --json session issue ann --cap 5 --idle 24h --absolute 168h`
	c := p.command("issue REF", "Begin a session and print its first token", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if err := cmp.Or(positive("cap", policy.Cap), positive("idle", policy.Idle), positive("absolute", policy.Absolute), policy.Validate()); err != nil {
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
			if err := cmp.Or(positive("idle", policy.Idle), policy.Validate()); err != nil {
				return err
			}
			text, err := p.token(ctx)
			if err != nil {
				return err
			}
			token, err := domain.ParseRefreshToken(text)
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
	c.Flags().DurationVar(&policy.Grace, "grace", domain.DefaultSessionGrace, "how long the old token still gets another one; 0 for not at all")
	c.Flags().DurationVar(&policy.Idle, "idle", domain.DefaultSessionIdle, "lifetime of the new token")
	return c
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
				return p.printAll(rows, "session_id", "issued_at", "rotated_at", "expires_at", "absolute_expires_at")
			})
		})
}

func (p *program) sessionRevokeCommand() *cobra.Command {
	var session string
	var all bool
	const example = `accounts session revoke ann --session Vd0xSpbfXo0bCJzeRO5Ucw
accounts session revoke ann --all`
	c := p.command("revoke REF (--session ID | --all)", "End one session of an account, or all", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
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
	c.Flags().BoolVar(&all, "all", false, "end all sessions")
	c.MarkFlagsOneRequired("session", "all")
	c.MarkFlagsMutuallyExclusive("session", "all")
	return c
}

// sweepStep is how many accounts one statement of a sweep visits, so that it holds no lock for long.
const sweepStep = 1000

func (p *program) sessionSweepCommand() *cobra.Command {
	const example = `accounts session sweep`
	return p.command("sweep", "Remove the expired sessions of accounts that nobody has changed since", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			return p.withStore(ctx, func(store *infra.Store) error {
				var visited, swept int
				var step domain.Sweep
				for !step.Done {
					var err error
					if step, err = store.SweepSessions(ctx, step.Next, sweepStep); err != nil {
						return err
					}
					visited += step.Visited
					swept += step.Swept
				}
				return p.print(record{{"visited", visited}, {"swept", swept}})
			})
		})
}
