package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

const secret = "correct horse battery staple"

// app is the application on a new database, behind TLS, with a clock that tests put forward.
type app struct {
	*server
	t     *testing.T
	url   string
	ahead *atomic.Int64
}

// databases are what the application is tested on.
var databases = []struct {
	name string
	new  func(t *testing.T) string
}{
	{"sqlite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "app.db") }},
	{"postgres", func(t *testing.T) string { return storetest.EmptyPostgresURL(t) }},
}

func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	t.Helper()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) { test(t, d.new(t)) })
	}
}

// manyRequests are limits that no test comes to.
var manyRequests = limits{10_000, 10_000, 10_000, 10_000, 10_000, 10_000}

func newApp(t *testing.T, database string, change func(*config)) *app {
	t.Helper()
	ahead := new(atomic.Int64)
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	store, err := openStore(t.Context(), database, infra.WithClock(now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := migrateStore(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(nil)
	c := config{origin: "https://" + web.Listener.Addr().String(), store: store, hasher: password.Fast(), log: slog.New(slog.DiscardHandler),
		limits: manyRequests, now: now}
	if change != nil {
		change(&c)
	}
	s, err := newServer(c)
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = s.handler()
	web.StartTLS()
	t.Cleanup(func() { web.Close(); s.tasks.Wait() })
	return &app{s, t, web.URL, ahead}
}

func (a *app) forward(d time.Duration) { a.ahead.Add(int64(d)) }

// link returns the link of the latest mail to an address, without the origin.
func (a *app) link(t *testing.T, to, subject string) string {
	t.Helper()
	a.tasks.Wait()
	for _, m := range a.mailbox.newestFirst() {
		if m.To.String() == to && m.Subject == subject {
			path, ok := strings.CutPrefix(m.Link, a.origin)
			if !ok {
				t.Fatalf("the link %s leads elsewhere", m.Link)
			}
			return path
		}
	}
	t.Fatalf("%s has no mail %q", to, subject)
	return ""
}

// browser keeps cookies, and follows redirections.
type browser struct {
	t *testing.T
	*http.Client
	app *app
}

func (a *app) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, &http.Client{Jar: jar, Transport: transport}, a}
}

// answer is a page as the browser got it in the end.
type answer struct {
	status int
	path   string // with the query
	text   string
}

func (b *browser) send(r *http.Request) answer {
	b.t.Helper()
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0")
	reply, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{reply.StatusCode, reply.Request.URL.RequestURI(), string(text)}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, b.app.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(r)
}

// post sends a form: pairs of a name and a value.
func (b *browser) post(path string, pairs ...string) answer {
	b.t.Helper()
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, b.app.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

// want demands a status, and texts in the page.
func (a answer) want(t *testing.T, status int, texts ...string) answer {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d; want %d\n%s", a.path, a.status, status, content(a.text))
	}
	for _, text := range texts {
		if !strings.Contains(a.text, text) {
			t.Errorf("%s does not say %q:\n%s", a.path, text, content(a.text))
		}
	}
	return a
}

// content returns the part of a page that matters.
func content(text string) string {
	_, text, _ = strings.Cut(text, "<main")
	text, _, _ = strings.Cut(text, "</main>")
	return text
}

var tokenInput = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token returns the token of the page of a mailed link.
func (a answer) token(t *testing.T) string {
	t.Helper()
	found := tokenInput.FindStringSubmatch(a.text)
	if found == nil {
		t.Fatalf("%s has no token", a.path)
	}
	return found[1]
}

// register makes an account with a confirmed address, NAME@example.org.
func (a *app) register(t *testing.T, name string) {
	t.Helper()
	b := a.browser(t)
	b.post("/register", "email", name+"@example.org", "username", name, "password", secret).want(t, 200, "on its way to")
	token := b.get(a.link(t, name+"@example.org", "Confirm your address")).token(t)
	b.post("/confirm", "token", token).want(t, 200, "is the address of your account")
}

// signedIn returns a browser with a session of an account.
func (a *app) signedIn(t *testing.T, name string) *browser {
	t.Helper()
	b := a.browser(t)
	b.post("/signin", "identifier", name, "password", secret).want(t, 200, name, "Sign out")
	return b
}

func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.app.url)
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// setCookies puts cookies of one browser into another one, as a thief does.
func (b *browser) setCookie(name, value string) {
	u, _ := url.Parse(b.app.url)
	b.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// TestApplication walks through all flows on each database. The first account is that of the administrator.
func TestApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		oidc := startProvider(t)
		a := newApp(t, database, func(c *config) {
			var err error
			if c.provider, err = newProvider(t.Context(), oidc.URL, oidcClient, oidcSecret, c.origin); err != nil {
				t.Fatal(err)
			}
		})
		a.register(t, "admin")
		for _, flow := range []struct {
			name string
			run  func(*testing.T, *app)
		}{
			{"register", testRegister}, {"lock", testLock}, {"refresh", testRefresh}, {"reuse", testReuse}, {"devices", testDevices},
			{"profile", testProfile}, {"address", testAddress}, {"password", testPassword}, {"reset", testReset}, {"delete", testDelete}, {"posts", testPosts},
			{"provider", func(t *testing.T, a *app) { testProvider(t, a, oidc) }},
			{"list", testList}, {"administrator", testAdministrator}, {"import", testImport}, {"health", testHealth},
		} {
			t.Run(flow.name, func(t *testing.T) { flow.run(t, a) })
		}
	})
}

func testRegister(t *testing.T, a *app) {
	b := a.browser(t)
	b.get("/register").want(t, 200, "Your first post")
	b.post("/register", "email", "ana", "username", "a", "password", "short", "text", strings.Repeat("x", 501)).
		want(t, 422, "E-mail address ", "Username ", "Password is shorter than 15 characters", "Your first post is longer than 500 characters")
	b.post("/register", "email", "Ana@Example.org", "username", "Ana", "password", secret, "text", "Hello from Ana").want(t, 200, "ana@example.org")
	b.get("/").want(t, 200, "Hello from Ana")

	// The page says that a name is taken. That an address is taken, only its owner reads, in a mail. In both cases nothing is stored.
	b.post("/register", "email", "other@example.org", "username", "ana", "password", secret, "text", "Never stored").want(t, 422, "Username is taken by another account")
	b.post("/register", "email", "ANA@example.org", "username", "other", "password", secret, "text", "Never stored").want(t, 200, "on its way to")
	if text := b.get("/").text; strings.Contains(text, "Never stored") {
		t.Error("a post without its account is stored")
	}
	a.link(t, "ana@example.org", "You have an account")

	// It can sign in, and read, before the address is confirmed.
	b.post("/signin", "identifier", "ANA@example.org", "password", secret).want(t, 200, "Sign out")
	b.post("/posts", "text", "Too early").want(t, 422, "cannot be stored before your address is confirmed")
	b.get("/account/email").want(t, 200, "not confirmed")
	link := a.link(t, "ana@example.org", "Confirm your address")
	b.post("/account/email/send").want(t, 200, "A mail is on its way")
	a.tasks.Wait()
	b.post("/confirm", "token", b.get(link).token(t)).want(t, 410, "replaced by a newer one")
	token := b.get(a.link(t, "ana@example.org", "Confirm your address")).token(t)
	b.post("/confirm", "token", token).want(t, 200, "<strong>ana@example.org</strong> is confirmed")
	b.post("/confirm", "token", token).want(t, 200, "confirmed already")
	b.post("/confirm", "token", "nonsense").want(t, 410)
	b.post("/posts", "text", "In time").want(t, 200, "In time")
}

func testLock(t *testing.T, a *app) {
	a.register(t, "lea")
	b := a.browser(t)
	b.post("/signin", "identifier", "nobody-here", "password", secret).want(t, 422, "There is no such account, or the password is wrong.")
	for range domain.DefaultLockAttempts {
		b.post("/signin", "identifier", "lea", "password", "wrong "+secret).want(t, 422, "There is no such account, or the password is wrong.")
	}
	b.post("/signin", "identifier", "lea", "password", secret).want(t, 422, "too many failed attempts. Try again after "+
		a.now().Add(domain.DefaultLockDuration).UTC().Format("2 January 2006"))
	a.forward(domain.DefaultLockDuration + time.Second)
	b.post("/signin", "identifier", "lea", "password", secret).want(t, 200, "Sign out")
	b.get("/signin").want(t, 200, "Your profile")
	b.post("/signout").want(t, 200, "You are signed out.", "Register")
	if answer := b.get("/account"); answer.path != "/signin" {
		t.Errorf("after signing out /account leads to %s", answer.path)
	}
}

func testRefresh(t *testing.T, a *app) {
	a.register(t, "rui")
	b := a.signedIn(t, "rui")
	first := b.cookie(refreshCookie)
	b.get("/").want(t, 200, "Sign out")
	if b.cookie(refreshCookie) != first {
		t.Error("the refresh token was rotated before the access token had expired")
	}

	// Two tabs come back at once, when the access token has expired.
	a.forward(accessTime + time.Second)
	tabs := make([]*browser, 4)
	var all sync.WaitGroup
	for i := range tabs {
		tabs[i] = a.browser(t)
		tabs[i].setCookie(accessCookie, b.cookie(accessCookie))
		tabs[i].setCookie(refreshCookie, first)
		all.Go(func() {
			if answer := tabs[i].get("/account"); answer.status != 200 || answer.path != "/account" {
				t.Errorf("tab %d: %d %s", i, answer.status, answer.path)
			}
		})
	}
	all.Wait()
	for i, tab := range tabs {
		if got := tab.cookie(refreshCookie); got == first || got != tabs[0].cookie(refreshCookie) {
			t.Errorf("tab %d has another refresh token than the first one, or the old one", i)
		}
	}

	// Somebody else's key, another purpose, no signature: none is an access token.
	for name, forged := range map[string]string{
		"of no key":  "eyJhbGciOiJub25lIn0." + strings.Split(b.cookie(accessCookie), ".")[1] + ".",
		"cut":        strings.TrimSuffix(tabs[0].cookie(accessCookie), "A")[:40],
		"a text":     "x",
		"of another": mustSign(t, a, "oidc"),
	} {
		c := a.browser(t)
		c.setCookie(accessCookie, forged)
		if answer := c.get("/account"); answer.path != "/signin" {
			t.Errorf("a token %s is accepted", name)
		}
	}
}

// find returns an account.
func (a *app) find(t *testing.T, name string) *domain.User {
	t.Helper()
	username, nameErr := domain.LookupUsername(name)
	user, err := a.store.FindByUsername(t.Context(), username)
	if err = errors.Join(nameErr, err); err != nil {
		t.Fatal(err)
	}
	return user
}

func mustSign(t *testing.T, a *app, purpose string) string {
	t.Helper()
	user := a.find(t, "rui")
	text, err := a.sign(accessClaims{RegisteredClaims: a.registered(purpose, user.ID().String(), accessTime), Session: user.Sessions(a.now())[0].ID.String()})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// testReuse has a thief use a copy of a refresh token once its owner has gone on.
func testReuse(t *testing.T, a *app) {
	a.register(t, "teo")
	b, thief := a.signedIn(t, "teo"), a.browser(t)
	thief.setCookie(refreshCookie, b.cookie(refreshCookie))
	a.forward(accessTime + time.Second)
	b.get("/account").want(t, 200, "Your profile")
	a.forward(domain.DefaultSessionGrace + time.Second)
	if answer := thief.get("/account"); answer.path != "/signin" {
		t.Errorf("the thief is at %s", answer.path)
	}
	if answer := b.get("/account"); answer.path != "/signin" {
		t.Errorf("the session goes on: the owner is at %s", answer.path)
	}
	a.link(t, "teo@example.org", "A session was ended")
}

func testDevices(t *testing.T, a *app) {
	a.register(t, "dana")
	laptop, phone, tablet := a.signedIn(t, "dana"), a.signedIn(t, "dana"), a.signedIn(t, "dana")
	page := laptop.get("/account/devices").want(t, 200, "Firefox on Linux", "this device", "End all others")
	sessions := regexp.MustCompile(`name="session" value="([^"]+)"`).FindAllStringSubmatch(page.text, -1)
	if len(sessions) != 2 {
		t.Fatalf("%d sessions can be ended; want 2", len(sessions))
	}
	laptop.post("/account/devices/end", "session", sessions[0][1]).want(t, 200, "The session is ended.") // the latest one
	if answer := tablet.get("/account"); answer.path != "/signin" {
		t.Error("the session of the tablet goes on")
	}
	phone.get("/account").want(t, 200, "Your profile")
	laptop.post("/account/devices/end-others").want(t, 200, "All other sessions are ended.")
	if answer := phone.get("/account"); answer.path != "/signin" {
		t.Error("the session of the phone goes on")
	}
	laptop.get("/account/devices").want(t, 200, "this device")
	laptop.post("/account/devices/end", "session", "nonsense").want(t, 400)
}

func testProfile(t *testing.T, a *app) {
	a.register(t, "pia")
	b := a.signedIn(t, "pia")
	version := regexp.MustCompile(`name="version" value="(\d+)"`).FindStringSubmatch(b.get("/account").text)[1]
	b.post("/account", "version", version, "first_name", " Pia ", "last_name", "Sørensen").want(t, 200, "Your profile is saved.", `value="Pia"`, `value="Sørensen"`)
	b.post("/account", "version", version, "first_name", "Late").want(t, 409, "Somebody changed this at the same time")
	b.post("/account", "version", "x").want(t, 400)
	now := regexp.MustCompile(`name="version" value="(\d+)"`).FindStringSubmatch(b.get("/account").text)[1]
	b.post("/account", "version", now, "first_name", strings.Repeat("x", 51)).want(t, 422, "First name is longer than")
}

func testAddress(t *testing.T, a *app) {
	a.register(t, "emma")
	b := a.signedIn(t, "emma")
	b.post("/account/email", "email", "emma@example.com", "current", "wrong "+secret).want(t, 422, "Current password is wrong")
	b.post("/account/email", "email", "emma", "current", secret).want(t, 422, "New e-mail address ")
	b.post("/account/email", "email", "admin@example.org", "current", secret).want(t, 422, "is taken by another account")
	b.post("/account/email", "email", "emma@example.org", "current", secret).want(t, 422, "is the account&#39;s address already")
	b.post("/account/email", "email", "emma@example.com", "current", secret).want(t, 200, "It will be <strong>emma@example.com</strong>")
	first := a.link(t, "emma@example.com", "Confirm your address")
	a.link(t, "emma@example.org", "Another address")
	b.post("/account/email/cancel").want(t, 200, "is given up")
	b.post("/confirm", "token", b.get(first).token(t)).want(t, 410)

	b.post("/account/email", "email", "emma@example.com", "current", secret)
	b.post("/confirm", "token", b.get(a.link(t, "emma@example.com", "Confirm your address")).token(t)).want(t, 200, "emma@example.com")
	b.get("/account/email").want(t, 200, "<strong>emma@example.com</strong>", ">confirmed<")
}

func testPassword(t *testing.T, a *app) {
	a.register(t, "pau")
	b, other := a.signedIn(t, "pau"), a.signedIn(t, "pau")
	b.post("/account/password", "current", "wrong "+secret, "password", "another good passphrase").want(t, 422, "Current password is wrong")
	b.post("/account/password", "current", secret, "password", "short").want(t, 422, "New password is shorter than 15 characters")
	b.post("/account/password", "current", secret, "password", "another good passphrase").want(t, 200, "Your password is set.")
	if answer := other.get("/account"); answer.path != "/signin" {
		t.Error("a session on another device goes on")
	}
	a.link(t, "pau@example.org", "Your password was changed")
	c := a.browser(t)
	c.post("/signin", "identifier", "pau", "password", secret).want(t, 422)
	c.post("/signin", "identifier", "pau", "password", "another good passphrase").want(t, 200, "Sign out")
}

func testReset(t *testing.T, a *app) {
	a.register(t, "ria")
	session, b := a.signedIn(t, "ria"), a.browser(t)
	b.post("/forgot", "email", "nobody@example.org").want(t, 200, "If <strong>nobody@example.org</strong> has an account")
	b.post("/forgot", "email", "nobody").want(t, 422, "E-mail address ")
	for range domain.DefaultLockAttempts {
		b.post("/signin", "identifier", "ria", "password", "wrong "+secret)
	}
	b.post("/forgot", "email", "RIA@example.org").want(t, 200, "If <strong>ria@example.org</strong> has an account")
	token := b.get(a.link(t, "ria@example.org", "Set another password")).token(t)
	b.post("/reset", "token", token, "password", "short").want(t, 422, "Password is shorter than 15 characters", token)
	b.post("/reset", "token", token, "password", "another good passphrase").want(t, 200, "Your password is set. Sign in with it.")
	b.post("/reset", "token", token, "password", "another good passphrase").want(t, 410)
	if answer := session.get("/account"); answer.path != "/signin" {
		t.Error("a session goes on after a reset")
	}
	b.post("/signin", "identifier", "ria", "password", "another good passphrase").want(t, 200, "Sign out") // the lock has ended too
	a.link(t, "ria@example.org", "Your password was set")

	b.post("/forgot", "email", "ria@example.org")
	token = b.get(a.link(t, "ria@example.org", "Set another password")).token(t)
	a.forward(domain.DefaultResetTTL + time.Second)
	b.post("/reset", "token", token, "password", "another good passphrase").want(t, 410, "The time of this link is over.")
	for _, m := range a.mailbox.newestFirst() {
		if m.To.String() == "nobody@example.org" {
			t.Error("an address without an account got a mail")
		}
	}
}

func testDelete(t *testing.T, a *app) {
	a.register(t, "dino")
	b := a.signedIn(t, "dino")
	b.post("/posts", "text", "Soon gone").want(t, 200, "Soon gone")
	b.post("/account/delete", "current", secret).want(t, 422, "The box must be checked")
	b.post("/account/delete", "current", "wrong "+secret, "sure", "yes").want(t, 422, "Current password is wrong")
	b.post("/account/delete", "current", secret, "sure", "yes").want(t, 200, "Your account is deleted", "Register")
	if strings.Contains(b.get("/").text, "Soon gone") {
		t.Error("a post of a deleted account is there")
	}
	b.post("/signin", "identifier", "dino", "password", secret).want(t, 422)
}

func testPosts(t *testing.T, a *app) {
	a.register(t, "pola")
	a.register(t, "quin")
	b, other := a.signedIn(t, "pola"), a.signedIn(t, "quin")
	b.post("/posts", "text", "  ").want(t, 422, "Your post is empty")
	page := b.post("/posts", "text", "A <b>bold</b> post").want(t, 200, "A &lt;b&gt;bold&lt;/b&gt; post")
	id := regexp.MustCompile(`/posts/([^/]+)/delete`).FindStringSubmatch(page.text)[1]
	other.post("/posts/"+id+"/delete").want(t, 404)
	other.post("/posts/nonsense/delete").want(t, 404)
	b.post("/posts/"+id+"/delete").want(t, 200, "The post is deleted.")
	if answer := a.browser(t).post("/posts", "text", "Who am I"); answer.path != "/signin" {
		t.Errorf("a post of somebody who is not signed in leads to %s", answer.path)
	}
}

func testList(t *testing.T, a *app) {
	for i := range 45 {
		if err := a.store.Create(t.Context(), storetest.NewUser(t, fmt.Sprintf("list%02d", i))); err != nil {
			t.Fatal(err)
		}
	}
	b := a.signedIn(t, "admin")
	row := regexp.MustCompile(`<td><a href="/admin/accounts/[^"]+">(list\d\d)</a>`)
	next := regexp.MustCompile(`href="([^"]+)">Next page`)
	var seen []string
	path := "/admin?search=list&order=username&descending=yes"
	for pages := 1; path != ""; pages++ {
		page := b.get(path).want(t, 200)
		for _, found := range row.FindAllStringSubmatch(page.text, -1) {
			seen = append(seen, found[1])
		}
		path = ""
		if link := next.FindStringSubmatch(page.text); link != nil {
			path = strings.ReplaceAll(link[1], "&amp;", "&")
		} else if pages != 3 {
			t.Errorf("%d pages; want 3", pages)
		}
	}
	for i, name := range seen {
		if want := fmt.Sprintf("list%02d", 44-i); name != want {
			t.Fatalf("account %d is %s; want %s", i, name, want)
		}
	}
	if len(seen) != 45 {
		t.Errorf("%d accounts; want 45", len(seen))
	}
	b.get("/admin?search=list&verified=yes").want(t, 200, "There are none.")
	b.get("/admin?search=admin&verified=yes&active=yes&locked=no&domain=example.org").want(t, 200, ">admin</a>")
	b.get("/admin?name=s%C3%B8r").want(t, 200, ">pia</a>")
	b.get("/admin?order=nonsense").want(t, 400)
	b.get("/admin?after=nonsense").want(t, 400)
	b.get("/admin?domain=..").want(t, 422, "Mail domain ")
}

func testAdministrator(t *testing.T, a *app) {
	a.register(t, "max")
	member, b := a.signedIn(t, "max"), a.signedIn(t, "admin")
	member.get("/admin").want(t, 404)
	member.post("/admin/import").want(t, 404)
	if answer := a.browser(t).get("/admin"); answer.path != "/signin" {
		t.Errorf("somebody who is not signed in is at %s", answer.path)
	}
	find := func(name string) string {
		t.Helper()
		found := regexp.MustCompile(`href="(/admin/accounts/[^"]+)">` + name + `<`).FindStringSubmatch(b.get("/admin?search=" + name).text)
		if found == nil {
			t.Fatalf("%s is not in the list", name)
		}
		return found[1]
	}
	account := find("max")
	b.get(account).want(t, 200, "max@example.org", "registered", "verified", "signed in", "session started", "Firefox on Linux", "<td>owner</td>")

	b.post(account+"/end").want(t, 200, "All sessions of the account are ended.", "session ended", "<td>admin</td>")
	if answer := member.get("/account"); answer.path != "/signin" {
		t.Error("a session goes on that an administrator has ended")
	}
	b.post(account+"/lock").want(t, 200, "Locked until", "Unlock")
	member.post("/signin", "identifier", "max", "password", secret).want(t, 422, "too many failed attempts")
	b.get("/admin?locked=yes").want(t, 200, ">max</a>")
	b.post(account+"/unlock").want(t, 200, "The account is unlocked.")
	member.post("/signin", "identifier", "max", "password", secret).want(t, 200, "Sign out")
	b.post(account+"/deactivate").want(t, 200, "deactivated")
	if answer := member.get("/account"); answer.path != "/signin" {
		t.Error("a session of a deactivated account goes on")
	}
	member.post("/signin", "identifier", "max", "password", secret).want(t, 422, "This account was deactivated.")
	b.post(account+"/activate").want(t, 200, "The account is active.")
	member.post("/signin", "identifier", "max", "password", secret).want(t, 200, "Sign out")

	b.post(account+"/nonsense").want(t, 404)
	b.post(find("admin")+"/deactivate").want(t, 400)
	b.get("/admin/accounts/nonsense").want(t, 404)
	b.get("/admin/accounts/"+domain.NewID().String()).want(t, 404)
}

func (b *browser) upload(name, text string) answer {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if name != "" {
		part, err := form.CreateFormFile("file", name)
		if err != nil {
			b.t.Fatal(err)
		}
		_, _ = io.WriteString(part, text)
	}
	_ = form.Close()
	r, err := http.NewRequest(http.MethodPost, b.app.url+"/admin/import", &body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	return b.send(r)
}

func testImport(t *testing.T, a *app) {
	b := a.signedIn(t, "admin")
	b.upload("", "").want(t, 422, "File is missing")
	b.upload("accounts.txt", "x").want(t, 422, "File is neither .csv nor .jsonl")
	var file strings.Builder
	file.WriteString("email,username,hashed_password\n")
	for i := range 300 {
		fmt.Fprintf(&file, "imported%d@example.org,imported%d,!\n", i, i)
	}
	file.WriteString("nonsense,bad,!\n")
	file.WriteString("admin@example.org,somebody,!\n")
	progress := b.upload("accounts.csv", file.String())
	a.tasks.Wait()
	b.get(progress.path).want(t, 200, "It is done.", "<dt>Imported</dt><dd>300</dd>", "<dt>There already</dt><dd>1</dd>", "<dt>Refused</dt><dd>1</dd>", "<td>302</td>")
	b.get("/admin/import").want(t, 200, "accounts.csv")
	b.get("/admin/import/nonsense").want(t, 404)
	b.get("/admin?search=imported299").want(t, 200, ">imported299</a>")
}

func testHealth(t *testing.T, a *app) {
	a.browser(t).get("/healthz").want(t, 200, `{"reachable":true,"writable":true}`)
}

// TestPagesAreSafe looks at the headers of pages, and for what a strict policy would refuse.
func TestPagesAreSafe(t *testing.T) {
	a := newApp(t, filepath.Join(t.TempDir(), "app.db"), nil)
	a.register(t, "ana")
	b := a.signedIn(t, "ana")
	for _, path := range []string{"/", "/register", "/forgot", "/confirm?token=x", "/reset?token=x", "/account", "/account/email", "/account/password",
		"/account/devices", "/account/delete", "/admin", "/admin/import", "/mails", "/nothing"} {
		r, err := http.NewRequest(http.MethodGet, a.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(reply.Body)
		reply.Body.Close()
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-store", "Strict-Transport-Security": "max-age=",
		} {
			if got := reply.Header.Get(header); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q; want %q", path, header, got, want)
			}
		}
		if found := regexp.MustCompile(`(?i)<script|<style| style=| on[a-z]+=|javascript:|ZgotmplZ`).Find(text); found != nil {
			t.Errorf("%s holds %q", path, found)
		}
	}
	for _, cookie := range []string{accessCookie, refreshCookie} {
		if b.cookie(cookie) == "" {
			t.Errorf("there is no %s", cookie)
		}
	}

	// Another site has the browser send a form.
	r, err := http.NewRequest(http.MethodPost, a.url+"/account/devices/end-others", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	b.send(r).want(t, 403)
	b.post("/account", "first_name", strings.Repeat("x", maxBody)).want(t, 413, "larger than this page takes")
}

func TestCookies(t *testing.T) {
	a := newApp(t, filepath.Join(t.TempDir(), "app.db"), nil)
	a.register(t, "ana")
	b := a.browser(t)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	reply, err := b.PostForm(a.url+"/signin", url.Values{"identifier": {"ana"}, "password": {secret}})
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if n := len(reply.Cookies()); n != 2 {
		t.Fatalf("%d cookies; want 2", n)
	}
	for _, c := range reply.Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 {
			t.Errorf("the cookie %s", c.Raw)
		}
	}
}

func TestLimits(t *testing.T) {
	a := newApp(t, filepath.Join(t.TempDir(), "app.db"), func(c *config) {
		c.limits = limits{signIns: 5, signInsOfAccount: 2, registrations: 2, mails: 4, mailsOfAddress: 2, tokens: 2}
	})
	b := a.browser(t)
	status := func(path string, pairs ...string) int { return b.post(path, pairs...).status }
	for i, want := range []int{422, 422, 429} {
		if got := status("/register"); got != want {
			t.Errorf("registration %d: %d; want %d", i+1, got, want)
		}
	}
	for i, want := range []int{422, 422, 429} { // of one account, however it is written
		if got := status("/signin", "identifier", []string{"ana@example.org", "Ana@Example.org", "ANA@EXAMPLE.ORG"}[i], "password", secret); got != want {
			t.Errorf("sign-in %d: %d; want %d", i+1, got, want)
		}
	}
	for i, want := range []int{422, 422, 429} { // of other accounts, from the same address
		if got := status("/signin", "identifier", fmt.Sprintf("eve%d", i), "password", secret); got != want {
			t.Errorf("sign-in %d of others: %d; want %d", i+1, got, want)
		}
	}
	for i, want := range []int{200, 200, 429, 200, 429} {
		address := "ana@example.org"
		if i > 2 {
			address = "bob@example.org"
		}
		if got := status("/forgot", "email", address); got != want {
			t.Errorf("mail %d: %d; want %d", i+1, got, want)
		}
	}
	for i, want := range []int{410, 410, 429} {
		if got := status("/confirm", "token", "nonsense"); got != want {
			t.Errorf("token %d: %d; want %d", i+1, got, want)
		}
	}
	b.post("/register").want(t, 429, "Wait a while")
}

func TestOptions(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", ""},
		{"-listen 127.0.0.1:0", ""},
		{"-smtp localhost:25 -listen :80 -origin https://app.example", ""},
		{"-listen :8080", "localhost only"},
		{"-listen 192.0.2.1:80", "localhost only"},
		{"-smtp localhost:25", "cookies need https://"},
		{"-origin app.example", "-origin is"},
		{"-origin https://app.example/path", "-origin is"},
		{"more", "unexpected argument"},
		{"-nonsense", "not defined"},
	} {
		_, err := readOptions(strings.Fields(test.args), io.Discard)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: %v; want %q", test.args, err, test.want)
		}
	}
}

// TestDocumentedCommands reads the options of the commands in docs/webapp.md.
func TestDocumentedCommands(t *testing.T) {
	text, err := os.ReadFile("../../docs/webapp.md")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			args, ok := strings.CutPrefix(strings.TrimSpace(line), "webapp ")
			if !ok {
				args, ok = strings.CutPrefix(strings.TrimSpace(line), "cd examples/webapp && go run .")
			}
			if _, err := readOptions(strings.Fields(args), io.Discard); !ok || err != nil {
				t.Errorf("%s: %v", line, err)
			}
			read++
		}
	}
	if read == 0 {
		t.Error("there is no command")
	}
}

// TestProgram starts the program, looks at its logs, spans and metrics, and stops it.
func TestProgram(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	database := filepath.Join(t.TempDir(), "app.db")
	ctx, cancel := context.WithCancel(t.Context())
	var written syncBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", address, "-database", database, "-log", "-otel"}, &written)
	}()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		reply, err := http.Get("http://" + address + "/healthz")
		if err == nil {
			reply.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	reply, err := http.PostForm("http://"+address+"/register", url.Values{"email": {"ana@example.org"}, "username": {"ana"}, "password": {secret}})
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != 200 {
		t.Errorf("status %d", reply.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"msg":"request"`, `"path":"/register"`, `"Name":"create user"`, `"Name":"hash password"`, "db.client.operation.duration", "accounts.hash.wait"} {
		if !strings.Contains(written.String(), want) {
			t.Errorf("nothing is written of %s", want)
		}
	}
	if strings.Contains(written.String(), "ana@example.org") || strings.Contains(written.String(), secret) {
		t.Error("what was typed is written")
	}

	if err := run(t.Context(), []string{"-database", database, "-promote", "nobody-here"}, io.Discard); domain.KindOf(err) != domain.ErrNotFound {
		t.Errorf("promoting no account: %v", err)
	}
	if err := run(t.Context(), []string{"-database", database, "-promote", "Ana"}, io.Discard); err != nil {
		t.Error(err)
	}
}

// TestPromote makes an administrator outside the demonstration, where the first account is none.
func TestPromote(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		var mails []mail
		a := newApp(t, database, func(c *config) { c.send = func(m mail) error { mails = append(mails, m); return nil } })
		a.browser(t).post("/register", "email", "ana@example.org", "username", "ana", "password", secret).want(t, 200)
		a.tasks.Wait()
		if len(mails) != 1 {
			t.Errorf("%d mails; want 1", len(mails))
		}
		b := a.signedIn(t, "ana")
		b.get("/admin").want(t, 404)
		b.get("/mails").want(t, 404)
		if err := promote(t.Context(), a.store, "Ana"); err != nil {
			t.Fatal(err)
		}
		b.get("/admin").want(t, 200)
	})
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}
