package infra

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
	"github.com/softbee/accounts/infra/internal/fault"
)

// repository is what a [Store] and a [Tx] have in common: the methods of [domain.Repository], over a handle.
type repository struct {
	handle    Handle
	lost      func() error // of Database
	dialect   *dialect
	schema    string
	name      string // of the database, for errors
	texts     *statements
	now       func() time.Time
	staged    *atomic.Int32 // of the next calls of CreateMany, how many expect collisions
	inside    bool          // a transaction, in which a statement that failed cannot be executed again
	observers []domain.Observer
	hooks     []chosenHook
	trail     *trail                                              // nil without one
	nested    func(ctx context.Context, fn func(*Tx) error) error // runs fn in a transaction, or in a savepoint of this one
	reads     *repository                                         // whose reads a replica may answer; nil where none does
	from      *replicas                                           // of that one
}

// reader returns the repository for reads on which nothing is decided.
func (r *repository) reader() *repository {
	if r.reads != nil {
		return r.reads
	}
	return r
}

// Now implements [domain.Repository].
func (r *repository) Now() time.Time { return r.present() }

// present returns the time as the database keeps it.
func (r *repository) present() time.Time { return domain.StoredTime(r.now()) }

// maxRetries bounds how often a statement is executed again after a serialization failure or a deadlock. Of several writers one
// succeeds in each round, so that only a great number of them on one account can exhaust it.
const maxRetries = 200

// retry calls execute, which returns how many rows it got by a handle, and again where that failed with a conflict of transactions or on a replica.
func (r *repository) retry(ctx context.Context, op string, execute func(context.Context, Handle) (int64, error)) error {
	if len(r.observers) == 0 {
		_, err := r.try(ctx, op, execute)
		return err
	}
	return r.observe(ctx, op, func(ctx context.Context) (outcome, error) { return r.try(ctx, op, execute) })
}

func (r *repository) try(ctx context.Context, op string, execute func(context.Context, Handle) (int64, error)) (done outcome, _ error) {
	for {
		if err := ctx.Err(); err != nil {
			done.cause = notDoneError{err}
			return done, r.failure(ctx, op, done.cause)
		}
		done.attempts++
		if r.from != nil && done.attempts == 1 {
			if replica := r.from.choose(ctx); replica != nil {
				if done.rows, done.cause = replica.read(ctx, execute); done.cause == nil && ctx.Err() == nil {
					return done, nil
				}
				continue // on the primary
			}
		}
		done.rows, done.cause = execute(ctx, r.handle)
		if done.cause == nil {
			// PostgreSQL reports success for a change that waited for a synchronous standby when it was cancelled.
			done.cause = ctx.Err()
		}
		if done.cause == nil && r.lost != nil && !r.inside {
			done.cause = r.lost()
		}
		if done.cause == nil {
			return done, nil
		}
		failed := r.failure(ctx, op, done.cause)
		if r.inside || done.attempts > maxRetries || !errors.As(failed, new(retryable)) {
			return done, failed
		}
		if err := backOff(ctx, done.attempts); err != nil {
			return done, r.failure(ctx, op, notDoneError{err})
		}
	}
}

// retryable is the error of a statement that had no effect and can be executed again.
type retryable struct{ error }

func (r retryable) Unwrap() error { return r.error }

// isRetryable tells whether a transaction that failed with err, which may be the store's or a driver's, can succeed when it runs again.
func isRetryable(err error) bool {
	return errors.As(err, new(retryable)) || fault.Of(err).Class == fault.Conflict
}

// backOff waits before a new try, longer on average the more there were, and less than 20 ms.
func backOff(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	timer := time.NewTimer(rand.N(time.Millisecond * time.Duration(min(try, 20))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// execute runs a statement and returns how many rows it changed.
func (r *repository) execute(ctx context.Context, op, query string, args ...any) (n int64, err error) {
	args = r.dialect.values(args)
	err = r.retry(ctx, op, func(ctx context.Context, h Handle) (int64, error) {
		n, err = h.Exec(ctx, query, args...)
		return n, err
	})
	return n, err
}

// query returns rows whose values are of the types that the database has.
func (r *repository) query(ctx context.Context, h Handle, query string, args ...any) (Rows, error) {
	rows, err := h.Query(ctx, query, args...)
	if err == nil && r.dialect.typed != nil {
		rows = r.dialect.typed(rows)
	}
	return rows, err
}

// one runs a statement that returns the columns of at most one account; nil if of none.
func (r *repository) one(ctx context.Context, op, query string, args ...any) (u *domain.User, err error) {
	args = r.dialect.values(args)
	err = r.retry(ctx, op, func(ctx context.Context, h Handle) (int64, error) {
		rows, err := r.query(ctx, h, query, args...)
		if err != nil {
			return 0, err
		}
		if u, err = scanOne(rows); u == nil {
			return 0, err
		}
		return 1, err
	})
	return u, err
}

// scanOne reads the only row, or returns nil if there is none, and closes the rows.
func scanOne(rows Rows) (u *domain.User, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		if u, err = scanUser(rows); err != nil {
			return nil, err
		}
	}
	// The statement has done its work only when its rows are read to the end: an error may come after them.
	for rows.Next() {
		continue
	}
	return u, rows.Err()
}

// find returns the account that has a value in a unique column.
func (r *repository) find(ctx context.Context, op, column string, value any) (*domain.User, error) {
	u, err := r.one(ctx, op, r.texts.find[column], value)
	if err == nil && u == nil {
		return nil, wrap(op, notFound())
	}
	return u, err
}

// exists tells whether a statement returns a row.
func (r *repository) exists(ctx context.Context, op, query string, args ...any) (bool, error) {
	found, err := collect(ctx, r, op, query, args, func(Rows) (struct{}, error) { return struct{}{}, nil })
	return len(found) > 0, err
}

// collect returns what read makes of each row of a query.
func collect[T any](ctx context.Context, r *repository, op, query string, args []any, read func(Rows) (T, error)) (all []T, err error) {
	args = r.dialect.values(args)
	err = r.retry(ctx, op, func(ctx context.Context, h Handle) (n int64, err error) {
		all = nil
		rows, err := r.query(ctx, h, query, args...)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			one, err := read(rows)
			if err != nil {
				return 0, err
			}
			all = append(all, one)
		}
		return int64(len(all)), rows.Err()
	})
	return all, err
}

// What a call finds done already, it may not acknowledge on the ground of a read: once a wait for the synchronous standby has been given up, PostgreSQL
// shows a change that no standby has, and a failover loses it. What writes to PostgreSQL's log waits for the standby, and for all that was
// committed before. So such a call ends with one of the following two.

// findLasting is find for what is acknowledged by it. It locks the row, which is written to the log.
func (r *repository) findLasting(ctx context.Context, op, column string, value any) (*domain.User, error) {
	u, err := r.one(ctx, op, r.texts.lock[column], value)
	if err == nil && u == nil {
		return nil, wrap(op, notFound())
	}
	return u, err
}

// awaitStandby waits until a synchronous standby, if there is to be one, has all that was committed before.
func (r *repository) awaitStandby(ctx context.Context, op string) error {
	if r.dialect.awaitStandby == "" {
		return nil
	}
	_, err := r.execute(ctx, op, r.dialect.awaitStandby)
	return err
}

// afterStandby returns a refusal that says that something is there, or gone, for certain, and thus to a caller who repeats a change that it was made.
func (r *repository) afterStandby(ctx context.Context, op string, refusal error) error {
	if err := r.awaitStandby(ctx, op); err != nil {
		return err
	}
	return refusal
}

// update runs a statement of the texts that changes one account, given its last argument, the ID, and returns it; where it matched none,
// there is nothing to change, and the account is returned as it is. It returns ErrNotFound if there is no account of that ID. what is the
// event of the change.
func (r *repository) update(ctx context.Context, op string, what *change, id domain.ID, query string, args ...any) (*domain.User, error) {
	updated, err := r.changeOne(ctx, op, what, query, append(args, id.UUID())...)
	if err != nil || updated != nil {
		return updated, err
	}
	return r.findLasting(ctx, op, user.FieldID, id.UUID())
}
