package infra

import (
	"context"
	"errors"
	"slices"
	"time"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
	"github.com/softbee/accounts/infra/internal/identifier"
)

// FindByID implements [domain.UserReader].
func (r *repository) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.reader().findByID(ctx, id)
}

// findByID is FindByID on the primary, for what follows from it.
func (r *repository) findByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.find(ctx, "find user by id", user.FieldID, id.UUID())
}

// FindByEmail implements [domain.UserReader].
func (r *repository) FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error) {
	return r.reader().find(ctx, "find user by e-mail", user.FieldEmail, email.String())
}

// FindByUsername implements [domain.UserReader].
func (r *repository) FindByUsername(ctx context.Context, username domain.Username) (*domain.User, error) {
	return r.reader().find(ctx, "find user by username", user.FieldUsername, username.String())
}

// FindByPhone implements [domain.UserReader].
func (r *repository) FindByPhone(ctx context.Context, phone domain.Phone) (*domain.User, error) {
	return r.reader().find(ctx, "find user by phone", user.FieldPhone, orNull(phone.String()))
}

// ExistsByEmail implements [domain.UserReader].
func (r *repository) ExistsByEmail(ctx context.Context, email domain.Email) (bool, error) {
	return r.reader().exists(ctx, "look for e-mail", r.texts.exists[user.FieldEmail], email.String())
}

// ExistsByUsername implements [domain.UserReader].
func (r *repository) ExistsByUsername(ctx context.Context, username domain.Username) (bool, error) {
	return r.reader().exists(ctx, "look for username", r.texts.exists[user.FieldUsername], username.String())
}

// Create implements [domain.UserWriter].
func (r *repository) Create(ctx context.Context, u *domain.User) error {
	return r.CreateWith(ctx, u)
}

// Column is a column that the application has added to the table of the accounts, with its value.
type Column struct {
	Name  string
	Value any // as database/sql takes it
}

// CreateWith is Create for a table with columns of the application, which get their values in the same statement. Besides the errors of
// Create it returns [domain.ErrInvalid] on the field of a column that has no name or is one of the store's own.
func (r *repository) CreateWith(ctx context.Context, u *domain.User, more ...Column) error {
	const op = "create user"
	switch {
	case u == nil:
		return wrap(op, required("user"))
	case u.State().PasswordHash.IsZero(): // as in a user that was read for a list
		return wrap(op, required(user.FieldHashedPassword))
	}
	query, values := r.texts.create, rowValues(u)
	if len(more) > 0 {
		names := columnNames()
		for _, c := range more {
			if c.Name == "" || slices.Contains(names, c.Name) {
				return wrap(op, invalid(c.Name, "is not a column of the application"))
			}
			names, values = append(names, identifier.Quote(c.Name)), append(values, c.Value)
		}
		query = r.dialect.fill(r.schema, insertUsers(names))
	}
	_, err := r.changeRow(ctx, op, registered, u.ID(), query, values...)
	if errors.Is(err, domain.ErrConflict) && !isOfHook(err) && !r.inside {
		return r.afterStandby(ctx, op, err)
	}
	return err
}

// updateTries bounds how often Update reads the account again. Of several writers one succeeds in each round, so that only a great
// number of them on one account can exhaust it.
const updateTries = 100

// Update implements [domain.UserWriter]: optimistic locking on the version.
func (r *repository) Update(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	const op = "update user"
	if change == nil {
		return nil, wrap(op, required("change"))
	}
	for try := range updateTries {
		if err := backOff(ctx, try); err != nil {
			return nil, r.failure(ctx, op, notDoneError{err})
		}
		u, err := r.findByID(ctx, id)
		if err != nil {
			return nil, wrap(op, err)
		}
		read := u.State()
		if err := change(u); err != nil {
			return nil, err
		}
		updated, err := r.replace(ctx, read, u.State())
		if !errors.Is(err, domain.ErrConflict) || isOfHook(err) {
			return updated, err
		}
	}
	return nil, wrap(op, conflict())
}

// replace stores what differs between the state that was read and the one after a change, if nothing was edited meanwhile.
func (r *repository) replace(ctx context.Context, read, state domain.UserState) (*domain.User, error) {
	const op = "update user"
	names, values := changes(&read, &state)
	if len(names) == 0 {
		same, err := r.findLasting(ctx, op, user.FieldID, read.ID.UUID())
		if err == nil && same.Version() != read.Version {
			return nil, wrap(op, conflict())
		}
		return same, err
	}
	before, err := domain.RestoreUser(read)
	if err != nil {
		return nil, err
	}
	update := sql.Dialect(r.dialect.name).Update(usersTable).Schema(r.builderSchema())
	for i, name := range names {
		update.Set(name, values[i])
	}
	if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(editedColumns, name) }) {
		update.Set(user.FieldVersion, read.Version%domain.MaxVersion+1)
	}
	query, args := update.Set(user.FieldUpdatedAt, r.present()).
		Where(sql.And(sql.EQ(user.FieldID, read.ID.UUID()), sql.EQ(user.FieldVersion, read.Version))).
		Returning(columnNames()...).Query()
	after, err := r.changeFrom(ctx, op, updated, before, query, args...)
	if err == nil && after == nil {
		return nil, wrap(op, conflict())
	}
	return after, err
}

// SetEmail implements [domain.UserWriter].
func (r *repository) SetEmail(ctx context.Context, id domain.ID, email domain.Email) (*domain.User, error) {
	const op = "set e-mail"
	if email.IsZero() {
		return nil, wrap(op, required(user.FieldEmail))
	}
	return r.update(ctx, op, emailChanged, id, r.texts.setEmail, email.String(), r.present(), email.String())
}

// SetUsername implements [domain.UserWriter].
func (r *repository) SetUsername(ctx context.Context, id domain.ID, username domain.Username) (*domain.User, error) {
	const op = "set username"
	if username.IsZero() {
		return nil, wrap(op, required(user.FieldUsername))
	}
	return r.update(ctx, op, usernameChanged, id, r.texts.setUsername, username.String(), r.present(), username.String())
}

// SetNames implements [domain.UserWriter].
func (r *repository) SetNames(ctx context.Context, id domain.ID, names domain.Names) (*domain.User, error) {
	const op = "set names"
	names, err := domain.ParseNames(names.First, names.Last)
	if err != nil {
		return nil, wrap(op, err)
	}
	first, last := orNull(names.First), orNull(names.Last)
	return r.update(ctx, op, nil, id, r.texts.setNames, first, last, r.present(), first, last)
}

// SetPhone implements [domain.UserWriter].
func (r *repository) SetPhone(ctx context.Context, id domain.ID, phone domain.Phone) (*domain.User, error) {
	return r.update(ctx, "set phone", nil, id, r.texts.setPhone, orNull(phone.String()), r.present(), orNull(phone.String()))
}

// Activate implements [domain.UserWriter].
func (r *repository) Activate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "activate user", activated, id, r.texts.activate, r.present())
}

// Deactivate implements [domain.UserWriter].
func (r *repository) Deactivate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "deactivate user", deactivated, id, r.texts.deactivate, r.present())
}

// Verify implements [domain.UserWriter].
func (r *repository) Verify(ctx context.Context, id domain.ID) (*domain.User, error) {
	return r.update(ctx, "verify user", verified, id, r.texts.verify, r.present())
}

// RecordSignIn implements [domain.UserWriter].
func (r *repository) RecordSignIn(ctx context.Context, id domain.ID) (time.Time, error) {
	const op = "record sign-in"
	now := r.present()
	n, err := r.changeRow(ctx, op, signedIn, id, r.texts.signIn, now, now, id.UUID())
	switch {
	case err != nil:
		return time.Time{}, err
	case n == 0:
		return time.Time{}, wrap(op, notFound())
	}
	return now, nil
}

// Delete implements [domain.UserWriter].
func (r *repository) Delete(ctx context.Context, id domain.ID) error {
	const op = "delete user"
	n, err := r.changeRow(ctx, op, deleted, id, r.texts.delete, id.UUID())
	if err == nil && n == 0 {
		return r.afterStandby(ctx, op, wrap(op, notFound()))
	}
	return err
}

// DeleteAt implements [domain.UserWriter].
func (r *repository) DeleteAt(ctx context.Context, id domain.ID, version int64) error {
	const op = "delete user"
	n, err := r.changeRow(ctx, op, deleted, id, r.texts.deleteAt, id.UUID(), version)
	if err != nil || n > 0 {
		return err
	}
	if _, err := r.find(ctx, op, user.FieldID, id.UUID()); errors.Is(err, domain.ErrNotFound) {
		return r.afterStandby(ctx, op, err)
	} else if err != nil {
		return err
	}
	return wrap(op, conflict())
}
