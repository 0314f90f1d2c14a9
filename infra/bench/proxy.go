package main

import (
	"io"
	"net"
	"time"
)

// startProxy returns the address of a proxy before a server, through which each direction takes half of the latency.
func startProxy(target string, latency time.Duration) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			go delay(server, client, latency/2)
			go delay(client, server, latency/2)
		}
	}()
	return listener.Addr().String(), func() { _ = listener.Close() }, nil
}

type packet struct {
	due  time.Time
	data []byte
}

// delay copies from one to the other; what is read is written when its time has come, however much is under way.
func delay(to io.WriteCloser, from io.ReadCloser, latency time.Duration) {
	packets := make(chan packet, 1024)
	go func() {
		defer close(packets)
		for {
			buffer := make([]byte, 16<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				packets <- packet{time.Now().Add(latency), buffer[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range packets {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range packets { // until the reader has noticed
	}
}
