// Package migrate holds the migrations, and what ent generates of the schema.
package migrate

import "embed"

// Files holds what go generate and Atlas wrote for each database: the directories "postgres" and "sqlite" with the
// versioned migrations and their atlas.sum, and the desired states "schema.postgres.sql" and "schema.sqlite.sql".
//
//go:embed postgres/*.sql postgres/atlas.sum sqlite/*.sql sqlite/atlas.sum schema.*.sql
var Files embed.FS
