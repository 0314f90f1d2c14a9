package libpq

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/softbee/accounts/infra"
)

// lib/pq heeds a context only while it dials: a server that goes silent after it has accepted the connection holds the caller for
// ever, and so does database/sql's own goroutine that makes connections, one after the other, which stops the whole pool. lib/pq
// tries the hosts of a URL in turn, each for connect_timeout. Here a connection is made under a deadline from the first byte on, and the hosts
// are tried in a quick succession, as RFC 8305 has it for addresses:
//
//   - An attempt on the next host begins when the one before has failed, or has taken hostDelay. The first that succeeds is taken, and the
//     host that served last time comes first.
//   - After a time without success all begins from the start: a server can be well again although an attempt that began before waits in vain.
//   - One is made to its end though the context that asked for it ends before, and kept for the next one that asks. Otherwise a pool without
//     connections would get none from callers whose contexts are shorter than it takes to make one.

const (
	connectTimeout = 10 * time.Second       // for a connection, unless the URL has a connect_timeout
	firstRound     = 2 * time.Second        // for the first attempts; the later ones get longer, up to connectTimeout
	hostDelay      = 250 * time.Millisecond // RFC 8305, section 5, recommends it
	fullPause      = 100 * time.Millisecond // before a server that has no connection left is asked again
	spareMaking    = time.Second            // after it, a connection that is being made while no caller waits for it may be given up for another one
	spareTime      = time.Minute            // how long a connection is kept that no caller asks for
)

type connector struct {
	hosts     []*pq.Connector // one for each host
	shuffle   bool            // the order in which they are tried
	timeout   time.Duration
	wrap      func(*connOnce) driver.Conn
	preferred atomic.Int64 // of hosts
	pool      generations
	admit     func(identity string) error // what is asked of each server; nil for nothing

	mu     sync.Mutex // of the following
	spare  *making    // that was left by the one who had asked for it; nil if there is none
	closed bool
}

// making is a connection that is being made, or is there for the pool to take.
type making struct {
	begun  time.Time
	end    context.CancelFunc
	expiry *time.Timer   // of a spare
	done   chan struct{} // closed when there is one of the following
	conn   *connOnce
	err    error
}

// discard ends the making, and closes the connection.
func (m *making) discard() {
	m.end()
	<-m.done
	if m.conn != nil {
		_ = m.conn.Close()
	}
}

// usable tells whether the connection is there. One goroutine at a time may ask.
func (m *making) usable() bool {
	select {
	case <-m.done:
		return m.err == nil && m.conn.socket.quiet() && m.conn.IsValid()
	default:
		return false
	}
}

// newConnector returns a connector whose connections are made by lib/pq, and wrapped.
func newConnector(config pq.Config, wrap func(*connOnce) driver.Conn) *connector {
	c := &connector{timeout: connectTimeout, wrap: wrap, shuffle: config.LoadBalanceHosts == pq.LoadBalanceHostsRandom}
	if config.ConnectTimeout > 0 {
		c.timeout = config.ConnectTimeout
	}
	config.ConnectTimeout = 0 // lib/pq's would end before its last query
	hosts := append([]pq.ConfigMultihost{{Host: config.Host, Hostaddr: config.Hostaddr, Port: config.Port}}, config.Multi...)
	if len(hosts) > 1 && config.TargetSessionAttrs == "" {
		config.TargetSessionAttrs = pq.TargetSessionAttrsReadWrite
	}
	for _, host := range hosts {
		one := config.Clone()
		one.Host, one.Hostaddr, one.Port, one.Multi = host.Host, host.Hostaddr, host.Port, nil
		base, _ := pq.NewConnectorConfig(one) // never fails
		base.Dialer(new(socketDialer))
		c.hosts = append(c.hosts, base)
	}
	return c
}

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return c.hosts[0].Driver() }

// Connect implements [driver.Connector]. It ends with ctx, and leaves a connection that is not made by then to the next caller.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	for ctx.Err() == nil {
		m, err := c.first(ctx)
		switch {
		case err != nil:
			return nil, err
		case m.conn.IsValid():
			return c.wrap(m.conn), nil
		}
		_ = m.conn.Close() // the server that it leads to was given up meanwhile
	}
	return nil, notSentError{ctx.Err()}
}

// first returns the spare if that is there, or else the first to be there of it and another one that is begun.
func (c *connector) first(ctx context.Context) (*making, error) {
	c.mu.Lock()
	spare := c.spare
	c.mu.Unlock()
	if c.take(spare) {
		return spare, nil
	}
	own := c.begin(ctx)
	var spared <-chan struct{}
	if spare != nil {
		spared = spare.done
	}
	for {
		select {
		case <-own.done:
			return own, own.err
		case <-spared:
			if c.take(spare) {
				c.leave(own)
				return spare, nil
			}
			spared = nil
		case <-ctx.Done():
			c.leave(own)
			return nil, notSentError{ctx.Err()}
		}
	}
}

// begin begins to make a connection.
func (c *connector) begin(ctx context.Context) *making {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	m := &making{begun: time.Now(), end: end, done: make(chan struct{})}
	go func() {
		defer end()
		m.conn, m.err = c.connect(ctx)
		close(m.done)
	}()
	return m
}

// leave keeps a connection that its caller does not wait for any more as the spare, if there is not one already that is there or may be soon.
func (c *connector) leave(m *making) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.spare
	if before != nil && !before.usable() {
		select {
		case <-before.done: // and of no use
			c.spare = nil
		default:
			if time.Since(before.begun) > spareMaking {
				c.spare = nil
			}
		}
	}
	if c.closed || c.spare != nil {
		go m.discard()
		return
	}
	if before != nil {
		before.expiry.Stop()
		go before.discard()
	}
	c.spare = m
	m.expiry = time.AfterFunc(spareTime, func() {
		if c.claim(m) {
			m.discard()
		}
	})
}

// take returns whether a connection is there and was the spare, which it is no more.
func (c *connector) take(m *making) bool {
	if m == nil {
		return false
	}
	select {
	case <-m.done:
	default:
		return false
	}
	if !c.claim(m) {
		return false
	}
	if !m.usable() {
		go m.discard()
		return false
	}
	return true
}

// claim returns whether a connection was the spare, which it is no more.
func (c *connector) claim(m *making) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m == nil || c.spare != m {
		return false
	}
	c.spare = nil
	m.expiry.Stop()
	return true
}

// Close closes the spare. [database/sql.DB.Close] calls it.
func (c *connector) Close() error {
	c.mu.Lock()
	c.closed = true
	spare := c.spare
	c.mu.Unlock()
	if c.claim(spare) {
		spare.discard()
	}
	return nil
}

// connect makes a connection, for as long as ctx and the timeout allow.
func (c *connector) connect(ctx context.Context) (*connOnce, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for limit := firstRound; ; limit += limit / 2 {
		round, cancelRound := context.WithTimeout(limited, limit)
		conn, err := c.try(round)
		late := round.Err() != nil
		cancelRound()
		switch {
		case err == nil:
			return conn, nil
		case limited.Err() != nil || !late && pq.As(err, pqerror.TooManyConnections) == nil:
			return nil, connectFailure(err)
		case !late:
			select {
			case <-limited.Done():
			case <-time.After(fullPause):
			}
		}
	}
}

// try makes one attempt on each host until one succeeds.
func (c *connector) try(ctx context.Context) (*connOnce, error) {
	if len(c.hosts) == 1 {
		return c.attempt(ctx, 0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the others
	order := make([]int, len(c.hosts))
	for i := range order {
		order[i] = (int(c.preferred.Load()) + i) % len(order)
	}
	if c.shuffle {
		order = rand.Perm(len(order))
	}
	type result struct {
		conn *connOnce
		host int
		err  error
	}
	results := make(chan result, len(order))
	running := 0
	defer func() {
		go func(running int) { // one that succeeds at the same time
			for range running {
				if r := <-results; r.err == nil {
					_ = r.conn.Close()
				}
			}
		}(running)
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failures []error
	for next := 0; next < len(order) || running > 0; {
		begin := timer.C
		if next == len(order) {
			begin = nil
		}
		select {
		case <-begin:
			host := order[next]
			next++
			running++
			go func() {
				conn, err := c.attempt(ctx, host)
				results <- result{conn, host, err}
			}()
			timer.Reset(hostDelay)
		case r := <-results:
			running--
			if r.err == nil {
				c.preferred.Store(int64(r.host))
				return r.conn, nil
			}
			failures = append(failures, r.err)
			timer.Reset(0)
		}
	}
	return nil, errors.Join(failures...)
}

// attempt makes a connection to one host. It ends with ctx.
func (c *connector) attempt(ctx context.Context, host int) (once *connOnce, err error) {
	made := c.pool.Load()
	d := new(dialing)
	stop := context.AfterFunc(ctx, d.end)
	defer func() {
		if !stop() && err == nil {
			once, err = nil, errors.Join(ctx.Err(), once.Close())
		}
	}()
	conn, err := c.hosts[host].Connect(context.WithValue(ctx, dialingKey{}, d))
	if err != nil {
		return nil, err
	}
	s := d.socket()
	wrapped, ok := conn.(pqConn)
	if !ok || s == nil {
		return nil, errors.Join(errNotPQ, conn.Close())
	}
	if c.admit != nil {
		identity, err := identify(wrapped) //nolint:contextcheck // the end of the attempt closes the socket
		if err == nil {
			err = c.admit(identity)
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	watcher, err := newWatcher(wrapped, s) //nolint:contextcheck // it outlives the attempt, whose end closes the socket
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	once = &connOnce{pqConn: wrapped, socket: s, watcher: watcher, made: made, pool: &c.pool}
	pq.SetNoticeHandler(conn, once.notice)
	return once, nil
}

// identify asks a server which it is.
func identify(conn driver.QueryerContext) (string, error) {
	rows, err := conn.QueryContext(context.Background(), infra.ServerIdentity, nil)
	if err != nil {
		return "", err
	}
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return "", errors.Join(err, rows.Close())
	}
	return fmt.Sprintf("%s", row[0]), rows.Close()
}

// dialing is an attempt to connect, which can be ended.
type dialing struct {
	mu    sync.Mutex
	last  *socket // of the TLS modes that lib/pq tries, the last one serves
	ended bool
}

func (d *dialing) socket() *socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

func (d *dialing) set(s *socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = s
	if d.ended {
		_ = s.Close()
	}
}

func (d *dialing) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.last != nil {
		_ = d.last.Close()
	}
}

// dialingKey finds, in the context of a dialer, the attempt.
type dialingKey struct{}

type socketDialer struct{ dialer net.Dialer }

// DialContext implements lib/pq's DialerContext.
func (d *socketDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	attempt, connecting := ctx.Value(dialingKey{}).(*dialing)
	if !connecting { // lib/pq cancels a statement
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cancelTimeout)
		defer cancel()
	}
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if !connecting {
		return conn, conn.SetDeadline(time.Now().Add(cancelTimeout))
	}
	s := &socket{Conn: conn}
	attempt.set(s)
	return s, nil
}

// Dial and DialTimeout complete [pq.Dialer]; lib/pq prefers DialContext.
func (d *socketDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *socketDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// connectFailure says of an error in connecting, which lib/pq reports in words alone, whether the server is at fault or a setting.
func connectFailure(err error) error {
	if pq.As(err) != nil {
		return notSentError{err}
	}
	setting := func(text string) bool { return strings.Contains(err.Error(), text) }
	if errors.Is(err, pq.ErrSSLNotSupported) || slices.ContainsFunc([]string{"x509:", "tls:", "authentication", "SCRAM", "certificate"}, setting) {
		return err
	}
	return notSentError{fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)}
}
