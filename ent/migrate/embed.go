// Package migrate holds the declared schema, and what ent generates of it. The migrations are in the packages postgres and
// sqlite below it, so that a program that runs them does not link what ent and Atlas need to plan them.
package migrate

import "embed"

// Desired holds the declared schema of each database, "schema.postgres.sql" and "schema.sqlite.sql", as go generate writes it.
//
//go:embed schema.*.sql
var Desired embed.FS
