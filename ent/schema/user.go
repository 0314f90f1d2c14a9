// Package schema declares what is stored. It is the only hand-written description of the database: `go generate ./ent`
// writes the client and the desired state of each database from it.
package schema

import (
	"strings"
	"time"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// User is an account. Every default exists twice, in Go and in the database, so that a row inserted with psql is as good as
// one inserted by the program.
type User struct{ ent.Schema }

// Fields of the User.
func (User) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uuid.New).Immutable().
			Annotations(entsql.DefaultExprs(map[string]string{
				dialect.Postgres: "gen_random_uuid()",
				dialect.SQLite:   sqliteUUID,
			})),

		// Canonical forms. Collation "C" compares bytes: the unique index alone then serves equality, order and prefix
		// search, pages come in the same order on every database, and no upgrade of the system's locales can corrupt
		// the index.
		field.String("email").SchemaType(varchar("255")).Annotations(entsql.Annotation{Collation: "C"}).Unique(),
		field.String("pending_email").SchemaType(varchar("255")).Annotations(entsql.Annotation{Collation: "C"}).Optional().Nillable(),
		field.String("username").SchemaType(varchar("50")).Annotations(entsql.Annotation{Collation: "C"}).Unique(),
		field.String("hashed_password").SchemaType(varchar("255")).Sensitive(),

		field.String("first_name").SchemaType(varchar("50")).Optional().Nillable(),
		field.String("last_name").SchemaType(varchar("100")).Optional().Nillable(),
		field.String("phone").SchemaType(varchar("20")).Optional().Nillable().Unique(),

		field.Bool("is_active").Default(true),
		field.Bool("is_verified").Default(false),
		field.Time("last_login").Optional().Nillable(),

		// One string per live token, digests only. There is no index on it: an indexed column would end HOT updates.
		field.Strings("refresh_tokens").Default([]string{}).Sensitive().Annotations(entsql.DefaultExpr("'[]'")),

		field.Int("failed_login_attempts").SchemaType(map[string]string{dialect.Postgres: "integer"}).Default(0),
		field.Time("locked_until").Optional().Nillable(),

		// SHA-256 digests in hexadecimal, never the tokens. A verification token belongs to pending_email, else to email; without an
		// expiry it was used.
		field.String("reset_token").SchemaType(varchar("64")).Optional().Nillable().Unique().Sensitive(),
		field.Time("reset_token_expiry").Optional().Nillable(),
		field.String("verification_token").SchemaType(varchar("64")).Optional().Nillable().Unique().Sensitive(),
		field.Time("verification_token_expiry").Optional().Nillable(),

		// The digest of a short code for the phone. It is found by the account's id, and so has no index.
		field.String("phone_code").SchemaType(varchar("64")).Optional().Nillable().Sensitive(),
		field.Time("phone_code_expiry").Optional().Nillable(),
		field.Int("phone_code_attempts").SchemaType(map[string]string{dialect.Postgres: "integer"}).Default(0),
		field.Time("phone_verified_at").Optional().Nillable(),

		field.Int64("version").Default(1),
		field.Time("created_at").Default(now).Immutable().Annotations(currentTime),
		field.Time("updated_at").Default(now).UpdateDefault(now).Annotations(currentTime),
	}
}

// Edges of the User.
func (User) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("identities", Identity.Type).
			StorageKey(edge.Symbol("identities_user_id_fkey")).
			Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// Indexes of the User, beside those that Unique makes. A page of the list is read from this index in its order; the
// two flags are in it so that filtering and counting by them need not visit the table.
func (User) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("created_at", "id", "is_active", "is_verified").StorageKey("users_created_at"),
	}
}

// Annotations of the User: the checks that both databases understand, and those that each words in its own way. The latter
// refuse an address or a name that is not canonical, even in a plain INSERT: without them A@x.org and a@x.org would be two
// accounts. SQLite's lower() knows ASCII only; there the program alone folds other scripts. They also refuse what could not be read
// or printed: an address without its "@", an empty name, a time that is infinite or not of the years 1 to 9999, the version behind which there is none;
// and on SQLite, which stores values of any type in any column, values of another type. What a check cannot say there, of a text's encoding and of
// the elements of a JSON array, is reported when it is read.
//
// fillfactor: pages are filled to 85 %, so that the new version of a row finds room beside the old one and needs no new entry
// in any index (a HOT update). toast_tuple_target: a row of up to about 4 kB stays in one piece. The list of 20 sessions would
// otherwise be compressed or moved to the TOAST table, at every rotation.
func (User) Annotations() []schema.Annotation {
	return []schema.Annotation{
		entsql.Annotation{Table: "users"},
		Checks(dialect.Postgres, map[string]string{
			"users_id_check":                    "id <> '00000000-0000-0000-0000-000000000000'",
			"users_email_check":                 postgresEmail("email"),
			"users_pending_email_check":         postgresEmail("pending_email"),
			"users_username_check":              `username <> '' AND username = lower(username COLLATE "default") AND username IS NFC NORMALIZED`,
			"users_hashed_password_check":       "hashed_password <> ''",
			"users_refresh_tokens_check":        "jsonb_typeof(refresh_tokens) = 'array' AND NOT jsonb_path_exists(refresh_tokens, 'strict $[*]?(@.type() != \"string\")')",
			"users_failed_login_attempts_check": "failed_login_attempts >= 0",
			"users_phone_code_attempts_check":   "phone_code_attempts >= 0",
			"users_version_check":               "version >= 1 AND version < 9223372036854775807",
		}),
		Checks(dialect.SQLite, map[string]string{
			"users_id_check":                    "typeof(id) = 'text' AND id GLOB '" + sqliteUUIDPattern + "' AND id <> '00000000-0000-0000-0000-000000000000'",
			"users_email_check":                 sqliteEmail("email"),
			"users_pending_email_check":         sqliteEmail("pending_email"),
			"users_username_check":              sqliteText("username") + " AND username = lower(username)",
			"users_hashed_password_check":       sqliteText("hashed_password"),
			"users_is_active_check":             "is_active IN (0, 1)",
			"users_is_verified_check":           "is_verified IN (0, 1)",
			"users_refresh_tokens_check":        "typeof(refresh_tokens) = 'text' AND json_type(refresh_tokens) = 'array'",
			"users_failed_login_attempts_check": sqliteInteger("failed_login_attempts", "0", "2147483647"),
			"users_phone_code_attempts_check":   sqliteInteger("phone_code_attempts", "0", "2147483647"),
			"users_version_check":               sqliteInteger("version", "1", "9223372036854775806"),
		}),
		sqliteTexts("users", "first_name", "last_name", "phone"),
		digestChecks("users", "reset_token", "verification_token", "phone_code"),
		timeChecks("users", "last_login", "locked_until", "reset_token_expiry", "verification_token_expiry", "phone_code_expiry", "phone_verified_at", "created_at", "updated_at"),
		Statements(dialect.Postgres, `ALTER TABLE "users" SET (fillfactor = 85, toast_tuple_target = 4080)`),
	}
}

func postgresEmail(column string) string {
	return column + ` LIKE '_%@_%' AND ` + column + ` = lower(` + column + ` COLLATE "default") AND ` + column + ` IS NFC NORMALIZED`
}

func sqliteEmail(column string) string {
	return "typeof(" + column + ") IN ('text', 'null') AND " + column + " LIKE '_%@_%' AND " + column + " = lower(" + column + ")"
}

// sqliteInteger refuses what SQLite also stores in a column of integers: a fraction, a text, a blob.
func sqliteInteger(column, least, most string) string {
	return "typeof(" + column + ") = 'integer' AND " + column + " >= " + least + " AND " + column + " <= " + most
}

// sqliteText refuses the empty text, and blobs, which SQLite stores in any column and which are not equal to the same text.
func sqliteText(column string) string {
	return "typeof(" + column + ") = 'text' AND " + column + " <> ''"
}

// sqliteTexts refuses blobs in columns that may be NULL.
func sqliteTexts(table string, columns ...string) Database {
	checks := map[string]string{}
	for _, column := range columns {
		checks[table+"_"+column+"_check"] = "typeof(" + column + ") IN ('text', 'null')"
	}
	return Checks(dialect.SQLite, checks)
}

// digestChecks refuse what is no SHA-256 digest in hexadecimal, such as a token.
func digestChecks(table string, columns ...string) Database {
	postgres, sqlite := map[string]string{}, map[string]string{}
	for _, column := range columns {
		name := table + "_" + column + "_check"
		postgres[name] = column + " ~ '^[0-9a-f]{64}$'"
		sqlite[name] = "typeof(" + column + ") IN ('text', 'null') AND length(" + column + ") = 64 AND " + column + " NOT GLOB '*[^0-9a-f]*'"
	}
	return Database{Checks: map[string]map[string]string{dialect.Postgres: postgres, dialect.SQLite: sqlite}}
}

// timeChecks refuse a time that is infinite or not of the years 1 to 9999, and on SQLite a value that is not a time as the store and
// CURRENT_TIMESTAMP write it: a text, of a day that there is, UTC, without a zone, and without zeros at the end of the fraction. Of two forms of one time, texts of which compare
// differently, a list would return the account of one twice.
func timeChecks(table string, columns ...string) Database {
	postgres, sqlite := map[string]string{}, map[string]string{}
	for _, column := range columns {
		name := table + "_" + column + "_check"
		postgres[name] = column + " >= '0001-01-01 00:00:00+00' AND " + column + " < '10000-01-01 00:00:00+00'"
		sqlite[name] = column + " IS NULL OR " + column + " GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND " +
			column + " NOT GLOB '0000*' AND typeof(" + column + ") = 'text' AND datetime(" + column + ") IS substr(" + column + ", 1, 19) AND length(" + column + ") <= 26 AND substr(" + column +
			", 20) NOT GLOB '*[^.0-9]*' AND " + column + " NOT GLOB '*.*0'"
	}
	return Database{Checks: map[string]map[string]string{dialect.Postgres: postgres, dialect.SQLite: sqlite}}
}

// now is the time as it is stored: UTC, in microseconds, which is what timestamptz holds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// currentTime is UTC in both databases; what SQLite writes sorts among what the store writes.
var currentTime = entsql.Default("CURRENT_TIMESTAMP")

// sqliteUUID is a random UUID (version 4, RFC 9562 5.4).
const sqliteUUID = `(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||` +
	` substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))`

// sqliteUUIDPattern is what GLOB matches a UUID with, as the store writes it.
var sqliteUUIDPattern = strings.ReplaceAll("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "x", "[0-9a-f]")

// varchar gives PostgreSQL's columns their width; SQLite has none.
func varchar(width string) map[string]string {
	return map[string]string{dialect.Postgres: "varchar(" + width + ")"}
}
