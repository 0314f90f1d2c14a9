package sqlite

import (
	"context"
	"time"

	"entgo.io/ent/dialect"
)

// timeLayout is how times are written: UTC, without the zeros at the end of the fraction, as CURRENT_TIMESTAMP writes them
// too. Texts of this form, and of no mixture of forms, sort and compare as times do.
const timeLayout = "2006-01-02 15:04:05.999999"

// timeWriter writes times in timeLayout. The driver would write them in the form of time.Time's String, which does not sort.
type timeWriter struct{ dialect.Driver }

func (w timeWriter) Exec(ctx context.Context, query string, args, v any) error {
	return w.Driver.Exec(ctx, query, writeTimes(args), v)
}

func (w timeWriter) Query(ctx context.Context, query string, args, v any) error {
	return w.Driver.Query(ctx, query, writeTimes(args), v)
}

func (w timeWriter) Tx(ctx context.Context) (dialect.Tx, error) {
	tx, err := w.Driver.Tx(ctx)
	if err != nil {
		return nil, err
	}
	return timeWriterTx{tx}, nil
}

type timeWriterTx struct{ dialect.Tx }

func (w timeWriterTx) Exec(ctx context.Context, query string, args, v any) error {
	return w.Tx.Exec(ctx, query, writeTimes(args), v)
}

func (w timeWriterTx) Query(ctx context.Context, query string, args, v any) error {
	return w.Tx.Query(ctx, query, writeTimes(args), v)
}

// writeTimes replaces times in a statement's arguments, in a copy.
func writeTimes(args any) any {
	list, ok := args.([]any)
	if !ok {
		return args
	}
	var written []any
	for i, arg := range list {
		t, ok := arg.(time.Time)
		if !ok {
			continue
		}
		if written == nil {
			written = append([]any(nil), list...)
		}
		written[i] = Time(t)
	}
	if written == nil {
		return args
	}
	return written
}

// Time returns t as the database holds it, for statements that do not go through the store.
func Time(t time.Time) string { return t.UTC().Format(timeLayout) }
