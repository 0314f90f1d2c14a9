package plan

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// storage is how PostgreSQL keeps a table, which Atlas does not compare.
type storage struct {
	parameters []string // such as fillfactor=85
	unlogged   bool
}

// storage returns it of the tables in the connection's schema. SQLite has none.
func (d database) storage(ctx context.Context, conn *sql.Conn) (_ map[string]storage, err error) {
	if d.dialect == SQLite {
		return nil, nil
	}
	rows, err := conn.QueryContext(ctx, `SELECT relname, coalesce(array_to_string(reloptions, ','), ''), relpersistence = 'u' FROM pg_class
		WHERE relkind IN ('r', 'p') AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())`)
	if err != nil {
		return nil, script.Failure("look for storage parameters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := map[string]storage{}
	for rows.Next() {
		var table, parameters string
		var s storage
		if err := rows.Scan(&table, &parameters, &s.unlogged); err != nil {
			return nil, err
		}
		if parameters != "" {
			s.parameters = strings.Split(parameters, ",")
		}
		found[table] = s
	}
	return found, rows.Err()
}

// storageChanges returns the statements that lead from the storage of live tables to the declared one. A parameter that is not
// declared is not ours.
func storageChanges(live, declared map[string]storage) (statements []string) {
	for _, table := range slices.Sorted(maps.Keys(declared)) {
		is := live[table]
		var missing []string
		for _, parameter := range declared[table].parameters {
			if !slices.Contains(is.parameters, parameter) {
				missing = append(missing, parameter)
			}
		}
		if len(missing) > 0 {
			statements = append(statements, "ALTER TABLE "+identifier.Quote(table)+" SET ("+strings.Join(missing, ", ")+");")
		}
		if is.unlogged && !declared[table].unlogged {
			statements = append(statements, "ALTER TABLE "+identifier.Quote(table)+" SET LOGGED;")
		}
	}
	return statements
}
