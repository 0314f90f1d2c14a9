package libpq

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/fault"
	"github.com/softbee/accounts/infra/internal/postgrestest"
)

// TestMain runs more tests at a time than there are processors: most of them wait for a network that is silent.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: it sees nothing of the schema")
		return
	}
	os.Exit(m.Run())
}

// within demands that call returns an error in time.
func within(t *testing.T, limit time.Duration, what string, call func() error) {
	t.Helper()
	ended := make(chan error, 1)
	begun := time.Now()
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		t.Logf("%s: %v after %v", what, err, time.Since(begun).Round(time.Millisecond))
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	case <-time.After(limit):
		t.Errorf("%s goes on after %v", what, limit)
	}
}

// bound is the context's time, the second that a silent network has to answer, and patience with a busy machine.
const bound = 200*time.Millisecond + cancelTimeout + 4*time.Second

func short(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 200*time.Millisecond)
}

// Whatever a call does, it ends with its context, though nothing comes back from the network.
func TestEverythingEndsOnASilentNetwork(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		for what, run := range map[string]func(context.Context, *sql.DB, func()) error{
			"ping": func(ctx context.Context, db *sql.DB, silence func()) error { silence(); return db.PingContext(ctx) },
			"begin": func(ctx context.Context, db *sql.DB, silence func()) error {
				silence()
				_, err := db.BeginTx(ctx, nil)
				return err
			},
			"statement": func(ctx context.Context, db *sql.DB, silence func()) error {
				silence()
				_, err := db.ExecContext(ctx, "SELECT $1::int", 1)
				return err
			},
			"query of a transaction": func(ctx context.Context, db *sql.DB, silence func()) error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				silence()
				var n int
				err = tx.QueryRowContext(context.WithoutCancel(ctx), "SELECT $1::int", 1).Scan(&n)
				_ = tx.Rollback()
				return err
			},
			"commit": func(ctx context.Context, db *sql.DB, silence func()) error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				silence()
				return tx.Commit()
			},
			"rollback": func(ctx context.Context, db *sql.DB, silence func()) error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				silence()
				return tx.Rollback()
			},
			"preparing": func(ctx context.Context, db *sql.DB, silence func()) error {
				silence()
				_, err := db.PrepareContext(ctx, "SELECT 2")
				return err
			},
			"copy": func(ctx context.Context, db *sql.DB, silence func()) error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				silence()
				err = Copy(ctx, nil, tx, "thing", []string{"n"}, func(yield func([]any, error) bool) {
					for yield([]any{int64(1)}, nil) {
						continue
					}
				})
				_ = tx.Rollback()
				return err
			},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				proxy := postgrestest.NewProxy(t, address)
				db := w.open(t, proxy.URL, 1)
				if _, err := db.Exec("CREATE TABLE IF NOT EXISTS thing (n int)"); err != nil && !strings.Contains(err.Error(), "duplicate key") {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second) // enough to begin
				defer cancel()
				within(t, time.Second+bound, what, func() error { return run(ctx, db, func() { proxy.Silent.Store(true) }) })
				proxy.Silent.Store(false)
				if n := queryInt(t, db, "SELECT $1::int", 7); n != 7 {
					t.Errorf("after it: %d", n)
				}
			})
		}
	}
}

// silentServer accepts connections and says nothing, or says what it says and nothing more.
func silentServer(t *testing.T, says string) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.ReadAtLeast(conn, make([]byte, 1<<10), 8)
				_, _ = io.WriteString(conn, says)
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return &url.URL{Scheme: "postgres", User: url.User("guest"), Host: listener.Addr().String(), RawQuery: "sslmode=disable"}
}

// A connection is made under a deadline from the first byte on, wherever the server goes silent.
func TestConnectingEnds(t *testing.T) {
	t.Parallel()
	const authenticated = "R\x00\x00\x00\x08\x00\x00\x00\x00"
	const ready = "Z\x00\x00\x00\x05I"
	for name, says := range map[string]string{"at once": "", "before it is ready": authenticated, "at the first query": authenticated + ready} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connector, err := NewConnector(silentServer(t, says).String())
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(connector)
			ctx, cancel := short(t)
			defer cancel()
			within(t, bound, "connecting", func() error { return db.PingContext(ctx) })
			// The goroutine of database/sql that makes connections has a context without an end.
			base, err := NewConnector(silentServer(t, says).String() + "&connect_timeout=1")
			if err != nil {
				t.Fatal(err)
			}
			within(t, time.Second+bound, "connecting in the background", func() error {
				_, err := base.Connect(context.Background())
				if fault.Of(err).Class != fault.Unavailable {
					t.Errorf("%v is not unavailable", err)
				}
				return err
			})
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that is well again is used within firstRound, although attempts from before wait in vain.
func TestServerIsWellAgain(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.NewProxy(t, postgrestest.Schema(t))
	db := cached.open(t, proxy.URL, 2)
	proxy.Silent.Store(true)
	for range 6 {
		ctx, cancel := short(t)
		_ = db.PingContext(ctx)
		cancel()
	}
	proxy.Silent.Store(false)
	begun := time.Now()
	if n := queryInt(t, db, "SELECT $1::int", 7); n != 7 {
		t.Errorf("%d", n)
	}
	if took := time.Since(begun); took > firstRound+4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Of several hosts one that says nothing stops no caller, and one that is read-only is passed over.
func TestHostsAreTriedInTurn(t *testing.T) {
	t.Parallel()
	silent := silentServer(t, "")
	well, err := url.Parse(postgrestest.Schema(t))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	u := *well
	u.Host = silent.Host + "," + gone.Addr().String() + "," + well.Host
	connector, err := NewConnector(u.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []bool{true, false} {
		begun := time.Now()
		conn, err := connector.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		t.Logf("connected after %v", time.Since(begun).Round(time.Millisecond))
		if took := time.Since(begun); first && took < hostDelay || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

// Errors in connecting, most of which lib/pq has in words alone, have a kind.
func TestKindsOfConnecting(t *testing.T) {
	t.Parallel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1e9 { // by other tests, too
			t.Errorf("%d MB were taken", (after.TotalAlloc-before.TotalAlloc)/1e6)
		}
	}()
	for name, test := range map[string]struct {
		says, parameters string
		want             domain.Kind
	}{
		"a web server":           {"HTTP/1.1 400 Bad Request\r\n\r\n", "", domain.ErrUnavailable},
		"an SSH server":          {"SSH-2.0-OpenSSH_10.0\r\n", "", domain.ErrUnavailable},
		"cannot fork":            {"Ecould not fork new process for connection: Resource temporarily unavailable\n\x00", "", domain.ErrUnavailable},
		"unknown authentication": {"R\x00\x00\x00\x08\x00\x00\x00\x63", "", domain.ErrInternal},
		"no TLS":                 {"N", "&sslmode=require", domain.ErrInternal},
	} {
		connector, err := NewConnector(strings.Replace(silentServer(t, test.says).String(), "sslmode=disable", "connect_timeout=1"+test.parameters, 1))
		if test.parameters == "" {
			connector, err = NewConnector(silentServer(t, test.says).String() + "&connect_timeout=1")
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = connector.Connect(t.Context())
		if kind := fault.Of(err).Kind(); err == nil || kind != test.want {
			t.Errorf("%s: %v, of the kind %s; want %s", name, err, kind, test.want)
		}
	}
}

// A server that has become read-only is left at once, by all connections that there were.
func TestReadOnlyServerIsLeft(t *testing.T) {
	t.Parallel()
	address := postgrestest.Schema(t)
	db := cached.open(t, address, 4)
	mustExec(t, db, "CREATE TABLE thing (n int)")
	var held []*sql.Conn
	for range 4 {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, connQuerier{conn}, "SET default_transaction_read_only = on") // as for a server that was demoted
		held = append(held, conn)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	failures := 0
	for range 10 {
		if _, err := db.Exec("INSERT INTO thing VALUES ($1)", 1); err != nil {
			failures++
		}
	}
	if failures != 1 {
		t.Errorf("%d of 10 writes failed; want 1", failures)
	}
	before := queryInt(t, db, "SELECT pg_backend_pid()")
	for range 2 { // what its caller wanted read-only says nothing of the server
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("INSERT INTO thing VALUES (1)"); err == nil {
			t.Error("a read-only transaction wrote")
		}
		_ = tx.Rollback()
	}
	if after := queryInt(t, db, "SELECT pg_backend_pid()"); after != before {
		t.Error("a read-only transaction cost a connection")
	}
}

type connQuerier struct{ *sql.Conn }

func (c connQuerier) Exec(query string, args ...any) (sql.Result, error) {
	return c.ExecContext(context.Background(), query, args...)
}

func (c connQuerier) Query(query string, args ...any) (*sql.Rows, error) {
	return c.QueryContext(context.Background(), query, args...)
}

// A COPY whose context ends, at any time, ends.
func TestCopyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db := cached.open(t, postgrestest.Schema(t), 4)
	mustExec(t, db, "CREATE TABLE thing (n int)")
	tries := rounds(20, 200)
	for i := range tries {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*30*time.Millisecond/time.Duration(tries))
		ended := make(chan error, 1)
		go func() {
			tx, err := db.BeginTx(ctx, nil)
			if err == nil {
				err = Copy(ctx, nil, tx, "thing", []string{"n"}, func(yield func([]any, error) bool) {
					for yield([]any{int64(1)}, nil) {
						continue
					}
				})
				err = errors.Join(err, tx.Rollback())
			}
			ended <- err
		}()
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it ended by itself")
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("try %d goes on", i)
		}
		cancel()
	}
	if n := queryInt(t, db, "SELECT count(*) FROM thing"); n != 0 {
		t.Errorf("%d rows are stored", n)
	}
}
