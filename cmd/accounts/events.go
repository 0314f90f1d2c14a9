package main

import (
	"context"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
)

// audited has the changes of a command written to the audit trail.
func (p *program) audited() infra.Option {
	kinds := slices.DeleteFunc(domain.EventKinds(), func(kind domain.EventKind) bool { return slices.Contains(p.silent, kind) })
	return audit.WithTrail(audit.Options{}, kinds...)
}

// actor says in the audit trail who ran the command.
func actor() string {
	const program = "accounts"
	current, err := user.Current()
	if err != nil || current.Username == "" {
		return program
	}
	return program + ": " + current.Username
}

func (p *program) userEventsCommand() *cobra.Command {
	var query audit.Query
	var kind string
	const example = `accounts user events ann
accounts --json user events 0b0e6b7e-6a2f-4a5e-9c1f-0d9a3f6f2f11 --kind signed_in --after 4711`
	c := p.command("events REF", "List what happened to an account, the oldest first", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			query.Kind = domain.EventKind(kind)
			if kind != "" && !slices.Contains(domain.EventKinds(), query.Kind) {
				return invalid("kind", "is not one of the kinds of event; accounts user events --help lists them")
			}
			return p.withStore(ctx, func(store *infra.Store) (err error) {
				if query.UserID, err = findID(ctx, store, args[0]); err != nil {
					return err
				}
				entries, err := audit.List(ctx, store, query)
				if err != nil {
					return err
				}
				rows := make([]record, len(entries))
				for i, e := range entries {
					rows[i] = record{
						{"id", e.ID}, {"user_id", e.UserID}, {"kind", string(e.Kind)}, {"at", e.At},
						{"request_id", orNull(e.RequestID)}, {"client", orNull(e.Client)}, {"actor", orNull(e.Actor)},
					}
				}
				return p.printAll(rows, "id", "kind", "at", "request_id", "client", "actor")
			})
		})
	kinds := make([]string, 0, len(domain.EventKinds()))
	for _, k := range domain.EventKinds() {
		kinds = append(kinds, string(k))
	}
	c.Long = `List what happened to an account, the oldest first, from the audit trail.

REF is the account's id, its e-mail address or its username; of an account that was deleted, its id. Changes by this program are in
the trail; those by an application are if its store keeps it (infra/audit). Go on with --after and the id of the last event.

The kinds are ` + strings.Join(kinds, ", ") + "."
	c.Flags().StringVar(&kind, "kind", "", "only events of this kind")
	c.Flags().Int64Var(&query.After, "after", 0, "only events with an id greater than `ID`")
	c.Flags().IntVar(&query.Limit, "limit", 100, "at most this many, up to 1000")
	complete(c, "kind", kinds...)
	return c
}

func (p *program) eventsCommand() *cobra.Command {
	return group("events", "Keep the audit trail", p.eventsPruneCommand())
}

// pruneBatch is how many events one transaction deletes.
const pruneBatch = 1000

func (p *program) eventsPruneCommand() *cobra.Command {
	var age time.Duration
	const example = `accounts events prune --older-than 8760h`
	c := p.command("prune --older-than D", "Delete the events that are older than a duration", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if age <= 0 {
				return invalid("older_than", "is not a duration above 0, such as 8760h")
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				before, pruned := time.Now().Add(-age), 0
				for {
					n, err := audit.Prune(ctx, store, before, pruneBatch)
					if pruned += n; err != nil {
						return err
					}
					if n == 0 {
						return p.print(record{{"pruned", pruned}})
					}
				}
			})
		})
	c.Flags().DurationVar(&age, "older-than", 0, "how old, as a Go duration: 8760h is a year")
	require(c, "older-than")
	return c
}
