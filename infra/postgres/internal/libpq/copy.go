package libpq

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"iter"
	"strings"

	"github.com/softbee/accounts/infra/internal/copytext"
)

// Copy writes rows into a table by COPY, within a transaction on a connection of [NewConnector].
func Copy(ctx context.Context, _ *stdsql.Conn, tx *stdsql.Tx, table string, columns []string, rows iter.Seq2[[]any, error]) (err error) {
	statement, err := tx.PrepareContext(ctx, "COPY "+table+" ("+strings.Join(columns, ", ")+") FROM STDIN")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	lines := make([]byte, 0, copiedBytes+copiedBytes/8) // the last one goes beyond
	for row, err := range rows {
		if err != nil {
			return err
		}
		if lines, err = copytext.AppendRow(lines, row); err != nil {
			return err
		}
		if len(lines) >= copiedBytes {
			if err := copyLines(ctx, statement, lines); err != nil {
				return err
			}
			lines = lines[:0]
		}
	}
	if err := copyLines(ctx, statement, lines); err != nil {
		return err
	}
	_, err = statement.ExecContext(ctx) // without lines: the end
	return err
}

// copiedBytes is how much is handed to a COPY at a time, some hundred accounts. lib/pq sends twice as much in a message.
const copiedBytes = 32 << 10

func copyLines(ctx context.Context, statement *stdsql.Stmt, lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := statement.ExecContext(ctx, copiedLines(lines[:len(lines)-1])) // lib/pq ends the last
	return err
}

// copyStatement is lib/pq's statement for a COPY, which takes [copiedLines] besides. lib/pq's own takes the values of a row as
// arguments, and database/sql copies each of them twice: a fifth of the processor time that an import takes for a row.
type copyStatement struct {
	copyIn
	conn *connOnce
}

type copyIn interface {
	driver.Stmt
	CopyData(ctx context.Context, line string) (driver.Result, error)
}

// copiedLines are lines of COPY's text format, the last without its end.
type copiedLines string

// CheckNamedValue implements [driver.NamedValueChecker].
func (s copyStatement) CheckNamedValue(value *driver.NamedValue) error {
	if _, ok := value.Value.(copiedLines); ok {
		return nil
	}
	return s.conn.CheckNamedValue(value)
}

// ExecContext writes lines, or a row, or without arguments ends the COPY. While it waits, the context of the transaction ends it.
func (s copyStatement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.conn.execute(ctx, func(ctx context.Context) (driver.Result, error) {
		if len(args) == 1 {
			if lines, ok := args[0].Value.(copiedLines); ok {
				return s.CopyData(ctx, string(lines))
			}
		}
		values := make([]driver.Value, len(args))
		for i, arg := range args {
			values[i] = arg.Value
		}
		result, err := s.Exec(values)
		if len(args) == 0 && err == nil {
			s.conn.copying = false
		}
		return result, err
	})
}

// Close ends a COPY that is not at its end. On a connection that is given up lib/pq could wait for ever.
func (s copyStatement) Close() error {
	if s.conn.watcher.spent.Load() {
		return driver.ErrBadConn
	}
	stop := s.conn.begin(context.Background())
	err := s.conn.ended(stop, s.copyIn.Close())
	if err == nil {
		s.conn.copying = false
	}
	return err
}
