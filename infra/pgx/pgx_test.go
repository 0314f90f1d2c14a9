package pgx_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/storetest"
)

func open(t *testing.T, url string, options ...infra.Option) *infra.Store {
	t.Helper()
	store, err := pgx.Open(t.Context(), url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestContract(t *testing.T) {
	domaintest.RunEveryMethod(t, func(t *testing.T, clock func() time.Time) domain.Repository {
		return open(t, storetest.PostgresURL(t), infra.WithClock(clock))
	})
}

// TestOpenRefused looks at the kinds of connections that cannot be made, and for the password in their errors.
func TestOpenRefused(t *testing.T) {
	address, err := url.Parse(storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*url.URL)
		want   domain.Kind
	}{
		"no server":      {func(u *url.URL) { u.Host = "127.0.0.1:1" }, domain.ErrUnavailable},
		"no database":    {func(u *url.URL) { u.Path = "/nothing" }, domain.ErrUnavailable},
		"no parameter":   {func(u *url.URL) { u.RawQuery = "pool_max_conns=hunter2" }, domain.ErrInvalid},
		"no TLS":         {func(u *url.URL) { q := u.Query(); q.Set("sslmode", "require"); u.RawQuery = q.Encode() }, ""},
		"a schema of 64": {func(u *url.URL) {}, domain.ErrInvalid},
	} {
		u := *address
		u.User = url.UserPassword(u.User.Username(), "hunter2")
		test.change(&u)
		var options []infra.Option
		if strings.HasPrefix(name, "a schema") {
			options = append(options, infra.WithSchema(strings.Repeat("x", 64)))
			u.User = address.User
		}
		store, err := pgx.Open(t.Context(), u.String(), options...)
		if err == nil {
			_ = store.Close()
			if test.want == "" {
				continue // a server with TLS
			}
			t.Errorf("%s: opened", name)
			continue
		}
		if kind := domain.KindOf(err); kind == "" || test.want != "" && kind != test.want {
			t.Errorf("%s: %v, of the kind %q; want %q", name, err, kind, test.want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error carries the password: %v", name, err)
		}
	}
}

// TestCreateMany stores many accounts by COPY, and finds what is wrong with one of them.
func TestCreateMany(t *testing.T) {
	store := open(t, storetest.PostgresURL(t))
	users := []*domain.User{storetest.NewUser(t, "ana"), storetest.NewUser(t, "ana"), storetest.NewUser(t, "bob")}
	refusals, err := store.CreateMany(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if refusals[0] != nil || !errors.Is(refusals[1], domain.ErrTaken) || refusals[2] != nil {
		t.Errorf("%v", refusals)
	}
	if n, err := store.Count(t.Context(), domain.Filter{}); n != 2 || err != nil {
		t.Errorf("%d accounts, %v; want 2", n, err)
	}
}
