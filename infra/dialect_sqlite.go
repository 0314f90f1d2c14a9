package infra

import (
	"strings"
	"time"

	"github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra/migration"
)

var sqliteDialect = dialect{
	name:       migration.SQLite,
	migrations: sqlite.Files,
	argument:   func(int) string { return "?" },
	value:      sqliteValue,
	time:       "?",
	arguments:  999, // SQLite takes more, but what the driver does to bind them grows with the square of their number

	storedIDs: "SELECT id FROM {users} WHERE id IN (SELECT value FROM json_each(?))",
	idList:    func(ids []string) string { return `["` + strings.Join(ids, `","`) + `"]` },

	elements: "(SELECT value AS v, key AS n FROM json_each({users}.refresh_tokens) WHERE type = 'text')",
	array:    "json_group_array(v ORDER BY n)",
}

// sqliteTime is how times are written to SQLite: UTC, without the zeros at the end of the fraction, as CURRENT_TIMESTAMP writes them
// too. Texts of this form, and of no mixture of forms, sort and compare as times do.
const sqliteTime = "2006-01-02 15:04:05.999999"

func sqliteValue(arg any) any {
	if t, ok := arg.(time.Time); ok {
		return t.UTC().Format(sqliteTime)
	}
	return arg
}
