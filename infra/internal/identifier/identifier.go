// Package identifier writes names into SQL.
package identifier

import "strings"

// Quote returns a name as PostgreSQL and SQLite read it, whatever it contains.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
