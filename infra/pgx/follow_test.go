package pgx_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// silentServer accepts connections and says nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// Of several hosts one that says nothing stops no caller, and one that is gone is passed over.
func TestHostsAreTriedInTurn(t *testing.T) {
	t.Parallel()
	well, err := url.Parse(storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	u := *well
	u.Host = silentServer(t) + "," + gone.Addr().String() + "," + well.Host
	begun := time.Now()
	store := open(t, u.String())
	t.Logf("connected after %v", time.Since(begun).Round(time.Millisecond))
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
		t.Error(err)
	}
}

// Between the demotion of one server and the promotion of another there is none that takes writes, which passes.
func TestNoHostTakesWrites(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	proxied, err := url.Parse(postgrestest.NewProxy(t, u.String()).URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host += "," + proxied.Host
	parameters := u.Query()
	parameters.Set("default_transaction_read_only", "on")
	u.RawQuery = parameters.Encode()
	for name, open := range map[string]func(context.Context, string, ...infra.Option) (*infra.Store, error){"lib-pq": postgres.Open, "pgx": pgx.Open} {
		if _, err := open(t.Context(), u.String()); !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("%s: %v; want %s", name, err, domain.ErrUnavailable)
		}
	}
}

// held takes all connections of a store's pool at once, and returns what each says.
func held(t *testing.T, store *infra.Store, connections int, say string) (said []string) {
	t.Helper()
	var all []*sql.Conn
	for range connections {
		conn, err := store.DB().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
		var text string
		if err := conn.QueryRowContext(t.Context(), say).Scan(&text); err != nil {
			t.Fatal(err)
		}
		said = append(said, text)
	}
	for _, conn := range all {
		_ = conn.Close()
	}
	return said
}

// A server that does not even answer a request to cancel loses all connections.
func TestSilentServerLosesAllConnections(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, storetest.PostgresURL(t))
	store := open(t, proxy.URL+"&pool_max_conns=4")
	const pid = "SELECT pg_backend_pid()::text"
	before := held(t, store, 4, pid)
	proxy.Silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := store.Create(ctx, storetest.NewUser(t, "ana")); !errors.Is(err, domain.ErrUnavailable) || !domain.OutcomeUnknown(err) {
		t.Errorf("on a silent network: %v; want an unknown outcome", err)
	}
	time.Sleep(1500 * time.Millisecond) // it has a second to answer
	proxy.Silent.Store(false)
	begun := time.Now()
	after := held(t, store, 4, pid)
	if took := time.Since(begun); took > 6*time.Second {
		t.Errorf("connecting again took %v", took)
	}
	for _, one := range after {
		if slices.Contains(before, one) {
			t.Errorf("session %s is in use still", one)
		}
	}
}

// A server that has become read-only is left at once, by all connections that there were.
func TestReadOnlyServerIsLeft(t *testing.T) {
	t.Parallel()
	store := open(t, storetest.PostgresURL(t)+"&pool_max_conns=4")
	held(t, store, 4, "SELECT set_config('default_transaction_read_only', 'on', false)") // as for a server that was demoted
	failures := 0
	for i := range 10 {
		if err := store.Create(t.Context(), storetest.NewUser(t, "user"+string(rune('a'+i)))); err != nil {
			failures++
		}
	}
	if failures != 1 {
		t.Errorf("%d of 10 writes failed; want 1", failures)
	}
	ctx := t.Context()
	const pid = "SELECT pg_backend_pid()::text"
	before := held(t, store, 4, pid)
	if err := store.InTx(ctx, func(tx *infra.Tx) error { return tx.Create(ctx, storetest.NewUser(t, "ana")) }, infra.ReadOnly()); err == nil {
		t.Error("a read-only transaction wrote")
	}
	kept := 0
	for _, one := range held(t, store, 4, pid) {
		if slices.Contains(before, one) {
			kept++
		}
	}
	if kept < 3 {
		t.Errorf("a read-only transaction cost %d connections; want 1", 4-kept)
	}
}

// A context that ends while all connections are in use says for certain that nothing was done.
func TestWaitingForAConnectionChangesNothing(t *testing.T) {
	t.Parallel()
	store := open(t, storetest.PostgresURL(t)+"&pool_max_conns=1")
	conn, err := store.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := store.Create(ctx, storetest.NewUser(t, "ana")); !errors.Is(err, domain.ErrUnavailable) || domain.OutcomeUnknown(err) {
		t.Errorf("%v; want unavailable with a known outcome", err)
	}
}
