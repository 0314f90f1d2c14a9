package infra

import (
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
	"github.com/softbee/accounts/ent/user"
)

// This is the one file that names both ent's user and the domain's. A test demands that every stored field is in each of
// its functions.

// toDomain returns the account that a row holds. It parses nothing that the store wrote itself, so that a row stays
// readable when a rule is tightened; a row that is not in the form of an account gives an error that names its ID and field.
func toDomain(row *ent.User) (*domain.User, error) {
	state := domain.UserState{
		ID:                      domain.IDFromUUID(row.ID),
		FirstName:               value(row.FirstName),
		LastName:                value(row.LastName),
		Active:                  row.IsActive,
		Verified:                row.IsVerified,
		LastLogin:               instant(row.LastLogin),
		Sessions:                row.RefreshTokens,
		FailedLoginAttempts:     row.FailedLoginAttempts,
		LockedUntil:             instant(row.LockedUntil),
		ResetTokenExpiry:        instant(row.ResetTokenExpiry),
		VerificationTokenExpiry: instant(row.VerificationTokenExpiry),
		Version:                 row.Version,
		CreatedAt:               domain.StoredTime(row.CreatedAt),
		UpdatedAt:               domain.StoredTime(row.UpdatedAt),
	}
	var err error
	if state.Email, err = domain.RestoreEmail(row.Email); err != nil {
		return nil, stored(row, err)
	}
	if state.Username, err = domain.RestoreUsername(row.Username); err != nil {
		return nil, stored(row, err)
	}
	if state.Phone, err = domain.RestorePhone(value(row.Phone)); err != nil {
		return nil, stored(row, err)
	}
	if row.HashedPassword != "" {
		if state.PasswordHash, err = domain.ParsePasswordHash(row.HashedPassword); err != nil {
			return nil, stored(row, err)
		}
	}
	if state.ResetToken, err = domain.RestoreTokenDigest(user.FieldResetToken, value(row.ResetToken)); err != nil {
		return nil, stored(row, err)
	}
	if state.VerificationToken, err = domain.RestoreTokenDigest(user.FieldVerificationToken, value(row.VerificationToken)); err != nil {
		return nil, stored(row, err)
	}
	restored, err := domain.RestoreUser(state)
	if err != nil {
		return nil, stored(row, err)
	}
	return restored, nil
}

func stored(row *ent.User, err error) error { return fmt.Errorf("user %s: stored %w", row.ID, err) }

// toRow writes an account into a mutation: all fields but updated_at, the version and the ID are written as they are.
func toRow(m *ent.UserMutation, u *domain.User) {
	state := u.State()
	m.SetID(state.ID.UUID())
	m.SetEmail(state.Email.String())
	m.SetUsername(state.Username.String())
	m.SetHashedPassword(state.PasswordHash.Stored())
	setOrClear(state.FirstName, m.SetFirstName, m.ClearFirstName)
	setOrClear(state.LastName, m.SetLastName, m.ClearLastName)
	setOrClear(state.Phone.String(), m.SetPhone, m.ClearPhone)
	m.SetIsActive(state.Active)
	m.SetIsVerified(state.Verified)
	setOrClear(state.LastLogin, m.SetLastLogin, m.ClearLastLogin)
	m.SetRefreshTokens(tokens(state.Sessions))
	m.SetFailedLoginAttempts(state.FailedLoginAttempts)
	setOrClear(state.LockedUntil, m.SetLockedUntil, m.ClearLockedUntil)
	setOrClear(state.ResetToken.Stored(), m.SetResetToken, m.ClearResetToken)
	setOrClear(state.ResetTokenExpiry, m.SetResetTokenExpiry, m.ClearResetTokenExpiry)
	setOrClear(state.VerificationToken.Stored(), m.SetVerificationToken, m.ClearVerificationToken)
	setOrClear(state.VerificationTokenExpiry, m.SetVerificationTokenExpiry, m.ClearVerificationTokenExpiry)
	m.SetVersion(state.Version)
	m.SetCreatedAt(state.CreatedAt)
	m.SetUpdatedAt(state.UpdatedAt)
}

// rowValues returns what toRow writes, as the arguments of a statement, in the order of user.Columns. It takes a tenth of the
// allocations that a mutation and ent's builder take.
func rowValues(u *domain.User) ([]any, error) {
	state := u.State()
	list, err := json.Marshal(tokens(state.Sessions))
	if err != nil {
		return nil, err
	}
	return []any{
		state.ID.String(), state.Email.String(), state.Username.String(), state.PasswordHash.Stored(),
		orNull(state.FirstName), orNull(state.LastName), orNull(state.Phone.String()), state.Active, state.Verified,
		orNull(state.LastLogin), string(list), state.FailedLoginAttempts, orNull(state.LockedUntil),
		orNull(state.ResetToken.Stored()), orNull(state.ResetTokenExpiry),
		orNull(state.VerificationToken.Stored()), orNull(state.VerificationTokenExpiry),
		state.Version, state.CreatedAt, state.UpdatedAt,
	}, nil
}

// scanUser reads the current row of a statement that returned user.Columns in their order.
func scanUser(rows interface{ Scan(...any) error }) (*domain.User, error) {
	var row ent.User
	var tokens []byte
	var lastLogin, lockedUntil, resetExpiry, verificationExpiry stdsql.NullTime
	if err := rows.Scan(
		&row.ID, &row.Email, &row.Username, &row.HashedPassword, &row.FirstName, &row.LastName, &row.Phone, &row.IsActive,
		&row.IsVerified, &lastLogin, &tokens, &row.FailedLoginAttempts, &lockedUntil, &row.ResetToken, &resetExpiry,
		&row.VerificationToken, &verificationExpiry, &row.Version, &row.CreatedAt, &row.UpdatedAt,
	); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(tokens, &row.RefreshTokens); err != nil {
		return nil, fmt.Errorf("user %s: stored refresh_tokens: is not an array of strings", row.ID)
	}
	row.LastLogin, row.LockedUntil = pointer(lastLogin), pointer(lockedUntil)
	row.ResetTokenExpiry, row.VerificationTokenExpiry = pointer(resetExpiry), pointer(verificationExpiry)
	return toDomain(&row)
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return domain.StoredTime(*t)
}

func pointer(t stdsql.NullTime) *time.Time {
	if !t.Valid {
		return nil
	}
	return &t.Time
}

// tokens returns a list that JSON writes as an array, never as null.
func tokens(list domain.SessionList) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orNull[T comparable](v T) any {
	var absent T
	if v == absent {
		return nil
	}
	return v
}

func setOrClear[T comparable](v T, set func(T), unset func()) {
	var absent T
	if v == absent {
		unset()
		return
	}
	set(v)
}
