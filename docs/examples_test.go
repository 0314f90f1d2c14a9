package docs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// The blocks of Go in the documents that no other test or example has.

type accountPage struct {
	store *infra.Store
}

func (p accountPage) get(w http.ResponseWriter, r *http.Request, id domain.ID) error {
	user, err := p.store.FindByID(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(user.Version(), 10)))
	return json.NewEncoder(w).Encode(user)
}

func (p accountPage) put(w http.ResponseWriter, r *http.Request, id domain.ID) error {
	match, err := strconv.Unquote(r.Header.Get("If-Match"))
	if err != nil {
		w.WriteHeader(http.StatusPreconditionRequired) // RFC 6585
		return nil
	}
	version, err := strconv.ParseInt(match, 10, 64)
	if err != nil {
		return err
	}
	user, err := p.store.Update(r.Context(), id, func(u *domain.User) error {
		return cmp.Or(u.ExpectVersion(version), u.Rename(r.FormValue("first_name"), r.FormValue("last_name")))
	})
	if errors.Is(err, domain.ErrConflict) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return nil
	}
	if err != nil {
		return err
	}
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(user.Version(), 10)))
	return nil
}

// An edit with the version that was read succeeds, once; without a version it is refused.
func TestETags(t *testing.T) {
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	ana := storetest.NewUser(t, "ana")
	if err := store.Create(t.Context(), ana); err != nil {
		t.Fatal(err)
	}
	page := accountPage{store}
	read := httptest.NewRecorder()
	if err := page.get(read, httptest.NewRequest(http.MethodGet, "/", nil), ana.ID()); err != nil {
		t.Fatal(err)
	}
	etag := read.Header().Get("ETag")
	put := func(etag, name string) int {
		request := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("first_name="+name))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("If-Match", etag)
		response := httptest.NewRecorder()
		if err := page.put(response, request, ana.ID()); err != nil {
			t.Fatal(err)
		}
		return response.Code
	}
	if first, second, without := put(etag, "Ana"), put(etag, "Anna"), put("", "Anna"); first != http.StatusOK ||
		second != http.StatusPreconditionFailed || without != http.StatusPreconditionRequired {
		t.Errorf("%d, %d, %d", first, second, without)
	}
}

// observed opens a store that is watched, as docs/monitoring.md has it.
func observed(ctx context.Context, url string, tracerProvider trace.TracerProvider, meterProvider metric.MeterProvider) error {
	observer, err := otel.Observer(tracerProvider, meterProvider) // those of go.opentelemetry.io/otel, or your own
	if err != nil {
		return err
	}
	store, err := postgres.Open(ctx, url, infra.WithObserver(observer, infra.LogRefusals(slog.Default())))
	if err != nil {
		return err
	}
	hasher, err := password.New(password.Policy{Observers: []domain.Observer{observer}})
	if err != nil {
		return err
	}
	authenticator, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{Observers: []domain.Observer{observer}})
	if err != nil {
		return err
	}
	stopPool, err := otel.ObservePool(store, "accounts", meterProvider)
	if err != nil {
		return err
	}
	stopQueue, err := otel.ObserveHashing(func() (running, waiting int) {
		s := hasher.Stats()
		return s.Running, s.Waiting
	}, meterProvider)
	if err != nil {
		return err
	}
	_, err = authenticator.Authenticate(ctx, "ana", "correct horse battery staple")
	return errors.Join(err, stopPool(), stopQueue(), store.Close())
}

// What the documents say to observe can be observed: an unknown account is refused, and that is all.
func TestDocumentedObservers(t *testing.T) {
	if err := observed(t.Context(), storetest.PostgresURL(t), tracenoop.NewTracerProvider(), noop.NewMeterProvider()); !errors.Is(err, domain.ErrBadCredentials) {
		t.Error(err)
	}
}

// audited opens a store with the trail and a hook of its own, as docs/events.md has it.
func audited(ctx context.Context, url string, welcome infra.Hook) (*infra.Store, error) {
	return postgres.Open(ctx, url,
		audit.WithTrail(audit.Options{}),                // the trail, see below
		infra.WithHook(welcome, domain.EventRegistered)) // this kind only
}

func TestDocumentedHooks(t *testing.T) {
	var welcomed domain.ID
	var client netip.Addr
	store, err := audited(t.Context(), storetest.PostgresURL(t), func(_ context.Context, _ *infra.Tx, event domain.Event) error {
		welcomed, client = event.UserID, event.Origin.Client
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, id, addr, admin := t.Context(), "request", netip.MustParseAddr("203.0.113.7"), "admin"
	ctx = domain.WithOrigin(ctx, domain.Origin{RequestID: id, Client: addr, Actor: admin})
	ana := storetest.NewUser(t, "ana")
	if err := store.Create(ctx, ana); err != nil || welcomed != ana.ID() || client != addr {
		t.Error(err, welcomed, client)
	}
}

// claims are what a provider says of a person, once that was verified.
type claims struct{ Issuer, Subject string }

// callback answers a sign-in at an identity provider, as docs/identities.md has it.
func callback(ctx context.Context, store *infra.Store, claims claims, firstSignIn func(context.Context, domain.Identity) error) error {
	identity, err := domain.ParseIdentity(claims.Issuer, claims.Subject)
	if err != nil {
		return err
	}
	user, err := store.RecordIdentitySignIn(ctx, identity)
	if errors.Is(err, domain.ErrNotFound) {
		return firstSignIn(ctx, identity) // see below
	}
	if err != nil {
		return err // domain.ErrInactive, …
	}
	_, err = store.IssueToken(ctx, user.ID(), domain.SessionPolicy{})
	return err
}

func TestDocumentedCallback(t *testing.T) {
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	ana := storetest.NewUser(t, "ana")
	if err := store.Create(t.Context(), ana); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first time it is linked, the second time it is found
		if err := callback(t.Context(), store, claims{"https://id.example.org", "1"}, func(ctx context.Context, identity domain.Identity) error {
			_, err := store.LinkIdentity(ctx, ana.ID(), identity)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	sessions, err := store.Sessions(t.Context(), ana.ID())
	if err != nil || len(sessions) != 1 {
		t.Errorf("%d sessions: %v", len(sessions), err)
	}
}
