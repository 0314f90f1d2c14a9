package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// AccountEvent is an entry of the audit trail: what happened to an account, which need not exist any more. The id rises with each entry, and for one
// account in the order of its changes. Entries are neither changed nor, but by retention, deleted: on PostgreSQL triggers, which
// the migrations make, refuse it.
type AccountEvent struct{ ent.Schema }

// Fields of the AccountEvent.
func (AccountEvent) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		field.UUID("account_id", uuid.UUID{}).Immutable(),
		field.String("kind").SchemaType(varchar("32")).Immutable(),
		field.Time("occurred_at").Default(now).Immutable().Annotations(currentTime),
		field.String("request_id").SchemaType(varchar("100")).Optional().Nillable().Immutable(),
		field.String("client").SchemaType(varchar("64")).Optional().Nillable().Immutable(),
		field.String("actor").SchemaType(varchar("255")).Optional().Nillable().Immutable(),
	}
}

// Indexes of the AccountEvent: the entries of an account, in their order.
func (AccountEvent) Indexes() []ent.Index {
	return []ent.Index{index.Fields("account_id", "id").StorageKey("account_events_account_id")}
}

// Annotations of the AccountEvent.
func (AccountEvent) Annotations() []schema.Annotation {
	return []schema.Annotation{
		entsql.Annotation{Table: "account_events"},
		entsql.Checks(map[string]string{"account_events_kind_check": "kind <> ''"}),
		timeChecks("account_events", "occurred_at"),
	}
}
