package script

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/softbee/accounts/domain"
)

// SQLite changes most of a table only by making it again: CREATE TABLE new_x, INSERT INTO new_x SELECT … FROM x, DROP TABLE x,
// ALTER TABLE new_x RENAME TO x. That loses what the statements do not name: columns, indexes and triggers of an application,
// and fails where a view reads the table. This file finds what would be lost, and the statements that keep it.

const identifier = "(?:\"(?:[^\"]|\"\")+\"|`(?:[^`]|``)+`|\\[[^\\]]+\\]|\\w+)"

var (
	renamesTable = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+(` + identifier + `)\s+RENAME\s+TO\s+(` + identifier + `)\s*;?\s*$`)
	dropsTable   = regexp.MustCompile(`(?is)^\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(` + identifier + `)\s*;?\s*$`)
	createsTable = regexp.MustCompile(`(?is)^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(` + identifier + `)\s*\(`)
	createsIndex = regexp.MustCompile(
		`(?is)^\s*CREATE\s+(?:UNIQUE\s+INDEX|INDEX)\s+(?:IF\s+NOT\s+EXISTS\s+)?(` + identifier + `)`)
	changesTrigger = regexp.MustCompile(`(?is)^\s*(?:CREATE|DROP)\s+TRIGGER\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(` + identifier + `)`)
	addsColumn     = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+(` + identifier + `)\s+ADD\s+(?:COLUMN\s+)?(.*?);?\s*$`)
	constraint     = regexp.MustCompile(`(?is)^(CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)\b`)
	constrained    = regexp.MustCompile(`(?is)^CONSTRAINT\s+(` + identifier + `)`)
	// notAdded finds what ADD COLUMN does not take (https://sqlite.org/lang_altertable.html).
	notAdded = regexp.MustCompile(`(?is)\b(UNIQUE|PRIMARY\s+KEY|GENERATED|AS\s*\(|DEFAULT\s*\(|DEFAULT\s+CURRENT_)`)
	notNull  = regexp.MustCompile(`(?is)\bNOT\s+NULL\b`)
	defaults = regexp.MustCompile(`(?is)\bDEFAULT\b`)
)

// parts are the columns and constraints of a table of SQLite, each as it is written.
type parts struct {
	columns     map[string]string // by name in lower case
	constraints map[string]string // by name in lower case, or without one by its text
}

func newParts() parts { return parts{map[string]string{}, map[string]string{}} }

func (p parts) add(item string) {
	item = strings.TrimSpace(item)
	switch {
	case constraint.MatchString(item):
		key := strings.Join(strings.Fields(item), " ")
		if name := constrained.FindStringSubmatch(item); name != nil {
			key = unquoted(name[1])
		}
		p.constraints[key] = item
	case item != "":
		p.columns[unquoted(regexp.MustCompile(`^`+identifier).FindString(item))] = item
	}
}

func unquoted(name string) string {
	if len(name) > 1 && strings.ContainsRune("\"`[", rune(name[0])) {
		name = strings.NewReplacer("``", "`", `""`, `"`).Replace(name[1 : len(name)-1])
	}
	return strings.ToLower(name)
}

// partsOf reads a CREATE TABLE statement.
func partsOf(statement string) parts {
	found := newParts()
	start := createsTable.FindStringIndex(statement)
	if start == nil {
		return found
	}
	text := statement[start[1]:]
	depth, from := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\'', '"', '`', '[':
			end := map[byte]byte{'[': ']'}[c]
			if end == 0 {
				end = c
			}
			for i++; i < len(text) && text[i] != end; i++ {
			}
		case '-':
			if strings.HasPrefix(text[i:], "--") {
				for ; i < len(text) && text[i] != '\n'; i++ {
				}
			}
		case '(':
			depth++
		case ')', ',':
			if depth > 0 {
				if c == ')' {
					depth--
				}
				continue
			}
			found.add(text[from:i])
			if from = i + 1; c == ')' {
				return found
			}
		}
	}
	return found
}

// Columns returns the columns of a CREATE TABLE statement of SQLite as they are written, by their names in lower case.
func Columns(statement string) map[string]string { return partsOf(statement).columns }

// Parts returns the constraints of a CREATE TABLE statement of SQLite as they are written, and then the columns.
func Parts(statement string) (items []string) {
	p := partsOf(statement)
	for _, of := range []map[string]string{p.constraints, p.columns} {
		for _, key := range sortedKeys(of) {
			items = append(items, of[key])
		}
	}
	return items
}

// Made is what statements have ever made. Names are in lower case.
type Made struct {
	tables   map[string]parts
	indexes  map[string]bool
	triggers map[string]bool // or dropped
}

// MadeBy returns what statements make.
func MadeBy(statements []string) Made {
	made := Made{map[string]parts{}, map[string]bool{}, map[string]bool{}}
	of := func(table string) parts {
		if _, ok := made.tables[table]; !ok {
			made.tables[table] = newParts()
		}
		return made.tables[table]
	}
	for _, statement := range statements {
		if index := createsIndex.FindStringSubmatch(statement); index != nil {
			made.indexes[unquoted(index[1])] = true
		}
		if trigger := changesTrigger.FindStringSubmatch(statement); trigger != nil {
			made.triggers[unquoted(trigger[1])] = true
		}
		switch create, add, rename := createsTable.FindStringSubmatch(statement), addsColumn.FindStringSubmatch(statement),
			renamesTable.FindStringSubmatch(statement); {
		case create != nil:
			table, created := of(unquoted(create[1])), partsOf(statement)
			for name, item := range created.columns {
				table.columns[name] = item
			}
			for name, item := range created.constraints {
				table.constraints[name] = item
			}
		case add != nil:
			of(unquoted(add[1])).add(add[2])
		case rename != nil:
			from, to := of(unquoted(rename[1])), of(unquoted(rename[2]))
			for name, item := range from.columns {
				to.columns[name] = item
			}
			for name, item := range from.constraints {
				to.constraints[name] = item
			}
		}
	}
	return made
}

// Remade returns the tables that the statements make again, in lower case.
func Remade(statements []string) []string {
	var dropped, rebuilt []string
	for _, statement := range statements {
		if drop := dropsTable.FindStringSubmatch(statement); drop != nil {
			dropped = append(dropped, unquoted(drop[1]))
		}
		if rename := renamesTable.FindStringSubmatch(statement); rename != nil && slices.Contains(dropped, unquoted(rename[2])) {
			rebuilt = append(rebuilt, unquoted(rename[2]))
		}
	}
	return rebuilt
}

// CheckRenames turns on what Carry turns off.
const CheckRenames = "PRAGMA legacy_alter_table = off"

// Rows is what *sql.DB, *sql.Conn and *sql.Tx share.
type Rows interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Carry returns the statements to be executed before and after those that make tables again, so that nothing of an application
// is lost: what is neither in made nor in what the statements make. Triggers, which the plan of a table does not have, are kept, ours too,
// unless the statements make or drop them. The error is a [domain.ErrConflict] that lists what cannot be kept.
func Carry(ctx context.Context, q Rows, statements []string, made Made) (before, after []string, err error) {
	rebuilt := Remade(statements)
	if len(rebuilt) == 0 {
		return nil, nil, nil
	}
	// Views and triggers that name the table are not to be checked while it is away.
	before = append(before, "PRAGMA legacy_alter_table = on")
	next := MadeBy(statements)
	var lost []string
	for _, table := range rebuilt {
		b, a, l, err := carry(ctx, q, table, made, next)
		if err != nil {
			return nil, nil, Failure("look for what is not ours", err)
		}
		before, after, lost = append(before, b...), append(after, a...), append(lost, l...)
	}
	if len(lost) > 0 {
		return nil, nil, Refuse(domain.ErrConflict, "making a table again would lose what is not ours: %s", strings.Join(lost, ", "))
	}
	return before, append(after, CheckRenames), nil
}

func carry(ctx context.Context, q Rows, table string, made, next Made) (before, after, lost []string, err error) {
	kept, err := objects(ctx, q, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND lower(name) = ?1", table)
	if err != nil || len(kept) == 0 {
		return nil, nil, nil, err
	}
	name, live := kept[0][0], partsOf(kept[0][1])
	var columns []string
	for _, column := range sortedKeys(live.columns) {
		item := live.columns[column]
		if made.tables[table].has(column) || next.tables[table].has(column) {
			continue
		}
		if notAdded.MatchString(item) || notNull.MatchString(item) && !defaults.MatchString(item) {
			lost = append(lost, fmt.Sprintf("column %s of %s (%s)", column, name, item))
			continue
		}
		columns = append(columns, tick(column))
		after = append(after, "ALTER TABLE "+tick(name)+" ADD COLUMN "+item)
	}
	for _, key := range sortedKeys(live.constraints) {
		_, ours := made.tables[table].constraints[key]
		if _, again := next.tables[table].constraints[key]; !ours && !again {
			lost = append(lost, fmt.Sprintf("constraint %s of %s", key, name))
		}
	}
	if len(columns) > 0 {
		keys, err := objects(ctx, q, "SELECT name, '' FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk", name)
		if err != nil {
			return nil, nil, nil, err
		}
		if len(keys) == 0 {
			lost = append(lost, fmt.Sprintf("columns %s of %s, which has no primary key", strings.Join(columns, ", "), name))
		}
		copied := tick("accounts_carried_" + table)
		var key, joined, set []string
		for _, k := range keys {
			key = append(key, tick(k[0]))
			joined = append(joined, "c."+tick(k[0])+" = "+tick(name)+"."+tick(k[0]))
		}
		for _, column := range columns {
			set = append(set, column+" = c."+column)
		}
		before = append(before,
			"CREATE TEMP TABLE "+copied+" AS SELECT "+strings.Join(append(key, columns...), ", ")+" FROM "+tick(name),
			"CREATE INDEX temp."+tick("accounts_carried_"+table+"_key")+" ON "+copied+" ("+strings.Join(key[:len(keys)], ", ")+")")
		after = append(after,
			"UPDATE "+tick(name)+" SET "+strings.Join(set, ", ")+" FROM temp."+copied+" c WHERE "+strings.Join(joined, " AND "),
			"DROP TABLE temp."+copied)
	}
	const others = "SELECT name, sql FROM sqlite_schema WHERE type = '%s' AND lower(tbl_name) = ?1 AND sql IS NOT NULL ORDER BY name"
	indexes, err := objects(ctx, q, fmt.Sprintf(others, "index"), table)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, index := range indexes {
		if name := strings.ToLower(index[0]); !made.indexes[name] && !next.indexes[name] {
			after = append(after, index[1])
		}
	}
	triggers, err := objects(ctx, q, fmt.Sprintf(others, "trigger"), table)
	for _, trigger := range triggers {
		if !next.triggers[strings.ToLower(trigger[0])] {
			after = append(after, trigger[1])
		}
	}
	return before, after, lost, err
}

func (p parts) has(column string) bool {
	_, ok := p.columns[column]
	return ok
}

func objects(ctx context.Context, q Rows, query, argument string) (found [][2]string, err error) {
	rows, err := q.QueryContext(ctx, query, argument)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var pair [2]string
		if err := rows.Scan(&pair[0], &pair[1]); err != nil {
			return nil, err
		}
		found = append(found, pair)
	}
	return found, rows.Err()
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func tick(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
