package domain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math"
	"time"
)

// User is an account. [NewUser] creates one by the current rules, and [RestoreUser], which a store calls, one as it was stored. It is not safe for
// concurrent use.
type User struct{ state UserState }

// UserState is everything that is stored of an account, as plain values. It is for stores and tests; other code uses the methods of [User]. Zero
// values mean "absent". Times are UTC, in microseconds, as timestamptz holds them.
type UserState struct {
	ID                      ID
	Email                   Email
	PendingEmail            Email // replaces Email once it is confirmed
	Username                Username
	PasswordHash            PasswordHash // absent in a user that was read for a list, unless it is NoPassword
	FirstName               string
	LastName                string
	Phone                   Phone
	Active                  bool
	Verified                bool // the e-mail address was confirmed
	LastLogin               time.Time
	Sessions                SessionList
	FailedLoginAttempts     int
	LockedUntil             time.Time
	ResetToken              TokenDigest
	ResetTokenExpiry        time.Time
	VerificationToken       TokenDigest // belongs to PendingEmail if there is one, else to Email
	VerificationTokenExpiry time.Time   // absent beside a token: it was used
	PhoneCode               TokenDigest // belongs to Phone
	PhoneCodeExpiry         time.Time   // absent beside a code: it was used
	PhoneCodeAttempts       int         // how often the code was presented
	PhoneVerifiedAt         time.Time   // when Phone was confirmed last
	Version                 int64
	CreatedAt               time.Time
	UpdatedAt               time.Time
}

// NewUser returns an account, active and not verified, at version 1. It returns [ErrInvalid] with the
// field that is absent or breaks a rule.
func NewUser(r Registration, now time.Time) (*User, error) {
	switch {
	case r.Email.IsZero():
		return nil, invalid("email", "is required")
	case r.Username.IsZero():
		return nil, invalid("username", "is required")
	case r.PasswordHash.IsZero():
		return nil, invalid("hashed_password", "is required")
	}
	now = StoredTime(now)
	u := &User{UserState{
		ID:           cmp.Or(r.ID, NewID()),
		Email:        r.Email,
		Username:     r.Username,
		PasswordHash: r.PasswordHash,
		Phone:        r.Phone,
		Active:       true,
		Version:      1,
		CreatedAt:    now,
		UpdatedAt:    now,
	}}
	if err := u.Rename(r.FirstName, r.LastName); err != nil {
		return nil, err
	}
	return u, nil
}

// RestoreUser returns an account as it was stored. It requires only an ID, an address and a username, so that no row becomes unreadable when a rule
// is tightened. It returns [ErrInvalid].
func RestoreUser(s UserState) (*User, error) {
	switch {
	case s.ID.IsZero():
		return nil, invalid("id", "is absent")
	case s.Email.IsZero():
		return nil, invalid("email", "is absent")
	case s.Username.IsZero():
		return nil, invalid("username", "is absent")
	}
	return &User{s}, nil
}

// StoredTime returns t as a store keeps it: UTC, truncated to microseconds. The zero time, which means "absent", stays zero.
func StoredTime(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// State returns everything that is stored of the account. The list of sessions is shared: do not change it.
func (u *User) State() UserState { return u.state }

// ID returns the primary key.
func (u *User) ID() ID { return u.state.ID }

// Email returns the address in canonical form.
func (u *User) Email() Email { return u.state.Email }

// PendingEmail returns the address that will replace the present one once it is confirmed; the zero Email if there is none.
func (u *User) PendingEmail() Email { return u.state.PendingEmail }

// Username returns the name in canonical form.
func (u *User) Username() Username { return u.state.Username }

// FirstName returns the first name, or "" if there is none.
func (u *User) FirstName() string { return u.state.FirstName }

// LastName returns the last name, or "" if there is none.
func (u *User) LastName() string { return u.state.LastName }

// Phone returns the telephone number; the zero Phone if there is none.
func (u *User) Phone() Phone { return u.state.Phone }

// PhoneVerifiedAt returns when the present telephone number was confirmed last; the zero time if it was not.
func (u *User) PhoneVerifiedAt() time.Time { return u.state.PhoneVerifiedAt }

// HasPassword is false for an account whose owner can sign in by other means only; see [NoPassword].
func (u *User) HasPassword() bool { return u.state.PasswordHash != NoPassword() }

// IsActive reports whether the account may sign in.
func (u *User) IsActive() bool { return u.state.Active }

// IsVerified reports whether the present e-mail address was confirmed.
func (u *User) IsVerified() bool { return u.state.Verified }

// LastLogin returns the time of the last sign-in; the zero time if there was none.
func (u *User) LastLogin() time.Time { return u.state.LastLogin }

// FailedLoginAttempts returns the number of failed sign-ins since the last successful one.
func (u *User) FailedLoginAttempts() int { return u.state.FailedLoginAttempts }

// LockedUntil returns the end of the last lock, by failed sign-ins or by an administrator, also when it is past; the zero time if there is none.
func (u *User) LockedUntil() time.Time { return u.state.LockedUntil }

// IsLocked reports whether a lock is in force.
func (u *User) IsLocked(now time.Time) bool { return u.state.LockedUntil.After(now) }

// Sessions returns the live sessions, the oldest first.
func (u *User) Sessions(now time.Time) []Session { return u.state.Sessions.Sessions(now) }

// FindSession returns the session whose live token this is. It returns [ErrInactive], and the errors of [SessionList.Find].
func (u *User) FindSession(token RefreshToken, now time.Time) (Session, error) {
	session, err := u.state.Sessions.Find(token, now)
	if !u.state.Active && !errors.Is(err, ErrTokenExpired) {
		return Session{}, &Error{Kind: ErrInactive, Reason: "the account is deactivated"}
	}
	return session, err
}

// MaxVersion is the greatest version of an account. The next one is 1.
const MaxVersion = math.MaxInt64 - 1

// Version returns the version for optimistic locking, which rises by one with every stored edit: see [Repository].
func (u *User) Version() int64 { return u.state.Version }

// CreatedAt returns when the account was created.
func (u *User) CreatedAt() time.Time { return u.state.CreatedAt }

// UpdatedAt returns when the account was last changed.
func (u *User) UpdatedAt() time.Time { return u.state.UpdatedAt }

// ExpectVersion returns [ErrConflict] unless the account is at the given version. In the closure of an Update it makes an edit fail if the account was
// edited since it was read for that edit, as for a form.
func (u *User) ExpectVersion(version int64) error {
	if u.state.Version != version {
		return &Error{Kind: ErrConflict, Field: "version", Reason: "the account was changed concurrently"}
	}
	return nil
}

// ChangeEmail sets another address, which is not verified. It is for administrators: owners request a change by RequestEmail. The pending address,
// one-time tokens and code are dropped, so that no link that was sent to the old address is valid any more. The same address changes nothing. It
// returns [ErrInvalid] for the zero Email.
func (u *User) ChangeEmail(email Email) error {
	if email.IsZero() {
		return invalid("email", "is required")
	}
	if email != u.state.Email {
		u.state.Email = email
		u.state.Verified = false
		u.dropPending()
	}
	return nil
}

// RequestEmail makes an address pending. It replaces the present one once a token that was sent to it is used (see
// [CredentialStore.IssueVerification]). An earlier verification token is dropped. It returns [ErrInvalid] for the zero Email and for the present
// address.
func (u *User) RequestEmail(email Email) error {
	switch {
	case email.IsZero():
		return invalid("pending_email", "is required")
	case email == u.state.Email:
		return invalid("pending_email", "is the account's address already")
	}
	u.state.PendingEmail = email
	u.dropVerification()
	return nil
}

// CancelEmail drops a pending address, and the token that was sent to it. Where none is pending it changes nothing.
func (u *User) CancelEmail() {
	if !u.state.PendingEmail.IsZero() {
		u.state.PendingEmail = Email{}
		u.dropVerification()
	}
}

// ChangeUsername sets another name. It returns [ErrInvalid] for the zero Username.
func (u *User) ChangeUsername(username Username) error {
	if username.IsZero() {
		return invalid("username", "is required")
	}
	u.state.Username = username
	return nil
}

// Rename sets the first and the last name, trimmed and in NFC; "" removes one. It returns [ErrInvalid] for a name that
// is too long (50 and 100 code points) or has control characters, and then changes neither.
func (u *User) Rename(first, last string) error {
	names, err := ParseNames(first, last)
	if err != nil {
		return err
	}
	u.state.FirstName, u.state.LastName = names.First, names.Last
	return nil
}

// ChangePhone sets another telephone number, which is not confirmed; the zero Phone removes it. A code that was sent to the old one is dropped. The
// same number changes nothing.
func (u *User) ChangePhone(phone Phone) {
	if phone != u.state.Phone {
		u.state.Phone, u.state.PhoneVerifiedAt = phone, time.Time{}
		u.dropPhoneCode()
	}
}

// Verify marks the present e-mail address as verified. A pending one stays pending, and its token stays valid.
func (u *User) Verify() {
	u.state.Verified = true
	if u.state.PendingEmail.IsZero() {
		u.dropVerification()
	}
}

// Activate allows the account to sign in.
func (u *User) Activate() { u.state.Active = true }

// Deactivate forbids the account to sign in, ends all its sessions and drops the pending address, one-time tokens and code, so that none of them is
// valid after a reactivation.
func (u *User) Deactivate() {
	u.state.Active = false
	u.state.Sessions = nil
	u.dropPending()
}

// signedIn changes the account as a store does when it records a sign-in.
func (u *User) signedIn(at time.Time, better PasswordHash) {
	u.state.FailedLoginAttempts, u.state.LockedUntil = 0, time.Time{}
	u.state.LastLogin, u.state.UpdatedAt = at, at
	if !better.IsZero() {
		u.state.PasswordHash = better
	}
}

// dropPending drops the pending address, all one-time tokens and the telephone code.
func (u *User) dropPending() {
	u.state.PendingEmail = Email{}
	u.state.ResetToken, u.state.ResetTokenExpiry = TokenDigest{}, time.Time{}
	u.dropVerification()
	u.dropPhoneCode()
}

func (u *User) dropPhoneCode() {
	u.state.PhoneCode, u.state.PhoneCodeExpiry, u.state.PhoneCodeAttempts = TokenDigest{}, time.Time{}, 0
}

func (u *User) dropVerification() {
	u.state.VerificationToken, u.state.VerificationTokenExpiry = TokenDigest{}, time.Time{}
}

// Public yields the fields of the account that are no secrets, with names and in an order that programs may rely on: no hash, no digests, and of its
// sessions how many are live at now. A value is an [ID], an [Email], a [Username], a [Phone], a string, a bool,
// an int, an int64 or a time in UTC; or nil for what is absent.
func (u *User) Public(now time.Time) iter.Seq2[string, any] {
	s := u.state
	return func(yield func(string, any) bool) {
		_ = yield("id", s.ID) &&
			yield("email", s.Email) &&
			yield("pending_email", orNil(s.PendingEmail)) &&
			yield("username", s.Username) &&
			yield("first_name", orNil(s.FirstName)) &&
			yield("last_name", orNil(s.LastName)) &&
			yield("phone", orNil(s.Phone)) &&
			yield("is_active", s.Active) &&
			yield("is_verified", s.Verified) &&
			yield("has_password", u.HasPassword()) &&
			yield("last_login", orNil(StoredTime(s.LastLogin))) &&
			yield("sessions", len(u.Sessions(now))) &&
			yield("failed_login_attempts", s.FailedLoginAttempts) &&
			yield("locked_until", orNil(StoredTime(s.LockedUntil))) &&
			yield("created_at", StoredTime(s.CreatedAt)) &&
			yield("updated_at", StoredTime(s.UpdatedAt)) &&
			yield("version", s.Version)
	}
}

// MarshalJSON writes an object of what [User.Public] yields for the current time. Absent values are null; times are RFC 3339.
func (u User) MarshalJSON() ([]byte, error) {
	var object bytes.Buffer
	encoder := json.NewEncoder(&object)
	encoder.SetEscapeHTML(false) // the outer encoder decides that
	separator := "{"
	for name, value := range u.Public(time.Now()) {
		object.WriteString(separator + `"` + name + `":`)
		if err := encoder.Encode(value); err != nil {
			return nil, fmt.Errorf("user %s: %s: %w", u.state.ID, name, invalid(name, "cannot be written as JSON"))
		}
		separator = ","
	}
	object.WriteByte('}')
	return object.Bytes(), nil
}

// orNil returns nil for a zero value.
func orNil[V comparable](value V) any {
	var absent V
	if value == absent {
		return nil
	}
	return value
}

// The methods below have a value receiver, so that a copy is redacted too: fmt prints the unexported fields of a value without such a method.

// String returns the ID, so that an account in a log message reveals nothing else.
func (u User) String() string { return "user " + u.state.ID.String() }

// Format writes what String returns, for every verb.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// LogValue returns the ID.
func (u User) LogValue() slog.Value { return slog.StringValue(u.state.ID.String()) }
