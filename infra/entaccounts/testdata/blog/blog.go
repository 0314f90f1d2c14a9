// Package blog is the ent schema of an application, whose posts have an account for their author, and whose tags accounts follow.
package blog

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"

	"github.com/softbee/accounts/infra/entaccounts"
)

// Account mirrors the accounts. It reads the address too.
type Account struct{ ent.Schema }

// Mixin of the Account.
func (Account) Mixin() []ent.Mixin { return []ent.Mixin{entaccounts.Mirror{}} }

// Fields of the Account.
func (Account) Fields() []ent.Field { return []ent.Field{field.String("email")} }

// Edges of the Account.
func (Account) Edges() []ent.Edge {
	return []ent.Edge{edge.To("posts", Post.Type), edge.To("tags", Tag.Type)}
}

// Post is an entity of the application.
type Post struct{ ent.Schema }

// Fields of the Post.
func (Post) Fields() []ent.Field { return []ent.Field{field.String("title")} }

// Edges of the Post.
func (Post) Edges() []ent.Edge {
	return []ent.Edge{edge.From("author", Account.Type).Ref("posts").Unique().Required()}
}

// Tag is another.
type Tag struct{ ent.Schema }

// Fields of the Tag.
func (Tag) Fields() []ent.Field { return []ent.Field{field.String("name").Unique()} }

// Edges of the Tag.
func (Tag) Edges() []ent.Edge { return []ent.Edge{edge.From("followers", Account.Type).Ref("tags")} }
