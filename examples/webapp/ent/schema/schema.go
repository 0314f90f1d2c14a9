// Package schema is the application's own ent schema: accounts are what the module stores of them and a flag of the application, and they write posts.
package schema

import (
	"cmp"
	"os"
	"time"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	accounts "github.com/softbee/accounts/ent/schema"
)

// database is the one that the schema is generated for. An application that has one database says dialect.Postgres here, and no more.
var database = cmp.Or(os.Getenv("SCHEMA_DIALECT"), dialect.Postgres)

// User is an account. Some are administrators.
type User struct{ ent.Schema }

// Mixin of the User: all that the store needs.
func (User) Mixin() []ent.Mixin {
	return []ent.Mixin{accounts.Account{Dialect: database}}
}

// Fields of the User, beside those of the mixin.
func (User) Fields() []ent.Field {
	return []ent.Field{field.Bool("is_admin").Default(false)}
}

// Edges of the User. What belongs to an account is deleted with it.
func (User) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("identities", Identity.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("posts", Post.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// Identity is who the owner of an account is to an identity provider.
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

// AccountEvent is an entry of the audit trail.
type AccountEvent struct{ ent.Schema }

// Mixin of the AccountEvent.
func (AccountEvent) Mixin() []ent.Mixin {
	return []ent.Mixin{accounts.AuditTrail{Dialect: database}}
}

// Post is what somebody has written. Its ID rises with the time.
type Post struct{ ent.Schema }

// Fields of the Post.
func (Post) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(func() uuid.UUID { return uuid.Must(uuid.NewV7()) }).Immutable(),
		field.UUID("author_id", uuid.UUID{}).Immutable(),
		field.String("text").NotEmpty().Immutable(),
		field.Time("created_at").Default(func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }).Immutable(),
	}
}

// Edges of the Post.
func (Post) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("author", User.Type).Ref("posts").Field("author_id").Unique().Required().Immutable(),
	}
}

// Indexes of the Post: without one each delete of an account would read the whole table.
func (Post) Indexes() []ent.Index {
	return []ent.Index{index.Fields("author_id")}
}
