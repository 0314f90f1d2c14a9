package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

const oidcClient, oidcSecret = "webapp", "the client's secret"

// oidcProvider is a small identity provider. Every visitor is signed in as its person at once.
type oidcProvider struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	person jwt.MapClaims         // sub, email, email_verified, preferred_username
	forge  func(jwt.MapClaims)   // changes what the next token says
	codes  map[string]url.Values // that were given out, with the request that they are for
}

func startProvider(t *testing.T) *oidcProvider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &oidcProvider{key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	answer := func(w http.ResponseWriter, status int, value any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		code := rand.Text()
		p.mu.Lock()
		p.codes[code] = r.URL.Query()
		p.mu.Unlock()
		back := url.Values{"code": {code}, "state": {r.URL.Query().Get("state")}}
		http.Redirect(w, r, r.URL.Query().Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		asked, known := p.codes[r.PostFormValue("code")]
		delete(p.codes, r.PostFormValue("code"))
		client, secret, _ := r.BasicAuth()
		challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !known || client != oidcClient || secret != url.QueryEscape(oidcSecret) || asked.Get("code_challenge_method") != "S256" ||
			asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]) {
			answer(w, 400, map[string]string{"error": "invalid_grant"})
			return
		}
		claims := jwt.MapClaims{"iss": p.URL, "aud": oidcClient, "nonce": asked.Get("nonce"),
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
		for name, value := range p.person {
			claims[name] = value
		}
		if p.forge != nil {
			p.forge(claims)
		}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
		token.Header["kid"] = "1"
		signed, err := token.SignedString(key)
		if err != nil {
			t.Error(err)
		}
		answer(w, 200, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "id_token": signed, "expires_in": 60})
	})
	return p
}

// as has the provider know who comes.
func (p *oidcProvider) as(subject, email string, verified bool, name string, forge func(jwt.MapClaims)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person, p.forge = jwt.MapClaims{"sub": subject, "email": email, "email_verified": verified, "preferred_username": name}, forge
}

// byProvider goes to the provider and back, and on as the page says.
func (b *browser) byProvider() answer {
	b.t.Helper()
	page := b.get("/oidc/start")
	if on := regexp.MustCompile(`http-equiv="refresh" content="0; url=([^"]+)"`).FindStringSubmatch(page.text); page.status == 200 && on != nil {
		return b.get(on[1])
	}
	return page
}

func testProvider(t *testing.T, a *app, p *oidcProvider) {
	// The first sign-in makes an account, the second one finds it.
	p.as("1", "Olga@Example.net", true, "olga", nil)
	b := a.browser(t)
	b.get("/signin").want(t, 200, "Sign in with your identity provider")
	b.byProvider().want(t, 200, "olga", "Sign out")
	b.get("/account/email").want(t, 200, "olga@example.net", ">confirmed<")
	again := a.browser(t)
	again.byProvider().want(t, 200, "olga", "Sign out")

	// The only way in is not removed; with a password it can be.
	b.post("/account/password/unlink", "issuer", p.URL, "subject", "1").want(t, 422, "this is the only way into your account", `href="/account/password" aria-current`)
	b.post("/account/password", "password", secret).want(t, 200, "Your password is set.")
	if answer := again.get("/account"); answer.path != "/signin" {
		t.Error("a session on another device goes on")
	}
	b.post("/account/password/unlink", "issuer", p.URL, "subject", "1").want(t, 200, "You cannot sign in with that identity any more.")
	b.post("/account/password/unlink", "issuer", p.URL, "subject", "1").want(t, 404)

	// An account that has the address is not opened by it; its owner links from within. While signed in, the provider links.
	a.browser(t).byProvider().want(t, 409, "An account with your address exists.")
	b.byProvider().want(t, 200, "You can sign in with your identity provider from now on.", p.URL)
	a.browser(t).byProvider().want(t, 200, "olga", "Sign out")
	b.byProvider().want(t, 409, "Another account has this already.")

	// A name that is taken gets digits, an address that the provider has not verified is to be confirmed.
	p.as("2", "olga@example.com", false, "olga", nil)
	other := a.browser(t)
	other.byProvider().want(t, 200, "Sign out")
	other.get("/account/email").want(t, 200, "not confirmed")
	a.link(t, "olga@example.com", "Confirm your address")

	// Without a password it takes a fresh sign-in to take the account away.
	a.forward(freshTime + time.Second)
	other.post("/account/delete", "sure", "yes").want(t, 422, "within the last ten minutes")
	other.post("/signout")
	other.byProvider().want(t, 200, "Sign out")
	other.post("/account/delete", "sure", "yes").want(t, 200, "Your account is deleted")

	// What is not what it should be lets no one in.
	for name, forge := range map[string]func(jwt.MapClaims){
		"for another client": func(c jwt.MapClaims) { c["aud"] = "another" },
		"of another issuer":  func(c jwt.MapClaims) { c["iss"] = "https://example.org" },
		"of another sign-in": func(c jwt.MapClaims) { c["nonce"] = "another" },
		"that has expired":   func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"without an address": func(c jwt.MapClaims) { c["sub"] = "3"; delete(c, "email") },
	} {
		p.as("1", "olga@example.net", true, "olga", forge)
		fresh := a.browser(t)
		if answer := fresh.byProvider(); answer.status < 400 || fresh.cookie(refreshCookie) != "" {
			t.Errorf("a token %s lets in: %d", name, answer.status)
		}
	}
	p.as("1", "olga@example.net", true, "olga", nil)
	fresh := a.browser(t)
	fresh.get("/oidc/callback?code=x&state=y").want(t, 400, "This sign-in was not begun here")
	fresh.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	fresh.get("/oidc/start").want(t, 303)
	fresh.get("/oidc/callback?code=x&state=y").want(t, 400, "This sign-in was not begun here")
}
