package migration

import (
	"context"
	"database/sql"
	"errors"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// Schema names the schema of PostgreSQL in which the tables are. The zero value stands for [CurrentSchema] at the first use.
// On SQLite there is none.
type Schema struct {
	Name string

	// Default tells that neither the program nor the connection has named it: the server's own search_path leads there. Then
	// Up does not begin a history where another schema of the database has one.
	Default bool
}

// Querier is what *sql.DB, *sql.Conn and *sql.Tx share.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// CurrentSchema returns the schema to which the search_path of a connection to PostgreSQL leads: the first one that exists, as
// in CREATE TABLE. If that is the role's own (`"$user"`) and holds no accounts while another one of the path does, it is that
// other one: a schema that somebody makes later for a role must not hide the accounts.
//
// The error is a [domain.ErrInvalid] if search_path names no schema that exists.
func CurrentSchema(ctx context.Context, q Querier) (_ Schema, err error) {
	// All settings take a millisecond, whatever is asked of them: only where the path may be the server's own, which is "$user", public. The view of
	// them, pg_settings, takes half of one more to plan, asked or not.
	rows, err := q.QueryContext(ctx, `
		SELECT s.name, s.name = current_user AND current_setting('search_path') LIKE '%"$user"%',
			EXISTS (SELECT FROM pg_class WHERE relname = 'users' AND relkind IN ('r', 'p')
				AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = s.name))
			OR EXISTS (SELECT FROM pg_class WHERE relname = '`+atlasTable+`'
				AND relnamespace = (SELECT oid FROM pg_namespace
					WHERE nspname = CASE s.name WHEN 'public' THEN '`+historyName+`' ELSE '`+historyName+`_' || s.name END)),
			current_setting('search_path') = '"$user", public' AND (SELECT source = 'default' FROM pg_show_all_settings() WHERE name = 'search_path')
		FROM unnest(current_schemas(false)) WITH ORDINALITY AS s(name, n) ORDER BY s.n`)
	if err != nil {
		return Schema{}, script.Failure("look for the schema", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var first, holding Schema
	var passed bool // the first one may be passed over
	for rows.Next() {
		var next Schema
		var own, holds bool
		if err := rows.Scan(&next.Name, &own, &holds, &next.Default); err != nil {
			return Schema{}, script.Failure("look for the schema", err)
		}
		if first.Name == "" {
			first, passed = next, own && !holds
		}
		if holding.Name == "" && holds {
			holding = next
		}
	}
	if err := rows.Err(); err != nil {
		return Schema{}, script.Failure("look for the schema", err)
	}
	switch {
	case first.Name == "":
		return Schema{}, &domain.Error{Kind: domain.ErrInvalid, Field: "schema", Reason: "search_path names no schema that exists in this database"}
	case passed && holding.Name != "":
		return holding, nil
	}
	return first, nil
}

// locate returns where the tables and their history are. On PostgreSQL that is found out once for a runner.
func (r *Runner) locate(ctx context.Context, q Querier) (database, error) {
	if r.dialect == SQLite {
		table, err := sqliteHistory(ctx, q, r.history, r.dir)
		return onSQLite(r.history, table), err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.schema.Name == "" {
		schema, err := CurrentSchema(ctx, q)
		if err != nil {
			return database{}, err
		}
		r.schema = schema
	}
	return onPostgres(r.history, r.schema.Name)
}

// Schema returns the schema of PostgreSQL in which the runner works, and "" on SQLite. The errors are those of
// [CurrentSchema].
func (r *Runner) Schema(ctx context.Context) (string, error) {
	if r.dialect == SQLite {
		return "", nil
	}
	d, err := r.locate(ctx, r.db)
	return d.tables, err
}

// elsewhere returns the schemas of the database that have a history of the same name.
func (d database) elsewhere(ctx context.Context, q Querier) ([]string, error) {
	if d.dialect == SQLite {
		return nil, nil
	}
	histories, err := texts(ctx, q, `SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = '`+atlasTable+`' AND (n.nspname = '`+d.name+`' OR starts_with(n.nspname, '`+d.name+`_'))
		ORDER BY 1`)
	if err != nil {
		return nil, script.Failure("look for other histories", err)
	}
	var schemas []string
	for _, history := range histories {
		if tables := tablesOf(d.name, history); tables != d.tables {
			schemas = append(schemas, tables)
		}
	}
	return schemas, nil
}
