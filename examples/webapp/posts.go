package main

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/examples/webapp/ent"
	"github.com/softbee/accounts/examples/webapp/ent/post"
	"github.com/softbee/accounts/examples/webapp/ent/user"
)

const (
	maxPost    = 500 // code points
	postsShown = 50
)

// parsePost returns the text of a post without blanks around it.
func parsePost(text string, mayBeEmpty bool) (string, error) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	reason := ""
	switch {
	case text == "" && !mayBeEmpty:
		reason = "is empty"
	case utf8.RuneCountInString(text) > maxPost:
		reason = "is longer than 500 characters"
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		reason = "is not text"
	default:
		return text, nil
	}
	return "", &domain.Error{Kind: domain.ErrInvalid, Field: "text", Reason: reason}
}

func (s *server) home(w http.ResponseWriter, r *http.Request) error {
	return s.showHome(w, r, http.StatusOK, form{})
}

func (s *server) showHome(w http.ResponseWriter, r *http.Request, status int, f form) error {
	posts, err := s.ent().Post.Query().
		WithAuthor(func(q *ent.UserQuery) { q.Select(user.FieldUsername) }).
		Order(ent.Desc(post.FieldID)).Limit(postsShown).All(r.Context())
	if err != nil {
		return err
	}
	return s.render(w, r, status, "home", page{Title: "Posts", Form: f, Data: posts})
}

// post stores what somebody has written whose address is confirmed.
func (s *server) post(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	text, err := parsePost(f.Get("text"), false)
	if err := f.note(err); err != nil {
		return err
	}
	if !account.IsVerified() {
		f.Errors["text"] = "cannot be stored before your address is confirmed"
	}
	if !f.OK() {
		return s.showHome(w, r, http.StatusUnprocessableEntity, f)
	}
	if err := s.ent().Post.Create().SetAuthorID(account.ID().UUID()).SetText(text).Exec(r.Context()); err != nil {
		return err
	}
	return redirect(w, r, "/?done=post")
}

// deletePost deletes a post of the visitor's own.
func (s *server) deletePost(w http.ResponseWriter, r *http.Request, account *domain.User) error {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return errNoPage
	}
	n, err := s.ent().Post.Delete().Where(post.ID(id), post.AuthorID(account.ID().UUID())).Exec(r.Context())
	switch {
	case err != nil:
		return err
	case n == 0:
		return errNoPage
	}
	return redirect(w, r, "/?done=unpost")
}
