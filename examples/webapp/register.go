package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

func (s *server) registerPage(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "register", page{Title: "Register"})
}

func (s *server) register(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	email, emailErr := domain.ParseEmail(f.Get("email"))
	username, nameErr := domain.ParseUsername(f.Get("username"))
	text, textErr := parsePost(f.Get("text"), true)
	hash, hashErr := s.auth.HashPassword(r.Context(), f.Get("password"), f.Get("email"), f.Get("username"))
	for _, err := range []error{emailErr, nameErr, textErr, hashErr} {
		if err := f.note(err); err != nil {
			return err
		}
	}
	if f.OK() {
		user, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, s.now())
		if err != nil {
			return err
		}
		err = s.create(r.Context(), user, text)
		refused := new(domain.Error)
		switch {
		case errors.Is(err, domain.ErrTaken) && errors.As(err, &refused) && refused.Field == "email":
			// Only the owner of the address learns that there is an account: everybody else reads the same page.
			s.later(r, "mail to the owner of a taken address", func(context.Context) error {
				return s.warn(email, "You have an account", "Somebody has tried to register with your address, which has an account already.")
			})
		case err == nil:
			s.later(r, "mail a confirmation", func(ctx context.Context) error { return s.mailConfirmation(ctx, user.ID()) })
		default:
			if err := f.note(err); err != nil {
				return err
			}
		}
	}
	if !f.OK() {
		return s.render(w, r, http.StatusUnprocessableEntity, "register", page{Title: "Register", Form: f})
	}
	return s.render(w, r, http.StatusOK, "registered", page{Title: "Check your mail", Data: email})
}

// create stores an account and, in the same transaction, its first post, if there is one: both or neither.
func (s *server) create(ctx context.Context, user *domain.User, text string) error {
	return s.store.InTx(ctx, func(tx *infra.Tx) error {
		db := entClient(s.store, tx.SQL())
		// The first to register in a demonstration is its administrator. Anywhere else it takes the flag -promote.
		admin := false
		if s.mailbox != nil {
			others, err := db.User.Query().Exist(ctx)
			if err != nil {
				return err
			}
			admin = !others
		}
		if err := tx.CreateWith(ctx, user, infra.Column{Name: "is_admin", Value: admin}); err != nil {
			return err
		}
		if text == "" {
			return nil
		}
		return db.Post.Create().SetAuthorID(user.ID().UUID()).SetText(text).Exec(ctx)
	}, infra.Retry(3))
}

// confirmPage asks for a click. To open a link changes nothing, because programs that look for harm in mails open links too.
func (s *server) confirmPage(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "confirm", page{Title: "Confirm your address", Data: r.URL.Query().Get("token")})
}

func (s *server) confirm(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	token, err := domain.ParseOneTimeToken(f.Get("token"))
	if err != nil {
		return err
	}
	confirmed, err := s.auth.ConfirmEmail(r.Context(), token)
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "confirmed", page{Title: "Confirmed", Data: confirmed})
}
