package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"time"

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

// export prints every account as the other commands do. It holds some of them at a time.
func (p *program) export(ctx context.Context, store *infra.Store, format bulk.Format, withHashes bool) error {
	var lines bytes.Buffer
	comma := csv.NewWriter(&lines)
	now := time.Now()
	if format == bulk.CSV {
		_ = comma.Write(names(exportRecord(new(domain.User), now, withHashes, true))) // a buffer takes everything
	}
	batch := make([]*domain.User, 0, 500)
	skipped, unlinked := 0, 0
	printBatch := func() error {
		var links map[domain.ID][]domain.LinkedIdentity
		if format == bulk.JSONLines && len(batch) > 0 { // in CSV there is no place for them
			var left []*domain.Malformed
			var err error
			if links, left, err = store.ExportIdentities(ctx, batch); err != nil {
				return err
			}
			for _, malformed := range left {
				p.reportMalformed(malformed)
				unlinked++
			}
		}
		for _, user := range batch {
			r := exportRecord(user, now, withHashes, format == bulk.CSV || !user.PhoneVerifiedAt().IsZero())
			if format == bulk.CSV {
				_ = comma.Write(cells(r))
				continue
			}
			if linked := links[user.ID()]; len(linked) > 0 {
				identities := make([]record, len(linked))
				for i, link := range linked {
					identities[i] = record{
						{"issuer", link.Identity.Issuer()}, {"subject", link.Identity.Subject()},
						{"created_at", link.CreatedAt}, {"last_used_at", orNull(link.LastUsedAt)},
					}
				}
				r = append(r, field{"identities", identities})
			}
			if err := writeJSON(&lines, r); err != nil {
				return err
			}
		}
		batch = batch[:0]
		comma.Flush()
		err := p.write(lines.Bytes())
		lines.Reset()
		return err
	}
	for user, err := range store.Export(ctx, withHashes) {
		var malformed *domain.Malformed
		if errors.As(err, &malformed) {
			p.reportMalformed(malformed)
			skipped++
			continue
		}
		if err != nil {
			return err
		}
		if batch = append(batch, user); len(batch) == cap(batch) {
			if err := printBatch(); err != nil {
				return err
			}
		}
	}
	if err := printBatch(); err != nil || skipped+unlinked == 0 {
		return err
	}
	if skipped == 0 {
		return &domain.Error{Kind: domain.ErrInvalid, Reason: fmt.Sprintf("%d of the identities were left out; the lines above say why", unlinked)}
	}
	return &domain.Error{Kind: domain.ErrInvalid, Reason: fmt.Sprintf("%d of the accounts were left out; the lines above say why", skipped)}
}

// exportRecord is an account as the other commands print it, with what they leave out, but for its sessions, of which there is none in an export. It is
// the one place where a hash is printed.
func exportRecord(u *domain.User, now time.Time, withHash, withPhoneVerified bool) record {
	r := userRecord(u, now)
	r[slices.IndexFunc(r, func(f field) bool { return f.name == "sessions" })].value = 0
	if withPhoneVerified {
		phone := slices.IndexFunc(r, func(f field) bool { return f.name == "phone" })
		r = slices.Insert(r, phone+1, field{"phone_verified_at", orNull(u.PhoneVerifiedAt())})
	}
	if withHash {
		r = append(r, field{"hashed_password", u.State().PasswordHash.Stored()})
	}
	return r
}

func names(r record) []string {
	list := make([]string, len(r))
	for i, f := range r {
		list[i] = f.name
	}
	return list
}

// cells returns the values as CSV has them: what is absent is empty.
func cells(r record) []string {
	list := make([]string, len(r))
	for i, f := range r {
		switch v := f.value.(type) {
		case nil:
		case time.Time:
			list[i] = v.Format(time.RFC3339Nano)
		default:
			list[i] = fmt.Sprint(v)
		}
	}
	return list
}
