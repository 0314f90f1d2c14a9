package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"time"
)

// network is what a proxy adds to a round trip.
type network struct {
	latency  time.Duration // as wanted
	wait     time.Duration // of the proxy before it passes on what it has read
	measured time.Duration // by which an echo through the proxy takes longer, in the median
}

// calibrate finds how long a proxy must wait for a round trip through it to take longer by the latency. That is less than
// half of the latency in each direction: a round trip also takes four more wake-ups and the timers come late.
func calibrate(ctx context.Context, latency time.Duration) (network, error) {
	n := network{latency: latency}
	if latency == 0 {
		return n, nil
	}
	listener, err := listen(ctx)
	if err != nil {
		return n, err
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(client, client)
				_ = client.Close()
			}()
		}
	}()
	direct, err := echo(ctx, listener.Addr().String())
	if err != nil {
		return n, err
	}
	n.wait = latency / 2
	const tries = 5
	for try := range tries {
		address, stop, err := startProxy(ctx, listener.Addr().String(), n.wait)
		if err != nil {
			return n, err
		}
		through, err := echo(ctx, address)
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

// echo returns the median time of a round trip to a server that sends back what it gets.
func echo(ctx context.Context, address string) (time.Duration, error) {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close() }()
	message := make([]byte, 200) // about as much as a lookup
	var taken []time.Duration
	for range 501 {
		start := time.Now()
		if _, err := connection.Write(message); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(connection, message); err != nil {
			return 0, err
		}
		taken = append(taken, time.Since(start))
	}
	slices.Sort(taken)
	return taken[len(taken)/2], nil
}

// startProxy returns the address of a proxy before a server, which waits before it passes on what it has read.
func startProxy(ctx context.Context, target string, wait time.Duration) (address string, stop func(), err error) {
	listener, err := listen(ctx)
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

func listen(ctx context.Context) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
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
