// Package postgres holds the versioned migrations for PostgreSQL.
package postgres

import "embed"

// Files are the migrations, with their atlas.sum.
//
//go:embed *.sql atlas.sum
var Files embed.FS
