// Package sqlite holds the versioned migrations for SQLite.
package sqlite

import "embed"

// Files are the migrations, with their atlas.sum.
//
//go:embed *.sql atlas.sum
var Files embed.FS
