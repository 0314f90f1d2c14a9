package sqlite

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
)

// copyRows writes rows into a table by one prepared statement, within a transaction of the driver that Open made. A statement
// of many rows would be slower: what the driver does to bind arguments grows with the square of their number.
func copyRows(ctx context.Context, tx dialect.ExecQuerier, table string, columns []string, rows iter.Seq2[[]any, error]) (err error) {
	writer, _ := tx.(timeWriterTx)
	entTx, _ := writer.Tx.(*sql.Tx)
	if entTx == nil {
		return fmt.Errorf("sqlite: copy in a %T", tx)
	}
	stdTx, ok := entTx.ExecQuerier.(*stdsql.Tx)
	if !ok {
		return fmt.Errorf("sqlite: copy in a %T", entTx.ExecQuerier)
	}
	statement, err := stdTx.PrepareContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+
		") VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	for row, err := range rows {
		if err != nil {
			return err
		}
		for i, value := range row {
			if t, ok := value.(time.Time); ok {
				row[i] = Time(t)
			}
		}
		if _, err := statement.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}
