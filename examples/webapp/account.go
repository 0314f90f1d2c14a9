package main

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/softbee/accounts/domain"
)

// What the pages of an account show.
type accountPage struct {
	Account    *domain.User
	Sessions   []domain.Session // the latest first
	Current    domain.SessionID
	Identities []domain.LinkedIdentity
}

func (s *server) showAccount(w http.ResponseWriter, r *http.Request, name, title string, account *domain.User, f form) error {
	status := http.StatusOK
	if !f.OK() {
		status = http.StatusUnprocessableEntity
	}
	data := accountPage{Account: account, Sessions: account.Sessions(s.now()), Current: visitorOf(r).Session}
	slices.Reverse(data.Sessions)
	if name == "password" {
		var err error
		if data.Identities, err = s.store.Identities(r.Context(), account.ID()); err != nil {
			return err
		}
	}
	return s.render(w, r, status, name, page{Title: title, Form: f, Data: data})
}

// profilePage shows the names. Its form has the version that it shows.
func (s *server) profilePage(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f := form{Values: map[string][]string{
		"first_name": {account.FirstName()}, "last_name": {account.LastName()}, "version": {strconv.FormatInt(account.Version(), 10)},
	}}
	return s.showAccount(w, r, "profile", "Your profile", account, f)
}

// profile stores the names, unless the account was edited since the form was shown.
func (s *server) profile(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	version, err := strconv.ParseInt(f.Get("version"), 10, 64)
	if err != nil {
		return &domain.Error{Kind: domain.ErrInvalid, Field: "version", Reason: "is not a number"}
	}
	_, err = s.store.Update(r.Context(), account.ID(), func(u *domain.User) error {
		if err := u.ExpectVersion(version); err != nil {
			return err
		}
		return u.Rename(f.Get("first_name"), f.Get("last_name"))
	})
	if err := f.note(err); err != nil {
		return err
	}
	if !f.OK() {
		return s.showAccount(w, r, "profile", "Your profile", account, f)
	}
	return redirect(w, r, "/account?done=profile")
}

func (s *server) devicesPage(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	return s.showAccount(w, r, "devices", "Your devices", account, form{})
}

func (s *server) endDevice(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	session, err := domain.ParseSessionID(f.Get("session"))
	if err != nil {
		return err
	}
	if _, err := s.store.RevokeSession(r.Context(), account.ID(), session); err != nil {
		return err
	}
	return redirect(w, r, "/account/devices?done=device")
}

func (s *server) endOtherDevices(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	if _, err := s.store.RevokeOtherSessions(r.Context(), account.ID(), visitorOf(r).Session); err != nil {
		return err
	}
	return redirect(w, r, "/account/devices?done=devices")
}

func (s *server) emailPage(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	return s.showAccount(w, r, "email", "Your address", account, form{})
}

// changeEmail makes another address pending, and tells both.
func (s *server) changeEmail(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	email, err := domain.ParseEmail(f.Get("email"))
	if err := f.note(err); err != nil {
		return err
	}
	if f.OK() {
		if err := s.prove(r, account, f); err != nil {
			return err
		}
	}
	if f.OK() {
		issued, err := s.auth.RequestEmail(r.Context(), account.ID(), email, 0)
		if err := f.note(err); err != nil {
			return err
		}
		if err == nil {
			s.later(r, "mail about another address", func(context.Context) error {
				if err := s.sendConfirmation(issued); err != nil {
					return err
				}
				return s.warn(account.Email(), "Another address", "Your account is about to get another address: "+issued.Email.String()+".")
			})
		}
	}
	if !f.OK() {
		return s.showAccount(w, r, "email", "Your address", account, f)
	}
	return redirect(w, r, "/account/email?done=email")
}

func (s *server) cancelEmail(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	if _, err := s.store.CancelEmail(r.Context(), account.ID()); err != nil {
		return err
	}
	return redirect(w, r, "/account/email?done=unemail")
}

// sendAgain sends another link for the address that waits for its confirmation.
func (s *server) sendAgain(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	s.later(r, "mail a confirmation again", func(ctx context.Context) error { return s.mailConfirmation(ctx, account.ID()) })
	return redirect(w, r, "/account/email?done=mail")
}

// freshTime is how long ago somebody without a password may have signed in to do what otherwise takes the password.
const freshTime = 10 * time.Minute

// prove asks once more who is there, before what would take the account away from its owner.
func (s *server) prove(r *http.Request, account *domain.User, f form) error {
	if account.HasPassword() {
		_, err := s.auth.Authenticate(r.Context(), account.Email().String(), f.Get("current"))
		return f.noteCurrent(err)
	}
	if s.now().Sub(sessionOf(account, visitorOf(r), s.now()).IssuedAt) > freshTime {
		f.Errors[""] = "For this you must have signed in within the last ten minutes. Sign out, and in again."
	}
	return nil
}

func (s *server) passwordPage(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	return s.showAccount(w, r, "password", "How you sign in", account, form{})
}

// changePassword replaces the password, or adds one. The session that asks for it goes on; all others end.
func (s *server) changePassword(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	keep := visitorOf(r).Session
	if account.HasPassword() {
		_, err = s.auth.ChangePassword(r.Context(), account.ID(), f.Get("current"), f.Get("password"), keep)
	} else if err = s.prove(r, account, f); err == nil && f.OK() {
		_, err = s.auth.AddPassword(r.Context(), account.ID(), f.Get("password"), keep)
	}
	if err := f.note(f.noteCurrent(err)); err != nil {
		return err
	}
	if !f.OK() {
		return s.showAccount(w, r, "password", "How you sign in", account, f)
	}
	s.later(r, "mail about a password", func(context.Context) error {
		return s.warn(account.Email(), "Your password was changed", "The password of your account was changed.")
	})
	return redirect(w, r, "/account/password?done=password")
}

// unlink ends the sign-in by an identity, unless nothing else would be left.
func (s *server) unlink(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	identity, err := domain.ParseIdentity(f.Get("issuer"), f.Get("subject"))
	if err != nil {
		return err
	}
	err = s.store.UnlinkIdentity(r.Context(), account.ID(), identity, false)
	if domain.KindOf(err) == domain.ErrConflict {
		f.Errors[""] = "Set a password first: this is the only way into your account."
		return s.showAccount(w, r, "password", "How you sign in", account, f)
	}
	if err != nil {
		return err
	}
	return redirect(w, r, "/account/password?done=unlinked")
}

func (s *server) deletePage(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	return s.showAccount(w, r, "delete", "Delete your account", account, form{})
}

func (s *server) deleteAccount(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	if f.Get("sure") != "yes" {
		f.Errors["sure"] = "must be checked"
	}
	if f.OK() {
		if err := s.prove(r, account, f); err != nil {
			return err
		}
	}
	if !f.OK() {
		return s.showAccount(w, r, "delete", "Delete your account", account, f)
	}
	if err := unless(s.store.Delete(r.Context(), account.ID()), domain.ErrNotFound); err != nil {
		return err
	}
	clearCookies(w)
	return redirect(w, r, "/?done=deleted")
}
