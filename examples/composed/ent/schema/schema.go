// Package schema is the application's own ent schema: an account has what this module stores of it, and what the application adds.
package schema

import (
	"cmp"
	"os"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"github.com/google/uuid"

	accounts "github.com/softbee/accounts/ent/schema"
)

// database is the one that the schema is generated for. An application that has one database says dialect.Postgres here, and no more.
var database = cmp.Or(os.Getenv("SCHEMA_DIALECT"), dialect.Postgres)

// User is an account that belongs to an organization.
type User struct{ ent.Schema }

// Mixin of the User: all that the store needs.
func (User) Mixin() []ent.Mixin {
	return []ent.Mixin{accounts.Account{Dialect: database}}
}

// Fields of the User. They are nullable, have a default, or are given to CreateWith.
func (User) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("org_id", uuid.UUID{}).Optional().Nillable(),
	}
}

// Edges of the User.
func (User) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("organization", Organization.Type).Ref("members").Field("org_id").Unique(),
		edge.To("identities", Identity.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// Identity is who the owner of an account is to an identity provider. An application without them leaves it out.
type Identity struct{ ent.Schema }

// Mixin of the Identity.
func (Identity) Mixin() []ent.Mixin {
	return []ent.Mixin{accounts.LinkedIdentity{Dialect: database}}
}

// Edges of the Identity.
func (Identity) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("identities").Field("user_id").Unique().Required().Immutable(),
	}
}

// AccountEvent is an entry of the audit trail. An application without it leaves it out.
type AccountEvent struct{ ent.Schema }

// Mixin of the AccountEvent.
func (AccountEvent) Mixin() []ent.Mixin {
	return []ent.Mixin{accounts.AuditTrail{Dialect: database}}
}

// Organization is what accounts belong to.
type Organization struct{ ent.Schema }

// Fields of the Organization.
func (Organization) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uuid.New),
		field.String("name").Unique(),
	}
}

// Edges of the Organization. One that has members cannot be deleted.
func (Organization) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("members", User.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
	}
}
