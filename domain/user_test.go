package domain

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"
)

func registration(t *testing.T) Registration {
	t.Helper()
	email, emailErr := ParseEmail("Ana@X.org")
	username, usernameErr := ParseUsername("Ana")
	hash, hashErr := ParsePasswordHash("$2b$10$of-a-password")
	phone, phoneErr := ParsePhone("+573001112233")
	if err := errors.Join(emailErr, usernameErr, hashErr, phoneErr); err != nil {
		t.Fatal(err)
	}
	return Registration{Email: email, Username: username, PasswordHash: hash, FirstName: "Ana", LastName: "Roa", Phone: phone}
}

// fullState is an account of which nothing is absent.
func fullState(t *testing.T) UserState {
	t.Helper()
	u, err := NewUser(registration(t), tokenTime)
	if err != nil {
		t.Fatal(err)
	}
	s := u.State()
	s.PendingEmail = Email{"next@x.org"}
	s.Verified = true
	s.LastLogin = s.CreatedAt.Add(time.Minute)
	s.Sessions, _ = mustIssue(t, nil, s.ID, tokenTime, SessionPolicy{})
	s.FailedLoginAttempts = 3
	s.LockedUntil = s.CreatedAt.Add(time.Hour)
	s.ResetToken, s.ResetTokenExpiry = NewOneTimeToken().Digest(), s.CreatedAt.Add(time.Minute)
	s.VerificationToken, s.VerificationTokenExpiry = NewOneTimeToken().Digest(), s.CreatedAt.Add(time.Hour)
	s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = NewPhoneCode().Digest(s.ID), s.CreatedAt.Add(time.Minute), 2
	s.PhoneVerifiedAt = s.CreatedAt.Add(time.Second)
	for i, v := 0, reflect.ValueOf(s); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Fatalf("%s is absent", v.Type().Field(i).Name)
		}
	}
	return s
}

func restored(t *testing.T, s UserState) *User {
	t.Helper()
	u, err := RestoreUser(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestNewUserIsActiveUnverifiedAndAtVersionOne(t *testing.T) {
	r := registration(t)
	r.FirstName, r.LastName = "  Jose\u0301 ", ""
	u, err := NewUser(r, tokenTime)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, time.March, 1, 11, 0, 0, 123_456_000, time.UTC)
	want := UserState{
		ID: u.ID(), Email: r.Email, Username: r.Username, PasswordHash: r.PasswordHash, FirstName: "José", Phone: r.Phone,
		Active: true, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	if !reflect.DeepEqual(u.State(), want) || u.ID().IsZero() {
		t.Errorf("new user %+v, want %+v", u.State(), want)
	}
	other, err := NewUser(r, tokenTime)
	if err != nil || other.ID() == u.ID() {
		t.Errorf("two users with one ID, %v", err)
	}
	r.ID, r.PasswordHash = NewID(), NoPassword()
	if own, err := NewUser(r, tokenTime); err != nil || own.ID() != r.ID || own.HasPassword() {
		t.Errorf("%v with an ID of the application's, without a password: %v", own, err)
	}
}

func TestNewUserDemandsWhatAnAccountNeeds(t *testing.T) {
	for field, spoil := range map[string]func(*Registration){
		"email":           func(r *Registration) { r.Email = Email{} },
		"username":        func(r *Registration) { r.Username = Username{} },
		"hashed_password": func(r *Registration) { r.PasswordHash = PasswordHash{} },
		"first_name":      func(r *Registration) { r.FirstName = strings.Repeat("é", 51) },
		"last_name":       func(r *Registration) { r.LastName = "Roa\x00" },
	} {
		r := registration(t)
		spoil(&r)
		u, err := NewUser(r, tokenTime)
		refusal(t, err, ErrInvalid, field, "")
		if u != nil {
			t.Errorf("%s: an error and a user", field)
		}
	}
}

func TestRestoreUserDemandsOnlyWhatMakesAnAccount(t *testing.T) {
	email, username := Email{"Old@X"}, Username{"a b"}
	minimal := UserState{ID: NewID(), Email: email, Username: username}
	if u, err := RestoreUser(minimal); err != nil || !reflect.DeepEqual(u.State(), minimal) {
		t.Errorf("restored %v, %v", u, err)
	}
	full := fullState(t)
	if u := restored(t, full); !reflect.DeepEqual(u.State(), full) {
		t.Errorf("restored %+v, want %+v", u.State(), full)
	}
	for field, spoil := range map[string]func(*UserState){
		"id":       func(s *UserState) { s.ID = ID{} },
		"email":    func(s *UserState) { s.Email = Email{} },
		"username": func(s *UserState) { s.Username = Username{} },
	} {
		s := fullState(t)
		spoil(&s)
		u, err := RestoreUser(s)
		refusal(t, err, ErrInvalid, field, "")
		if u != nil {
			t.Errorf("%s: an error and a user", field)
		}
	}
}

func TestUserTellsItsState(t *testing.T) {
	s := fullState(t)
	u := restored(t, s)
	for name, pair := range map[string][2]any{
		"ID":                  {u.ID(), s.ID},
		"Email":               {u.Email(), s.Email},
		"PendingEmail":        {u.PendingEmail(), s.PendingEmail},
		"HasPassword":         {u.HasPassword(), true},
		"Username":            {u.Username(), s.Username},
		"FirstName":           {u.FirstName(), s.FirstName},
		"LastName":            {u.LastName(), s.LastName},
		"Phone":               {u.Phone(), s.Phone},
		"PhoneVerifiedAt":     {u.PhoneVerifiedAt(), s.PhoneVerifiedAt},
		"IsActive":            {u.IsActive(), s.Active},
		"IsVerified":          {u.IsVerified(), s.Verified},
		"LastLogin":           {u.LastLogin(), s.LastLogin},
		"FailedLoginAttempts": {u.FailedLoginAttempts(), s.FailedLoginAttempts},
		"LockedUntil":         {u.LockedUntil(), s.LockedUntil},
		"Version":             {u.Version(), s.Version},
		"CreatedAt":           {u.CreatedAt(), s.CreatedAt},
		"UpdatedAt":           {u.UpdatedAt(), s.UpdatedAt},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s() = %v, want %v", name, pair[0], pair[1])
		}
	}
	if got, want := u.Sessions(tokenTime), s.Sessions.Sessions(tokenTime); !slices.Equal(got, want) || len(got) != 1 {
		t.Errorf("Sessions() = %v, want %v", got, want)
	}
}

func TestALockEndsAtItsTime(t *testing.T) {
	s := fullState(t)
	u := restored(t, s)
	if !u.IsLocked(s.LockedUntil.Add(-time.Microsecond)) || u.IsLocked(s.LockedUntil) {
		t.Error("the lock does not end at LockedUntil")
	}
	s.LockedUntil = time.Time{}
	if restored(t, s).IsLocked(tokenTime) {
		t.Error("locked without a lock")
	}
}

// Each method changes what it says and nothing else.
func TestChangesOfAUser(t *testing.T) {
	otherEmail, otherName, otherPhone := Email{"other@x.org"}, Username{"other"}, Phone{"+15550001111"}
	noVerification := func(s *UserState) { s.VerificationToken, s.VerificationTokenExpiry = TokenDigest{}, time.Time{} }
	noTokens := func(s *UserState) {
		s.PendingEmail = Email{}
		s.ResetToken, s.ResetTokenExpiry = TokenDigest{}, time.Time{}
		s.VerificationToken, s.VerificationTokenExpiry = TokenDigest{}, time.Time{}
		s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = TokenDigest{}, time.Time{}, 0
	}
	setPhone := func(phone Phone) func(s *UserState) {
		return func(s *UserState) {
			s.Phone, s.PhoneVerifiedAt = phone, time.Time{}
			s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = TokenDigest{}, time.Time{}, 0
		}
	}
	for name, test := range map[string]struct {
		change func(*User) error
		effect func(*UserState)
	}{
		"another address": {
			func(u *User) error { return u.ChangeEmail(otherEmail) },
			func(s *UserState) { s.Email, s.Verified = otherEmail, false; noTokens(s) },
		},
		"the same address": {func(u *User) error { return u.ChangeEmail(u.Email()) }, func(*UserState) {}},
		"another username": {
			func(u *User) error { return u.ChangeUsername(otherName) },
			func(s *UserState) { s.Username = otherName },
		},
		"other names": {
			func(u *User) error { return u.Rename(" Eva", "Ri\u0301os ") },
			func(s *UserState) { s.FirstName, s.LastName = "Eva", "Ríos" },
		},
		"no names": {
			func(u *User) error { return u.Rename("", " ") },
			func(s *UserState) { s.FirstName, s.LastName = "", "" },
		},
		"another number": {
			func(u *User) error { u.ChangePhone(otherPhone); return nil },
			setPhone(otherPhone),
		},
		"the same number": {
			func(u *User) error { u.ChangePhone(u.Phone()); return nil },
			func(*UserState) {},
		},
		"no number": {
			func(u *User) error { u.ChangePhone(Phone{}); return nil },
			setPhone(Phone{}),
		},
		"verified": {
			func(u *User) error { u.Verify(); return nil },
			func(s *UserState) { s.Verified = true },
		},
		"verified, with nothing pending": {
			func(u *User) error {
				u.CancelEmail()
				u.state.VerificationToken = NewOneTimeToken().Digest()
				u.Verify()
				return nil
			},
			func(s *UserState) { s.Verified, s.PendingEmail = true, Email{}; noVerification(s) },
		},
		"another pending address": {
			func(u *User) error { return u.RequestEmail(otherEmail) },
			func(s *UserState) { s.PendingEmail = otherEmail; noVerification(s) },
		},
		"no pending address": {
			func(u *User) error { u.CancelEmail(); return nil },
			func(s *UserState) { s.PendingEmail = Email{}; noVerification(s) },
		},
		"deactivated": {
			func(u *User) error { u.Deactivate(); return nil },
			func(s *UserState) { s.Active, s.Sessions = false, nil; noTokens(s) },
		},
		"activated": {func(u *User) error { u.Activate(); return nil }, func(s *UserState) { s.Active = true }},
		"the expected version": {
			func(u *User) error { return u.ExpectVersion(u.Version()) },
			func(*UserState) {},
		},
	} {
		for _, active := range []bool{true, false} {
			s := fullState(t)
			s.Active = active
			u := restored(t, s)
			if err := test.change(u); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			test.effect(&s)
			if !reflect.DeepEqual(u.State(), s) {
				t.Errorf("%s: %+v, want %+v", name, u.State(), s)
			}
		}
	}
}

func TestRefusedChangesOfAUserChangeNothing(t *testing.T) {
	long := strings.Repeat("é", 101)
	for name, test := range map[string]struct {
		kind   Kind
		field  string
		change func(*User) error
	}{
		"no address":         {ErrInvalid, "email", func(u *User) error { return u.ChangeEmail(Email{}) }},
		"no pending address": {ErrInvalid, "pending_email", func(u *User) error { return u.RequestEmail(Email{}) }},
		"the present one":    {ErrInvalid, "pending_email", func(u *User) error { return u.RequestEmail(u.Email()) }},
		"no username":        {ErrInvalid, "username", func(u *User) error { return u.ChangeUsername(Username{}) }},
		"a long first name":  {ErrInvalid, "first_name", func(u *User) error { return u.Rename(long[:102], "Roa") }},
		"a long last name":   {ErrInvalid, "last_name", func(u *User) error { return u.Rename("Eva", long) }},
		"a NUL":              {ErrInvalid, "first_name", func(u *User) error { return u.Rename("E\x00va", "") }},
		"no UTF-8":           {ErrInvalid, "last_name", func(u *User) error { return u.Rename("Eva", "\xff") }},
		"an earlier version": {ErrConflict, "version", func(u *User) error { return u.ExpectVersion(u.Version() - 1) }},
		"a later version":    {ErrConflict, "version", func(u *User) error { return u.ExpectVersion(u.Version() + 1) }},
	} {
		s := fullState(t)
		u := restored(t, s)
		refusal(t, test.change(u), test.kind, test.field, "")
		if !reflect.DeepEqual(u.State(), s) {
			t.Errorf("%s changed the user to %+v", name, u.State())
		}
	}
}

func TestNamesAreTrimmedAndNormal(t *testing.T) {
	names, err := ParseNames(" Jose\u0301\u3000", norm.NFD.String(strings.Repeat("é", 100)))
	if err != nil || names.First != "José" || names.Last != strings.Repeat("é", 100) {
		t.Errorf("%+v, %v", names, err)
	}
	for _, blank := range []string{"\u2800", " \u200b\u2800", "\u3164\u115f", "\ufeff", "\u2060\ufe0f", "\u00ad"} {
		if names, err := ParseNames(blank, "a"+blank+"b"); err != nil || names.First != "" || names.Last == "" {
			t.Errorf("a blank name %+q: %+q, %v", blank, names, err)
		}
	}
	for _, name := range []string{strings.Repeat("a", 51), "a\nb", "a\x7f", "\xc3", "a\u0085", strings.Repeat("a", 1<<20), strings.Repeat("\u0958", 26)} {
		names, err := ParseNames(name, "")
		refusal(t, err, ErrInvalid, "first_name", name)
		if names != (Names{}) {
			t.Errorf("%.40q: an error and names", name)
		}
	}
}

func TestStoredTimeIsUTCInMicroseconds(t *testing.T) {
	zone := time.FixedZone("", -5*3600-1800)
	got := StoredTime(time.Date(2026, 3, 1, 23, 59, 59, 999_999_999, zone))
	if want := time.Date(2026, 3, 2, 5, 29, 59, 999_999_000, time.UTC); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := StoredTime(time.Time{}.In(zone)); !got.IsZero() || got != (time.Time{}) {
		t.Errorf("the zero time becomes %v", got)
	}
	if now := time.Now(); StoredTime(now).String() != now.UTC().Truncate(time.Microsecond).String() {
		t.Errorf("%v has a monotonic reading or another instant than %v", StoredTime(now), now)
	}
}

func TestPrintedUserTellsNothingButItsID(t *testing.T) {
	s := fullState(t)
	u := restored(t, s)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("user", "user", u)
	for _, printed := range []string{fmt.Sprint(u), fmt.Sprintf("%v %+v %#v %s %q", u, u, u, u, u), fmt.Sprintf("%v %+v %#v %s %q", *u, *u, *u, *u, *u), log.String(), u.LogValue().String()} {
		if !strings.Contains(printed, s.ID.String()) {
			t.Errorf("%q does not tell the ID", printed)
		}
		for _, private := range []string{s.Email.String(), s.LastName, s.Phone.String(), s.PasswordHash.Stored(), s.ResetToken.Stored(), s.PhoneCode.Stored(), s.Sessions[0]} {
			if strings.Contains(printed, private) {
				t.Errorf("%q tells %q", printed, private)
			}
		}
	}
}
