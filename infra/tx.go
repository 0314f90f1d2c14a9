package infra

import (
	"cmp"
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"

	"github.com/softbee/accounts/domain"
)

// Tx is a store in a transaction: all methods of the repository are part of it. It is valid as long as the transaction, and for one
// goroutine at a time.
//
// On PostgreSQL a statement that fails, such as a Create that returns [domain.ErrTaken], aborts the transaction: return its error, or
// call such a method in a nested [Tx.InTx], which is a savepoint.
type Tx struct {
	repository
	conn     *stdsql.Conn // nil where the application began the transaction
	tx       *stdsql.Tx   // nil where it is not one of database/sql
	database Database
	depth    int // of nested transactions
}

// TxOption changes how [Store.InTx] runs.
type TxOption func(*txOptions)

type txOptions struct {
	stdsql.TxOptions
	retries int
}

// Isolation runs the transaction at a level instead of the one that the database defaults to. SQLite's transactions are serializable
// whatever it says.
func Isolation(level stdsql.IsolationLevel) TxOption {
	return func(o *txOptions) { o.Isolation = level }
}

// ReadOnly has PostgreSQL refuse changes.
func ReadOnly() TxOption {
	return func(o *txOptions) { o.ReadOnly = true }
}

// Retry says that the function may run again, at most n times, when the transaction fails with a serialization failure or a deadlock. What
// the function did outside the transaction is not undone.
func Retry(n int) TxOption {
	return func(o *txOptions) { o.retries = n }
}

// InTx calls fn with the store inside a transaction, which is committed if fn returns nil and rolled back otherwise; it returns
// fn's error. Through [Tx.SQL] the application's own statements join the transaction. While fn runs on SQLite, the outer store may
// wait for the transaction's end: do not call it in fn.
//
// It returns [domain.ErrInvalid] if fn is nil, [domain.ErrInternal] where fn returned nil although a statement had failed and
// PostgreSQL has rolled back, and [domain.ErrUnavailable] when the transaction cannot begin or be committed.
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error, options ...TxOption) error {
	const op = "transaction"
	if fn == nil {
		return wrap(op, required("function"))
	}
	var chosen txOptions
	for _, option := range options {
		option(&chosen)
	}
	return s.observe(ctx, op, func(ctx context.Context) (done outcome, _ error) {
		for {
			done.attempts++
			err := s.inTx(ctx, fn, &chosen.TxOptions)
			if done.cause = err; err == nil || done.attempts > chosen.retries || !isRetryable(err) || ctx.Err() != nil {
				return done, err
			}
			if err := backOff(ctx, done.attempts); err != nil {
				return done, s.failure(ctx, op, notDoneError{err})
			}
		}
	})
}

func (s *Store) inTx(ctx context.Context, fn func(tx *Tx) error, options *stdsql.TxOptions) (err error) {
	const op = "transaction"
	if s.replicas != nil {
		defer func() { s.replicas.changed(err) }()
	}
	conn, err := s.database.DB.Conn(ctx)
	if err != nil {
		return s.failure(ctx, op, notDoneError{err})
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool; a connection that is broken is not kept
	sqlTx, err := conn.BeginTx(ctx, options)
	if err != nil {
		return s.failure(ctx, op, notDoneError{err})
	}
	tx := s.bind(sqlHandle{sqlTx})
	tx.conn, tx.tx = conn, sqlTx
	return tx.run(ctx, fn, sqlTx.Commit, sqlTx.Rollback)
}

// WithTx returns the store inside a transaction of the application: the same methods, while committing and rolling back are the
// application's. The transaction must be on the store's database; it may come from any pool. The Tx of a nil transaction returns
// [domain.ErrInvalid] from each method.
func (s *Store) WithTx(tx *stdsql.Tx) *Tx {
	if tx == nil {
		return s.bind(noTransaction{})
	}
	bound := Bind(s, sqlHandle{tx})
	bound.tx = tx
	return bound
}

// Bind returns the store inside a transaction of a driver that is not one of database/sql. It is for the packages of the drivers.
func Bind(s *Store, transaction Handle) *Tx {
	if s.replicas != nil {
		transaction = watched{transaction, func(error) { s.replicas.hold(boundHold) }}
	}
	return s.bind(transaction)
}

func (s *Store) bind(handle Handle) *Tx {
	tx := &Tx{repository: s.repository, database: s.database}
	tx.handle, tx.inside, tx.reads = handle, true, nil
	tx.nested = tx.inSavepoint
	return tx
}

// SQL returns the transaction, for the application's own statements and for an ent client of the application. It is nil in a Tx that was made from
// a transaction of another kind, such as pgx's: the application has that one already. Do not commit it or roll it back.
func (t *Tx) SQL() *stdsql.Tx { return t.tx }

// InTx calls fn inside a savepoint: if fn returns an error, what it did is undone, and the transaction goes on. It returns fn's error.
func (t *Tx) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	if fn == nil {
		return wrap("savepoint", required("function"))
	}
	return t.inSavepoint(ctx, fn)
}

func (t *Tx) inSavepoint(ctx context.Context, fn func(tx *Tx) error) error {
	const op = "savepoint"
	inner := *t
	inner.depth++
	inner.nested = inner.inSavepoint
	name := fmt.Sprintf("accounts_%d", inner.depth)
	execute := func(ctx context.Context, statements ...string) error {
		for _, statement := range statements {
			if _, err := t.handle.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}
	if err := execute(ctx, "SAVEPOINT "+name); err != nil {
		return t.failure(ctx, op, err)
	}
	release := "RELEASE SAVEPOINT " + name
	return inner.run(ctx, fn,
		func() error { return execute(ctx, release) },
		func() error { return execute(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT "+name, release) })
}

// run calls fn and ends the transaction or the savepoint, also where fn panics.
func (t *Tx) run(ctx context.Context, fn func(*Tx) error, commit, rollback func() error) error {
	done := false
	defer func() {
		if !done {
			_ = rollback() // the panic, or the end of the goroutine, matters more
		}
	}()
	err := fn(t)
	done = true
	if err != nil {
		if e := rollback(); e != nil && ctx.Err() == nil && !errors.Is(e, stdsql.ErrTxDone) {
			return errors.Join(err, t.failure(ctx, "roll back", e))
		}
		return err
	}
	op := commitOp
	if t.depth > 0 {
		op = "savepoint"
	}
	if err := cmp.Or(commit(), ctx.Err()); err != nil { // the end of ctx may be why the commit came back: see repository.retry
		return t.failure(ctx, op, err)
	}
	if t.conn == nil || t.depth > 0 {
		return nil
	}
	if t.database.Confirmed != nil {
		if err := t.database.Confirmed(t.conn); err != nil {
			return t.failure(ctx, op, err)
		}
	}
	if t.lost != nil {
		return t.lost()
	}
	return nil
}

// noTransaction is the handle of no transaction.
type noTransaction struct{}

var errNoTransaction = &domain.Error{Kind: domain.ErrInvalid, Field: "transaction", Reason: "is required"}

func (noTransaction) Query(context.Context, string, ...any) (Rows, error) {
	return nil, errNoTransaction
}

func (noTransaction) Exec(context.Context, string, ...any) (int64, error) { return 0, errNoTransaction }
