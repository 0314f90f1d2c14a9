package schema

import (
	"maps"
	"slices"

	"entgo.io/ent/schema"
)

// Database is what one database has of an entity's table and the other has not, or words differently. It is an annotation of
// the entity; the generator writes it into the declared schema of that database, and Atlas versions it from there.
type Database struct {
	Checks     map[string]map[string]string `json:"checks,omitempty"`     // expressions, by dialect and name
	Statements map[string][]string          `json:"statements,omitempty"` // SQL that follows the table, by dialect
}

// Checks declares checks of the table by their names, as a database (dialect.Postgres or dialect.SQLite) words them.
//
// Word those of PostgreSQL so that it prints what it was given: compare a varchar with a list as CAST(c AS text) IN (…).
func Checks(database string, checks map[string]string) Database {
	return Database{Checks: map[string]map[string]string{database: checks}}
}

// Statements declares what ent cannot say of a table, in a database's own SQL: an index on an expression, a GIN index,
// storage parameters.
func Statements(database string, statements ...string) Database {
	return Database{Statements: map[string][]string{database: statements}}
}

// Name of the annotation.
func (Database) Name() string { return "Database" }

// Merge lets an entity have several, and mixins have their own.
func (d Database) Merge(other schema.Annotation) schema.Annotation {
	o, ok := other.(Database)
	if !ok {
		return d
	}
	merged := Database{Checks: map[string]map[string]string{}, Statements: map[string][]string{}}
	for _, part := range []Database{d, o} {
		for database, checks := range part.Checks {
			if merged.Checks[database] == nil {
				merged.Checks[database] = map[string]string{}
			}
			maps.Copy(merged.Checks[database], checks)
		}
		for database, statements := range part.Statements {
			merged.Statements[database] = slices.Concat(merged.Statements[database], statements)
		}
	}
	return merged
}
