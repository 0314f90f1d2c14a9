package infra

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra/migration"
)

var sqliteDialect = dialect{
	name:       migration.SQLite,
	system:     "sqlite",
	migrations: sqlite.Files,
	argument:   func(int) string { return "?" },
	typed:      func(rows Rows) Rows { return typedRows{rows} },
	value:      sqliteValue,
	time:       "?",
	arguments:  999, // SQLite takes more, but what the driver does to bind them grows with the square of their number

	inIDs:   "IN (SELECT value FROM json_each(?))",
	inTexts: "IN (SELECT value FROM json_each(?))",
	eachID:  "(SELECT value AS id FROM json_each(?))",
	list:    func(texts []string) string { return list(texts) },
	inQuery: " IN (?)",

	// One text, because SQLite looks for no pair in an index that begins with an expression. The blank is before all that a longer time has there.
	lastLogin:   "coalesce(last_login, '0001-01-01 00:00:00') || ' ' || id",
	afterLogin:  func(at time.Time, id domain.ID) []any { return []any{at.UTC().Format(SQLiteTime) + " " + id.String()} },
	emailDomain: "substr(email, instr(email, '@') + 1)",

	health: sqliteHealth,

	temporary: []string{strings.NewReplacer(
		"CREATE TABLE `", "CREATE TEMPORARY TABLE `", "CREATE INDEX `", "CREATE INDEX temp.`", "CREATE UNIQUE INDEX `", "CREATE UNIQUE INDEX temp.`",
	).Replace(desired.SQLite)},
	temporarySchema: "temp",
	triggers:        []string{"account_events_no_update", "account_events_no_delete", "account_events_no_replace"},
	parts:           sqliteParts,

	elements: "(SELECT value AS v, key AS n FROM json_each({users}.refresh_tokens) WHERE type = 'text')",
	array:    "json_group_array(v ORDER BY n)",
	length:   "json_array_length(refresh_tokens)",
	appended: "json_insert(refresh_tokens, '$[#]', ?)",
	replaced: "json_insert((SELECT json_group_array(v ORDER BY n) FROM {elements} WHERE v <> ?), '$[#]', ?)",
	contains: "EXISTS (SELECT 1 FROM {elements} WHERE v = ?)",
	same:     "refresh_tokens = ?",
}

// SQLiteTime is the layout of the times in SQLite: UTC, without the zeros at the end of the fraction, as CURRENT_TIMESTAMP writes them
// too. Texts of this form, and of no mixture of forms, sort and compare as times do.
const SQLiteTime = "2006-01-02 15:04:05.999999"

func sqliteValue(arg any) any {
	if t, ok := arg.(time.Time); ok {
		return t.UTC().Format(SQLiteTime)
	}
	return arg
}

// sqliteParts reads the catalog. Checks are in the text of a table alone.
func sqliteParts(ctx context.Context, t *Tx, schema string) ([]part, error) {
	query := strings.NewReplacer("{schema}", schema, "{tables}", strings.Join(declaredTables(desired.SQLite), ", ")).Replace(`
		SELECT t.name, 'column', c.name, lower(c.type) || CASE WHEN c."notnull" THEN ' NOT NULL' ELSE '' END
			|| CASE WHEN c.dflt_value IS NULL THEN '' ELSE ' DEFAULT ' || c.dflt_value END
		FROM {schema}.sqlite_schema AS t, pragma_table_xinfo(t.name, '{schema}') AS c WHERE t.type = 'table' AND t.name IN ({tables})
		UNION ALL
		SELECT t.name, 'unique index', i.name, '(' || (SELECT group_concat(name, ', ') FROM pragma_index_info(i.name, '{schema}')) || ')'
		FROM {schema}.sqlite_schema AS t, pragma_index_list(t.name, '{schema}') AS i WHERE t.type = 'table' AND t.name IN ({tables}) AND i."unique" AND NOT i.partial
		UNION ALL
		SELECT t.name, 'foreign key', f."from", '(' || f."from" || ') REFERENCES ' || f."table" || ' (' || coalesce(f."to", '') || ') ON DELETE ' || f.on_delete
		FROM {schema}.sqlite_schema AS t, pragma_foreign_key_list(t.name, '{schema}') AS f WHERE t.type = 'table' AND t.name IN ({tables})
		UNION ALL
		SELECT t.tbl_name, 'trigger', t.name, '' FROM {schema}.sqlite_schema AS t WHERE t.type = 'trigger' AND t.tbl_name IN ({tables})
		UNION ALL
		SELECT t.name, 'table', '', t.sql FROM {schema}.sqlite_schema AS t WHERE t.type = 'table' AND t.name IN ({tables})`)
	read, err := collect(ctx, &t.repository, "compare", query, nil, scanPart)
	var parts []part
	for _, p := range read {
		switch p.kind {
		case "table":
			for _, check := range checksOf(p.definition) {
				parts = append(parts, part{p.table, "check", check, check})
			}
		case "column": // a default may stand in parentheses or not
			before, value, found := strings.Cut(p.definition, " DEFAULT ")
			if found && strings.HasPrefix(value, "(") && strings.HasSuffix(value, ")") {
				p.definition = before + " DEFAULT " + value[1:len(value)-1]
			}
			parts = append(parts, p)
		default:
			parts = append(parts, p)
		}
	}
	return parts, err
}

// checksOf returns the conditions of the checks in a CREATE TABLE, without quotes and white space.
func checksOf(text string) []string {
	var checks []string
	plain := strings.NewReplacer("`", "", `"`, "", " ", "", "\n", "", "\t", "").Replace(text)
	for {
		_, rest, found := strings.Cut(plain, "CHECK(")
		if !found {
			return checks
		}
		depth, end := 1, 0
		for end < len(rest) && depth > 0 {
			switch rest[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
			end++
		}
		checks = append(checks, rest[:max(end-1, 0)])
		plain = rest[end:]
	}
}

// sqliteHealth writes the user_version that the file has already, which takes the write lock and changes nothing.
func sqliteHealth(ctx context.Context, s *Store, h *Health) error {
	const op = "ask for the file's state"
	found, err := collect(ctx, &s.repository, op, "SELECT sqlite_version(), user_version FROM pragma_user_version", nil,
		func(rows Rows) (version int64, err error) {
			err = rows.Scan(&h.Server, &version)
			return version, err
		})
	if err != nil {
		return err
	}
	_, err = s.execute(ctx, op, fmt.Sprintf("PRAGMA user_version = %d", found[0]))
	h.Writable = err == nil
	return nil
}

// blob is a value of SQLite's type of that name, which its text columns take too. It is another value than the text of the same bytes: it is
// not equal to it, and sorts behind all texts.
type blob []byte

// typedRows tell blobs from texts, where the destination is a column of an account or any value.
type typedRows struct{ Rows }

// Scan implements [Rows].
func (r typedRows) Scan(destinations ...any) error {
	columns := make([]typedColumn, len(destinations))
	typed := make([]any, len(destinations))
	for i, destination := range destinations {
		typed[i] = destination
		if column, ok := destination.(*field); ok {
			columns[i].field = column
			typed[i] = &columns[i]
		}
	}
	if err := r.Rows.Scan(typed...); err != nil {
		return err
	}
	for _, destination := range destinations {
		if value, ok := destination.(*any); ok {
			if bytes, ok := (*value).([]byte); ok {
				*value = blob(bytes)
			}
		}
	}
	return nil
}

type typedColumn struct{ *field }

// Scan implements [database/sql.Scanner].
func (c *typedColumn) Scan(value any) error {
	if bytes, ok := value.([]byte); ok {
		value = blob(bytes)
	}
	return c.field.Scan(value)
}
