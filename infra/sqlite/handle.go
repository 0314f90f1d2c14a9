package sqlite

import (
	"context"
	stdsql "database/sql"
	"strings"

	"github.com/softbee/accounts/infra"
)

// handle executes what only reads on connections of their own.
type handle struct{ writer, readers *stdsql.DB }

// Query implements [infra.Handle].
func (h handle) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	pool := h.writer
	if strings.HasPrefix(query, "SELECT ") {
		pool = h.readers
	}
	rows, err := pool.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
	if err != nil {
		return nil, err // and no typed nil
	}
	return rows, nil
}

// Exec implements [infra.Handle].
func (h handle) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := h.writer.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
