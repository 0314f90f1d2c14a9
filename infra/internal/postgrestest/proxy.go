package postgrestest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a client and the server of a database.
type Proxy struct {
	URL    string
	Cut    atomic.Bool  // the next reply is thrown away and its connection closed
	Silent atomic.Bool  // nothing goes through, and neither side notices
	Slow   atomic.Int64 // how long a new connection takes before anything goes through, in nanoseconds
	Trips  atomic.Int64 // times that a client sent something and then waited for the reply
	target atomic.Pointer[string]
}

// LeadTo has new connections lead to another server.
func (p *Proxy) LeadTo(t testing.TB, address string) {
	t.Helper()
	server, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p.target.Store(&server.Host)
}

// NewProxy returns a proxy to the server at a URL, for as long as the test runs.
func NewProxy(t testing.TB, address string) *Proxy {
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
	p := new(Proxy)
	p.LeadTo(t, address)
	server.Host = listener.Addr().String()
	p.URL = server.String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client.(*net.TCPConn), *p.target.Load())
		}
	}()
	return p
}

func (p *Proxy) serve(client *net.TCPConn, target string) {
	defer client.Close()
	time.Sleep(time.Duration(p.Slow.Load()))
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
				if p.Silent.Load() {
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
					p.Trips.Add(1)
				}
				if p.Cut.Swap(false) {
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
