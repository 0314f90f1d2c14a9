package pgx

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/softbee/accounts/infra"
)

// pgx ends a call when its context ends, closes the connection, and asks the server in the background to cancel the statement, for up to 15 s, in
// which the pool counts the connection as open. It tries the hosts of a URL one after the other. Here
//
//   - a request to cancel that is not answered within cancelTimeout shows that the server says nothing: its connections are given up, all of the
//     pool at once, and so they are after a server has become read-only;
//   - before a connection is made, the hosts are tried in a quick succession (RFC 8305 has it for addresses), and the one that takes writes comes
//     first. An attempt is short, and the attempts of a pool that has no connection get longer, so that a server that is well again is
//     reached although an attempt from before still waits.

const (
	connectTimeout = 10 * time.Second       // bounds the making of a connection, and the query by which New asks for the schema
	firstAttempt   = 2 * time.Second        // bounds an attempt of a pool that was connected just now
	cancelTimeout  = time.Second            // for the answer to a request to cancel
	hostDelay      = 250 * time.Millisecond // RFC 8305, section 5, recommends it
	hostFound      = time.Second            // for how long the host that takes writes is not looked for again
)

// errUnconfirmed means that a change was made and that no standby has it: somebody has ended the wait for synchronous replication, by
// pg_cancel_backend, statement_timeout or otherwise. PostgreSQL reports success and a warning then.
var errUnconfirmed = fmt.Errorf("pgx: the wait for the synchronous standby was ended before it confirmed the change: %w", io.ErrUnexpectedEOF)

// follower is what the connections of a pool have in common.
type follower struct {
	pool       atomic.Pointer[pgxpool.Pool]
	config     pgconn.Config
	hosts      []pgconn.FallbackConfig // the modes of TLS of each host stand together
	timeout    time.Duration           // of the URL, or connectTimeout
	race       bool                    // the hosts
	admit      func(string) error      // what is asked of the server of each connection; nil for nothing
	generation atomic.Int64            // how often the connections have become useless all at once
	waiting    atomic.Int64            // since when, in Unix nanoseconds, the pool has tried to connect in vain; 0 if it has not

	looking chan struct{} // held by the one who looks for the host
	first   int           // of hosts
	found   time.Time     // when
}

// follow has the pool of a configuration follow the server that takes writes. The follower gets the pool when it has been made.
func follow(config *pgxpool.Config, race bool) *follower {
	one := config.ConnConfig
	f := &follower{timeout: connectTimeout, race: race, looking: make(chan struct{}, 1)}
	if one.ConnectTimeout > 0 {
		f.timeout = min(one.ConnectTimeout, connectTimeout)
	}
	f.hosts = []pgconn.FallbackConfig{{Host: one.Host, Port: one.Port, TLSConfig: one.TLSConfig}}
	for _, other := range one.Fallbacks {
		f.hosts = append(f.hosts, *other)
	}
	f.race = race && slices.ContainsFunc(f.hosts, func(h pgconn.FallbackConfig) bool { return !sameHost(h, f.hosts[0]) })
	if f.race && one.ValidateConnect == nil {
		one.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	f.config = one.Copy().Config
	config.BeforeConnect = f.beforeConnect
	config.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) {
		l := linkOf(conn)
		l.unconfirmed = false
		return l.made == f.generation.Load(), nil
	}
	config.BeforeClose = func(conn *pgx.Conn) { time.AfterFunc(cancelTimeout, linkOf(conn).close) } // whatever the server says to the farewell
	return f
}

func sameHost(a, b pgconn.FallbackConfig) bool { return a.Host == b.Host && a.Port == b.Port }

func (f *follower) beforeConnect(ctx context.Context, config *pgx.ConnConfig) error {
	now := time.Now()
	f.waiting.CompareAndSwap(0, now.UnixNano())
	waited := now.Sub(time.Unix(0, f.waiting.Load()))
	config.ConnectTimeout = min(f.timeout, max(firstAttempt, waited/2))
	if f.race {
		first, err := f.look(ctx, config.ConnectTimeout)
		if err != nil {
			return err
		}
		order := slices.Concat(f.hosts[first:], f.hosts[:first])
		config.Host, config.Port, config.TLSConfig = order[0].Host, order[0].Port, order[0].TLSConfig
		config.Fallbacks = nil
		for i := range order[1:] {
			config.Fallbacks = append(config.Fallbacks, &order[i+1])
		}
	}
	l := &link{follower: f, made: f.generation.Load(), dialNext: config.DialFunc, onError: config.OnPgError}
	config.DialFunc, config.OnPgError, config.OnNotice = l.dial, l.failed, l.notice
	config.AfterConnect = l.connected
	return nil
}

// look returns which of the hosts takes writes. One caller at a time looks, the others wait for what it finds.
func (f *follower) look(ctx context.Context, limit time.Duration) (int, error) {
	select {
	case f.looking <- struct{}{}:
		defer func() { <-f.looking }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if time.Since(f.found) < hostFound {
		return f.first, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	first, err := f.tryAll(ctx)
	if err == nil {
		f.first, f.found = first, time.Now()
	}
	return first, err
}

// tryAll makes attempts on all hosts until one succeeds, or all have failed. A host that refuses is asked again while another has said nothing yet.
func (f *follower) tryAll(ctx context.Context) (int, error) {
	var starts []int // of hosts, the one that served last first
	for i := range f.hosts {
		if at := (f.first + i) % len(f.hosts); i == 0 || !sameHost(f.hosts[at], f.hosts[starts[len(starts)-1]]) {
			starts = append(starts, at)
		}
	}
	type result struct {
		host int
		err  error
	}
	results := make(chan result, len(starts))
	attempt := func(host int, after time.Duration) {
		select {
		case <-ctx.Done():
			results <- result{host, ctx.Err()}
		case <-time.After(after):
			results <- result{host, f.attempt(ctx, host)}
		}
	}
	for i, host := range starts {
		go attempt(host, time.Duration(i)*hostDelay)
	}
	failed := make(map[int]error)
	for {
		r := <-results
		if r.err == nil {
			return r.host, nil
		}
		failed[r.host] = r.err
		if len(failed) == len(starts) || ctx.Err() != nil {
			errs := []error{ctx.Err()}
			for _, err := range failed {
				errs = append(errs, err)
			}
			return 0, errors.Join(errs...)
		}
		go attempt(r.host, hostDelay)
	}
}

// attempt makes a connection to one host and ends it.
func (f *follower) attempt(ctx context.Context, host int) error {
	config := f.config
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = f.hosts[host].Host, f.hosts[host].Port, f.hosts[host].TLSConfig, nil
	for i := range f.hosts {
		if i != host && sameHost(f.hosts[i], f.hosts[host]) {
			config.Fallbacks = append(config.Fallbacks, &f.hosts[i])
		}
	}
	config.ConnectTimeout = 0 // ctx has one
	conn, err := pgconn.ConnectConfig(ctx, &config)
	if err != nil {
		return err
	}
	_ = conn.Close(ctx) // it served its purpose
	return nil
}

// link is one connection.
type link struct {
	*follower
	made        int64 // the generation of the pool
	dialNext    pgconn.DialFunc
	onError     pgconn.PgErrorHandler
	mu          sync.Mutex
	conn        net.Conn
	ready       bool // the session has begun
	unconfirmed bool // by a synchronous standby
}

// linkKey finds the link in what pgx keeps for a connection.
const linkKey = "accounts"

func linkOf(conn *pgx.Conn) *link { return conn.PgConn().CustomData()[linkKey].(*link) }

func (l *link) connected(ctx context.Context, conn *pgconn.PgConn) error {
	if l.admit != nil {
		results, err := conn.Exec(ctx, infra.ServerIdentity).ReadAll()
		switch {
		case err != nil:
			return err
		case len(results) != 1 || len(results[0].Rows) != 1:
			return errors.New("pgx: the server has not said which it is")
		}
		if err := l.admit(string(results[0].Rows[0][0])); err != nil {
			return err
		}
	}
	conn.CustomData()[linkKey] = l
	l.mu.Lock()
	l.ready = true
	l.mu.Unlock()
	l.waiting.Store(0)
	return nil
}

// dial makes the connection, or one by which pgx asks the server to cancel its statement.
func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	if !ready {
		conn, err := l.dialNext(ctx, network, address)
		l.mu.Lock()
		l.conn = conn
		l.mu.Unlock()
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	conn, err := l.dialNext(ctx, network, address)
	if err != nil {
		l.silent(ctx.Err())
		return nil, err
	}
	return cancelling{conn, l}, conn.SetDeadline(time.Now().Add(cancelTimeout))
}

// cancelling is a connection on which the server is asked to cancel a statement, and closes it when it has.
type cancelling struct {
	net.Conn
	link *link
}

func (c cancelling) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.link.silent(err)
	return n, err
}

// silent gives up the connections of the pool that were made up to this one if err says that the server did not answer in time.
func (l *link) silent(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		l.close()
		l.giveUp()
	}
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.Close()
}

// giveUp makes the pool connect again, once for all connections of its generation. Those in use are closed when they are given back.
func (l *link) giveUp() {
	if !l.generation.CompareAndSwap(l.made, l.made+1) {
		return
	}
	if pool := l.pool.Load(); pool != nil {
		pool.Reset()
	}
}

func (l *link) failed(conn *pgconn.PgConn, err *pgconn.PgError) bool {
	if err.Code == "25006" { // read-only, as a primary that was demoted
		if conn.TxStatus() == 'I' { // and not a transaction that its caller wants read-only
			l.giveUp()
		}
		return false
	}
	return l.onError == nil || l.onError(conn, err)
}

func (l *link) notice(_ *pgconn.PgConn, notice *pgconn.Notice) {
	l.unconfirmed = l.unconfirmed || notice.Routine == "SyncRepWaitForLSN" // the text is translated
}

// confirmed returns an error if a change that was made on the connection since it came out of the pool is not confirmed by a standby.
func (l *link) confirmed() error {
	if l.unconfirmed {
		return errUnconfirmed
	}
	return nil
}

// confirmed is that for a connection as database/sql has it.
func confirmed(conn *stdsql.Conn) error {
	return conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return errors.New("pgx: the connection is not one of pgx")
		}
		return linkOf(c.Conn()).confirmed()
	})
}
