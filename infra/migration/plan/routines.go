package plan

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/softbee/accounts/infra/internal/identifier"
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
type routine struct{ kind, name, table, statement string }

var (
	makesRoutine = regexp.MustCompile(`(?is)^\s*(CREATE|DROP)\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?(FUNCTION|PROCEDURE|TRIGGER)\s+` +
		`(?:IF\s+(?:NOT\s+)?EXISTS\s+)?["` + "`" + `]?(\w+)["` + "`" + `]?(\s*\.)?`)
	onTable = regexp.MustCompile(`(?is)\bON\s+["` + "`" + `]?(\w+)["` + "`" + `]?(\s*\.)?`)
)

// routinesOf returns those that statements make and do not drop again, each by the last statement that makes it. Those on tables that are not declared
// are among them, those with the name of a schema are not.
func routinesOf(statements []string) (made []routine) {
	for _, statement := range statements {
		match := makesRoutine.FindStringSubmatch(statement)
		if match == nil || match[4] != "" {
			continue
		}
		next := routine{kind: strings.ToLower(match[2]), name: match[3], statement: statement}
		if next.kind == "trigger" {
			if on := onTable.FindStringSubmatch(statement); on != nil && on[2] == "" {
				next.table = on[1]
			}
		} else {
			next.kind = "function"
		}
		made = slices.DeleteFunc(made, func(r routine) bool {
			return r.kind == next.kind && r.name == next.name && (next.table == "" || r.table == next.table) // SQLite drops triggers without a table
		})
		if strings.EqualFold(match[1], "CREATE") && (next.kind == "function" || next.table != "") {
			made = append(made, next)
		}
	}
	return made
}

// definition is a trigger or a function as a database has it.
type definition struct {
	kind, table, name string
	arguments         string // of a function
	text              string // a statement that makes it
	enabled           string // of a trigger of PostgreSQL, as pg_trigger.tgenabled
}

func (d definition) is(r routine) bool {
	return d.kind == r.kind && d.table == r.table && d.name == r.name
}

// definitions returns all in the connection's schema, the functions first.
func (d database) definitions(ctx context.Context, conn *sql.Conn) (found []definition, err error) {
	query := "SELECT 'trigger', tbl_name, name, '', sql, '' FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
	if d.dialect == Postgres {
		query = `WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
			SELECT 'function', '', proname::text, pg_get_function_identity_arguments(p.oid),
				regexp_replace(pg_get_functiondef(p.oid), '^(CREATE OR REPLACE (?:FUNCTION|PROCEDURE) )(?:"(?:[^"]|"")+"|[^".(]+)\.', '\1'), ''
			FROM pg_proc p WHERE pronamespace = (SELECT oid FROM here) AND prokind IN ('f', 'p', 'w')
			UNION ALL SELECT 'trigger', relname, tgname, '', pg_get_triggerdef(t.oid, true), tgenabled::text
			FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
			WHERE relnamespace = (SELECT oid FROM here) AND NOT tgisinternal AND tgparentid = 0
			ORDER BY 1, 2, 3, 4`
	}
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, script.Failure("look for triggers and functions", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var f definition
		if err := rows.Scan(&f.kind, &f.table, &f.name, &f.arguments, &f.text, &f.enabled); err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	return found, rows.Err()
}

// makeRoutines executes the statements of routines in the place, and returns how the database has them. One that cannot be made of what is there, such
// as a trigger on a table that is not declared, is left out.
func (s *scratch) makeRoutines(ctx context.Context, routines []routine) ([]definition, error) {
	for _, r := range routines {
		if s.transactional {
			if _, err := s.conn.ExecContext(ctx, "SAVEPOINT routine"); err != nil {
				return nil, err
			}
		}
		if err := s.execute(ctx, r.statement); err != nil && ctx.Err() != nil {
			return nil, script.Failure("make a "+r.kind, err)
		} else if err != nil && s.transactional {
			if _, err := s.conn.ExecContext(ctx, "ROLLBACK TO SAVEPOINT routine"); err != nil {
				return nil, err
			}
		}
	}
	return s.definitions(ctx, routines)
}

// definitions returns how the database has what some of the routines have made in the place.
func (s *scratch) definitions(ctx context.Context, routines []routine) ([]definition, error) {
	found, err := s.database.definitions(ctx, s.conn)
	return slices.DeleteFunc(found, func(d definition) bool { return !slices.ContainsFunc(routines, d.is) }), err
}

// routineChanges returns the statements that lead from the live triggers and functions to the declared ones. Others are not ours.
func routineChanges(live, declared []definition) (statements []string) {
	for _, want := range declared {
		i := slices.IndexFunc(live, func(d definition) bool {
			return d.kind == want.kind && d.table == want.table && d.name == want.name && d.arguments == want.arguments
		})
		enabled := "O" // of a trigger that is made
		switch {
		case i >= 0 && want.same(live[i]):
			enabled = live[i].enabled
		case i >= 0 && want.kind == "trigger":
			on := ";"
			if want.enabled != "" {
				on = " ON " + identifier.Quote(want.table) + ";"
			}
			statements = append(statements, "DROP TRIGGER "+identifier.Quote(want.name)+on)
			fallthrough
		default:
			statements = append(statements, strings.TrimRight(want.text, "\n")+";")
		}
		if want.enabled != "" && enabled != want.enabled {
			statements = append(statements, "ALTER TABLE "+identifier.Quote(want.table)+
				map[string]string{"O": " ENABLE", "A": " ENABLE ALWAYS", "R": " ENABLE REPLICA", "D": " DISABLE"}[want.enabled]+
				" TRIGGER "+identifier.Quote(want.name)+";")
		}
	}
	return statements
}

// same tells whether both are made by the same statement. SQLite keeps it as it was written, and quotes a table that it renames.
func (d definition) same(other definition) bool {
	if d.kind == "function" || d.enabled != "" {
		return d.text == other.text
	}
	plain := func(text string) string {
		return strings.Join(strings.Fields(strings.NewReplacer("`", "", `"`, "").Replace(text)), " ")
	}
	return plain(d.text) == plain(other.text)
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
