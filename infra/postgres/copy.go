package postgres

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
	"github.com/lib/pq"
)

// copyRows writes rows into a table by COPY, within a transaction of the driver that OpenPool made.
func copyRows(ctx context.Context, tx dialect.ExecQuerier, table string, columns []string, rows iter.Seq2[[]any, error]) (err error) {
	entTx, _ := tx.(*sql.Tx)
	if entTx == nil {
		return fmt.Errorf("postgres: COPY in a %T", tx)
	}
	stdTx, ok := entTx.ExecQuerier.(*stdsql.Tx)
	if !ok {
		return fmt.Errorf("postgres: COPY in a %T", entTx.ExecQuerier)
	}
	statement, err := stdTx.PrepareContext(ctx, "COPY "+pq.QuoteIdentifier(table)+" ("+identifiers(columns)+") FROM STDIN")
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
	_, err = statement.ExecContext(ctx) // without values: the end
	return err
}

func identifiers(columns []string) string {
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = pq.QuoteIdentifier(column)
	}
	return strings.Join(quoted, ", ")
}
