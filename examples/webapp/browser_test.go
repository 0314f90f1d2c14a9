package main

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/softbee/accounts/domain"
)

// axe-core 4.14.1 (https://github.com/dequelabs/axe-core, MPL-2.0), as "npm pack axe-core@4.14.1" has it, compressed by "gzip -9n".
//
//go:embed testdata/axe.min.js.gz
var axeCompressed []byte

// chromium returns the path of a browser. Without one the test is skipped or, with ACCOUNTS_REQUIRE_CHROMIUM=1, fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "there is no Chromium: apt-get install chromium"
	if os.Getenv("ACCOUNTS_REQUIRE_CHROMIUM") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// screen is how somebody looks at a page.
type screen struct {
	width  int64
	scheme string
}

// TestBrowser walks through the whole application in Chromium, by keyboard: every route is used, and every page looked at. No page is wider than the
// screen, axe finds nothing, and the browser refuses nothing. On SQLite that is in light and dark, on a desktop and on a telephone; on PostgreSQL
// once. With ACCOUNTS_SCREENSHOTS=DIR it keeps a picture of each.
func TestBrowser(t *testing.T) {
	program := chromium(t)
	axe, err := gzip.NewReader(bytes.NewReader(axeCompressed))
	if err != nil {
		t.Fatal(err)
	}
	script, err := io.ReadAll(axe)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			screens := []screen{{1280, "light"}, {1280, "dark"}, {390, "dark"}, {390, "light"}}
			if d.name == "postgres" {
				screens = screens[:1]
			}
			oidc := startProvider(t)
			listener, err := net.Listen("tcp", "localhost:0")
			if err != nil {
				t.Fatal(err)
			}
			origin := fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
			a := newApp(t, d.new(t), func(c *config) {
				c.origin = origin
				if c.provider, err = newProvider(t.Context(), oidc.URL, oidcClient, oidcSecret, origin); err != nil {
					t.Fatal(err)
				}
			})
			routes, mux := &visits{routes: map[string]*visit{}}, http.NewServeMux()
			a.routes(func(pattern string, h http.Handler) { mux.Handle(pattern, routes.record(pattern, h)) })
			web := &httptest.Server{Listener: listener, Config: &http.Server{Handler: a.around(mux)}}
			web.Start()
			t.Cleanup(web.Close)

			allocated, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox)...)
			t.Cleanup(cancel)
			ctx, cancel := chromedp.NewContext(allocated)
			t.Cleanup(cancel)
			if err := chromedp.Do(ctx); err != nil { // starts the browser, which a timeout of its context would end
				t.Fatal(err)
			}
			w := &walk{t: t, app: a, ctx: ctx, url: origin, axe: string(script), screens: screens, visits: routes}
			if directory := os.Getenv("ACCOUNTS_SCREENSHOTS"); directory != "" {
				w.screenshots = filepath.Join(directory, d.name)
				if err := os.MkdirAll(w.screenshots, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := chromedp.Listen(ctx, w.hear); err != nil {
				t.Fatal(err)
			}
			w.everyPage(oidc)
			w.missed()
		})
	}
}

// everyPage is the way through the application.
func (w *walk) everyPage(oidc *oidcProvider) {
	a := w.app

	// Register, by the mail that the application shows.
	w.open("/").look("home-empty")
	w.skipLink()
	w.open("/mails").look("mails-empty")
	w.open("/register").look("register")
	w.fill("email", "ana", "username", "a", "password", "short").says(422, "Password is shorter than 15 characters").look("register-refused")
	w.fill("email", "ana@example.org", "username", "ana", "password", secret, "text", "Hello! I am Ana, and this is my first post.").
		says(200, "on its way to ana@example.org").look("registered")
	a.tasks.Wait()
	w.open("/mails").look("mails")
	w.click("article a").says(200, "Is the address yours").look("confirm")
	w.click("main button").says(200, "ana@example.org is confirmed").look("confirmed")

	// Sign in, after a lock.
	w.open("/signin").look("signin")
	for range domain.DefaultLockAttempts {
		w.fill("identifier", "ana", "password", "wrong "+secret).says(422, "There is no such account, or the password is wrong.")
	}
	w.look("signin-refused")
	w.fill("identifier", "ana", "password", secret).says(422, "too many failed attempts").look("signin-locked")
	a.forward(domain.DefaultLockDuration + time.Second)
	w.fill("identifier", "ana", "password", secret).at("/").says(200, "Sign out").look("home-signed-in")

	// Posts, among those of others.
	for _, post := range []struct{ author, text string }{
		{"bruno", "The library is open until eight on Thursdays now."},
		{"carla", "Does anybody have a ladder that I could borrow for the weekend? Three metres would be enough."},
	} {
		a.register(w.t, post.author)
		a.signedIn(w.t, post.author).post("/posts", "text", post.text).want(w.t, 200, "Your post is published.")
	}
	w.open("/").fill("text", "").says(422, "Your post is empty").look("home-refused")
	w.fill("text", "Somebody has left a yellow umbrella at the door.\nIt is at the desk now.").at("/?done=post").look("home")
	w.fill("text", "To be deleted").at("/?done=post").click("article button").at("/?done=unpost").says(200, "The post is deleted.")

	// The next access token comes by the refresh token.
	before := a.find(w.t, "ana").Sessions(a.now())[0].RotatedAt
	a.forward(accessTime + time.Second)
	w.open("/account").says(200, "Your profile")
	if after := a.find(w.t, "ana").Sessions(a.now())[0].RotatedAt; !after.After(before) {
		w.t.Error("the refresh token was not rotated")
	}

	w.profile()
	w.provider(oidc)
	w.administer()

	// Sign out, and set another password by mail.
	w.click("header form button").at("/?done=signout").look("signed-out")
	w.open("/forgot").look("forgot")
	w.fill("email", "ana").says(422, "E-mail address ").look("forgot-refused")
	w.fill("email", "ana@example.com").says(200, "If ana@example.com has an account").look("forgotten")
	link := a.link(w.t, "ana@example.com", "Set another password")
	w.open(link).look("reset")
	w.fill("password", "short").says(422, "Password is shorter").look("reset-refused")
	w.fill("password", "one more good passphrase").at("/signin?done=reset").look("signin-after-reset")
	w.open(link).fill("password", "one more good passphrase").says(410, "used already").look("link-used")
	w.open("/account").at("/signin")
	w.fill("identifier", "ana@example.com", "password", "one more good passphrase").at("/")

	w.open("/account/delete").look("delete")
	w.click("main button").says(422, "The box must be checked").look("delete-refused")
	w.focus("input[name=sure]")
	w.run(chromedp.KeyEvent(" "))
	w.fill("current", "one more good passphrase").at("/?done=deleted").look("deleted")

	w.open("/nothing").says(404, "no such page").look("not-found")
	w.open("/healthz").says(200, `{"reachable":true,"writable":true}`)
}

// profile walks through the pages of an account.
func (w *walk) profile() {
	a := w.app
	w.open("/account").look("profile")
	w.fill("first_name", strings.Repeat("x", 51)).says(422, "First name is longer").look("profile-refused")
	w.fill("first_name", "Ana", "last_name", "Sørensen").at("/account?done=profile").look("profile-saved")

	w.open("/account/email").look("email")
	w.fill("email", "ana@example.com", "current", "wrong "+secret).says(422, "Current password is wrong").look("email-refused")
	w.fill("email", "ana@example.com", "current", secret).at("/account/email?done=email").look("email-pending")
	w.click("form[action$=send] button").at("/account/email?done=mail")
	w.click("form[action$=cancel] button").at("/account/email?done=unemail")
	w.fill("email", "ana@example.com", "current", secret).at("/account/email?done=email")
	w.open(a.link(w.t, "ana@example.com", "Confirm your address")).click("main button").says(200, "ana@example.com is confirmed")

	ana := a.find(w.t, "ana").ID()
	for _, label := range []string{"Firefox on Windows", "Safari on iPhone", "Chrome on Android"} {
		if _, err := a.store.IssueToken(w.t.Context(), ana, domain.SessionPolicy{Label: label}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.open("/account/devices").says(200, "Safari on iPhone").look("devices")
	w.click("main li button").at("/account/devices?done=device")
	w.click("main > form button").at("/account/devices?done=devices").look("devices-alone")
	if n := len(a.find(w.t, "ana").Sessions(a.now())); n != 1 {
		w.t.Errorf("%d sessions; want the browser's alone", n)
	}

	w.open("/account/password").look("password")
	w.fill("current", secret, "password", "short").says(422, "New password is shorter").look("password-refused")
	w.fill("current", secret, "password", "another good passphrase").at("/account/password?done=password").look("password-changed")
}

// provider links an identity, and signs in by it.
func (w *walk) provider(oidc *oidcProvider) {
	oidc.as("1", "ana@example.com", true, "ana", nil)
	const link = `a[href="/oidc/start"]`
	w.open("/account/password")
	w.stay("/account/password?done=linked", func() { w.press(link) })
	w.says(200, "Go on").look("continue")
	w.click("main a").at("/account/password?done=linked").look("password-linked")
	w.click("form[action$=unlink] button").at("/account/password?done=unlinked")
	w.click(link).settle("/account/password?done=linked")
	w.click("header form button").at("/?done=signout").open("/signin").click(link).settle("/").says(200, "ana", "Sign out")
	w.click("header form button")

	// Somebody who has no account gets one, without a password; the address is to be confirmed.
	oidc.as("2", "olga@example.net", false, "olga", nil)
	w.open("/signin").click(link).settle("/").says(200, "olga")
	w.open("/account/email").says(200, "not confirmed").look("email-unconfirmed")
	w.open("/account/password").says(200, "Add a password").look("password-none")
	w.click("form[action$=unlink] button").says(422, "the only way into your account").look("password-unlink-refused")
	w.open("/oidc/callback?code=x&state=y").says(400, "not begun here").look("provider-failed")
	w.open("/").click("header form button")

	oidc.as("1", "ana@example.com", true, "ana", nil)
	w.open("/signin").click(link).settle("/")
}

// administer walks through the pages of an administrator.
func (w *walk) administer() {
	a := w.app
	for i, name := range strings.Fields("amara boris diego elena farid greta hugo ines jonas kofi lena mateo nadia oscar paula quang rosa samir tara uwe vera wei ximena yusuf zoe") {
		w.join(name, i%4 != 1)
	}
	w.join("a-name-that-is-as-long-as-usernames-may-be-in-here", true)
	carla, bruno := a.find(w.t, "carla"), a.find(w.t, "bruno")
	if _, err := a.store.LockUntil(w.t.Context(), carla.ID(), a.now().Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := a.store.Deactivate(w.t.Context(), a.find(w.t, "farid").ID()); err != nil {
		w.t.Fatal(err)
	}
	w.open("/admin").says(200, "carla", "Next page").look("list")
	w.click("main nav a").says(200, "zoe", "First page").look("list-next")
	w.click("main nav a").at("/admin?").says(200, "carla")
	w.choose("order", "u").choose("descending", "d").choose("active", "y").fill("domain", "example.org").says(200, "zoe")
	if names := get(w, chromedp.Evaluate[string](`[...document.querySelectorAll("td a")].map(a => a.textContent).join(" ")`)); !strings.HasPrefix(names, "zoe yusuf ximena ") ||
		strings.Contains(names, "farid") {
		w.t.Errorf("the list is %s", names)
	}
	w.look("list-found")
	w.fill("search", "no-one-has-this").says(200, "There are none.").look("list-none")
	w.fill("domain", "..").says(422, "Mail domain ").look("list-refused")

	// One account, and what can be done to it.
	w.open("/admin?search=bruno").click("td a").says(200, "bruno@example.org", "registered").look("account")
	for _, step := range []struct{ action, says string }{
		{"end", "All sessions of the account are ended."}, {"lock", "The account is locked"}, {"unlock", "The account is unlocked."},
		{"deactivate", "The account is deactivated"}, {"activate", "The account is active."},
	} {
		w.click("form[action$='/"+step.action+"'] button").at("/admin/accounts/"+bruno.ID().String()+"?done="+step.action).says(200, step.says)
		if step.action == "lock" || step.action == "deactivate" {
			w.look("account-" + step.action)
		}
	}
	w.open("/admin/accounts/" + a.find(w.t, "ana").ID().String()).look("account-own")

	// A file.
	w.open("/admin/import").look("import")
	w.click("main button").says(422, "File is missing").look("import-refused")
	file := filepath.Join(w.t.TempDir(), "members.csv")
	if err := os.WriteFile(file, []byte("email,username,hashed_password\nnew@example.org,new-one,!\nnonsense,bad,!\nana@example.com,ana,!\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.run(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	w.click("main button")
	a.tasks.Wait()
	w.arrive(chromedp.Reload()).says(200, "It is done.", "Imported\n1").look("import-done")
	a.imports.add(&importJob{ID: "running", File: "last-year.jsonl", size: 1000, read: 420})
	w.open("/admin/import/running").says(200, "42 %")
	w.stay("/admin/import/running", func() {})
	w.look("import-running")
	w.open("/admin/import").says(200, "last-year.jsonl, at 42 %").look("import-list")
}

// join makes an account without a password.
func (w *walk) join(name string, confirmed bool) {
	w.t.Helper()
	email, emailErr := domain.ParseEmail(name + "@example.org")
	username, nameErr := domain.ParseUsername(name)
	user, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, w.app.now())
	if err = errors.Join(emailErr, nameErr, err); err == nil {
		err = w.app.store.Create(w.t.Context(), user)
	}
	if err == nil && confirmed {
		_, err = w.app.store.Verify(w.t.Context(), user.ID())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// visits are what the routes of the application have answered.
type visits struct {
	mu     sync.Mutex
	routes map[string]*visit
	last   *visit // the one of the last page
	held   string // the address that is not answered
	come   chan struct{}
}

type visit struct {
	used   bool // it has done what it is for
	page   bool // the answer was a page
	looked bool // at that page
}

func (v *visits) record(pattern string, h http.Handler) http.Handler {
	route := &visit{}
	v.routes[pattern] = route
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		held := r.URL.RequestURI() == v.held
		if held {
			v.held = ""
			close(v.come)
		}
		v.mu.Unlock()
		if held {
			<-r.Context().Done()
			return
		}
		answer := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(answer, r)
		v.mu.Lock()
		defer v.mu.Unlock()
		header := answer.Header()
		good := answer.status < 400 && header.Get("Location") != "/signin" || pattern == "/" && answer.status == http.StatusNotFound
		route.used = route.used || good
		if header.Get("Location") == "" && strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			route.page = route.page || good
			v.last = nil
			if good {
				v.last = route
			}
		}
	})
}

// hold lets no request for an address through until the browser gives it up. It returns a channel that is closed when one has come.
func (v *visits) hold(address string) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held, v.come = address, make(chan struct{})
	return v.come
}

func (v *visits) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last != nil {
		v.last.looked = true
	}
}

// walk is a browser on its way through the application.
type walk struct {
	t           *testing.T
	app         *app
	ctx         context.Context
	url         string
	axe         string
	screens     []screen
	visits      *visits
	screenshots string // directory; "" keeps none
}

// hear fails for what the browser refuses: a style in the page, a cookie that is not safe, a form for another site.
func (w *walk) hear(event any) {
	if e, ok := event.(*log.EventEntryAdded); ok && (e.Entry.Source == log.EntrySourceSecurity || e.Entry.Source == log.EntrySourceJavascript) {
		w.t.Errorf("the browser says: %s (%s)", e.Entry.Text, e.Entry.URL)
	}
}

// missed fails for routes that were not used, and for pages that were not looked at.
func (w *walk) missed() {
	w.visits.mu.Lock()
	defer w.visits.mu.Unlock()
	for pattern, v := range w.visits.routes {
		switch {
		case !v.used:
			w.t.Errorf("the walk has not used %s", pattern)
		case v.page && !v.looked:
			w.t.Errorf("the walk has not looked at the page of %s", pattern)
		}
	}
}

func (w *walk) run(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	get(w, chromedp.Steps(actions...))
}

// patience is how long one step may take on a machine that has much to do.
const patience = time.Minute

// get runs an action, and returns what it finds.
func get[T any](w *walk, action chromedp.Action[T]) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

// arrive runs actions that lead to another page, and waits until that is loaded.
func (w *walk) arrive(actions ...chromedp.Action[chromedp.Void]) *walk {
	w.t.Helper()
	w.run(append([]chromedp.Action[chromedp.Void]{chromedp.Evaluate[chromedp.Void]("window.left = true")}, actions...)...)
	w.await("another page", `!window.left && document.readyState == "complete"`)
	return w
}

// await waits until an expression holds. While the browser goes to another page there is nothing that could evaluate it.
func (w *walk) await(what, expression string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil && holds {
			return
		}
		if ctx.Err() != nil {
			w.t.Fatalf("the browser does not come to %s; it is at %s: %v", what, get(w, chromedp.Location()), err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *walk) open(path string) *walk {
	w.t.Helper()
	return w.arrive(chromedp.Navigate(w.url + path))
}

// focus selects an element, and the text in it.
func (w *walk) focus(selector string) {
	w.t.Helper()
	const script = `(e => { e?.focus(); if (e?.type != "checkbox") e?.select?.(); return !!e && document.activeElement == e })(document.querySelector(%q))`
	if !get(w, chromedp.Evaluate[bool](fmt.Sprintf(script, selector))) {
		w.t.Fatalf("nothing at %s takes the focus for %q", get(w, chromedp.Location()), selector)
	}
}

// press presses Enter on the first link or button that a selector finds.
func (w *walk) press(selector string) {
	w.t.Helper()
	w.focus(selector)
	w.run(chromedp.KeyEvent(kb.Enter))
}

// click does that, and waits for the page that it leads to.
func (w *walk) click(selector string) *walk {
	w.t.Helper()
	w.focus(selector)
	return w.arrive(chromedp.KeyEvent(kb.Enter))
}

// fill types into inputs, pairs of an id and a text, and presses Enter: in the last one or, where Enter begins another line, on the button after it.
func (w *walk) fill(pairs ...string) *walk {
	w.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		w.focus("#" + pairs[i])
		w.run(chromedp.KeyEvent(kb.Backspace + pairs[i+1]))
	}
	end := kb.Enter
	if get(w, chromedp.Evaluate[bool](`document.activeElement.tagName == "TEXTAREA"`)) {
		end = kb.Tab + kb.Enter
	}
	return w.arrive(chromedp.KeyEvent(end))
}

// choose selects the option of a list that begins with a letter.
func (w *walk) choose(id, letter string) *walk {
	w.t.Helper()
	w.focus("#" + id)
	w.run(chromedp.KeyEvent(letter))
	return w
}

// at demands where the browser is.
func (w *walk) at(path string) *walk {
	w.t.Helper()
	if at := get(w, chromedp.Location()); at != w.url+path {
		w.t.Errorf("the browser is at %s; want %s", at, path)
	}
	return w
}

// says demands a status, and texts that can be read.
func (w *walk) says(status int, texts ...string) *walk {
	w.t.Helper()
	if got := get(w, chromedp.Evaluate[int](`performance.getEntriesByType("navigation")[0].responseStatus`)); got != status {
		w.t.Errorf("%s has status %d; want %d", get(w, chromedp.Location()), got, status)
	}
	page := get(w, chromedp.Evaluate[string]("document.body.innerText"))
	for _, text := range texts {
		if !strings.Contains(page, text) {
			w.t.Errorf("%s does not say %q:\n%s", get(w, chromedp.Location()), text, page)
		}
	}
	return w
}

// stay keeps the browser on a page that goes on to an address by itself.
func (w *walk) stay(address string, leave func()) {
	w.t.Helper()
	come := w.visits.hold(address)
	leave()
	select {
	case <-come:
		w.run(chromedp.Stop())
	case <-time.After(patience):
		w.t.Fatalf("the browser does not go on to %s by itself", address)
	}
}

// settle waits until the browser has come to a page by itself.
func (w *walk) settle(path string) *walk {
	w.t.Helper()
	w.await(path, fmt.Sprintf(`location.href == %q && document.readyState == "complete"`, w.url+path))
	return w
}

// skipLink demands that the first Tab leads to the link past the navigation.
func (w *walk) skipLink() {
	w.t.Helper()
	w.run(chromedp.KeyEvent(kb.Tab))
	if focused := get(w, chromedp.Evaluate[string]("document.activeElement.textContent")); focused != "Skip to the content" {
		w.t.Errorf("the first Tab leads to %q", focused)
	}
}

func emulateScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	})
}

// seen is what the browser says of a page.
type seen struct {
	Wide     int      // pixels beyond the width of the screen
	Passed   int      // rules of axe that it obeys
	Findings []string // those that it does not obey, and those of which axe is not sure
}

// What depends on colours alone is looked at again in the dark.
const (
	allRules    = `{rules: {"target-size": {enabled: true}}}`
	colourRules = `{runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block"]}}`
)

const lookAtPage = `axe.run(%s).then(r => ({
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  passed: r.passes.length,
  findings: [...r.violations, ...r.incomplete].map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html + " " + [...n.any, ...n.all, ...n.none].map(a => a.message).join("; ")).join(" | ")),
}))`

func (w *walk) look(name string) *walk {
	w.t.Helper()
	w.visits.look()
	w.run(chromedp.Evaluate[chromedp.Void](w.axe))
	for _, s := range w.screens {
		w.run(chromedp.EmulateViewport(s.width, 800), emulateScheme(s.scheme))
		rules := allRules
		if s.scheme == "dark" {
			rules = colourRules
		}
		found := get(w, chromedp.Evaluate[seen](fmt.Sprintf(lookAtPage, rules), chromedp.EvalAwaitPromise))
		if found.Wide > 0 {
			w.t.Errorf("%s is %d pixels wider than a screen of %d", name, found.Wide, s.width)
		}
		if found.Passed == 0 || len(found.Findings) > 0 {
			w.t.Errorf("%s, %s at %d: axe passes %d rules, and finds\n%s", name, s.scheme, s.width, found.Passed, strings.Join(found.Findings, "\n"))
		}
		if w.screenshots == "" {
			continue
		}
		picture := get(w, chromedp.FullScreenshot(100))
		if err := os.WriteFile(filepath.Join(w.screenshots, fmt.Sprintf("%s-%s-%d.png", name, s.scheme, s.width)), picture, 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return w
}
