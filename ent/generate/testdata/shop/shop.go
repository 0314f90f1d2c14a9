// Package shop is the project's schema as somebody might extend it: with a column, an enum, a check, indexes, and entities that
// accounts are joined to in every way.
package shop

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	entschema "entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"github.com/softbee/accounts/ent/schema"
)

// User is an account with more.
type User struct{ schema.User }

// Fields of the User.
func (u User) Fields() []ent.Field {
	return append(u.User.Fields(),
		field.String("trial_nickname").SchemaType(map[string]string{dialect.Postgres: "varchar(50)"}).Optional().Nillable(),
		field.Enum("plan").NamedValues("Free", "free", "Paid", "paid", "Own", "it's").Default("free"),
	)
}

// Edges of the User.
func (u User) Edges() []ent.Edge {
	return append(u.User.Edges(),
		edge.To("teams", Team.Type),
		edge.To("devices", Device.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	)
}

// Annotations of the User.
func (u User) Annotations() []entschema.Annotation {
	return append(u.User.Annotations(),
		schema.Checks(dialect.Postgres, map[string]string{"users_trial_nickname_check": "char_length(CAST(trial_nickname AS text)) > 1"}),
		schema.Checks(dialect.SQLite, map[string]string{"users_trial_nickname_check": "length(trial_nickname) > 1"}),
		schema.Statements(dialect.Postgres,
			`CREATE INDEX "users_tokens" ON "users" USING gin ("refresh_tokens")`,
			`CREATE INDEX "users_last_name" ON "users" ((lower((last_name)::text)))`),
	)
}

// Identity is as it is.
type Identity struct{ schema.Identity }

// Team is joined to accounts by a table of pairs.
type Team struct{ ent.Schema }

// Fields of the Team.
func (Team) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uuid.New),
		field.String("name").Unique(),
		field.Int("seats").Default(1),
		field.Enum("kind").Values("open", "closed").Optional().Nillable(),
	}
}

// Edges of the Team.
func (Team) Edges() []ent.Edge {
	return []ent.Edge{edge.From("members", User.Type).Ref("teams")}
}

// Annotations of the Team.
func (Team) Annotations() []entschema.Annotation {
	return []entschema.Annotation{
		entsql.Check("seats > 0"),
		schema.Checks(dialect.Postgres, map[string]string{"teams_name_check": "char_length((name)::text) > 0"}),
		schema.Checks(dialect.SQLite, map[string]string{"teams_name_check": "length(name) > 0"}),
		schema.Statements(dialect.Postgres, `ALTER TABLE "teams" SET (fillfactor = 90)`),
	}
}

// Device belongs to an account.
type Device struct{ ent.Schema }

// Fields of the Device.
func (Device) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uuid.New),
		field.UUID("user_id", uuid.UUID{}),
		field.String("label").Default(""),
	}
}

// Edges of the Device.
func (Device) Edges() []ent.Edge {
	return []ent.Edge{edge.From("user", User.Type).Ref("devices").Field("user_id").Unique().Required()}
}

// Indexes of the Device.
func (Device) Indexes() []ent.Index { return []ent.Index{index.Fields("user_id")} }
