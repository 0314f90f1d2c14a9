package infra

import (
	"context"
	"io/fs"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration"
)

// dialects are the databases that the store knows, by the names that ent and Atlas have for them.
var dialects = map[string]*dialect{migration.Postgres: &postgresDialect, migration.SQLite: &sqliteDialect}

// dialect is how a database spells what the statements need. In its texts ? stands for an argument, ?? for a question mark.
type dialect struct {
	name       string // ent's and Atlas's
	system     string // OpenTelemetry's
	migrations fs.FS  // the embedded ones
	argument   func(place int) string
	value      func(any) any   // writes an argument; nil writes it as it is
	time       string          // an argument that is a time, where its type cannot be seen from the context
	schemas    bool            // tables are in schemas
	arguments  int             // the most that a statement takes
	typed      func(Rows) Rows // nil where a driver tells all types apart

	inIDs   string // a condition that a column is in a list of IDs, which is an argument
	inTexts string // likewise of texts
	eachID  string // what a query selects from for the IDs, id, of a list, which is an argument
	list    func(texts []string) string
	inQuery string // a condition that a column is in what a query returns, which is read once
	locking bool   // a query can lock the rows that it reads

	// awaitStandby is a statement that ends when a synchronous standby has what was committed before it; "" where there are no standbys.
	awaitStandby string

	changesInWith bool // WITH takes statements that change something and return it

	// lastLogin is when an account last signed in, before all times if it never did, as the index of that order has it; a time compares with it.
	// afterLogin is a place in that order: what compares with lastLogin, and, where that tells too little, with the ID behind it.
	lastLogin   string
	afterLogin  func(at time.Time, id domain.ID) []any
	emailDomain string // of the address

	health func(ctx context.Context, s *Store, h *Health) error // asks the server how it is

	position string // a query for what scanPrimary reads; "" where there are no replicas
	replica  string // likewise scanReplica

	temporary       []string                                                        // makes the declared tables temporarily
	temporarySchema string                                                          // where they are then
	triggers        []string                                                        // that keep the audit trail append-only
	parts           func(ctx context.Context, t *Tx, schema string) ([]part, error) // of the tables in a schema that are declared

	// sessions
	elements string // the strings v of the stored list with their places n
	array    string // the JSON array of all v in the order of n
	binary   string // makes a comparison one of bytes
	length   string // of the stored list
	appended string // the stored list with a string, the argument, at its end
	replaced string // the stored list without the first argument and with the second at its end
	contains string // matches a list that has a string, the argument
	same     string // matches a list that is the argument
}

// fill returns a statement's text for a table: {users} is the table, {columns} its columns, {identities} their table, {time} an argument that is a time.
func (d *dialect) fill(schema, text string) string { return d.filler(schema)(text) }

// filler is fill for many texts, which share what takes the most time.
func (d *dialect) filler(schema string) func(text string) string {
	users := d.table(schema, usersTable)
	names := strings.NewReplacer(
		"{elements}", strings.ReplaceAll(d.elements, "{users}", users), "{users}", users, "{columns}", userColumns,
		"{identities}", d.table(schema, identitiesTable), "{time}", d.time, "{binary}", d.binary,
	)
	return func(text string) string {
		text = names.Replace(text)
		var b strings.Builder
		for place := 0; ; {
			before, after, found := strings.Cut(text, "?")
			b.WriteString(before)
			switch {
			case !found:
				return b.String()
			case strings.HasPrefix(after, "?"):
				b.WriteByte('?')
				after = after[1:]
			default:
				place++
				b.WriteString(d.argument(place))
			}
			text = after
		}
	}
}

// folded returns the condition's side for a name: its ASCII letters in lower case, whatever the locale, and compared by bytes.
func (d *dialect) folded(column string) string { return "lower(" + column + d.binary + ")" }

// table returns a table's name as statements need it; schema is "" where the database has none or the search path decides.
func (d *dialect) table(schema, name string) string {
	if schema == "" || !d.schemas {
		return identifier.Quote(name)
	}
	return identifier.Quote(schema) + "." + identifier.Quote(name)
}

// values writes a statement's arguments, in place.
func (d *dialect) values(args []any) []any {
	if d.value == nil {
		return args
	}
	for i, arg := range args {
		args[i] = d.value(arg)
	}
	return args
}
