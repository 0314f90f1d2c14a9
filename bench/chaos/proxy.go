//go:build unix

package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// proxy is the network before a server.
type proxy struct {
	url    string
	target string

	delay    atomic.Int64 // at most, in ns, in each direction
	silent   atomic.Bool  // nothing goes through, and all of it later
	refusing atomic.Bool  // new connections are closed at once
	mute     atomic.Bool  // what is connected, or will be, never says anything any more, also when this has ended
	greeting atomic.Bool  // what will be connected never says anything once the session has begun
	lose     atomic.Int64 // of a thousand requests: they arrive, and their replies do not
	halve    atomic.Int64 // of a thousand requests: a part arrives
	truncate atomic.Int64 // of a thousand replies: a part arrives

	mu    sync.Mutex
	links map[*link]bool
}

// link is one connection.
type link struct {
	proxy          *proxy
	client, server *net.TCPConn
	muted          atomic.Bool
	greeted        atomic.Bool // the session has begun
	losing         atomic.Bool
	greeting       bool
}

// proxy starts a proxy before the server at a URL.
func (t *trial) proxy(address string) *proxy {
	u, err := url.Parse(address)
	t.must(err)
	listener, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // closed with the trial
	t.must(err)
	p := &proxy{target: u.Host, links: make(map[*link]bool)}
	u.Host = listener.Addr().String()
	p.url = u.String()
	t.cleanup(func() {
		_ = listener.Close()
		p.silent.Store(false)
		p.reset()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			if p.refusing.Load() {
				_ = client.Close()
				continue
			}
			go p.serve(client.(*net.TCPConn))
		}
	}()
	return p
}

// during sets a switch for a while.
func (t *trial) during(d time.Duration, set *atomic.Bool) {
	set.Store(true)
	t.wait(d)
	set.Store(false)
}

// reset ends all connections.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// deaden makes all connections silent for ever.
func (p *proxy) deaden() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.muted.Store(true)
	}
}

func (p *proxy) serve(client *net.TCPConn) {
	defer client.Close()
	l := &link{proxy: p, client: client, greeting: p.greeting.Load()}
	l.muted.Store(p.mute.Load())
	conn, err := net.DialTimeout("tcp4", p.target, 5*time.Second) //nolint:noctx // it has a limit
	if err != nil {
		if l.muted.Load() {
			_, _ = io.Copy(io.Discard, client)
		}
		return
	}
	l.server = conn.(*net.TCPConn)
	defer l.server.Close()
	p.mu.Lock()
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { l.copy(l.client, l.request); _ = l.server.Close() })
	both.Go(func() { l.copy(l.server, l.reply); _ = l.client.Close() })
	both.Wait()
}

// copy hands on what it reads until that ends or pass returns false.
func (l *link) copy(from *net.TCPConn, pass func([]byte) bool) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if d := l.proxy.delay.Load(); d > 0 {
				time.Sleep(rand.N(time.Duration(d)))
			}
			for l.proxy.silent.Load() {
				time.Sleep(5 * time.Millisecond)
			}
			if l.proxy.mute.Load() {
				l.muted.Store(true)
			}
			if !l.muted.Load() && !pass(buffer[:n]) {
				return
			}
		}
		if err != nil {
			if l.muted.Load() || l.proxy.silent.Load() { // the other side must not notice
				_, _ = io.Copy(io.Discard, l.client)
			}
			return
		}
	}
}

func (l *link) request(data []byte) bool {
	if l.greeted.Load() {
		switch {
		case l.greeting:
			l.muted.Store(true)
			return true
		case chance(&l.proxy.halve) && len(data) > 1:
			_, _ = l.server.Write(data[:1+rand.IntN(len(data)-1)])
			l.reset()
			return false
		case chance(&l.proxy.lose):
			l.losing.Store(true)
		}
	}
	_, err := l.server.Write(data)
	return err == nil
}

// readyForQuery is the end of the greeting, and of each reply, outside transactions.
var readyForQuery = []byte{'Z', 0, 0, 0, 5, 'I'}

func (l *link) reply(data []byte) bool {
	switch {
	case l.losing.Load():
		l.reset()
		return false
	case l.greeted.Load() && chance(&l.proxy.truncate) && len(data) > 1:
		_, _ = l.client.Write(data[:1+rand.IntN(len(data)-1)])
		l.reset()
		return false
	}
	if bytes.HasSuffix(data, readyForQuery) {
		l.greeted.Store(true)
	}
	_, err := l.client.Write(data)
	return err == nil
}

// reset ends a connection, by a reset or in order.
func (l *link) reset() {
	if rand.IntN(2) == 0 {
		_ = l.client.SetLinger(0)
	}
	_ = l.client.Close()
	_ = l.server.Close()
}

func chance(ofAThousand *atomic.Int64) bool {
	n := ofAThousand.Load()
	return n > 0 && rand.Int64N(1000) < n
}
