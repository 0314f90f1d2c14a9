package infra

import (
	"context"
	"slices"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/accountevent"
)

// trail is the audit trail that a store keeps, in the table account_events.
type trail struct {
	kinds  eventKinds
	origin func(domain.Origin) (requestID, client, actor string)
}

// WithTrail has each change that has an event of one of the kinds, or of any kind if none is named, leave an entry in the table account_events. origin
// returns what the columns get of where a change comes from, "" for nothing. It is for infra/audit; applications call its WithTrail.
//
// On PostgreSQL most changes have their entry in their own statement: see docs/events.md.
func WithTrail(origin func(domain.Origin) (requestID, client, actor string), kinds ...domain.EventKind) Option {
	return func(s *settings) { s.trails = append(s.trails, &trail{kinds, origin}) }
}

// insertEntries begins a statement that enters what a query returns of each change.
func (d *dialect) insertEntries(schema string) string {
	return "INSERT INTO " + d.table(schema, accountevent.Table) + " (" + strings.Join([]string{
		accountevent.FieldAccountID, accountevent.FieldKind, accountevent.FieldOccurredAt,
		accountevent.FieldRequestID, accountevent.FieldClient, accountevent.FieldActor,
	}, ", ") + ") "
}

// rides tells whether a change that is listened to can have its entry in its own statement: the trail alone wants to know of it, and the statement
// tells all that the entry says. It then locks the account before the entry gets its place in the trail.
func (r *repository) rides(what *change) bool {
	return r.trail != nil && r.dialect.changesInWith && what.compared == 0 && !what.elsewhere && !r.hooked(what) &&
		!slices.ContainsFunc(what.kinds, func(kind domain.EventKind) bool { return !r.trail.kinds.want(kind) })
}

// entry returns a statement that enters what a common table expression named changed has changed, with its arguments behind those of that.
func (r *repository) entry(ctx context.Context, what *change, args []any) (query string, all []any) {
	argument := func(value any) string {
		args = append(args, value)
		return r.dialect.argument(len(args))
	}
	now := "CAST(" + argument(r.present()) + " AS timestamptz)"
	kind := "'" + string(what.kinds[0]) + "'"
	if what.kind != "" {
		kind = strings.ReplaceAll(what.kind, "{now}", now)
	}
	requestID, client, actor := r.trail.origin(domain.OriginOf(ctx))
	// The statement may have waited for another change, which is entered before it.
	return r.dialect.insertEntries(r.schema) + "SELECT id, " + kind + ", " + now +
		" + (clock_timestamp() - statement_timestamp()), " + argument(orNull(requestID)) + ", " + argument(orNull(client)) + ", " + argument(orNull(actor)) + " FROM changed", args
}

// enter enters the events of accounts in the transaction of their change.
func (t *Tx) enter(ctx context.Context, kind domain.EventKind, ids []domain.ID) error {
	if t.trail == nil || !t.trail.kinds.want(kind) || len(ids) == 0 {
		return nil
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	requestID, client, actor := t.trail.origin(domain.OriginOf(ctx))
	_, err := t.execute(ctx, "record event", t.texts.enter, string(kind), t.present(), orNull(requestID), orNull(client), orNull(actor), t.dialect.list(texts))
	return err
}
