package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// AccountEvent is an entry of the audit trail: what happened to an account, which need not exist any more. The id rises with each entry, and for one
// account in the order of its changes. Entries are neither changed nor, but by retention, deleted: triggers refuse it, which ent
// cannot declare and the migrations make ([AppendOnly]).
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
		Checks(dialect.Postgres, map[string]string{"account_events_kind_check": "kind <> ''"}),
		Checks(dialect.SQLite, map[string]string{
			"account_events_kind_check":       sqliteText("kind"),
			"account_events_account_id_check": "typeof(account_id) = 'text' AND account_id GLOB '" + sqliteUUIDPattern + "'",
		}),
		sqliteTexts("account_events", "request_id", "client", "actor"),
		timeChecks("account_events", "occurred_at"),
	}
}

// AppendOnly returns the statements that keep the table account_events append-only on a database, [dialect.Postgres] or [dialect.SQLite]. An application
// whose own migrations make the table has them in one of its files; on SQLite that file says what ends a statement, for builds of Atlas do not
// agree where a trigger ends (docs/embedding.md).
//
// The retention of infra/audit deletes nevertheless: on PostgreSQL by a setting of its transaction, on SQLite, whose triggers see no settings, by taking the
// second trigger away in its transaction.
func AppendOnly(database string) []string {
	if database == dialect.SQLite {
		const refuse = " BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END"
		return []string{
			"CREATE TRIGGER `account_events_no_update` BEFORE UPDATE ON `account_events`" + refuse,
			"CREATE TRIGGER `account_events_no_delete` BEFORE DELETE ON `account_events`" + refuse,
			// INSERT OR REPLACE deletes without the other trigger.
			"CREATE TRIGGER `account_events_no_replace` BEFORE INSERT ON `account_events` WHEN EXISTS (SELECT 1 FROM `account_events` WHERE `id` = NEW.`id`)" + refuse,
		}
	}
	return []string{
		`CREATE OR REPLACE FUNCTION "account_events_append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('accounts.retention', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'account_events is append-only';
END
$$`,
		`CREATE TRIGGER "account_events_append_only" BEFORE UPDATE OR DELETE ON "account_events" FOR EACH ROW EXECUTE FUNCTION "account_events_append_only"()`,
		`CREATE TRIGGER "account_events_no_truncate" BEFORE TRUNCATE ON "account_events" FOR EACH STATEMENT EXECUTE FUNCTION "account_events_append_only"()`,
	}
}
