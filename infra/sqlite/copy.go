package sqlite

import (
	"context"
	stdsql "database/sql"
	"errors"
	"iter"
	"strings"
)

// copyRows writes rows into a table by one prepared statement. A statement of many rows would be slower: what the driver does to
// bind arguments grows with the square of their number.
func copyRows(ctx context.Context, _ *stdsql.Conn, tx *stdsql.Tx, table string, columns []string, rows iter.Seq2[[]any, error]) (err error) {
	statement, err := tx.PrepareContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+
		") VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	for row, err := range rows {
		if err != nil {
			return err
		}
		if _, err := statement.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}
