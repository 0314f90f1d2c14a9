package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// Identity is who the owner of an account is to an identity provider. Issuer and subject are compared byte by byte.
type Identity struct{ ent.Schema }

// Fields of the Identity.
func (Identity) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uuid.New).Immutable().
			Annotations(entsql.DefaultExprs(map[string]string{
				dialect.Postgres: "gen_random_uuid()",
				dialect.SQLite:   sqliteUUID,
			})),
		field.UUID("user_id", uuid.UUID{}).Immutable(),
		field.String("issuer").SchemaType(varchar("255")).Annotations(entsql.Annotation{Collation: "C"}).Immutable(),
		field.String("subject").SchemaType(varchar("255")).Annotations(entsql.Annotation{Collation: "C"}).Immutable(),
		field.Time("created_at").Default(now).Immutable().Annotations(currentTime),
		field.Time("last_used_at").Optional().Nillable(),
	}
}

// Edges of the Identity.
func (Identity) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("identities").Field("user_id").Unique().Required().Immutable(),
	}
}

// Indexes of the Identity: one finds an account by who somebody is, the other what an account is linked to.
func (Identity) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("issuer", "subject").Unique().StorageKey("identities_issuer_subject_key"),
		index.Fields("user_id", "created_at").StorageKey("identities_user_id"),
	}
}

// Annotations of the Identity.
func (Identity) Annotations() []schema.Annotation {
	return []schema.Annotation{
		entsql.Annotation{Table: "identities"},
		Checks(dialect.Postgres, map[string]string{
			"identities_issuer_check":  "issuer <> ''",
			"identities_subject_check": "subject <> ''",
		}),
		Checks(dialect.SQLite, map[string]string{
			"identities_issuer_check":  sqliteText("issuer"),
			"identities_subject_check": sqliteText("subject"),
		}),
		timeChecks("identities", "created_at", "last_used_at"),
	}
}
