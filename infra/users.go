package infra

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// FindByID implements [domain.UserReader].
func (s *Store) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	return s.find(ctx, "find user by id", user.FieldID, id.UUID())
}

// FindByEmail implements [domain.UserReader].
func (s *Store) FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error) {
	return s.find(ctx, "find user by e-mail", user.FieldEmail, email.String())
}

// FindByUsername implements [domain.UserReader].
func (s *Store) FindByUsername(ctx context.Context, username domain.Username) (*domain.User, error) {
	return s.find(ctx, "find user by username", user.FieldUsername, username.String())
}

// ExistsByEmail implements [domain.UserReader].
func (s *Store) ExistsByEmail(ctx context.Context, email domain.Email) (bool, error) {
	return s.exists(ctx, "look for e-mail", s.texts.exists[user.FieldEmail], email.String())
}

// ExistsByUsername implements [domain.UserReader].
func (s *Store) ExistsByUsername(ctx context.Context, username domain.Username) (bool, error) {
	return s.exists(ctx, "look for username", s.texts.exists[user.FieldUsername], username.String())
}

// Create implements [domain.UserWriter].
func (s *Store) Create(ctx context.Context, u *domain.User) error {
	const op = "create user"
	if u.State().PasswordHash.IsZero() { // as in a user that was read for a list
		return wrap(op, required(user.FieldHashedPassword))
	}
	row, err := rowValues(u)
	if err != nil {
		return wrap(op, err)
	}
	if err := s.driver.Exec(ctx, s.texts.create, row, nil); err != nil {
		return s.failure(ctx, op, err)
	}
	return nil
}

// updateTries bounds how often Update begins anew. Of several writers one succeeds in each round, so that only a great
// number of them on one account can exhaust it.
const updateTries = 100

// Update implements [domain.UserWriter].
func (s *Store) Update(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	const op = "update user"
	for try := range updateTries {
		if err := backOff(ctx, try); err != nil {
			return nil, wrap(op, err)
		}
		u, err := s.FindByID(ctx, id)
		if err != nil {
			return nil, wrap(op, err)
		}
		read := u.Version()
		if err := change(u); err != nil {
			return nil, err
		}
		updated, err := s.replace(ctx, u, read)
		if !errors.Is(err, domain.ErrConflict) {
			return updated, err
		}
	}
	return nil, wrap(op, conflict())
}

// replace stores u, which was read at a version, as the next version.
func (s *Store) replace(ctx context.Context, u *domain.User, read int64) (*domain.User, error) {
	const op = "update user"
	state := u.State()
	state.Version, state.UpdatedAt = read+1, s.present()
	next, err := domain.RestoreUser(state)
	if err != nil {
		return nil, wrap(op, err)
	}
	update := s.client.User.Update().Where(user.ID(state.ID.UUID()), user.Version(read))
	toRow(update.Mutation(), next)
	n, err := update.Save(ctx)
	switch {
	case err != nil:
		return nil, s.failure(ctx, op, err)
	case n == 0:
		return nil, wrap(op, conflict())
	}
	return next, nil
}

func conflict() error {
	return &domain.Error{Kind: domain.ErrConflict, Field: "version", Reason: "the account was changed meanwhile"}
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

// SetEmail implements [domain.UserWriter].
func (s *Store) SetEmail(ctx context.Context, id domain.ID, email domain.Email) (*domain.User, error) {
	const op = "set e-mail"
	if email.IsZero() {
		return nil, wrap(op, required(user.FieldEmail))
	}
	return s.update(ctx, op, id, func(u *sql.UpdateBuilder) {
		u.Set(user.FieldEmail, email.String())
		u.Set(user.FieldIsVerified, unlessEmail(email, user.FieldIsVerified, "false"))
		for _, column := range oneTimeTokens {
			u.Set(column, unlessEmail(email, column, "NULL"))
		}
	})
}

// oneTimeTokens are the columns of pending resets and verifications.
var oneTimeTokens = []string{
	user.FieldResetToken, user.FieldResetTokenExpiry, user.FieldVerificationToken, user.FieldVerificationTokenExpiry,
}

// unlessEmail keeps a column's value if the address stays the same.
func unlessEmail(email domain.Email, column, ofOther string) sql.Querier {
	return sql.ExprFunc(func(b *sql.Builder) {
		b.WriteString("CASE WHEN ").Ident(user.FieldEmail).WriteString(" = ").Arg(email.String())
		b.WriteString(" THEN ").Ident(column).WriteString(" ELSE " + ofOther + " END")
	})
}

// SetUsername implements [domain.UserWriter].
func (s *Store) SetUsername(ctx context.Context, id domain.ID, username domain.Username) (*domain.User, error) {
	const op = "set username"
	if username.IsZero() {
		return nil, wrap(op, required(user.FieldUsername))
	}
	return s.update(ctx, op, id, func(u *sql.UpdateBuilder) {
		u.Set(user.FieldUsername, username.String())
	})
}

// SetNames implements [domain.UserWriter].
func (s *Store) SetNames(ctx context.Context, id domain.ID, names domain.Names) (*domain.User, error) {
	const op = "set names"
	names, err := domain.ParseNames(names.First, names.Last)
	if err != nil {
		return nil, wrap(op, err)
	}
	return s.update(ctx, op, id, func(u *sql.UpdateBuilder) {
		setText(u, user.FieldFirstName, names.First)
		setText(u, user.FieldLastName, names.Last)
	})
}

// SetPhone implements [domain.UserWriter].
func (s *Store) SetPhone(ctx context.Context, id domain.ID, phone domain.Phone) (*domain.User, error) {
	return s.update(ctx, "set phone", id, func(u *sql.UpdateBuilder) {
		setText(u, user.FieldPhone, phone.String())
	})
}

func setText(u *sql.UpdateBuilder, column, text string) {
	if text == "" {
		u.SetNull(column)
		return
	}
	u.Set(column, text)
}

// Activate implements [domain.UserWriter].
func (s *Store) Activate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return s.update(ctx, "activate user", id, func(u *sql.UpdateBuilder) {
		u.Set(user.FieldIsActive, true)
	})
}

// Deactivate implements [domain.UserWriter].
func (s *Store) Deactivate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return s.update(ctx, "deactivate user", id, func(u *sql.UpdateBuilder) {
		u.Set(user.FieldIsActive, false).Set(user.FieldRefreshTokens, "[]")
	})
}

// Verify implements [domain.UserWriter].
func (s *Store) Verify(ctx context.Context, id domain.ID) (*domain.User, error) {
	return s.update(ctx, "verify user", id, verified)
}

func verified(u *sql.UpdateBuilder) {
	u.Set(user.FieldIsVerified, true).SetNull(user.FieldVerificationToken).SetNull(user.FieldVerificationTokenExpiry)
}

// RecordSignIn implements [domain.UserWriter].
func (s *Store) RecordSignIn(ctx context.Context, id domain.ID) (*domain.User, error) {
	const op = "record sign-in"
	now := s.present()
	updated, err := s.one(ctx, op, s.texts.signIn, now, now, id.UUID())
	if err == nil && updated == nil {
		return nil, wrap(op, notFound())
	}
	return updated, err
}

// Delete implements [domain.UserWriter].
func (s *Store) Delete(ctx context.Context, id domain.ID) error {
	const op = "delete user"
	n, err := s.client.User.Delete().Where(user.ID(id.UUID())).Exec(ctx)
	switch {
	case err != nil:
		return s.failure(ctx, op, err)
	case n == 0:
		return wrap(op, notFound())
	}
	return nil
}

func required(field string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: "is required"}
}

// update changes one account and returns it, in one statement. It returns ErrNotFound if there is no account of that ID.
func (s *Store) update(ctx context.Context, op string, id domain.ID, set func(*sql.UpdateBuilder)) (*domain.User, error) {
	updated, err := s.updateWhere(ctx, op, sql.EQ(user.FieldID, id.UUID()), set)
	if err == nil && updated == nil {
		return nil, wrap(op, notFound())
	}
	return updated, err
}

// updateWhere changes the account that matches, raises its version and returns it, in one statement. It returns nil if none
// matches.
func (s *Store) updateWhere(ctx context.Context, op string, where *sql.Predicate, set func(*sql.UpdateBuilder)) (*domain.User, error) {
	u := sql.Dialect(s.driver.Dialect()).Update(user.Table)
	set(u)
	u.Add(user.FieldVersion, 1).Set(user.FieldUpdatedAt, s.present()).Where(where).Returning(user.Columns...)
	query, args := u.Query()
	if err := u.Err(); err != nil {
		return nil, wrap(op, err)
	}
	return s.one(ctx, op, query, args...)
}

// scanOne reads the only row, or returns nil if there is none, and closes the rows.
func scanOne(rows *sql.Rows) (u *domain.User, err error) {
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
