package main

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/examples/webapp/ent/user"
	"github.com/softbee/accounts/infra/audit"
)

// administrator is for administrators; for others there is no such page. What they change is recorded with their name.
func (s *server) administrator(h func(http.ResponseWriter, *http.Request, *domain.User) error) handlerFunc {
	return s.member(func(w http.ResponseWriter, r *http.Request, account *domain.User) error {
		is, err := s.ent().User.Query().Where(user.ID(account.ID().UUID()), user.IsAdmin(true)).Exist(r.Context())
		switch {
		case err != nil:
			return err
		case !is:
			return errNoPage
		}
		origin := domain.OriginOf(r.Context())
		origin.Actor = account.Username().String()
		return h(w, r.WithContext(domain.WithOrigin(r.Context(), origin)), account)
	})
}

const pageSize = 20

// listData is a page of the list, with the addresses of the page behind it and of the first one.
type listData struct {
	Users       []*domain.User
	Unreadable  int // rows that are not in the form of an account
	Now         time.Time
	First, Next string
}

// listPage shows the accounts that a query asks for: all of it is in the address of the page.
func (s *server) listPage(w http.ResponseWriter, r *http.Request, _ *domain.User) error {
	f := form{Values: r.URL.Query(), Errors: map[string]string{}}
	query, err := readQuery(f)
	if err != nil {
		return err
	}
	data, status := listData{Now: s.now()}, http.StatusUnprocessableEntity
	if f.OK() {
		status = http.StatusOK
		found, err := s.store.List(r.Context(), query)
		if err != nil {
			return err
		}
		data.Users, data.Unreadable = found.Users, len(found.Malformed)
		if !found.Next.IsZero() {
			data.Next = linkTo(r.URL, found.Next)
		}
		if !query.After.IsZero() {
			data.First = linkTo(r.URL, domain.Cursor{})
		}
	}
	return s.render(w, r, status, "list", page{Title: "Accounts", Form: f, Data: data})
}

// readQuery reads a query from its form, and notes what is wrong with it.
func readQuery(f form) (domain.ListQuery, error) {
	query := domain.ListQuery{Limit: pageSize, Descending: f.Get("descending") == "yes", Filter: domain.Filter{
		Active: choice(f, "active"), Verified: choice(f, "verified"), Locked: choice(f, "locked"),
	}}
	var orderErr, afterErr, searchErr, nameErr, domainErr error
	query.Order, orderErr = domain.ParseOrder(f.Get("order"))
	query.After, afterErr = domain.ParseCursor(f.Get("after"))
	if err := errors.Join(orderErr, afterErr); err != nil { // no one types these
		return query, err
	}
	query.Filter.Search, searchErr = domain.ParsePrefix(f.Get("search"))
	query.Filter.Name, nameErr = domain.ParseNamePrefix(f.Get("name"))
	query.Filter.Domain, domainErr = domain.ParseMailDomain(f.Get("domain"))
	for _, err := range []error{searchErr, nameErr, domainErr} {
		if err := f.note(err); err != nil {
			return query, err
		}
	}
	return query, nil
}

// choice reads yes, no, or nothing.
func choice(f form, name string) *bool {
	switch f.Get(name) {
	case "yes":
		return new(true)
	case "no":
		return new(false)
	}
	return nil
}

// linkTo returns the address of the page with the query of this one that begins at a place; the zero Cursor is the beginning.
func linkTo(u *url.URL, place domain.Cursor) string {
	query := u.Query()
	query.Del("after")
	if !place.IsZero() {
		query.Set("after", place.String())
	}
	return u.Path + "?" + query.Encode()
}

// adminPage is one account, as an administrator sees it.
type adminPage struct {
	Account    *domain.User
	Now        time.Time
	Sessions   []domain.Session
	Identities []domain.LinkedIdentity
	Events     []audit.Entry // the oldest first
	Next       int64         // the last of them, if there may be more
	Own        bool          // it is the administrator's
}

const eventsShown = 50

func (s *server) accountPage(w http.ResponseWriter, r *http.Request, administrator *domain.User) error {
	id, err := domain.ParseID(r.PathValue("id"))
	if err != nil {
		return errNoPage
	}
	account, err := s.store.FindByID(r.Context(), id)
	if err != nil {
		return err
	}
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64) // 0: from the beginning
	data := adminPage{Account: account, Now: s.now(), Sessions: account.Sessions(s.now()), Own: id == administrator.ID()}
	var identitiesErr, eventsErr error
	data.Identities, identitiesErr = s.store.Identities(r.Context(), id)
	data.Events, eventsErr = audit.List(r.Context(), s.store, audit.Query{UserID: id, After: after, Limit: eventsShown})
	if err := errors.Join(identitiesErr, eventsErr); err != nil {
		return err
	}
	if n := len(data.Events); n == eventsShown {
		data.Next = data.Events[n-1].ID
	}
	return s.render(w, r, http.StatusOK, "account", page{Title: account.Username().String(), Data: data})
}

// changeAccount does what an administrator's button says.
func (s *server) changeAccount(w http.ResponseWriter, r *http.Request, administrator *domain.User) error {
	id, err := domain.ParseID(r.PathValue("id"))
	if err != nil {
		return errNoPage
	}
	ctx, action := r.Context(), r.PathValue("action")
	if id == administrator.ID() && (action == "lock" || action == "deactivate") {
		return &domain.Error{Kind: domain.ErrInvalid, Field: "id", Reason: "is the administrator's own account"}
	}
	switch action {
	case "lock":
		_, err = s.store.LockUntil(ctx, id, s.now().Add(24*time.Hour))
	case "unlock":
		_, err = s.store.Unlock(ctx, id)
	case "deactivate":
		_, err = s.store.Deactivate(ctx, id)
	case "activate":
		_, err = s.store.Activate(ctx, id)
	case "end":
		_, err = s.store.RevokeSessions(ctx, id)
	default:
		err = errNoPage
	}
	if err != nil {
		return err
	}
	return redirect(w, r, "/admin/accounts/"+id.String()+"?done="+action)
}
