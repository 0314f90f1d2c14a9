package main

import (
	"context"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/examples/webapp/ent/user"
)

// A browser keeps two cookies. The access token says who is there for a few minutes, without a look into the database. The refresh token gets the
// next pair of both when that has expired. Neither can be read by scripts, or set by another host of the domain.
const (
	accessCookie  = "__Host-access"
	refreshCookie = "__Host-refresh"
	accessTime    = 5 * time.Minute
)

// visitor is who sends a request. The zero visitor is not signed in.
type visitor struct {
	ID      domain.ID
	Session domain.SessionID
	Name    string
	Admin   bool // for links only: pages for administrators ask the database
}

// SignedIn tells whether somebody is.
func (v visitor) SignedIn() bool { return !v.ID.IsZero() }

// accessClaims are what an access token says (RFC 7519).
type accessClaims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
	Name    string `json:"name"`
	Admin   bool   `json:"admin,omitempty"`
}

// registered returns the claims that every token has. The audience keeps tokens of one purpose from being used for another.
func (s *server) registered(purpose, subject string, lifetime time.Duration) jwt.RegisteredClaims {
	return jwt.RegisteredClaims{Issuer: s.origin, Audience: jwt.ClaimStrings{purpose}, Subject: subject,
		ExpiresAt: jwt.NewNumericDate(s.now().Add(lifetime))}
}

func (s *server) sign(claims jwt.Claims) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(s.key)
}

func (s *server) verify(text, purpose string, claims jwt.Claims) error {
	_, err := jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Name}), jwt.WithIssuer(s.origin), jwt.WithAudience(purpose),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	return err
}

// identify returns who sends the request: by the access token or, once that has expired, by the refresh token. That is exchanged for the next
// one; requests that bring the same one at the same time get the same next one.
func (s *server) identify(w http.ResponseWriter, r *http.Request) (visitor, error) {
	if cookie, err := r.Cookie(accessCookie); err == nil {
		if v, ok := s.readAccess(cookie.Value); ok {
			return v, nil
		}
	}
	cookie, err := r.Cookie(refreshCookie)
	if err != nil {
		return visitor{}, nil //nolint:nilerr // there is none
	}
	token, err := domain.ParseRefreshToken(cookie.Value)
	if err == nil {
		var grant domain.Grant
		if grant, err = s.store.RotateToken(r.Context(), token, domain.SessionPolicy{}); err == nil {
			return s.keep(r.Context(), w, grant)
		}
	}
	switch domain.KindOf(err) {
	case domain.ErrTokenReused: // somebody else has a copy; the session is ended
		s.later(r, "warn of a stolen token", func(ctx context.Context) error { return s.warnOfTheft(ctx, token.UserID()) })
		fallthrough
	case domain.ErrTokenInvalid, domain.ErrTokenExpired, domain.ErrInactive:
		clearCookies(w)
		return visitor{}, nil
	}
	return visitor{}, err
}

func (s *server) readAccess(text string) (visitor, bool) {
	var claims accessClaims
	if err := s.verify(text, "access", &claims); err != nil {
		return visitor{}, false
	}
	id, idErr := domain.ParseID(claims.Subject)
	session, sessionErr := domain.ParseSessionID(claims.Session)
	return visitor{ID: id, Session: session, Name: claims.Name, Admin: claims.Admin}, idErr == nil && sessionErr == nil
}

// begin signs an account in on this device.
func (s *server) begin(w http.ResponseWriter, r *http.Request, id domain.ID) error {
	grant, err := s.store.IssueToken(r.Context(), id, domain.SessionPolicy{Label: deviceLabel(r)})
	if err != nil {
		return err
	}
	_, err = s.keep(r.Context(), w, grant)
	return err
}

// keep gives the browser what a grant is made of.
func (s *server) keep(ctx context.Context, w http.ResponseWriter, grant domain.Grant) (visitor, error) {
	account, err := s.ent().User.Query().Where(user.ID(grant.UserID.UUID())).Select(user.FieldUsername, user.FieldIsAdmin).Only(ctx)
	if err != nil {
		return visitor{}, err
	}
	v := visitor{ID: grant.UserID, Session: grant.Session.ID, Name: account.Username, Admin: account.IsAdmin}
	access, err := s.sign(accessClaims{s.registered("access", v.ID.String(), accessTime), v.Session.String(), v.Name, v.Admin})
	if err != nil {
		return visitor{}, err
	}
	setCookie(w, accessCookie, access, accessTime, http.SameSiteStrictMode)
	setCookie(w, refreshCookie, grant.Token.Reveal(), grant.Session.ExpiresAt.Sub(s.now()), http.SameSiteStrictMode)
	return v, nil
}

func setCookie(w http.ResponseWriter, name, value string, lifetime time.Duration, sameSite http.SameSite) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(lifetime.Seconds()), Secure: true, HttpOnly: true, SameSite: sameSite})
}

func clearCookies(w http.ResponseWriter) {
	for _, name := range []string{accessCookie, refreshCookie} {
		setCookie(w, name, "", -time.Second, http.SameSiteStrictMode)
	}
}

func (s *server) warnOfTheft(ctx context.Context, id domain.ID) error {
	account, err := s.store.FindByID(ctx, id)
	if err != nil {
		return unless(err, domain.ErrNotFound)
	}
	return s.warn(account.Email(), "A session was ended", "Somebody used a copy of what your browser keeps to stay signed in. That session was ended.")
}
