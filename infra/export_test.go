package infra

import (
	"context"
	"errors"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/accountevent"
	"github.com/softbee/accounts/ent/user"
)

// Bare is a store as it is without observers, hooks and the trail: the same statements, handle, replicas and decoding of rows, but nothing that
// looks whether somebody wants to know of an operation, or that keeps what to tell.
type Bare struct{ *Store }

// try is repository.try.
func (b Bare) try(ctx context.Context, op string, execute func(context.Context, Handle) error) error {
	r := &b.repository
	for attempts := 1; ; attempts++ {
		if err := ctx.Err(); err != nil {
			return r.failure(ctx, op, notDoneError{err})
		}
		if r.from != nil && attempts == 1 {
			if replica := r.from.choose(ctx); replica != nil {
				_, err := replica.read(ctx, func(ctx context.Context, h Handle) (int64, error) { return 0, execute(ctx, h) })
				if err == nil && ctx.Err() == nil {
					return nil
				}
				continue
			}
		}
		err := execute(ctx, r.handle)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && r.lost != nil && !r.inside {
			err = r.lost()
		}
		if err == nil {
			return nil
		}
		failed := r.failure(ctx, op, err)
		if r.inside || attempts > maxRetries || !errors.As(failed, new(retryable)) {
			return failed
		}
		if err := backOff(ctx, attempts); err != nil {
			return r.failure(ctx, op, notDoneError{err})
		}
	}
}

// one is repository.one.
func (b Bare) one(ctx context.Context, op, query string, args ...any) (u *domain.User, err error) {
	args = b.dialect.values(args)
	err = b.try(ctx, op, func(ctx context.Context, h Handle) error {
		rows, err := b.query(ctx, h, query, args...)
		if err != nil {
			return err
		}
		u, err = scanOne(rows)
		return err
	})
	return u, err
}

// execute is repository.execute.
func (b Bare) execute(ctx context.Context, op, query string, args ...any) (n int64, err error) {
	args = b.dialect.values(args)
	err = b.try(ctx, op, func(ctx context.Context, h Handle) error {
		n, err = h.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// FindByID is that of a store.
func (b Bare) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	const op = "find user by id"
	u, err := b.one(ctx, op, b.texts.find[user.FieldID], id.UUID())
	if err == nil && u == nil {
		return nil, wrap(op, notFound())
	}
	return u, err
}

// RotateToken is that of a store, for a token that is the live one.
func (b Bare) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	const op = "rotate token"
	now := b.present()
	live := token.Entry()
	next, successor, err := domain.SessionList{live}.Rotate(token, now, policy)
	if err != nil {
		return domain.Grant{}, wrap(op, err)
	}
	n, err := b.execute(ctx, op, b.texts.rotateToken, live, next[0], now, token.UserID().UUID(), live)
	if err == nil && n == 0 {
		err = wrap(op, tokenInvalid())
	}
	return granted(successor), err
}

// RecordSuccess is that of a store, for a password that is the stored one.
func (b Bare) RecordSuccess(ctx context.Context, id domain.ID, checked domain.PasswordHash) (time.Time, error) {
	return b.signIn(ctx, b.texts.success, id, checked)
}

// RecordSuccessEntered is RecordSuccess with the smallest entry of the trail in the same statement, on PostgreSQL.
func (b Bare) RecordSuccessEntered(ctx context.Context, id domain.ID, checked domain.PasswordHash) (time.Time, error) {
	return b.signIn(ctx, "WITH changed AS ("+b.texts.success+" RETURNING id) INSERT INTO "+b.dialect.table(b.schema, accountevent.Table)+
		" (account_id, kind) SELECT id, 'signed_in' FROM changed", id, checked)
}

func (b Bare) signIn(ctx context.Context, text string, id domain.ID, checked domain.PasswordHash) (time.Time, error) {
	const op = "record sign-in"
	if !checked.HasPassword() {
		return time.Time{}, wrap(op, hashChanged())
	}
	now := b.present()
	n, err := b.execute(ctx, op, text, now, checked.Stored(), now, id.UUID(), checked.Stored(), now)
	if err == nil && n == 0 {
		err = wrap(op, notFound())
	}
	return now, err
}
