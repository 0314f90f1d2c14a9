package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

func (p *program) identityCommand() *cobra.Command {
	return group("identity", "Link accounts to identities of identity providers",
		p.identityLinkCommand(),
		p.identityUnlinkCommand(),
		p.identityListCommand(),
		p.identityShowCommand(),
	)
}

// identityFlags are those that name an identity.
type identityFlags struct{ issuer, subject string }

func (i *identityFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&i.issuer, "issuer", "", "the provider's name of itself, in OpenID Connect a URL")
	c.Flags().StringVar(&i.subject, "subject", "", "the provider's name for the person, which never changes; no e-mail address")
	require(c, "issuer", "subject")
}

func (i *identityFlags) parse() (domain.Identity, error) {
	return domain.ParseIdentity(i.issuer, i.subject)
}

func (p *program) identityLinkCommand() *cobra.Command {
	var flags identityFlags
	const example = `accounts identity link ann --issuer https://accounts.google.com --subject 110169484474386276334`
	c := p.command("link REF --issuer I --subject S", "Link an identity to an account", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			identity, err := flags.parse()
			if err != nil {
				return err
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				link, err := store.LinkIdentity(ctx, id, identity)
				if err != nil {
					return err
				}
				return p.print(identityRecord(link))
			})
		})
	flags.add(c)
	return c
}

func (p *program) identityUnlinkCommand() *cobra.Command {
	var flags identityFlags
	var force bool
	const example = `accounts identity unlink ann --issuer https://accounts.google.com --subject 110169484474386276334`
	c := p.command("unlink REF --issuer I --subject S", "End the link of an identity to an account", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			identity, err := flags.parse()
			if err != nil {
				return err
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				if err := store.UnlinkIdentity(ctx, id, identity, force); err != nil {
					return err
				}
				return p.print(record{{"unlinked", id}, {"issuer", identity.Issuer()}, {"subject", identity.Subject()}})
			})
		})
	flags.add(c)
	c.Flags().BoolVar(&force, "force", false, "also where it is the last way into the account")
	return c
}

func (p *program) identityListCommand() *cobra.Command {
	const example = `accounts identity list ann`
	return p.command("list REF", "List the identities of an account, the one linked first first", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			return p.withStore(ctx, func(store *infra.Store) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				links, err := store.Identities(ctx, id)
				if err != nil && len(links) == 0 {
					return err
				}
				rows := make([]record, len(links))
				for i, link := range links {
					rows[i] = identityRecord(link)
				}
				if printErr := p.printAll(rows, "issuer", "subject", "created_at", "last_used_at"); printErr != nil {
					return printErr
				}
				return err // of those that cannot be read
			})
		})
}

func (p *program) identityShowCommand() *cobra.Command {
	var flags identityFlags
	const example = `accounts --json identity show --issuer https://accounts.google.com --subject 110169484474386276334`
	c := p.command("show --issuer I --subject S", "Show the account that an identity is linked to", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			identity, err := flags.parse()
			if err != nil {
				return err
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				user, err := store.FindByIdentity(ctx, identity)
				if err != nil {
					return err
				}
				return p.printUser(user)
			})
		})
	flags.add(c)
	return c
}

func identityRecord(link domain.LinkedIdentity) record {
	return record{
		{"user_id", link.UserID},
		{"issuer", link.Identity.Issuer()},
		{"subject", link.Identity.Subject()},
		{"created_at", link.CreatedAt},
		{"last_used_at", orNull(link.LastUsedAt)},
	}
}
