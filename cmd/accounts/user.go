package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

func (p *program) userCommand() *cobra.Command {
	return group("user", "Create, find, change and delete accounts, and sign in",
		p.userCreateCommand(),
		p.userShowCommand(),
		p.userListCommand(),
		p.userSetEmailCommand(),
		p.userSetUsernameCommand(),
		p.userChangeCommand("verify", "Record that the e-mail address is confirmed", (*infra.Store).Verify),
		p.userChangeManyCommand("activate", "Allow the account to sign in", (*infra.Store).Activate, activateMany),
		p.userChangeManyCommand("deactivate", "Forbid the account to sign in and end its sessions", (*infra.Store).Deactivate, deactivateMany),
		p.userDeleteCommand(),
		p.userPurgeCommand(),
		p.userLoginCommand(),
		p.userSetPasswordCommand(),
		p.userRemovePasswordCommand(),
		p.userLockCommand(),
		p.userChangeCommand("unlock", "End a lock and forget the failed sign-ins", (*infra.Store).Unlock),
		p.userResetTokenCommand(),
		p.userResetCommand(),
		p.userVerifyTokenCommand(),
		p.userConfirmCommand(),
		p.userSetPhoneCommand(),
		p.userPhoneCodeCommand(),
		p.userConfirmPhoneCommand(),
		p.userCancelCommand(),
		p.userImportCommand(),
		p.userExportCommand(),
		p.userEventsCommand(),
	)
}

func (p *program) userCreateCommand() *cobra.Command {
	var email, username, firstName, lastName, phone string
	var passwordStdin, noPassword bool
	const example = `accounts user create --email ann@example.org --username ann
accounts user create --email ann@example.org --username ann --first-name Ann --phone +573001112233 --password-stdin <password.txt
accounts user create --email ann@example.org --username ann --no-password`
	c := p.command("create --email E --username U", "Create an account", example, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		registration, err := parseRegistration(email, username, firstName, lastName, phone)
		if err != nil {
			return err
		}
		registration.PasswordHash = domain.NoPassword()
		var password string
		if !noPassword {
			if password, err = p.newPassword(ctx, passwordStdin); err != nil {
				return err
			}
		}
		return p.withAuthenticator(ctx, domain.LockPolicy{}, func(store *infra.Store, authenticator *domain.Authenticator) error {
			if !noPassword {
				hash, err := authenticator.HashPassword(ctx, password, registration.Email.String(), registration.Username.String())
				if err != nil {
					return err
				}
				registration.PasswordHash = hash
			}
			user, err := domain.NewUser(registration, time.Now())
			if err != nil {
				return err
			}
			if err := store.Create(ctx, user); err != nil {
				return err
			}
			return p.printUser(user)
		})
	})
	c.Flags().StringVar(&email, "email", "", "e-mail address")
	c.Flags().StringVar(&username, "username", "", "name of 3 to 50 characters, without spaces")
	c.Flags().StringVar(&firstName, "first-name", "", "first name")
	c.Flags().StringVar(&lastName, "last-name", "", "last name")
	c.Flags().StringVar(&phone, "phone", "", "telephone number in international form, as in +573001112233")
	addPasswordStdin(c, &passwordStdin)
	c.Flags().BoolVar(&noPassword, "no-password", false, "make an account whose owner signs in by other means, see identity link")
	c.MarkFlagsMutuallyExclusive("password-stdin", "no-password")
	require(c, "email", "username")
	return c
}

func parseRegistration(email, username, firstName, lastName, phone string) (r domain.Registration, err error) {
	if r.Email, err = domain.ParseEmail(email); err != nil {
		return r, err
	}
	if r.Username, err = domain.ParseUsername(username); err != nil {
		return r, err
	}
	names, err := domain.ParseNames(firstName, lastName)
	if err != nil {
		return r, err
	}
	r.FirstName, r.LastName = names.First, names.Last
	if phone != "" {
		r.Phone, err = domain.ParsePhone(phone)
	}
	return r, err
}

func (p *program) userShowCommand() *cobra.Command {
	const example = `accounts user show ann
accounts --json user show ann@example.org`
	return p.command("show REF", "Show an account", example, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return p.withStore(ctx, func(store *infra.Store) error {
			user, err := find(ctx, store, args[0])
			if err != nil {
				return err
			}
			return p.printUser(user)
		})
	})
}

func (p *program) userListCommand() *cobra.Command {
	var query domain.ListQuery
	var texts listTexts
	const example = `accounts user list --active=true --order email
accounts user list --order last_login --desc --limit 10
accounts user list --search ann --domain example.org
accounts --json user list --after CURSOR`
	c := p.command("list", "List accounts, page by page", example, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		query, err := parseList(query, texts)
		if err != nil {
			return err
		}
		return p.withStore(ctx, func(store *infra.Store) error {
			page, err := store.List(ctx, query)
			if err != nil {
				return err
			}
			return p.printPage(page)
		})
	})
	c.Flags().IntVar(&query.Limit, "limit", domain.DefaultPageSize, "accounts per page, 1 to 1000")
	c.Flags().StringVar(&texts.after, "after", "", "where the previous page ended: the `CURSOR` that it printed")
	c.Flags().StringVar(&texts.search, "search", "", "only those whose address or username begins with `PREFIX`")
	c.Flags().StringVar(&texts.name, "name", "", "only those whose first or last name begins with `PREFIX`")
	c.Flags().StringVar(&texts.domain, "domain", "", "only those whose address is of the domain `D`")
	c.Flags().StringVar(&texts.from, "signed-in-from", "", "only those whose last sign-in was at `TIME` (RFC 3339) or later")
	c.Flags().StringVar(&texts.before, "signed-in-before", "", "only those whose last sign-in was before `TIME`")
	for name, flag := range map[string]struct {
		usage string
		value **bool
	}{
		"active":    {"active accounts", &query.Filter.Active},
		"verified":  {"accounts whose address is confirmed", &query.Filter.Verified},
		"locked":    {"accounts with a lock in force", &query.Filter.Locked},
		"signed-in": {"accounts that have ever signed in", &query.Filter.SignedIn},
		"phone":     {"accounts with a telephone number", &query.Filter.WithPhone},
		"password":  {"accounts with a password", &query.Filter.WithPassword},
		"identity":  {"accounts that are linked to an identity", &query.Filter.WithIdentity},
	} {
		c.Flags().BoolFunc(name, "only "+flag.usage+", or with =false only the others", intoBool(flag.value))
		complete(c, name, "true", "false")
	}
	var orders []string
	for _, order := range domain.Orders {
		orders = append(orders, string(order))
	}
	c.Flags().StringVar(&texts.order, "order", orders[0], strings.Join(orders, ", "))
	c.Flags().BoolVar(&query.Descending, "desc", false, "the last of the order first")
	complete(c, "order", orders...)
	return c
}

// listTexts are what the flags of a list say, unparsed.
type listTexts struct{ search, name, domain, from, before, order, after string }

func parseList(query domain.ListQuery, texts listTexts) (_ domain.ListQuery, err error) {
	if err := positive("limit", query.Limit); err != nil {
		return query, err
	}
	if query.Filter.Search, err = domain.ParsePrefix(texts.search); err != nil {
		return query, err
	}
	if query.Filter.Name, err = domain.ParseNamePrefix(texts.name); err != nil {
		return query, err
	}
	if query.Filter.Domain, err = domain.ParseMailDomain(texts.domain); err != nil {
		return query, err
	}
	if query.Filter.SignedInFrom, err = parseTime("signed_in_from", texts.from); err != nil {
		return query, err
	}
	if query.Filter.SignedInBefore, err = parseTime("signed_in_before", texts.before); err != nil {
		return query, err
	}
	if query.Order, err = domain.ParseOrder(texts.order); err != nil {
		return query, err
	}
	if query.After, err = domain.ParseCursor(texts.after); err != nil {
		return query, err
	}
	return query.Resolve()
}

// parseTime reads a time as all commands print it, or a date, which is its beginning in UTC; "" gives the zero time.
func parseTime(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1 && t.Year() <= 9999 {
			return t, nil
		}
	}
	return time.Time{}, invalid(field, "is not a time: expected RFC 3339, as in 2026-01-31T12:00:00Z, or a date")
}

// intoBool returns the setter of a flag that is true, false, or not given.
func intoBool(value **bool) func(string) error {
	return func(text string) error {
		b, err := strconv.ParseBool(text)
		*value = &b
		return err
	}
}

// printPage prints the accounts of a page and, where there are more, where the next one begins.
func (p *program) printPage(page domain.Page) error {
	now := time.Now()
	rows := make([]record, len(page.Users))
	for i, user := range page.Users {
		rows[i] = userRecord(user, now)
	}
	if p.json && !page.Next.IsZero() {
		rows = append(rows, record{{"next", page.Next.String()}})
	}
	if err := p.printAll(rows, userColumns...); err != nil {
		return err
	}
	for _, malformed := range page.Malformed {
		p.reportMalformed(malformed)
	}
	if !p.json && !page.Next.IsZero() {
		_, _ = fmt.Fprintln(p.messages, "There are more: add --after", page.Next)
	}
	return nil
}

func (p *program) userSetEmailCommand() *cobra.Command {
	var pending bool
	const example = `accounts user set-email ann ann@example.com
accounts --json user set-email ann ann@example.com --pending`
	c := p.command("set-email REF E", "Set another e-mail address, which is not confirmed, or ask for one that first has to be", example, cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error {
			email, err := domain.ParseEmail(args[1])
			if err != nil {
				return err
			}
			if !pending {
				return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
					return store.SetEmail(ctx, id, email)
				})
			}
			return p.withAuthenticator(ctx, domain.LockPolicy{}, func(store *infra.Store, authenticator *domain.Authenticator) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				issued, err := authenticator.RequestEmail(ctx, id, email, 0)
				if err != nil {
					return err
				}
				return p.print(issuedRecord(issued))
			})
		})
	c.Flags().BoolVar(&pending, "pending", false, "keep the present address until the new one is confirmed, and print the token for that")
	return c
}

func (p *program) userSetUsernameCommand() *cobra.Command {
	const example = `accounts user set-username ann@example.org annie`
	return p.command("set-username REF U", "Set another username", example, cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error {
			username, err := domain.ParseUsername(args[1])
			if err != nil {
				return err
			}
			return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
				return store.SetUsername(ctx, id, username)
			})
		})
}

// userChangeCommand returns a command that needs nothing but the account.
func (p *program) userChangeCommand(name, short string, change func(*infra.Store, context.Context, domain.ID) (*domain.User, error)) *cobra.Command {
	return p.command(name+" REF", short, "accounts user "+name+" ann", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
			return change(store, ctx, id)
		})
	})
}

// userChangeManyCommand is userChangeCommand for what can be done to many accounts at once.
func (p *program) userChangeManyCommand(
	name, short string, change func(*infra.Store, context.Context, domain.ID) (*domain.User, error), many manyChange,
) *cobra.Command {
	var from fromFile
	example := "accounts user " + name + " ann\naccounts user " + name + " --from accounts.txt --dry-run"
	c := p.command(name+" (REF | --from FILE)", short, example, from.arguments, func(ctx context.Context, args []string) error {
		if from.name != "" {
			return p.changeMany(ctx, from, many)
		}
		return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
			return change(store, ctx, id)
		})
	})
	c.Long = short + ".\n\nREF is the account's id, its e-mail address or its username."
	from.add(c)
	return c
}

// change changes the account that ref names and prints it.
func (p *program) change(ctx context.Context, ref string, change func(context.Context, *infra.Store, domain.ID) (*domain.User, error)) error {
	return p.withStore(ctx, func(store *infra.Store) error {
		id, err := findID(ctx, store, ref)
		if err != nil {
			return err
		}
		user, err := change(ctx, store, id)
		if err != nil {
			return err
		}
		return p.printUser(user)
	})
}

func (p *program) userDeleteCommand() *cobra.Command {
	var yes bool
	const example = `accounts user delete ann --yes`
	c := p.command("delete REF --yes", "Delete an account with all that is stored of it", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if !yes {
				return usageError{"an account that was deleted cannot be brought back; add --yes to delete it"}
			}
			return p.withStore(ctx, func(store *infra.Store) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				if err := store.Delete(ctx, id); err != nil {
					return err
				}
				return p.print(record{{"deleted", id}})
			})
		})
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}
