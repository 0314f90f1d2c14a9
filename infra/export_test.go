package infra

import (
	"context"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/accountevent"
	"github.com/softbee/accounts/ent/user"
)

// FindBare is FindByID without what observers and hooks have added to it.
func FindBare(ctx context.Context, r *Store, id domain.ID) (u *domain.User, err error) {
	args := r.dialect.values([]any{id.UUID()})
	_, err = r.try(ctx, "find user", func(ctx context.Context, h Handle) (int64, error) {
		rows, err := r.query(ctx, h, r.texts.find[user.FieldID], args...)
		if err != nil {
			return 0, err
		}
		if u, err = scanOne(rows); u == nil {
			return 0, err
		}
		return 1, err
	})
	if err == nil && u == nil {
		err = wrap("find user", notFound())
	}
	return u, err
}

// SignInBare is RecordSuccess without what observers and hooks have added to it, for a password that is the stored one.
func SignInBare(ctx context.Context, r *Store, id domain.ID, checked domain.PasswordHash) (time.Time, error) {
	now := r.present()
	return now, signIn(ctx, r, r.texts.success, now, id, checked)
}

// SignInNoted is RecordSuccess with an entry of the audit trail in the same statement, on PostgreSQL.
func SignInNoted(ctx context.Context, r *Store, id domain.ID, checked domain.PasswordHash) (time.Time, error) {
	now := r.present()
	text := "WITH changed AS (" + r.texts.success + " RETURNING id), noted AS (INSERT INTO " + r.dialect.table(r.schema, accountevent.Table) +
		" (account_id, kind) SELECT id, 'signed_in' FROM changed) SELECT id FROM changed"
	return now, signIn(ctx, r, text, now, id, checked)
}

func signIn(ctx context.Context, r *Store, text string, now time.Time, id domain.ID, checked domain.PasswordHash) (err error) {
	if !checked.HasPassword() {
		return hashChanged()
	}
	args := r.dialect.values([]any{now, checked.Stored(), now, id.UUID(), checked.Stored(), now})
	var n int64
	_, err = r.try(ctx, "record sign-in", func(ctx context.Context, h Handle) (int64, error) {
		n, err = r.handle.Exec(ctx, text, args...)
		return n, err
	})
	if err == nil && n == 0 {
		err = wrap("record sign-in", notFound())
	}
	return err
}
