package postgres

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
)

// A statement whose reply was lost may have been executed. database/sql executes it once more if the driver calls the
// connection bad, so it must not.
func TestLostReply(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]way{"cached": cached, "uncached": uncached} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := postgrestest.Schema(t)
			other := plain.open(t, address, 1)
			mustExec(t, other, "CREATE TABLE counter (id int, n int); INSERT INTO counter VALUES (1, 0)")
			proxy := newProxy(t, address)
			db := w.open(t, proxy.url, 1)

			want := 0
			for _, update := range []struct {
				query string
				args  []any
			}{
				{"UPDATE counter SET n = n + 1 WHERE id = $1 RETURNING n", []any{1}},
				{"UPDATE counter SET n = n + 1 RETURNING n", nil},
			} {
				run := map[string]func() error{
					"query": func() error { _, err := queryRow(db, update.query, update.args...); return err },
					"execution": func() error {
						_, err := db.Exec(update.query, update.args...)
						return err
					},
				}
				if prepared, err := db.Prepare(update.query); err != nil {
					t.Fatal(err)
				} else {
					defer prepared.Close()
					run["prepared by the caller"] = func() error { _, err := prepared.Exec(update.args...); return err }
				}
				for name, run := range run {
					if err := run(); err != nil { // which prepares it
						t.Fatal(err)
					}
					want++
					proxy.cut.Store(true)
					err := run()
					want++
					if err == nil || errors.Is(err, driver.ErrBadConn) {
						t.Errorf("%s of %q whose reply was lost: %v; want an error that is not retried", name, update.query, err)
					}
					if d := diagnose(err); d.Fault != infra.UnavailableFault {
						t.Errorf("%v is diagnosed as %v", err, d)
					}
					if n := queryInt(t, other, "SELECT n FROM counter"); n != want {
						t.Fatalf("%s of %q: n = %d; want %d", name, update.query, n, want)
					}
				}
			}
			queryInt(t, db, "SELECT $1::int", 1)
		})
	}
}

// What cannot have changed anything is tried again: preparing a statement, and beginning a transaction.
func TestLostReplyBeforeExecution(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, postgrestest.Schema(t))
	db := cached.open(t, proxy.url, 1)
	queryInt(t, db, "SELECT 1")
	proxy.cut.Store(true)
	queryInt(t, db, "SELECT $1::int", 1)
	proxy.cut.Store(true)
	tx := begin(t, db)
	queryInt(t, tx, "SELECT $1::int", 1)
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}

// proxy stands between a client and the server of a database.
type proxy struct {
	url    string
	cut    atomic.Bool  // the next reply is thrown away and its connection closed
	silent atomic.Bool  // nothing goes through, and nobody is told
	trips  atomic.Int64 // times that a client sent something and then waited for the reply
}

func newProxy(t testing.TB, address string) *proxy {
	t.Helper()
	server, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := new(proxy)
	target := server.Host
	server.Host = listener.Addr().String()
	p.url = server.String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client.(*net.TCPConn), target)
		}
	}()
	return p
}

func (p *proxy) serve(client *net.TCPConn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var asked atomic.Bool // and not answered yet
	var both sync.WaitGroup
	both.Go(func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := client.Read(buffer)
			if n > 0 {
				asked.Store(true)
				if p.silent.Load() {
					continue
				}
				if _, err := server.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				_ = server.Close()
				return
			}
		}
	})
	both.Go(func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			if n > 0 {
				if asked.Swap(false) {
					p.trips.Add(1)
				}
				if p.cut.Swap(false) {
					_ = client.CloseWrite()
					_, _ = io.Copy(io.Discard, server) // until the client has closed its side
					return
				}
				if _, err := client.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				_ = client.CloseWrite()
				return
			}
		}
	})
	both.Wait()
}
