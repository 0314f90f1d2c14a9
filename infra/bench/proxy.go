package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// network is what a proxy adds to a round trip.
type network struct {
	latency  time.Duration // as wanted
	wait     time.Duration // of the proxy before it passes on what it has read
	measured time.Duration // by which the emptiest statement takes longer through the proxy, in the median
}

// calibrate finds how long a proxy must wait for a round trip through it to take longer by the latency. That is less than
// half of the latency in each direction: timers come late, and who has had nothing to do for so long, the proxy, the server
// or their processor, takes a while to wake up. All of that a statement finds out that does nothing else; against an echo
// of this process alone the server's part would be taken for the systems'.
func calibrate(ctx context.Context, server *url.URL, latency time.Duration) (network, error) {
	n := network{latency: latency}
	if latency == 0 {
		return n, nil
	}
	direct, err := ping(ctx, server)
	if err != nil {
		return n, err
	}
	n.wait = latency / 2
	const tries = 5
	for try := range tries {
		host, stop, err := startProxy(ctx, server.Host, n.wait)
		if err != nil {
			return n, err
		}
		far := *server
		far.Host = host
		through, err := ping(ctx, &far)
		stop()
		if err != nil {
			return n, err
		}
		n.measured = through - direct
		if try < tries-1 {
			n.wait = max(0, n.wait-(n.measured-latency)/2)
		}
	}
	return n, nil
}

// ping returns the median time of an empty statement.
func ping(ctx context.Context, server *url.URL) (time.Duration, error) {
	connection, err := pgx.Connect(ctx, server.String())
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }()
	var taken []time.Duration
	for range 501 {
		start := time.Now()
		if err := connection.Ping(ctx); err != nil {
			return 0, err
		}
		taken = append(taken, time.Since(start))
	}
	slices.Sort(taken)
	return taken[len(taken)/2], nil
}

// startProxy returns the address of a proxy before a server, which waits before it passes on what it has read.
func startProxy(ctx context.Context, target string, wait time.Duration) (address string, stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(ctx, "tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			go delay(server, client, wait)
			go delay(client, server, wait)
		}
	}()
	return listener.Addr().String(), func() { _ = listener.Close() }, nil
}

type packet struct {
	due  time.Time
	data []byte
}

// delay copies from one to the other; what is read is written when its time has come, however much is under way.
func delay(to io.WriteCloser, from io.ReadCloser, wait time.Duration) {
	packets := make(chan packet, 1024)
	go func() {
		defer close(packets)
		buffer := make([]byte, 16<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				packets <- packet{time.Now().Add(wait), bytes.Clone(buffer[:n])}
			}
			if err != nil {
				return
			}
		}
	}()
	pass(to, packets)
	_ = to.Close()
	_ = from.Close()
	for range packets { // until the reader has noticed
	}
}

func pass(to io.Writer, packets <-chan packet) {
	alarm, err := newTimer()
	if err != nil {
		return
	}
	defer alarm.close()
	for p := range packets {
		if err := alarm.wait(time.Until(p.due)); err != nil {
			return
		}
		if _, err := to.Write(p.data); err != nil {
			return
		}
	}
}
