package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/httprate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/examples/webapp/ent"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
)

// config is what a server is made of.
type config struct {
	origin    string // how browsers reach it; links in mails are made of it
	store     *infra.Store
	hasher    *password.Hasher
	observers []domain.Observer
	log       *slog.Logger
	limits    limits
	send      func(mail) error // nil in the demonstration, which keeps mails on a page
	provider  *provider        // nil if there is none
	lock      domain.LockPolicy
	now       func() time.Time // nil for time.Now
}

// limits say how many requests are answered: of a client's address (of IPv6: of its network of 64 bits) and, where it is named in the request, for
// an account (docs/application.md).
type limits struct {
	signIns, signInsOfAccount int // in a minute
	registrations             int // in an hour
	mails, mailsOfAddress     int // in an hour
	tokens                    int // in a minute
}

var defaultLimits = limits{signIns: 20, signInsOfAccount: 10, registrations: 5, mails: 10, mailsOfAddress: 3, tokens: 20}

// passwords are long, because they are the only factor (NIST SP 800-63B-4, 3.1.1.2).
var passwords = domain.PasswordPolicy{MinLength: 15}

const (
	requestTime = 10 * time.Second // for all that a request asks of the database and the hasher
	maxBody     = 64 << 10         // of a form
)

type server struct {
	config
	auth    *domain.Authenticator
	key     []byte // of the access tokens; several instances of the application would share one
	pages   map[string]*template.Template
	mailbox *mailbox // nil outside the demonstration
	imports imports
	tasks   sync.WaitGroup

	signInsOfAccount, mailsOfAddress *httprate.RateLimiter
}

//go:embed templates static
var files embed.FS

func newServer(c config) (*server, error) {
	if c.now == nil {
		c.now = time.Now
	}
	auth, err := domain.NewAuthenticator(c.store, c.hasher, domain.AuthenticationPolicy{
		Password: passwords, Lock: c.lock, Observers: c.observers,
	})
	if err != nil {
		return nil, err
	}
	s := &server{config: c, auth: auth, key: make([]byte, 32)}
	_, _ = rand.Read(s.key) // never fails
	if c.send == nil {
		s.mailbox = &mailbox{}
		s.send = s.mailbox.send
	}
	refused := httprate.WithLimitHandler(s.tooManyRequests)
	s.signInsOfAccount = httprate.NewRateLimiter(c.limits.signInsOfAccount, time.Minute, refused)
	s.mailsOfAddress = httprate.NewRateLimiter(c.limits.mailsOfAddress, time.Hour, refused)
	s.pages, err = readTemplates()
	return s, err
}

// ent returns the application's ent client.
func (s *server) ent() *ent.Client { return entClient(s.store, s.store.DB()) }

// handler returns the application.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	s.routes(mux.Handle)
	return s.around(mux)
}

// around does what is done for every request. Requests that change something and that another site has a browser send are refused.
func (s *server) around(h http.Handler) http.Handler {
	return s.logged(s.secured(http.NewCrossOriginProtection().Handler(h)))
}

// routes passes every route of the application to handle.
func (s *server) routes(handle func(pattern string, h http.Handler)) {
	show := func(pattern string, h handlerFunc) { handle(pattern, s.handle(h)) }
	limited := func(n int, window time.Duration) func(string, handlerFunc) {
		limit := httprate.Limit(n, window, httprate.WithKeyByIP(), httprate.WithLimitHandler(s.tooManyRequests))
		return func(pattern string, h handlerFunc) { handle(pattern, limit(s.handle(h))) }
	}

	show("GET /{$}", s.home)
	show("POST /posts", s.member(s.post))
	show("POST /posts/{id}/delete", s.member(s.deletePost))

	show("GET /register", s.registerPage)
	limited(s.limits.registrations, time.Hour)("POST /register", s.register)
	signIn := limited(s.limits.signIns, time.Minute)
	show("GET /signin", s.signInPage)
	signIn("POST /signin", s.signIn)
	show("POST /signout", s.signOut)
	token := limited(s.limits.tokens, time.Minute)
	show("GET /confirm", s.confirmPage)
	token("POST /confirm", s.confirm)
	show("GET /reset", s.resetPage)
	token("POST /reset", s.reset)
	mailed := limited(s.limits.mails, time.Hour)
	show("GET /forgot", s.forgotPage)
	mailed("POST /forgot", s.forgot)

	show("GET /account", s.member(s.profilePage))
	show("POST /account", s.member(s.profile))
	show("GET /account/devices", s.member(s.devicesPage))
	show("POST /account/devices/end", s.member(s.endDevice))
	show("POST /account/devices/end-others", s.member(s.endOtherDevices))
	show("GET /account/email", s.member(s.emailPage))
	mailed("POST /account/email", s.member(s.changeEmail))
	show("POST /account/email/cancel", s.member(s.cancelEmail))
	mailed("POST /account/email/send", s.member(s.sendAgain))
	show("GET /account/password", s.member(s.passwordPage))
	signIn("POST /account/password", s.member(s.changePassword))
	show("POST /account/password/unlink", s.member(s.unlink))
	show("GET /account/delete", s.member(s.deletePage))
	signIn("POST /account/delete", s.member(s.deleteAccount))

	if s.provider != nil {
		show("GET /oidc/start", s.startOIDC)
		signIn("GET /oidc/callback", s.finishOIDC)
	}

	show("GET /admin", s.administrator(s.listPage))
	show("GET /admin/accounts/{id}", s.administrator(s.accountPage))
	show("POST /admin/accounts/{id}/{action}", s.administrator(s.changeAccount))
	show("GET /admin/import", s.administrator(s.importPage))
	handle("POST /admin/import", s.handleUpload(s.administrator(s.startImport)))
	show("GET /admin/import/{id}", s.administrator(s.importProgress))

	if s.mailbox != nil {
		show("GET /mails", s.mailsPage)
	}
	handle("GET /healthz", http.HandlerFunc(s.health))
	handle("GET /static/", cached(http.FileServerFS(files)))
	show("/", func(http.ResponseWriter, *http.Request) error { return errNoPage })
}

// secured sets the headers that keep browsers from loading, framing, sniffing or storing what they should not.
func (s *server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // pages of mailed links have a token in their address
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if strings.HasPrefix(s.origin, "https://") {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		next.ServeHTTP(w, r)
	})
}

// logged logs each request, without its query, which may hold a token, and what was typed.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := domain.Origin{RequestID: rand.Text(), Client: client(r)}
		ctx := domain.WithOrigin(r.Context(), origin) // for the audit trail
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		start := time.Now()
		next.ServeHTTP(recorder, r.WithContext(ctx))
		s.log.InfoContext(ctx, "request", "id", origin.RequestID, "method", r.Method, "path", r.URL.Path, "status", recorder.status,
			"client", origin.Client.String(), "duration", time.Since(start))
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// client is the address that the connection comes from. Behind a proxy that is the proxy's: take there what that proxy says, and only that proxy.
func client(r *http.Request) netip.Addr {
	address, _ := netip.ParseAddrPort(r.RemoteAddr)
	return address.Addr()
}

// handlerFunc answers a request, or returns an error, for which handle shows a page.
type handlerFunc func(http.ResponseWriter, *http.Request) error

type visitorKey struct{}

func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

func (s *server) handle(h handlerFunc) http.Handler { return s.handleWithin(h, requestTime, maxBody) }

func (s *server) handleUpload(h handlerFunc) http.Handler {
	return s.handleWithin(h, time.Minute, maxUpload)
}

func (s *server) handleWithin(h handlerFunc, most time.Duration, body int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), most)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, body)
		v, err := s.identify(w, r)
		if err == nil {
			r = r.WithContext(context.WithValue(ctx, visitorKey{}, v))
			err = h(w, r)
		}
		if err != nil {
			s.showError(w, r, err)
		}
	})
}

// member is for those who are signed in. h gets the account as it is now: an access token cannot be called back, so that only this look
// keeps out a deactivated account, and a session that was ended from another device.
func (s *server) member(h func(http.ResponseWriter, *http.Request, *domain.User) error) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		v := visitorOf(r)
		if v.SignedIn() {
			account, err := s.store.FindByID(r.Context(), v.ID)
			if err = unless(err, domain.ErrNotFound); err != nil {
				return err
			}
			if account != nil && account.IsActive() && !sessionOf(account, v, s.now()).ID.IsZero() {
				return h(w, r, account)
			}
			clearCookies(w)
		}
		return redirect(w, r, "/signin")
	}
}

// sessionOf returns the session of this device, or the zero Session if it was ended.
func sessionOf(account *domain.User, v visitor, now time.Time) domain.Session {
	for _, session := range account.Sessions(now) {
		if session.ID == v.Session {
			return session
		}
	}
	return domain.Session{}
}

// redirect sends the browser on to a page, with GET.
func redirect(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

var (
	errNoPage = &domain.Error{Kind: domain.ErrNotFound, Reason: "there is no such page"}

	// explanations are what people read, by the kind of an error: the error itself is for the log.
	explanations = map[domain.Kind]struct {
		status      int
		title, text string
	}{
		domain.ErrNotFound:     {http.StatusNotFound, "Not found", "There is no such page, or it is gone."},
		domain.ErrInvalid:      {http.StatusBadRequest, "Not understood", "The request has something in it that cannot be. Go back, and try again."},
		domain.ErrConflict:     {http.StatusConflict, "Changed meanwhile", "Somebody changed this at the same time. Go back, look, and try again."},
		domain.ErrTokenInvalid: {http.StatusGone, "Not good any more", "This link was used already, or replaced by a newer one. Ask for another one."},
		domain.ErrTokenExpired: {http.StatusGone, "Not good any more", "The time of this link is over. Ask for another one."},
		domain.ErrTaken:        {http.StatusConflict, "Taken", "Another account has this already."},
		domain.ErrInactive:     {http.StatusForbidden, "Deactivated", "This account was deactivated."},
		domain.ErrUnavailable:  {http.StatusServiceUnavailable, "Not available", "Something that this page needs does not answer. Try again in a moment."},
	}
)

func (s *server) showError(w http.ResponseWriter, r *http.Request, err error) {
	shown, ok := explanations[domain.KindOf(err)]
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		shown.status, shown.title, shown.text = http.StatusRequestEntityTooLarge, "Too large", "What was sent is larger than this page takes."
	case !ok:
		shown.status, shown.title, shown.text = http.StatusInternalServerError, "Failed", "Something went wrong here. It was written down."
	}
	if shown.status >= http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "request failed", "id", domain.OriginOf(r.Context()).RequestID, "path", r.URL.Path, "error", err.Error())
	}
	s.showMessage(w, r, shown.status, shown.title, shown.text)
}

func (s *server) tooManyRequests(w http.ResponseWriter, r *http.Request) {
	s.showMessage(w, r, http.StatusTooManyRequests, "Too many requests", "There were many such requests from here, or for this account. Wait a while, and try again.")
}

// showMessage shows a page with a text alone.
func (s *server) showMessage(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	if err := s.render(w, r, status, "message", page{Title: title, Data: text}); err != nil {
		http.Error(w, text, status)
	}
}

// health is for probes and load balancers.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	h, _ := s.store.Health(ctx) // its error also tells of migrations, which are this application's own
	w.Header().Set("Content-Type", "application/json")
	if !h.Reachable || !h.Writable {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintf(w, "{\"reachable\":%t,\"writable\":%t}\n", h.Reachable, h.Writable)
}

// page is what a template gets.
type page struct {
	Title string
	Form  form
	Data  any

	Visitor  visitor
	Path     string
	Done     string // what has just been done
	Demo     bool
	Provider bool
}

// done are the texts of what has just been done, by the word in the address.
var done = map[string]string{
	"post":       "Your post is published.",
	"unpost":     "The post is deleted.",
	"reset":      "Your password is set. Sign in with it.",
	"signout":    "You are signed out.",
	"deleted":    "Your account is deleted, with all that belonged to it.",
	"profile":    "Your profile is saved.",
	"device":     "The session is ended.",
	"devices":    "All other sessions are ended.",
	"email":      "A mail is on its way to the new address. The old one stays in force until you use the link in it.",
	"unemail":    "The change of the address is given up.",
	"mail":       "A mail is on its way.",
	"password":   "Your password is set. All other sessions are ended.",
	"linked":     "You can sign in with your identity provider from now on.",
	"unlinked":   "You cannot sign in with that identity any more.",
	"lock":       "The account is locked for a day.",
	"unlock":     "The account is unlocked.",
	"deactivate": "The account is deactivated, and its sessions are ended.",
	"activate":   "The account is active.",
	"end":        "All sessions of the account are ended.",
}

func (s *server) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) error {
	p.Visitor, p.Path, p.Demo, p.Provider = visitorOf(r), r.URL.Path, s.mailbox != nil, s.provider != nil
	p.Done = done[r.URL.Query().Get("done")]
	var text bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&text, "layout", p); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = text.WriteTo(w) // the browser is gone, if that fails
	return nil
}

// readTemplates returns the templates of all pages, each with the layout and the parts that pages share.
func readTemplates() (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(template.FuncMap{
		"input": newInput, "part": newPart, "words": func(name any) string { return strings.ReplaceAll(fmt.Sprint(name), "_", " ") },
		"within": func(section, path string) bool { return path == section || strings.HasPrefix(path, section+"/") },
	}).ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := files.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, entry := range names {
		name, _ := strings.CutSuffix(entry.Name(), path.Ext(entry.Name()))
		if name == "layout" || name == "parts" {
			continue
		}
		copied, err := shared.Clone()
		if err == nil {
			pages[name], err = copied.ParseFS(files, "templates/"+entry.Name())
		}
		if err != nil {
			return nil, err
		}
	}
	return pages, nil
}
