// Package audit keeps a trail of what happens to accounts, in the table account_events: who signed in, was locked, got another password. An entry
// is stored with the change that it is about, or not at all.
//
// The trail is append-only: nothing here changes an entry, and [Prune] alone deletes. Triggers refuse everybody else. On PostgreSQL the role of an
// application needs only INSERT and SELECT on the table. It outlives the account, and holds no secret, address or name but what the application
// has put into the [domain.Origin] of the context.
package audit

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/accountevent"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/migration"
)

// Options say what is kept.
type Options struct {
	// FullAddress keeps the addresses of clients whole, which are personal data. Without it the network is kept: 24 bits of IPv4, 48 of
	// IPv6.
	FullAddress bool
}

// What the columns hold, in characters. Longer texts are cut: a header that a client has sent must not make a sign-in fail.
const (
	maxRequestID = 100
	maxActor     = 255
)

// WithTrail has a store keep the trail: one entry for each change that has an event of one of the kinds, or of any kind if none is named. The
// entries of one account are in the order of its changes. A store keeps one trail; a second one is refused.
//
// On PostgreSQL a change that needs no look at the account before, and that no hook listens to, has its entry in its own statement. Any other one takes
// a transaction, as with [infra.WithHook], and so does every one on SQLite.
func WithTrail(options Options, kinds ...domain.EventKind) infra.Option {
	return infra.WithTrail(func(origin domain.Origin) (requestID, client, actor string) {
		return fitting(origin.RequestID, maxRequestID), options.client(origin.Client), fitting(origin.Actor, maxActor)
	}, kinds...)
}

// client returns what is kept of an address.
func (o Options) client(address netip.Addr) string {
	address = address.Unmap().WithZone("")
	if !address.IsValid() {
		return ""
	}
	if o.FullAddress {
		return address.String()
	}
	bits := 48
	if address.Is4() {
		bits = 24
	}
	network, err := address.Prefix(bits)
	if err != nil {
		return ""
	}
	return network.String()
}

// fitting returns a text as the databases take it: valid UTF-8 without NUL, and not too long.
func fitting(text string, most int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most])
	}
	return text
}

// Entry is one of the trail.
type Entry struct {
	ID        int64
	UserID    domain.ID
	Kind      domain.EventKind
	At        time.Time
	RequestID string
	Client    string // an address or, without [Options.FullAddress], its network, such as 192.0.2.0/24
	Actor     string
}

// Query says which entries [List] returns.
type Query struct {
	UserID domain.ID        // required
	Kind   domain.EventKind // "" for all
	After  int64            // only entries with a greater ID
	Limit  int              // at most so many: 1 to 1000, default 100
}

const maxLimit = 1000

// List returns the entries of an account, the oldest first, whether or not the account still exists. Go on with the ID of the last one as After.
// It returns [domain.ErrInvalid] on the field "id" or "limit".
func List(ctx context.Context, store *infra.Store, query Query) (entries []Entry, err error) {
	const op = "list events"
	if query.Limit == 0 {
		query.Limit = 100
	}
	switch {
	case query.UserID.IsZero():
		return nil, refuse(op, "id", "is required")
	case query.Limit < 1 || query.Limit > maxLimit:
		return nil, refuse(op, "limit", "is not 1 to 1000")
	}
	err = store.InTx(ctx, func(tx *infra.Tx) error {
		entries = nil
		text := "SELECT id, kind, occurred_at, coalesce(request_id, ''), coalesce(client, ''), coalesce(actor, '') FROM " + tx.Table(accountevent.Table) +
			" WHERE account_id = ? AND id > ?"
		args := []any{query.UserID.UUID(), query.After}
		if query.Kind != "" {
			text, args = text+" AND kind = ?", append(args, string(query.Kind))
		}
		return tx.Query(ctx, op, text+" ORDER BY id LIMIT ?", append(args, query.Limit), func(rows infra.Rows) error {
			e := Entry{UserID: query.UserID}
			var kind string
			err := rows.Scan(&e.ID, &kind, &e.At, &e.RequestID, &e.Client, &e.Actor)
			e.Kind, e.At = domain.EventKind(kind), domain.StoredTime(e.At)
			entries = append(entries, e)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// maxBatch bounds one step of a retention.
const maxBatch = 100_000

// Prune deletes, of the oldest limit entries, those from before a time, in one transaction, and returns how many it deleted. Call it until that
// is 0. On PostgreSQL it needs the right to delete from the table. It returns [domain.ErrInvalid] on the field "limit" unless that is 1 to
// 100,000.
func Prune(ctx context.Context, store *infra.Store, before time.Time, limit int) (deleted int, err error) {
	const op = "prune events"
	if limit < 1 || limit > maxBatch {
		return 0, refuse(op, "limit", "is not 1 to 100000")
	}
	err = store.InTx(ctx, func(tx *infra.Tx) error {
		restore, err := permit(ctx, op, tx)
		if err != nil {
			return err
		}
		table := tx.Table(accountevent.Table)
		n, err := tx.Exec(ctx, op, "DELETE FROM "+table+" WHERE id IN (SELECT id FROM (SELECT id, occurred_at FROM "+table+
			" ORDER BY id LIMIT ?) AS oldest WHERE occurred_at < ?)", limit, before)
		if err != nil {
			return err
		}
		deleted = int(n)
		return restore()
	}, infra.Retry(10))
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

// permit lets the transaction delete entries, until it ends or restore is called.
func permit(ctx context.Context, op string, tx *infra.Tx) (restore func() error, err error) {
	restore = func() error { return nil }
	if tx.Dialect() == migration.Postgres {
		// The trigger looks for it. It ends with the transaction.
		_, err := tx.Exec(ctx, op, "SET LOCAL accounts.retention = 'on'")
		return restore, err
	}
	// SQLite's triggers see no settings. Its transactions have changes of the schema too, and exclude other writers.
	const trigger = "account_events_no_delete"
	var statement string
	err = tx.Query(ctx, op, "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", []any{trigger}, func(rows infra.Rows) error {
		return rows.Scan(&statement)
	})
	if err != nil || statement == "" {
		return restore, err
	}
	_, err = tx.Exec(ctx, op, "DROP TRIGGER "+trigger)
	return func() error {
		_, err := tx.Exec(ctx, op, statement)
		return err
	}, err
}

func refuse(op, field, reason string) error {
	return fmt.Errorf("%s: %w", op, &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: reason})
}
