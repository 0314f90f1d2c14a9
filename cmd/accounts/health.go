package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
)

func (p *program) healthCommand() *cobra.Command {
	const example = `accounts health
accounts --json health || page-the-operator`
	c := p.command("health", "Tell how the database is; exit status 1 unless it is reachable, writable and migrated", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) (err error) {
			store, err := p.open(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }() //nolint:contextcheck // closing takes no context
			health, unwell := store.Health(ctx)
			if errors.Is(unwell, domain.ErrUnavailable) && !health.Reachable {
				return unwell
			}
			return errors.Join(p.print(append(record{
				{"reachable", health.Reachable},
				{"writable", health.Writable},
				{"migrated", health.Migrated},
				{"server", health.Server},
				{"lag_seconds", health.Lag.Seconds()},
			}, statusRecord(health.Schema)...)), unwell)
		})
	return c
}
