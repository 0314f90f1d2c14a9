package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// provider is an identity provider of OpenID Connect.
type provider struct {
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
}

// newProvider asks the provider for its addresses and keys.
func newProvider(ctx context.Context, issuer, client, secret, origin string) (*provider, error) {
	p, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	return &provider{
		oauth: oauth2.Config{ClientID: client, ClientSecret: secret, Endpoint: p.Endpoint(), RedirectURL: origin + "/oidc/callback",
			Scopes: []string{oidc.ScopeOpenID, "email", "profile"}},
		verifier: p.Verifier(&oidc.Config{ClientID: client}),
	}, nil
}

// flowClaims are what must be known when somebody comes back from the provider. They are signed, and kept in a cookie: the cookies of a session are
// not sent with a request that another site has begun.
type flowClaims struct {
	jwt.RegisteredClaims        // the subject is the account to link with; "" to sign in
	Session              string `json:"sid,omitempty"`
	State                string `json:"state"`
	Nonce                string `json:"nonce"`
	Verifier             string `json:"verifier"` // PKCE (RFC 7636)
}

const (
	flowCookie = "__Host-oidc"
	flowTime   = 10 * time.Minute
)

// startOIDC sends the browser to the provider.
func (s *server) startOIDC(w http.ResponseWriter, r *http.Request) error {
	flow := flowClaims{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	subject := ""
	if v := visitorOf(r); v.SignedIn() {
		subject, flow.Session = v.ID.String(), v.Session.String()
	}
	flow.RegisteredClaims = s.registered("oidc", subject, flowTime)
	signed, err := s.sign(flow)
	if err != nil {
		return err
	}
	setCookie(w, flowCookie, signed, flowTime, http.SameSiteLaxMode)
	return redirect(w, r, s.provider.oauth.AuthCodeURL(flow.State, oidc.Nonce(flow.Nonce), oauth2.S256ChallengeOption(flow.Verifier)))
}

// personClaims are what a provider says of a person.
type personClaims struct {
	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
	Name     string `json:"preferred_username"`
}

// finishOIDC continues the sign-in of a visitor that comes back from the provider.
func (s *server) finishOIDC(w http.ResponseWriter, r *http.Request) error {
	var flow flowClaims
	cookie, err := r.Cookie(flowCookie)
	if err != nil || s.verify(cookie.Value, "oidc", &flow) != nil || r.FormValue("state") != flow.State {
		s.showMessage(w, r, http.StatusBadRequest, "Not signed in", "This sign-in was not begun here, or took too long. Try again.")
		return nil
	}
	setCookie(w, flowCookie, "", -time.Second, http.SameSiteLaxMode)
	identity, person, err := s.provider.ask(r.Context(), r.FormValue("code"), flow)
	if err != nil {
		s.log.WarnContext(r.Context(), "sign-in by provider", "error", err.Error())
		s.showMessage(w, r, http.StatusBadGateway, "Not signed in", "The identity provider has not signed you in.")
		return nil
	}
	if flow.Subject != "" {
		return s.link(w, r, flow, identity)
	}
	account, err := s.store.RecordIdentitySignIn(r.Context(), identity)
	if errors.Is(err, domain.ErrNotFound) {
		account, err = s.firstSignIn(r, identity, person)
	}
	switch {
	case errors.Is(err, domain.ErrTaken): // by its address: see below
		s.showMessage(w, r, http.StatusConflict, "You have an account", "An account with your address exists. Sign in to it, and link your identity provider there.")
		return nil
	case err != nil:
		return err
	}
	if err := s.begin(w, r, account.ID()); err != nil {
		return err
	}
	return s.goOn(w, r, "/")
}

// ask exchanges the provider's code for what it says of the person, and checks who says it, to whom, and for which sign-in.
func (p *provider) ask(ctx context.Context, code string, flow flowClaims) (identity domain.Identity, person personClaims, err error) {
	token, err := p.oauth.Exchange(ctx, code, oauth2.VerifierOption(flow.Verifier))
	if err != nil {
		return identity, person, err
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return identity, person, err
	}
	if idToken.Nonce != flow.Nonce {
		return identity, person, errors.New("the nonce is not the one that was sent")
	}
	if err := idToken.Claims(&person); err != nil {
		return identity, person, err
	}
	identity, err = domain.ParseIdentity(idToken.Issuer, idToken.Subject)
	return identity, person, err
}

// firstSignIn makes an account without a password for somebody whom the provider knows. An account that has the same address already is not linked:
// its owner signs in to it, and links from there (docs/identities.md has when an equal address may be enough).
func (s *server) firstSignIn(r *http.Request, identity domain.Identity, person personClaims) (*domain.User, error) {
	email, err := domain.ParseEmail(person.Email)
	if err != nil {
		return nil, err
	}
	local, _, _ := strings.Cut(email.String(), "@")
	for try := 0; ; try++ {
		user, err := newMember(email, s.now(), try, person.Name, local)
		if err != nil {
			return nil, err
		}
		err = s.store.InTx(r.Context(), func(tx *infra.Tx) error {
			if err := tx.Create(r.Context(), user); err != nil {
				return err
			}
			if _, err := tx.LinkIdentity(r.Context(), user.ID(), identity); err != nil {
				return err
			}
			if !person.Verified {
				return nil
			}
			_, err := tx.Verify(r.Context(), user.ID())
			return err
		}, infra.Retry(3))
		refused := new(domain.Error)
		if errors.Is(err, domain.ErrTaken) && errors.As(err, &refused) && refused.Field == "username" && try < 5 {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !person.Verified {
			s.later(r, "mail a confirmation", func(ctx context.Context) error { return s.mailConfirmation(ctx, user.ID()) })
		}
		return s.store.RecordIdentitySignIn(r.Context(), identity)
	}
}

// newMember returns an account without a password, by the first of the names that can be one. Digits follow it from the second try on.
func newMember(email domain.Email, now time.Time, try int, names ...string) (*domain.User, error) {
	for _, name := range append(names, "member") {
		if try > 0 || name == "member" {
			name += strconv.FormatInt(now.UnixNano()%100_000, 10)
		}
		if username, err := domain.ParseUsername(name); err == nil {
			return domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, now)
		}
	}
	return nil, &domain.Error{Kind: domain.ErrInvalid, Field: "username", Reason: "cannot be made of what the provider says"}
}

// link lets the owner of a session that is still alive sign in by the identity too.
func (s *server) link(w http.ResponseWriter, r *http.Request, flow flowClaims, identity domain.Identity) error {
	id, err := domain.ParseID(flow.Subject)
	if err != nil {
		return err
	}
	session, err := domain.ParseSessionID(flow.Session)
	if err != nil {
		return err
	}
	account, err := s.store.FindByID(r.Context(), id)
	if err != nil {
		return err
	}
	if !account.IsActive() || sessionOf(account, visitor{ID: id, Session: session}, s.now()).ID.IsZero() {
		return s.goOn(w, r, "/signin")
	}
	if _, err := s.store.LinkIdentity(r.Context(), id, identity); err != nil {
		return err
	}
	return s.goOn(w, r, "/account/password?done=linked")
}

// goOn has the browser go on by itself. A redirection would be part of the request that the provider's page has begun, with which the cookies of the
// session are not sent.
func (s *server) goOn(w http.ResponseWriter, r *http.Request, to string) error {
	return s.render(w, r, http.StatusOK, "continue", page{Title: "Signed in", Data: to})
}
