package schema

import (
	"maps"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
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
func (a Account) Fields() []ent.Field {
	fields := User{}.Fields()
	if a.Dialect == dialect.SQLite {
		for _, f := range fields {
			withoutCollation(f.Descriptor())
		}
	}
	return fields
}

// withoutCollation leaves SQLite its default, BINARY, which is the order that "C" means.
func withoutCollation(d *field.Descriptor) {
	for i, annotation := range d.Annotations {
		if a, ok := annotation.(entsql.Annotation); ok {
			a.Collation = ""
			d.Annotations[i] = a
		}
	}
}

// Indexes are those of the User.
func (Account) Indexes() []ent.Index { return User{}.Indexes() }

// Annotations are the table's name and its checks, as the database words them. Storage parameters, which ent cannot declare, are not
// among them: docs/embedding.md has the statement for PostgreSQL.
func (a Account) Annotations() []schema.Annotation {
	own := entsql.Annotation{Checks: map[string]string{}}
	for _, annotation := range (User{}).Annotations() {
		switch annotation := annotation.(type) {
		case *entsql.Annotation:
			maps.Copy(own.Checks, annotation.Checks)
		case entsql.Annotation:
			if annotation.Table != "" {
				own.Table = annotation.Table
			}
			maps.Copy(own.Checks, annotation.Checks)
		case Database:
			maps.Copy(own.Checks, annotation.Checks[a.Dialect])
		}
	}
	return []schema.Annotation{own}
}
