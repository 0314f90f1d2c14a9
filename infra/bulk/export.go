package bulk

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/softbee/accounts/domain"
)

// Source is what an export needs of a store; *infra.Store is one.
type Source interface {
	// Export and ExportWithHashes return all accounts, the oldest first, and a [domain.Malformed] as the error for a row that is none.
	Export(ctx context.Context) iter.Seq2[*domain.User, error]
	ExportWithHashes(ctx context.Context) iter.Seq2[*domain.User, error]

	// ExportIdentities returns the identities of some accounts, and those that cannot be read.
	ExportIdentities(ctx context.Context, users []*domain.User) (map[domain.ID][]domain.LinkedIdentity, []*domain.Malformed, error)
}

// ExportOptions say how Export works.
type ExportOptions struct {
	Format Format

	// WithHashes adds the password hashes, which are secrets.
	WithHashes bool

	// Malformed is called for each account and each identity that cannot be read and is left out.
	Malformed func(*domain.Malformed)
}

// Exported counts what an export has written and what it left out because it cannot be read.
type Exported struct {
	Accounts            int
	Malformed           int
	MalformedIdentities int
}

// exportBatch is how many accounts are written at once, and how many identities are read for at once.
const exportBatch = 500

// Export writes the accounts of a store to a file, the oldest first, as [Import] reads them: a line each, with the fields of [domain.User.Public],
// phone_verified_at and, in JSON, the identities. Sessions are no part of it: their number is 0. With hashes, what is imported from the file into an
// empty database is exported from there as the same file.
//
// It takes the same memory for any number of accounts. It returns the errors of the store, and [domain.ErrUnavailable] on the field "file" where
// the file cannot be written, unless the error of its Write has a kind.
func Export(ctx context.Context, source Source, file io.Writer, options ExportOptions) (Exported, error) {
	e := exporter{source: source, file: file, options: options, now: time.Now(), batch: make([]*domain.User, 0, exportBatch)}
	e.csv, e.json = csv.NewWriter(&e.lines), json.NewEncoder(&e.lines)
	e.json.SetEscapeHTML(false)
	if options.Format == CSV {
		e.writeHeader()
	}
	accounts := source.Export
	if options.WithHashes {
		accounts = source.ExportWithHashes
	}
	for user, err := range accounts(ctx) {
		if malformed, ok := errors.AsType[*domain.Malformed](err); ok {
			e.exported.Malformed++
			e.report(malformed)
			continue
		}
		if err != nil {
			return e.exported, err
		}
		if e.batch = append(e.batch, user); len(e.batch) == exportBatch {
			if err := e.flush(ctx); err != nil {
				return e.exported, err
			}
		}
	}
	return e.exported, e.flush(ctx)
}

type exporter struct {
	source   Source
	file     io.Writer
	options  ExportOptions
	now      time.Time
	batch    []*domain.User
	lines    bytes.Buffer // of the batch
	csv      *csv.Writer  // into lines
	json     *json.Encoder
	exported Exported
}

func (e *exporter) report(malformed *domain.Malformed) {
	if e.options.Malformed != nil {
		e.options.Malformed(malformed)
	}
}

// flush writes the batch.
func (e *exporter) flush(ctx context.Context) error {
	var links map[domain.ID][]domain.LinkedIdentity
	if e.options.Format != CSV && len(e.batch) > 0 { // CSV has no column for them
		var malformed []*domain.Malformed
		var err error
		if links, malformed, err = e.source.ExportIdentities(ctx, e.batch); err != nil {
			return err
		}
		for _, m := range malformed {
			e.exported.MalformedIdentities++
			e.report(m)
		}
	}
	for _, user := range e.batch {
		if e.options.Format == CSV {
			e.writeCSV(user)
		} else if err := e.writeJSON(user, links[user.ID()]); err != nil {
			return err
		}
	}
	e.csv.Flush()
	if _, err := e.file.Write(e.lines.Bytes()); err != nil {
		if domain.KindOf(err) == "" {
			err = &domain.Error{Kind: domain.ErrUnavailable, Field: "file", Reason: "cannot be written", Cause: err}
		}
		return err
	}
	e.exported.Accounts += len(e.batch)
	e.batch = e.batch[:0]
	e.lines.Reset()
	return nil
}

// values yields the fields of an account but for its identities. A nil value is absent.
func (e *exporter) values(u *domain.User) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for name, value := range u.Public(e.now) {
			if name == "sessions" {
				value = 0
			}
			if !yield(name, value) {
				return
			}
			if at := u.PhoneVerifiedAt(); name == "phone" && (e.options.Format == CSV || !at.IsZero()) {
				value = nil
				if !at.IsZero() {
					value = at
				}
				if !yield("phone_verified_at", value) {
					return
				}
			}
		}
		if e.options.WithHashes {
			yield("hashed_password", u.State().PasswordHash.Stored())
		}
	}
}

func (e *exporter) writeHeader() {
	var names []string
	for name := range e.values(new(domain.User)) {
		names = append(names, name)
	}
	_ = e.csv.Write(names) // a buffer takes everything
}

func (e *exporter) writeCSV(u *domain.User) {
	var cells []string
	for _, value := range e.values(u) {
		switch v := value.(type) {
		case nil:
			cells = append(cells, "")
		case time.Time:
			cells = append(cells, v.Format(time.RFC3339Nano))
		default:
			cells = append(cells, fmt.Sprint(v))
		}
	}
	_ = e.csv.Write(cells) // a buffer takes everything
}

// exportedLink is an identity in JSON.
type exportedLink struct {
	Issuer     string     `json:"issuer"`
	Subject    string     `json:"subject"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

func (e *exporter) writeJSON(u *domain.User, links []domain.LinkedIdentity) error {
	separator := "{"
	write := func(name string, value any) error {
		e.lines.WriteString(separator + `"` + name + `":`)
		separator = ","
		if err := e.json.Encode(value); err != nil {
			return &domain.Error{Kind: domain.ErrInvalid, Field: name, Reason: "cannot be written as JSON"}
		}
		e.lines.Truncate(e.lines.Len() - 1) // the line end
		return nil
	}
	for name, value := range e.values(u) {
		if err := write(name, value); err != nil {
			return err
		}
	}
	if len(links) > 0 {
		exported := make([]exportedLink, len(links))
		for i, link := range links {
			exported[i] = exportedLink{Issuer: link.Identity.Issuer(), Subject: link.Identity.Subject(), CreatedAt: link.CreatedAt}
			if !link.LastUsedAt.IsZero() {
				exported[i].LastUsedAt = &link.LastUsedAt
			}
		}
		if err := write(identitiesField, exported); err != nil {
			return err
		}
	}
	e.lines.WriteString("}\n")
	return nil
}
