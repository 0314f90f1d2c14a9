package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

func (p *program) userSetPhoneCommand() *cobra.Command {
	const example = `accounts user set-phone ann +573001112233
accounts user set-phone ann ""`
	return p.command("set-phone REF P", "Set another telephone number, which is not confirmed, or with \"\" none", example, cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error {
			var phone domain.Phone
			if args[1] != "" {
				var err error
				if phone, err = domain.ParsePhone(args[1]); err != nil {
					return err
				}
			}
			return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
				return store.SetPhone(ctx, id, phone)
			})
		})
}

func (p *program) userPhoneCodeCommand() *cobra.Command {
	var ttl time.Duration
	const example = `accounts --json user phone-code ann
accounts user phone-code ann --ttl 5m`
	c := p.command("phone-code REF", "Print a code with which the telephone number can be confirmed once", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if err := positive("ttl", ttl); err != nil {
				return err
			}
			return p.withAuthenticator(ctx, domain.LockPolicy{}, func(store *infra.Store, authenticator *domain.Authenticator) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				issued, err := authenticator.IssuePhoneCode(ctx, id, ttl)
				if err != nil {
					return err
				}
				return p.print(record{{"code", issued.Code.Reveal()}, {"phone", issued.Phone}, {"expires_at", issued.ExpiresAt}})
			})
		})
	c.Flags().DurationVar(&ttl, "ttl", domain.DefaultPhoneCodeTTL, "how long the code is good, up to 10m")
	return c
}

func (p *program) userConfirmPhoneCommand() *cobra.Command {
	const example = `accounts user confirm-phone ann <code.txt`
	return p.command("confirm-phone REF", "Confirm a telephone number with a code, from standard input", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			text, err := p.secret(ctx, "Code")
			if err != nil {
				return err
			}
			code, err := domain.ParsePhoneCode(text)
			if err != nil {
				return err
			}
			return p.withAuthenticator(ctx, domain.LockPolicy{}, func(store *infra.Store, authenticator *domain.Authenticator) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				confirmed, err := authenticator.ConfirmPhone(ctx, id, code)
				if err != nil {
					return err
				}
				if confirmed.Already && !p.json {
					_, _ = fmt.Fprintln(p.messages, confirmed.Phone, "was confirmed before.")
				}
				return p.print(record{{"id", id}, {"phone", confirmed.Phone}, {"phone_verified_at", confirmed.User.PhoneVerifiedAt()}})
			})
		})
}
