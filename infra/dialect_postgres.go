package infra

import (
	"strconv"
	"strings"

	"github.com/softbee/accounts/ent/migrate/postgres"
	"github.com/softbee/accounts/infra/migration"
)

var postgresDialect = dialect{
	name:       migration.Postgres,
	migrations: postgres.Files,
	argument:   func(place int) string { return "$" + strconv.Itoa(place) },
	time:       "CAST(? AS timestamptz)",
	schemas:    true,
	arguments:  65535, // the protocol counts them in 16 bits

	storedIDs: "SELECT id FROM {users} WHERE id = ANY (CAST(? AS uuid[]))",
	idList:    func(ids []string) string { return "{" + strings.Join(ids, ",") + "}" },

	elements: "jsonb_array_elements_text({users}.refresh_tokens) WITH ORDINALITY AS element(v, n)",
	array:    "coalesce(jsonb_agg(v ORDER BY n), '[]')",
	binary:   ` COLLATE "C"`,
}
