package infra

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// usersTable is the table of the accounts.
const usersTable = user.Table

// column is how a stored column and the state of an account go into each other.
type column struct {
	name string

	// get returns what is stored for a state: nil, a bool, an int64, a string or a time.
	get func(*domain.UserState) any

	// set puts a value that a driver read into the state. It parses nothing that the store wrote itself, so that a row stays readable
	// when a rule is tightened.
	set func(*domain.UserState, any) error
}

// columns are all that is stored of an account: the one place that names both what ent declares and what the domain has. A test
// demands that it has each column of the schema, in its order, and that each reads and writes a field of its own.
var columns = []column{
	{user.FieldID,
		func(s *domain.UserState) any { return s.ID.String() },
		func(s *domain.UserState, v any) error { return parsed(&s.ID, v, parseStoredID) }},
	{user.FieldEmail,
		func(s *domain.UserState) any { return s.Email.String() },
		func(s *domain.UserState, v any) error { return parsed(&s.Email, v, domain.RestoreEmail) }},
	{user.FieldPendingEmail,
		func(s *domain.UserState) any { return orNull(s.PendingEmail.String()) },
		func(s *domain.UserState, v any) error { return parsed(&s.PendingEmail, v, domain.RestoreEmail) }},
	{user.FieldUsername,
		func(s *domain.UserState) any { return s.Username.String() },
		func(s *domain.UserState, v any) error { return parsed(&s.Username, v, domain.RestoreUsername) }},
	{user.FieldHashedPassword,
		func(s *domain.UserState) any { return s.PasswordHash.Stored() },
		func(s *domain.UserState, v any) error { return passwordHash(&s.PasswordHash, v) }},
	{user.FieldFirstName,
		func(s *domain.UserState) any { return orNull(s.FirstName) },
		func(s *domain.UserState, v any) error { return text(&s.FirstName, v) }},
	{user.FieldLastName,
		func(s *domain.UserState) any { return orNull(s.LastName) },
		func(s *domain.UserState, v any) error { return text(&s.LastName, v) }},
	{user.FieldPhone,
		func(s *domain.UserState) any { return orNull(s.Phone.String()) },
		func(s *domain.UserState, v any) error { return parsed(&s.Phone, v, domain.RestorePhone) }},
	{user.FieldIsActive,
		func(s *domain.UserState) any { return s.Active },
		func(s *domain.UserState, v any) error { return boolean(&s.Active, v) }},
	{user.FieldIsVerified,
		func(s *domain.UserState) any { return s.Verified },
		func(s *domain.UserState, v any) error { return boolean(&s.Verified, v) }},
	{user.FieldLastLogin,
		func(s *domain.UserState) any { return orNull(s.LastLogin) },
		func(s *domain.UserState, v any) error { return instant(&s.LastLogin, v) }},
	{user.FieldRefreshTokens,
		func(s *domain.UserState) any { return list(s.Sessions) },
		func(s *domain.UserState, v any) error { return sessionList(&s.Sessions, v) }},
	{user.FieldFailedLoginAttempts,
		func(s *domain.UserState) any { return int64(s.FailedLoginAttempts) },
		func(s *domain.UserState, v any) error { return integer(&s.FailedLoginAttempts, v) }},
	{user.FieldLockedUntil,
		func(s *domain.UserState) any { return orNull(s.LockedUntil) },
		func(s *domain.UserState, v any) error { return instant(&s.LockedUntil, v) }},
	{user.FieldResetToken,
		func(s *domain.UserState) any { return orNull(s.ResetToken.Stored()) },
		func(s *domain.UserState, v any) error { return digest(&s.ResetToken, user.FieldResetToken, v) }},
	{user.FieldResetTokenExpiry,
		func(s *domain.UserState) any { return orNull(s.ResetTokenExpiry) },
		func(s *domain.UserState, v any) error { return instant(&s.ResetTokenExpiry, v) }},
	{user.FieldVerificationToken,
		func(s *domain.UserState) any { return orNull(s.VerificationToken.Stored()) },
		func(s *domain.UserState, v any) error {
			return digest(&s.VerificationToken, user.FieldVerificationToken, v)
		}},
	{user.FieldVerificationTokenExpiry,
		func(s *domain.UserState) any { return orNull(s.VerificationTokenExpiry) },
		func(s *domain.UserState, v any) error { return instant(&s.VerificationTokenExpiry, v) }},
	{user.FieldPhoneCode,
		func(s *domain.UserState) any { return orNull(s.PhoneCode.Stored()) },
		func(s *domain.UserState, v any) error { return digest(&s.PhoneCode, user.FieldPhoneCode, v) }},
	{user.FieldPhoneCodeExpiry,
		func(s *domain.UserState) any { return orNull(s.PhoneCodeExpiry) },
		func(s *domain.UserState, v any) error { return instant(&s.PhoneCodeExpiry, v) }},
	{user.FieldPhoneCodeAttempts,
		func(s *domain.UserState) any { return int64(s.PhoneCodeAttempts) },
		func(s *domain.UserState, v any) error { return integer(&s.PhoneCodeAttempts, v) }},
	{user.FieldPhoneVerifiedAt,
		func(s *domain.UserState) any { return orNull(s.PhoneVerifiedAt) },
		func(s *domain.UserState, v any) error { return instant(&s.PhoneVerifiedAt, v) }},
	{user.FieldVersion,
		func(s *domain.UserState) any { return s.Version },
		func(s *domain.UserState, v any) error { return integer(&s.Version, v) }},
	{user.FieldCreatedAt,
		func(s *domain.UserState) any { return s.CreatedAt },
		func(s *domain.UserState, v any) error { return instant(&s.CreatedAt, v) }},
	{user.FieldUpdatedAt,
		func(s *domain.UserState) any { return s.UpdatedAt },
		func(s *domain.UserState, v any) error { return instant(&s.UpdatedAt, v) }},
}

// editedColumns are those that people edit: another value in one of them raises the version.
var editedColumns = []string{
	user.FieldEmail, user.FieldPendingEmail, user.FieldUsername, user.FieldHashedPassword, user.FieldFirstName, user.FieldLastName,
	user.FieldPhone, user.FieldIsActive, user.FieldIsVerified,
}

// dependentColumns are those that go with a change of another, also where they were empty when the account was read: what was issued since
// belongs to the value that is replaced.
var dependentColumns = map[string][]string{
	user.FieldEmail: {
		user.FieldPendingEmail, user.FieldResetToken, user.FieldResetTokenExpiry, user.FieldVerificationToken, user.FieldVerificationTokenExpiry,
		user.FieldPhoneCode, user.FieldPhoneCodeExpiry, user.FieldPhoneCodeAttempts,
	},
	user.FieldPendingEmail: {user.FieldVerificationToken, user.FieldVerificationTokenExpiry},
	user.FieldPhone:        {user.FieldPhoneCode, user.FieldPhoneCodeExpiry, user.FieldPhoneCodeAttempts, user.FieldPhoneVerifiedAt},
	user.FieldIsActive: {
		user.FieldPendingEmail, user.FieldRefreshTokens, user.FieldResetToken, user.FieldResetTokenExpiry, user.FieldVerificationToken,
		user.FieldVerificationTokenExpiry, user.FieldPhoneCode, user.FieldPhoneCodeExpiry, user.FieldPhoneCodeAttempts,
	},
}

// userColumns are the names of columns, as a statement lists them.
var userColumns = strings.Join(columnNames(), ", ")

func columnNames() []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return names
}

// rowValues returns what is stored of an account, in the order of columns.
func rowValues(u *domain.User) []any {
	state := u.State()
	values := make([]any, len(columns))
	for i := range columns {
		values[i] = columns[i].get(&state)
	}
	return values
}

// changes returns the columns in which two states differ, and those that depend on them, with their values of the second.
func changes(before, after *domain.UserState) (names []string, values []any) {
	written := make(map[string]bool)
	for i := range columns {
		if name := columns[i].name; columns[i].get(before) != columns[i].get(after) {
			written[name] = true
			if name == user.FieldIsActive && after.Active { // an inactive account has been issued nothing
				continue
			}
			for _, dependent := range dependentColumns[name] {
				written[dependent] = true
			}
		}
	}
	for i := range columns {
		if written[columns[i].name] {
			names, values = append(names, columns[i].name), append(values, columns[i].get(after))
		}
	}
	return names, values
}

// row reads one account. Its fields are destinations of a scan, each of which puts a value into the state.
type row struct {
	state  domain.UserState
	fields []field
	err    *domain.Error     // of the first column that could not be read
	failed []string          // the columns that could not be read
	keys   map[string]string // the texts of the columns that lists are ordered by, whatever their form
}

type field struct {
	*row
	*column
}

// Scan implements [database/sql.Scanner]. It returns no error, so that the other columns are read too.
func (f *field) Scan(value any) error {
	err := f.set(&f.state, value)
	if err == nil {
		return nil
	}
	f.failed = append(f.failed, f.name)
	if f.name == user.FieldEmail || f.name == user.FieldUsername {
		var key string
		if _ = text(&key, value); key != "" { // also one that is not UTF-8
			f.key(f.name, key)
		}
	}
	if f.err == nil {
		f.err = &domain.Error{Field: f.name, Reason: err.Error()}
		if refused := new(domain.Error); errors.As(err, &refused) && refused.Field == f.name {
			f.err.Reason = refused.Reason
		}
	}
	return nil
}

func (r *row) key(column, text string) {
	if r.keys == nil {
		r.keys = make(map[string]string)
	}
	r.keys[column] = text
}

// unread tells whether one of the columns could not be read.
func (r *row) unread(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(r.failed, name) })
}

// scanUser reads the current row of a statement that returned the columns in their order. A row that is not in the form of an
// account gives a [domain.Malformed].
func scanUser(rows Rows) (*domain.User, error) {
	u, r, err := scanRow(rows)
	if err == nil && u == nil {
		return nil, r.malformed()
	}
	return u, err
}

// scanRow returns no user, and no error, for a row that is not in the form of an account.
func scanRow(rows Rows) (*domain.User, *row, error) {
	r := row{fields: make([]field, len(columns))}
	destinations := make([]any, len(columns))
	for i := range columns {
		r.fields[i] = field{&r, &columns[i]}
		destinations[i] = &r.fields[i]
	}
	if err := rows.Scan(destinations...); err != nil {
		return nil, nil, err
	}
	if r.err != nil {
		return nil, &r, nil //nolint:nilerr // reported by the row
	}
	restored, err := domain.RestoreUser(r.state)
	if err != nil && !errors.As(err, &r.err) {
		return nil, nil, err
	}
	return restored, &r, nil
}

func (r *row) malformed() *domain.Malformed {
	return &domain.Malformed{ID: r.state.ID, Column: r.err.Field, Reason: r.err.Reason}
}

// The readers of values, which differ between drivers: texts may be bytes, on SQLite a boolean may be a number.

func text(target *string, value any) error {
	switch value := value.(type) {
	case nil:
		*target = ""
	case string:
		*target = value
	case []byte: // the driver's own: copied
		*target = string(value)
	case blob:
		*target = string(value)
		return errors.New("is a blob, not a text")
	default:
		return notA("text", value)
	}
	return checkText(*target)
}

// someText refuses an empty text too, which on SQLite can be a blob that the check on texts lets pass.
func someText(target *string, value any) error {
	err := text(target, value)
	if err == nil && *target == "" {
		err = errors.New("is empty")
	}
	return err
}

// checkText refuses what SQLite stores in a text and no other database does, nor JSON.
func checkText(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errors.New("is not valid UTF-8")
	case strings.IndexByte(text, 0) >= 0:
		return errors.New("has a NUL")
	}
	return nil
}

func parsed[T any](target *T, value any, parse func(string) (T, error)) error {
	var stored string
	if err := text(&stored, value); err != nil {
		return err
	}
	var absent T
	if *target = absent; stored == "" {
		return nil // absent; RestoreUser refuses where it must not be
	}
	var err error
	*target, err = parse(stored)
	return err
}

// passwordHash refuses an empty text, which no account has. A list that is not to have hashes selects NULL.
func passwordHash(target *domain.PasswordHash, value any) error {
	if *target = (domain.PasswordHash{}); value == nil {
		return nil
	}
	var stored string
	if err := text(&stored, value); err != nil {
		return err
	}
	var err error
	*target, err = domain.ParsePasswordHash(stored)
	return err
}

func digest(target *domain.TokenDigest, name string, value any) error {
	return parsed(target, value, func(stored string) (domain.TokenDigest, error) { return domain.RestoreTokenDigest(name, stored) })
}

func parseStoredID(stored string) (domain.ID, error) {
	id, err := uuid.Parse(stored)
	if err != nil {
		return domain.ID{}, invalid(user.FieldID, "is not a UUID")
	}
	return domain.IDFromUUID(id), nil
}

func boolean(target *bool, value any) error {
	switch value := value.(type) {
	case bool:
		*target = value
	case int64:
		if value != 0 && value != 1 {
			return notA("boolean", value)
		}
		*target = value == 1
	default:
		return notA("boolean", value)
	}
	return nil
}

func integer[T int | int64](target *T, value any) error {
	n, ok := value.(int64)
	if !ok || int64(T(n)) != n {
		return notA("integer", value)
	}
	*target = T(n)
	return nil
}

func instant(target *time.Time, value any) error {
	switch value := value.(type) {
	case nil:
		*target = time.Time{}
	case time.Time:
		if year := value.UTC().Year(); year < 1 || year > 9999 {
			return errors.New("is not a time of the years 1 to 9999")
		}
		*target = domain.StoredTime(value)
	default:
		return notA("time", value)
	}
	return nil
}

func sessionList(target *domain.SessionList, value any) error {
	var stored string
	if err := text(&stored, value); err != nil {
		return err
	}
	if stored == "[]" {
		*target = domain.SessionList{}
		return nil
	}
	entries, ok := plainStrings(stored)
	if !ok {
		if err := json.Unmarshal([]byte(stored), &entries); err != nil || entries == nil {
			return invalid(user.FieldRefreshTokens, "is not an array of strings")
		}
	}
	*target = entries
	return nil
}

// plainStrings reads a JSON array of strings without escapes, as entries are, in a tenth of the time that encoding/json takes, and
// that most of a lookup's own time went into. It returns false for any other text.
func plainStrings(array string) (all []string, ok bool) {
	rest, ok := strings.CutPrefix(array, "[")
	if !ok || !utf8.ValidString(array) {
		return nil, false
	}
	for separator := ""; ; separator = "," {
		rest, ok = strings.CutPrefix(rest, separator)
		if !ok {
			return all, rest == "]"
		}
		rest, ok = strings.CutPrefix(strings.TrimPrefix(rest, " "), `"`)
		if !ok {
			return nil, false
		}
		text, after, ok := strings.Cut(rest, `"`)
		if !ok || strings.ContainsFunc(text, func(c rune) bool { return c == '\\' || c < ' ' }) {
			return nil, false
		}
		all, rest = append(all, text), after
	}
}

func notA(form string, value any) error { return fmt.Errorf("is a %T, not a %s", value, form) }

// list writes a list as a JSON array, never as null.
func list(sessions domain.SessionList) string {
	if len(sessions) == 0 {
		return "[]"
	}
	written, err := json.Marshal([]string(sessions))
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(written)
}

func orNull[T comparable](v T) any {
	var absent T
	if v == absent {
		return nil
	}
	return v
}
