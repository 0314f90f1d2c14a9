package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// network is the way to the server, directly and through a proxy that makes each round trip longer.
type network struct {
	latency     time.Duration
	direct, far url.URL
}

// openNetwork finds how long a proxy must wait for a round trip through it to take longer by the latency. That is less than
// half of the latency in each direction: timers come late, and who has had nothing to do for so long, the proxy, the server
// or their processor, takes a while to wake up. All of that a statement finds out that does nothing else; against an echo
// of this process alone the server's part would be taken for the systems'.
func openNetwork(ctx context.Context, server url.URL, latency time.Duration) (n network, stop func(), err error) {
	n = network{latency: latency, direct: server, far: server}
	wait := latency / 2
	const tries = 4
	for range tries {
		if n.far.Host, stop, err = startProxy(ctx, server.Host, wait); err != nil {
			return n, nil, err
		}
		_, median, err := n.measure(ctx)
		stop()
		if err != nil {
			return n, nil, err
		}
		wait = max(0, wait-(median-latency)/2)
	}
	fmt.Fprintf(os.Stderr, "latency of %v: the proxy waits %v in each direction\n", latency, wait)
	n.far.Host, stop, err = startProxy(ctx, server.Host, wait)
	return n, stop, err
}

// measure returns by how much an empty statement takes longer through the proxy. The mean has the hiccups of the machine in
// it, as the times of the systems do.
func (n network) measure(ctx context.Context) (mean, median time.Duration, err error) {
	directMean, directMedian, err := ping(ctx, n.direct)
	if err != nil {
		return 0, 0, err
	}
	mean, median, err = ping(ctx, n.far)
	return mean - directMean, median - directMedian, err
}

// ping returns the time of an empty statement.
func ping(ctx context.Context, server url.URL) (mean, median time.Duration, err error) {
	connection, err := pgx.Connect(ctx, server.String())
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }()
	const times = 300
	var taken []time.Duration
	for range times {
		start := time.Now()
		if err := connection.Ping(ctx); err != nil {
			return 0, 0, err
		}
		taken = append(taken, time.Since(start))
		mean += taken[len(taken)-1] / times
	}
	slices.Sort(taken)
	return mean, taken[times/2], nil
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
