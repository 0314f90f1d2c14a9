package infra

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// FindByIDs implements [domain.UserReader].
func (r *repository) FindByIDs(ctx context.Context, ids []domain.ID) ([]*domain.User, error) {
	return findMany(ctx, r.reader(), "find users by id", user.FieldID, ids, (*domain.User).ID)
}

// FindByEmails implements [domain.UserReader].
func (r *repository) FindByEmails(ctx context.Context, emails []domain.Email) ([]*domain.User, error) {
	return findMany(ctx, r.reader(), "find users by e-mail", user.FieldEmail, emails, (*domain.User).Email)
}

// FindByUsernames implements [domain.UserReader].
func (r *repository) FindByUsernames(ctx context.Context, usernames []domain.Username) ([]*domain.User, error) {
	return findMany(ctx, r.reader(), "find users by username", user.FieldUsername, usernames, (*domain.User).Username)
}

// key is a value of a unique column.
type key interface {
	comparable
	IsZero() bool
	String() string
}

// texts returns those of the keys that are there, or [domain.ErrInvalid] on the field for too many.
func texts[K key](field string, keys []K) ([]string, error) {
	if len(keys) > domain.MaxBatch {
		return nil, invalid(field, fmt.Sprintf("is one of %d; at most %d are taken at once", len(keys), domain.MaxBatch))
	}
	all := make([]string, 0, len(keys))
	for _, k := range keys {
		if !k.IsZero() { // which no account has
			all = append(all, k.String())
		}
	}
	return all, nil
}

// ended returns the error of a context that has ended.
func (r *repository) ended(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return r.failure(ctx, op, notDoneError{err})
	}
	return nil
}

func findMany[K key](
	ctx context.Context, r *repository, op, column string, keys []K, of func(*domain.User) K,
) ([]*domain.User, error) {
	wanted, err := texts(column, keys)
	if err != nil {
		return nil, wrap(op, err)
	}
	users := make([]*domain.User, len(keys))
	if len(wanted) == 0 {
		return users, r.ended(ctx, op)
	}
	rows, err := collect(ctx, r, op, r.texts.findMany[column], []any{r.dialect.list(wanted)}, func(rows Rows) (listed, error) {
		u, r, err := scanRow(rows)
		if err != nil || u != nil {
			return listed{user: u}, err
		}
		return listed{malformed: r.malformed()}, nil
	})
	if err != nil {
		return nil, err
	}
	found := make(map[K]*domain.User, len(rows))
	var malformed []error
	for _, l := range rows {
		if l.malformed != nil {
			malformed = append(malformed, wrap(op, l.malformed))
		} else {
			found[of(l.user)] = l.user
		}
	}
	for i, k := range keys {
		users[i] = found[k]
	}
	return users, errors.Join(malformed...)
}

// ActivateMany implements [domain.UserWriter].
func (r *repository) ActivateMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return r.changeMany(ctx, "activate users", activated, r.texts.activateMany, ids)
}

// DeactivateMany implements [domain.UserWriter].
func (r *repository) DeactivateMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return r.changeMany(ctx, "deactivate users", deactivated, r.texts.deactivateMany, ids)
}

// RevokeMany implements [domain.SessionStore].
func (r *repository) RevokeMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return r.changeMany(ctx, "revoke users' sessions", sessionEnded, r.texts.revokeMany, ids)
}

// changeMany runs a statement that changes accounts and returns the IDs of those that it changed.
func (r *repository) changeMany(ctx context.Context, op string, what *change, query string, ids []domain.ID) ([]domain.ID, error) {
	wanted, err := texts(user.FieldID, ids)
	if err != nil {
		return nil, wrap(op, err)
	}
	if len(wanted) == 0 {
		return nil, r.ended(ctx, op)
	}
	returned, err := r.changeListed(ctx, op, what, query, r.dialect.list(wanted))
	if err == nil && len(returned) == 0 {
		err = r.awaitStandby(ctx, op)
	}
	if err != nil {
		return nil, err
	}
	changed := make(map[domain.ID]bool, len(returned))
	for _, id := range returned {
		changed[id] = true
	}
	var inOrder []domain.ID
	for _, id := range ids {
		if changed[id] {
			inOrder = append(inOrder, id)
			delete(changed, id) // where it is asked for twice
		}
	}
	return inOrder, nil
}

// Purge implements [domain.UserWriter].
func (r *repository) Purge(ctx context.Context, query domain.ListQuery) (domain.Purged, error) {
	const op = "purge users"
	query, err := query.ResolvePurge()
	if err != nil {
		return domain.Purged{}, wrap(op, err)
	}
	deleted, err := r.purge(ctx, op, query, func(selector *sql.Selector) {
		page := r.selectPage(query).Select(user.FieldID).Limit(query.Limit)
		if r.dialect.locking {
			page.ForUpdate() // in the order of the list, so that several purges do not wait for one another in a circle
		}
		whereIn(selector, r.dialect.inQuery, page)
	})
	switch {
	case errors.Is(err, domain.ErrReferenced) && !isOfHook(err):
		var purged domain.Purged
		err := r.nested(ctx, func(tx *Tx) (err error) {
			purged, err = tx.purgeEach(ctx, op, query)
			return err
		})
		return purged, err
	case err != nil:
		return domain.Purged{}, err
	}
	purged := domain.Purged{Next: query.After, Done: len(deleted) < query.Limit}
	for _, l := range deleted {
		purged.IDs = append(purged.IDs, l.id())
		if l.placed && (purged.Next.IsZero() || l.at.Compare(purged.Next) > 0) {
			purged.Next = l.at
		}
	}
	if len(deleted) == 0 {
		if err := r.awaitStandby(ctx, op); err != nil {
			return domain.Purged{}, err
		}
	}
	return purged, nil
}

// purgeEach deletes the accounts of a page one by one, and leaves those to which other tables refer.
func (r *repository) purgeEach(ctx context.Context, op string, query domain.ListQuery) (domain.Purged, error) {
	rows, more, err := r.page(ctx, op, query, false)
	if err != nil {
		return domain.Purged{}, err
	}
	purged := domain.Purged{Next: query.After, Done: !more}
	for _, l := range rows {
		deleted, err := r.purge(ctx, op, query, func(selector *sql.Selector) { selector.Where(sql.EQ(selector.C(user.FieldID), l.id().UUID())) })
		switch {
		case errors.Is(err, domain.ErrReferenced) && !isOfHook(err):
			purged.Referenced = append(purged.Referenced, l.id())
		case err != nil:
			return domain.Purged{}, err
		case len(deleted) > 0:
			purged.IDs = append(purged.IDs, l.id())
		}
		purged.Next = l.at
	}
	return purged, nil
}

// purge deletes, in one statement, the accounts that match both the query's filter and a condition, and returns them in any order. The filter is
// looked at in the row as it is when it is deleted. In a transaction it is a savepoint, so that a row that is referred to ends nothing but itself.
func (r *repository) purge(ctx context.Context, op string, query domain.ListQuery, condition func(*sql.Selector)) (rows []listed, err error) {
	if r.inside {
		err = r.nested(ctx, func(tx *Tx) error {
			rows, err = tx.delete(ctx, op, query, condition)
			return err
		})
		return rows, err
	}
	return r.delete(ctx, op, query, condition)
}

func (r *repository) delete(ctx context.Context, op string, query domain.ListQuery, condition func(*sql.Selector)) ([]listed, error) {
	selector := r.selectFiltered(query.Filter)
	condition(selector)
	text, args := sql.Dialect(r.dialect.name).Delete(usersTable).Schema(r.builderSchema()).FromSelect(selector).Query()
	read := func(r *repository) ([]listed, error) {
		return collect(ctx, r, op, text+" RETURNING "+userColumns, args, scanListed(query))
	}
	if !r.listened(purged) {
		return read(r)
	}
	var rows []listed
	err := r.nested(ctx, func(tx *Tx) (err error) {
		if rows, err = read(&tx.repository); err != nil {
			return err
		}
		ids := make([]domain.ID, len(rows))
		for i, l := range rows {
			ids[i] = l.id()
		}
		return tx.notify(ctx, op, domain.EventPurged, ids...)
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// whereIn adds the condition that the account is in what a query returns.
func whereIn(selector *sql.Selector, condition string, query *sql.Selector) {
	selector.Where(sql.P(func(b *sql.Builder) {
		before, after, _ := strings.Cut(condition, "?")
		b.WriteString(selector.C(user.FieldID) + before).Join(query).WriteString(after)
	}))
}
