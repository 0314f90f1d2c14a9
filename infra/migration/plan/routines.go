package plan

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// drops are the statements that drop what Atlas does not inspect: triggers and views, which go before the tables are changed, and
// functions, which go afterwards.
type drops struct{ first, last []string }

// drops returns those for everything in the connection's schema.
func (d database) drops(ctx context.Context, conn *sql.Conn) (found drops, err error) {
	query := `SELECT 'DROP ' || upper(type) || ' "' || replace(name, '"', '""') || '";' FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY type, name`
	if d.dialect == Postgres {
		query = `WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
			SELECT statement FROM (
				SELECT 1, format('DROP TRIGGER %I ON %I;', tgname, relname) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
					WHERE relnamespace = (SELECT oid FROM here) AND NOT tgisinternal AND tgparentid = 0
				UNION ALL SELECT 2, format('DROP %s %I;', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, relname) FROM pg_class
					WHERE relnamespace = (SELECT oid FROM here) AND relkind IN ('v', 'm')
				UNION ALL SELECT 3, format('DROP %s %s;', CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END, p.oid::regprocedure)
					FROM pg_proc p WHERE pronamespace = (SELECT oid FROM here)
					AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
			) AS x(turn, statement) ORDER BY turn, statement`
	}
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return drops{}, script.Failure("look for triggers, views and functions", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			return drops{}, err
		}
		if strings.HasPrefix(statement, "DROP TRIGGER") || strings.Contains(statement, "VIEW ") {
			found.first = append(found.first, statement)
		} else {
			found.last = append(found.last, statement)
		}
	}
	return found, rows.Err()
}

// routine is a trigger or a function that a file makes, with its statement.
type routine struct{ kind, name, statement string }

var makesRoutine = regexp.MustCompile(`(?is)^\s*(CREATE|DROP)\s+(?:OR\s+REPLACE\s+)?(FUNCTION|TRIGGER)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?["` + "`" + `]?(\w+)`)

// routinesOf returns those that statements make and do not drop again, each by the last statement that makes it. Those on tables that are not declared
// are among them.
func routinesOf(statements []string) (made []routine) {
	for _, statement := range statements {
		match := makesRoutine.FindStringSubmatch(statement)
		if match == nil {
			continue
		}
		kind, name := strings.ToLower(match[2]), match[3]
		made = slices.DeleteFunc(made, func(r routine) bool { return r.kind == kind && r.name == name })
		if strings.EqualFold(match[1], "CREATE") {
			made = append(made, routine{kind, name, statement})
		}
	}
	return made
}

// add adds what is not there yet.
func (d *drops) add(other drops) {
	for _, pair := range []struct{ to, from *[]string }{{&d.first, &other.first}, {&d.last, &other.last}} {
		for _, statement := range *pair.from {
			if !slices.Contains(*pair.to, statement) {
				*pair.to = append(*pair.to, statement)
			}
		}
	}
}

// without leaves what the other has not; within what it has.
func (d drops) without(other drops) drops { return d.choose(other, false) }
func (d drops) within(other drops) drops  { return d.choose(other, true) }

func (d drops) choose(other drops, present bool) drops {
	chosen := func(statements, others []string) []string {
		return slices.DeleteFunc(slices.Clone(statements), func(s string) bool { return slices.Contains(others, s) != present })
	}
	return drops{chosen(d.first, other.first), chosen(d.last, other.last)}
}
