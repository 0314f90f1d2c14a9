// Package rowtest writes rows into the tables of accounts as another program may: each column can get any value that the database accepts.
package rowtest

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"entgo.io/ent/dialect/sql/schema"
	"entgo.io/ent/schema/field"
	"github.com/google/uuid"

	"github.com/softbee/accounts/ent/migrate"
)

// Generator draws rows. The columns are those of the declared tables, so that a new one cannot be forgotten.
type Generator struct {
	Random *rand.Rand
	SQLite bool // which stores values of any type in any column; PostgreSQL gets texts
	drawn  int
}

// DB is where rows are stored: a pool or a transaction.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (stdsql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *stdsql.Row
}

// Columns returns the columns of a declared table.
func Columns(table string) []*schema.Column {
	for _, t := range migrate.Tables {
		if t.Name == table {
			return t.Columns
		}
	}
	panic("no table " + table)
}

// Insert inserts a row, in which some columns have any value, those of given have that, and the others what an account may have. It tells whether the
// database accepted the row.
func (g *Generator) Insert(ctx context.Context, db DB, table string, given map[string]any) bool {
	names, values := g.row(table, given)
	places := make([]string, len(names))
	for i := range places {
		places[i] = "?"
		if !g.SQLite {
			places[i] = fmt.Sprintf("$%d", i+1)
		}
	}
	_, err := db.ExecContext(ctx, insert(table, names, places), values...)
	return err == nil
}

func insert(table string, names, values []string) string {
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
}

// row draws a row.
func (g *Generator) row(table string, given map[string]any) (names []string, values []any) {
	g.drawn++
	odd := []float64{0.05, 0.1, 0.4, 1}[g.Random.IntN(4)] // the share of columns that have any value
	for _, c := range Columns(table) {
		value, ok := given[c.Name]
		switch {
		case ok:
		case g.Random.Float64() < odd:
			value = g.Value(c)
		case c.Nullable || c.Default != nil && c.Name != "id":
			continue
		default:
			value = g.proper(c)
		}
		if value != nil && !g.SQLite {
			value = fmt.Sprint(value)
		}
		names, values = append(names, c.Name), append(values, value)
	}
	return names, values
}

// proper returns a value of its own, as a program writes it.
func (g *Generator) proper(c *schema.Column) any {
	switch {
	case c.Type == field.TypeUUID:
		return g.uuid()
	case strings.Contains(c.Name, "email"):
		return fmt.Sprintf("user%d@example.org", g.drawn)
	}
	return fmt.Sprintf("user%d", g.drawn)
}

// Value returns any value for a column, mostly one of its type.
func (g *Generator) Value(c *schema.Column) any {
	if g.Random.IntN(12) == 0 {
		return nil
	}
	if g.Random.IntN(6) == 0 {
		c = &schema.Column{Type: g.pick(field.TypeUUID, field.TypeString, field.TypeBool, field.TypeTime, field.TypeJSON, field.TypeInt).(field.Type)}
	}
	if g.SQLite && g.Random.IntN(6) == 0 {
		switch g.Random.IntN(3) {
		case 0:
			return g.Random.NormFloat64() * 1e9
		case 1:
			return []byte(fmt.Sprint(g.Value(c)))
		default:
			return g.pick("\xff", "a\x00b", "x\xc3", "\xed\xa0\x80@b")
		}
	}
	switch c.Type {
	case field.TypeUUID:
		id := g.uuid()
		return g.pick(id, strings.ToUpper(id), "{"+id+"}", uuid.Nil.String(), strings.Repeat("-", 36), id[:35], strings.ReplaceAll(id, "-", "a"), id[:8]+"-"+strings.Repeat("-", 27))
	case field.TypeBool:
		return g.pick(true, false, "yes", "off", "t", "1", 0, 1, 2, 0.5)
	case field.TypeInt, field.TypeInt64:
		return g.pick(0, 1, -1, 7, math.MaxInt32, int64(math.MaxInt32)+1, int64(math.MaxInt64), int64(math.MinInt64), 1.5, "many", " 3 ", int(g.Random.Int32()))
	case field.TypeTime:
		return g.time()
	case field.TypeJSON:
		return g.json()
	default:
		return g.text(c)
	}
}

func (g *Generator) pick(values ...any) any { return values[g.Random.IntN(len(values))] }

func (g *Generator) uuid() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(g.Random.Uint32())
	}
	return id.String()
}

func (g *Generator) time() any {
	at := time.UnixMicro(g.Random.Int64N(253402300800_000000*2) - 253402300800_000000).UTC()
	return g.pick("infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "0000-01-01 00:00:00", "today", "",
		at.Format("2006-01-02 15:04:05.999999"), at.Format("2006-01-02 15:04:05"), at.Format(time.RFC3339Nano), at.Format("2006-01-02 15:04:05.000000"),
		at.Format("2006-01-02"), at.Unix(), 2460000.5, "2026-01-01 00:00:00+05", "2026-02-30 00:00:00", "2026-01-01 24:00:00", "2026-01-01 00:00:00.")
}

func (g *Generator) json() any {
	entries := make([]string, g.Random.IntN(4))
	for i := range entries {
		entries[i] = g.runes(g.Random.IntN(12))
		if g.Random.IntN(2) == 0 { // in the form of a session's entry, or nearly
			entries[i] = strings.Repeat("A", 22) + ".zzzzzzzzz." + strings.Repeat("B", 43) + ".000000000.zzzzzzzzz.000000000.." + entries[i]
		}
	}
	array, err := json.Marshal(entries)
	if err != nil {
		panic(err) // strings always marshal
	}
	return g.pick(string(array), string(array), "[1]", "{}", "null", "[null]", "[[]]", `["x",{}]`, "[", "", `"x"`, `[ "x" ]`, `["a",["b"]]`, "7", "[true]")
}

// text returns a text, of which some are as wide as the column.
func (g *Generator) text(c *schema.Column) string {
	width := 255
	if _, err := fmt.Sscanf(c.SchemaType["postgres"], "varchar(%d)", &width); err != nil {
		width = 255
	}
	own := fmt.Sprint(g.drawn)
	forms := []func() string{
		g.runesAnd("a"+own+"@", 5, ""), g.runesAnd("", 3, own+"@b"), g.runesAnd("", 1+g.Random.IntN(12), ""), g.runesAnd("", 1+g.Random.IntN(12), own),
		func() string { return strings.Repeat("x", width-len(own)) + own },
		func() string { return strings.Repeat("é", width) },
		func() string { return strings.Repeat("x", width+1) },
		func() string { return strings.Repeat("x", 3000) },
		func() string { return strings.Repeat("ab", 32) },
		func() string { return fmt.Sprintf("%064x", g.Random.Uint64()) },
		g.uuid,
	}
	texts := [...]string{ // in which "#" stands for a number of the row's own
		"", " ", "x", "@", "a@", "@b", "a@b@c#", " a#@b ", "A#@B.C", "no-at-#", "a#@b", "ä#@ü.example", "ｆｕｌｌ#", "e\u0301#", "İ#", "#", "u# v",
		"!", "!x", "$2b$", "plain", "$argon2id$", "+573001#", "300 111 #", "line\nend #", "cr\rlf\r\n#", "\"#\"", "a,b;c\td#", "'#", "zz#", "https://issuer.example/#",
	}
	i := g.Random.IntN(len(texts) + len(forms))
	if i < len(texts) {
		return strings.ReplaceAll(texts[i], "#", own)
	}
	return forms[i-len(texts)]()
}

// runesAnd returns a function that returns characters between two texts.
func (g *Generator) runesAnd(before string, n int, after string) func() string {
	return func() string { return before + g.runes(n) + after }
}

// runes returns characters of all planes, control characters among them.
func (g *Generator) runes(n int) string {
	var b strings.Builder
	for range n {
		r := rune(g.Random.IntN([]int{0x20, 0x80, 0x250, 0x3000, utf8.MaxRune}[g.Random.IntN(5)]))
		if r == 0 && !g.SQLite || !utf8.ValidRune(r) {
			r = 'r'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Fill inserts n users that the database accepts, and as many identities of some of them. It returns how many rows were stored in each table.
func (g *Generator) Fill(ctx context.Context, db DB, n int) (users, identities int, err error) {
	var owners []string
	for tries := 0; users < n && tries < 100*n; {
		rows := make([]map[string]any, min(500, n-users))
		for i := range rows {
			rows[i] = make(map[string]any)
			if g.Random.IntN(10) > 0 {
				rows[i]["id"] = g.uuid()
			}
		}
		tries += len(rows)
		accepted, err := g.insertEach(ctx, db, "users", rows)
		if err != nil {
			return users, identities, err
		}
		var links []map[string]any
		for i, row := range rows {
			if !accepted[i] {
				continue
			}
			users++
			if row["id"] == nil {
				continue
			}
			owners = append(owners, row["id"].(string))
			for range g.Random.IntN(3) {
				links = append(links, map[string]any{"user_id": owners[g.Random.IntN(len(owners))]})
			}
		}
		if accepted, err = g.insertEach(ctx, db, "identities", links); err != nil {
			return users, identities, err
		}
		for _, ok := range accepted {
			if ok {
				identities++
			}
		}
	}
	return users, identities, nil
}

// accepts runs the statements of a JSON array, each for itself, and returns a JSON array of whether they succeeded.
const accepts = `CREATE OR REPLACE FUNCTION rowtest_accepts(statements json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	accepted boolean[] := '{}';
BEGIN
	FOR statement IN SELECT value FROM json_array_elements_text(statements) LOOP
		BEGIN
			EXECUTE statement;
			accepted := accepted || true;
		EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
			accepted := accepted || false;
		END;
	END LOOP;
	RETURN to_json(accepted);
END $$`

// insertEach inserts rows and returns which of them the database accepted: on PostgreSQL in one round trip.
func (g *Generator) insertEach(ctx context.Context, db DB, table string, rows []map[string]any) ([]bool, error) {
	accepted := make([]bool, len(rows))
	if g.SQLite {
		for i, given := range rows {
			accepted[i] = g.Insert(ctx, db, table, given)
		}
		return accepted, nil
	}
	statements := make([]string, len(rows))
	for i, given := range rows {
		names, values := g.row(table, given)
		literals := make([]string, len(values))
		for j, value := range values {
			literals[j] = "NULL"
			if value != nil {
				literals[j] = "'" + strings.ReplaceAll(value.(string), "'", "''") + "'"
			}
		}
		statements[i] = insert(table, names, literals)
	}
	text, err := json.Marshal(statements)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, accepts); err != nil {
		return nil, err
	}
	var answer []byte
	if err := db.QueryRowContext(ctx, "SELECT rowtest_accepts($1)", string(text)).Scan(&answer); err != nil {
		return nil, err
	}
	return accepted, json.Unmarshal(answer, &accepted)
}
