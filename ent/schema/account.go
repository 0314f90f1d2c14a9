package schema

import (
	"maps"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/mixin"
)

// Account is what an application's own ent schema embeds to hold the accounts in a table of its graph, with fields and edges of its
// own beside them:
//
//	type User struct{ ent.Schema }
//
//	func (User) Mixin() []ent.Mixin { return []ent.Mixin{schema.Account{Dialect: dialect.Postgres}} }
//
// The table is called users. Its migrations are the application's: an upgrade of this module is an ordinary difference there. Fields
// of the application are nullable or have a default, or are given at creation (infra.Column).
type Account struct {
	mixin.Schema

	// Dialect is the database for which the application generates its schema, [dialect.Postgres] or [dialect.SQLite]: each words the
	// checks in its own way.
	Dialect string
}

// Fields are those of the User. Collations that the database does not have are left out.
func (a Account) Fields() []ent.Field { return fieldsFor(a.Dialect, User{}.Fields()) }

// Indexes are those of the User.
func (Account) Indexes() []ent.Index { return User{}.Indexes() }

// Annotations are the table's name and its checks, as the database words them. Storage parameters, which ent cannot declare, are not
// among them: docs/embedding.md has the statement for PostgreSQL.
func (a Account) Annotations() []schema.Annotation {
	return annotationsFor(a.Dialect, User{}.Annotations())
}

// LinkedIdentity is to the identities what [Account] is to the accounts. The application's entities declare the edge between them:
//
//	type Identity struct{ ent.Schema }
//
//	func (Identity) Mixin() []ent.Mixin { return []ent.Mixin{schema.LinkedIdentity{Dialect: dialect.Postgres}} }
//
//	func (Identity) Edges() []ent.Edge {
//		return []ent.Edge{edge.From("user", User.Type).Ref("identities").Field("user_id").Unique().Required().Immutable()}
//	}
//
//	func (User) Edges() []ent.Edge {
//		return []ent.Edge{edge.To("identities", Identity.Type).Annotations(entsql.OnDelete(entsql.Cascade))}
//	}
//
// An application whose accounts are not linked to identity providers leaves it out, and says so to the store's CheckSchema.
type LinkedIdentity struct {
	mixin.Schema

	// Dialect is as in [Account].
	Dialect string
}

// Fields are those of the Identity.
func (l LinkedIdentity) Fields() []ent.Field { return fieldsFor(l.Dialect, Identity{}.Fields()) }

// Indexes are those of the Identity.
func (LinkedIdentity) Indexes() []ent.Index { return Identity{}.Indexes() }

// Annotations are the table's name and its checks.
func (l LinkedIdentity) Annotations() []schema.Annotation {
	return annotationsFor(l.Dialect, Identity{}.Annotations())
}

// AuditTrail is to the trail of infra/audit what [Account] is to the accounts. It has no edge: the trail outlives the accounts.
//
//	type AccountEvent struct{ ent.Schema }
//
//	func (AccountEvent) Mixin() []ent.Mixin { return []ent.Mixin{schema.AuditTrail{Dialect: dialect.Postgres}} }
//
// The application's migrations also have the statements of [AppendOnly]. An application without the trail leaves it out, and says so to the store's
// CheckSchema.
type AuditTrail struct {
	mixin.Schema

	// Dialect is as in [Account].
	Dialect string
}

// Fields are those of the AccountEvent.
func (t AuditTrail) Fields() []ent.Field { return fieldsFor(t.Dialect, AccountEvent{}.Fields()) }

// Indexes are those of the AccountEvent.
func (AuditTrail) Indexes() []ent.Index { return AccountEvent{}.Indexes() }

// Annotations are the table's name and its checks.
func (t AuditTrail) Annotations() []schema.Annotation {
	return annotationsFor(t.Dialect, AccountEvent{}.Annotations())
}

// fieldsFor leaves SQLite its default collation, BINARY, which is the order that "C" means.
func fieldsFor(database string, fields []ent.Field) []ent.Field {
	if database != dialect.SQLite {
		return fields
	}
	for _, f := range fields {
		d := f.Descriptor()
		for i, annotation := range d.Annotations {
			if a, ok := annotation.(entsql.Annotation); ok {
				a.Collation = ""
				d.Annotations[i] = a
			}
		}
	}
	return fields
}

// annotationsFor puts what is declared for one database among what is declared for both.
func annotationsFor(database string, annotations []schema.Annotation) []schema.Annotation {
	own := entsql.Annotation{Checks: map[string]string{}}
	for _, annotation := range annotations {
		switch annotation := annotation.(type) {
		case *entsql.Annotation:
			maps.Copy(own.Checks, annotation.Checks)
		case entsql.Annotation:
			if annotation.Table != "" {
				own.Table = annotation.Table
			}
			maps.Copy(own.Checks, annotation.Checks)
		case Database:
			maps.Copy(own.Checks, annotation.Checks[database])
		}
	}
	return []schema.Annotation{own}
}
