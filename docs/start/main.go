// Command start is the program of docs/start.md: people register, sign in, and are recognised.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/sqlite"
)

type shop struct {
	store *infra.Store
	auth  *domain.Authenticator
}

func open(ctx context.Context, path string) (*shop, error) {
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	hasher, err := password.New(password.Policy{})
	if err != nil {
		return nil, err
	}
	auth, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{})
	return &shop{store, auth}, err
}

func (s *shop) register(w http.ResponseWriter, r *http.Request) error {
	email, err := domain.ParseEmail(r.FormValue("email"))
	if err != nil {
		return err
	}
	username, err := domain.ParseUsername(r.FormValue("username"))
	if err != nil {
		return err
	}
	hash, err := s.auth.HashPassword(r.Context(), r.FormValue("password"), email.String(), username.String())
	if err != nil {
		return err
	}
	user, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, time.Now())
	if err != nil {
		return err
	}
	if err := s.store.Create(r.Context(), user); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "welcome,", user.Username())
	return err
}

func (s *shop) signIn(w http.ResponseWriter, r *http.Request) error {
	user, err := s.auth.Authenticate(r.Context(), r.FormValue("name"), r.FormValue("password"))
	if err != nil {
		return err
	}
	grant, err := s.store.IssueToken(r.Context(), user.ID(), domain.SessionPolicy{Label: "a browser"})
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: "session", Value: grant.Token.Reveal(), Path: "/", Expires: grant.Session.ExpiresAt,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	_, err = fmt.Fprintln(w, "signed in as", user.Username())
	return err
}

// current returns the account and the session of a request.
func (s *shop) current(r *http.Request) (*domain.User, domain.Session, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return nil, domain.Session{}, domain.ErrTokenInvalid
	}
	token, err := domain.ParseRefreshToken(cookie.Value)
	if err != nil {
		return nil, domain.Session{}, err
	}
	return s.store.FindByToken(r.Context(), token)
}

func (s *shop) me(w http.ResponseWriter, r *http.Request) error {
	user, session, err := s.current(r)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s <%s>, signed in on %s\n", user.Username(), user.Email(), session.Label)
	return err
}

func (s *shop) signOut(w http.ResponseWriter, r *http.Request) error {
	user, session, err := s.current(r)
	if err != nil {
		return err
	}
	if _, err := s.store.RevokeSession(r.Context(), user.ID(), session.ID); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "signed out")
	return err
}

// handle answers an error of a page with its message and a status.
func handle(page func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		err := page(w, r)
		if err == nil {
			return
		}
		status := http.StatusInternalServerError
		switch {
		case errors.Is(err, domain.ErrInvalid):
			status = http.StatusUnprocessableEntity
		case errors.Is(err, domain.ErrTaken):
			status = http.StatusConflict
		case errors.Is(err, domain.ErrBadCredentials), errors.Is(err, domain.ErrTokenInvalid), errors.Is(err, domain.ErrTokenExpired):
			status = http.StatusUnauthorized
		case errors.Is(err, domain.ErrLocked), errors.Is(err, domain.ErrInactive):
			status = http.StatusForbidden
		case errors.Is(err, domain.ErrUnavailable):
			status = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), status)
	}
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /register", handle(s.register))
	mux.HandleFunc("POST /sign-in", handle(s.signIn))
	mux.HandleFunc("GET /me", handle(s.me))
	mux.HandleFunc("POST /sign-out", handle(s.signOut))
	return http.NewCrossOriginProtection().Handler(mux)
}

func main() {
	s, err := open(context.Background(), "shop.db")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", s.handler()))
}
