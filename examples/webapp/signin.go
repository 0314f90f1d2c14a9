package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/softbee/accounts/domain"
)

func (s *server) signInPage(w http.ResponseWriter, r *http.Request) error {
	if visitorOf(r).SignedIn() {
		return redirect(w, r, "/account")
	}
	return s.render(w, r, http.StatusOK, "signin", page{Title: "Sign in"})
}

func (s *server) signIn(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	if s.signInsOfAccount.RespondOnLimit(w, r, canonical(f.Get("identifier"))) {
		return nil
	}
	user, err := s.auth.Authenticate(r.Context(), f.Get("identifier"), f.Get("password"))
	if err := f.noteProof(err); err != nil {
		return err
	}
	if !f.OK() {
		return s.render(w, r, http.StatusUnprocessableEntity, "signin", page{Title: "Sign in", Form: f})
	}
	if v := visitorOf(r); v.SignedIn() { // every sign-in has a session of its own
		if _, err := s.store.RevokeSession(r.Context(), v.ID, v.Session); unless(err, domain.ErrNotFound) != nil {
			return err
		}
	}
	if err := s.begin(w, r, user.ID()); err != nil {
		return err
	}
	return redirect(w, r, "/")
}

// canonical returns one text for all spellings of an address or a name, whether or not there is such an account.
func canonical(identifier string) string {
	if email, err := domain.ParseEmail(identifier); err == nil {
		return email.String()
	}
	if name, err := domain.LookupUsername(identifier); err == nil {
		return name.String()
	}
	return ""
}

// noteProof writes down why a password was not accepted. An unknown account and a wrong password have one text.
func (f form) noteProof(err error) error {
	refused := new(domain.Error)
	switch {
	case errors.Is(err, domain.ErrBadCredentials):
		f.Errors[""] = "There is no such account, or the password is wrong."
	case errors.Is(err, domain.ErrLocked) && errors.As(err, &refused):
		f.Errors[""] = "There were too many failed attempts. Try again after " + deadline(refused.Until) + ", or set another password by mail."
	case errors.Is(err, domain.ErrInactive):
		f.Errors[""] = "This account was deactivated."
	default:
		return err
	}
	return nil
}

// noteCurrent is noteProof where the account is known: a wrong password is written beside its input.
func (f form) noteCurrent(err error) error {
	if errors.Is(err, domain.ErrBadCredentials) {
		f.Errors["current"] = "is wrong"
		return nil
	}
	return f.noteProof(err)
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request) error {
	if v := visitorOf(r); v.SignedIn() {
		if _, err := s.store.RevokeSession(r.Context(), v.ID, v.Session); unless(err, domain.ErrNotFound) != nil {
			return err
		}
	}
	clearCookies(w)
	return redirect(w, r, "/?done=signout")
}

func (s *server) forgotPage(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "forgot", page{Title: "Set another password"})
}

func (s *server) forgot(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	email, err := domain.ParseEmail(f.Get("email"))
	if err := f.note(err); err != nil {
		return err
	}
	if !f.OK() {
		return s.render(w, r, http.StatusUnprocessableEntity, "forgot", page{Title: "Set another password", Form: f})
	}
	if s.mailsOfAddress.RespondOnLimit(w, r, email.String()) {
		return nil
	}
	s.later(r, "mail a reset", func(ctx context.Context) error { return s.mailReset(ctx, email) })
	return s.render(w, r, http.StatusOK, "forgotten", page{Title: "Check your mail", Data: email})
}

func (s *server) resetPage(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "reset", page{Title: "Set another password", Data: r.URL.Query().Get("token")})
}

// reset sets a password, and does not sign in: the mail alone must not give a session.
func (s *server) reset(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	token, err := domain.ParseOneTimeToken(f.Get("token"))
	if err != nil {
		return err
	}
	user, err := s.auth.Reset(r.Context(), token, f.Get("password"))
	if err := f.note(err); err != nil {
		return err
	}
	if !f.OK() {
		return s.render(w, r, http.StatusUnprocessableEntity, "reset", page{Title: "Set another password", Form: f, Data: f.Get("token")})
	}
	s.later(r, "mail about a reset", func(context.Context) error {
		return s.warn(user.Email(), "Your password was set", "The password of your account was set by a link in a mail.")
	})
	return redirect(w, r, "/signin?done=reset")
}
