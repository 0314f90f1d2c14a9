package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/bulk"
)

func (p *program) userExportCommand() *cobra.Command {
	var format string
	var withHashes bool
	const example = `accounts user export >users.jsonl
accounts user export --format csv --with-hashes >users.csv`
	c := p.command("export", "Print all accounts, one per line", example, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		format, err := bulk.ParseFormat(format)
		if err != nil {
			return err
		}
		return p.withStore(ctx, func(store *infra.Store) error { return p.export(ctx, store, format, withHashes) })
	})
	c.Flags().StringVar(&format, "format", string(bulk.JSONLines), "jsonl or csv")
	c.Flags().BoolVar(&withHashes, "with-hashes", false, "add the password hashes, which are secrets: keep the output from others")
	complete(c, "format", string(bulk.JSONLines), string(bulk.CSV))
	return c
}

// export prints every account, and says which were left out.
func (p *program) export(ctx context.Context, store *infra.Store, format bulk.Format, withHashes bool) error {
	exported, err := bulk.Export(ctx, store, resultWriter{p.output}, bulk.ExportOptions{Format: format, WithHashes: withHashes, Malformed: p.reportMalformed})
	switch {
	case err != nil:
		return err
	case exported.Malformed > 0:
		return &domain.Error{Kind: domain.ErrInvalid, Reason: fmt.Sprintf("%d of the accounts were left out; the lines above say why", exported.Malformed)}
	case exported.MalformedIdentities > 0:
		return &domain.Error{Kind: domain.ErrInvalid, Reason: fmt.Sprintf("%d of the identities were left out; the lines above say why", exported.MalformedIdentities)}
	}
	return nil
}

// resultWriter writes results.
type resultWriter struct{ output }

// Write implements [io.Writer].
func (w resultWriter) Write(lines []byte) (int, error) {
	if err := w.write(lines); err != nil {
		return 0, err
	}
	return len(lines), nil
}
