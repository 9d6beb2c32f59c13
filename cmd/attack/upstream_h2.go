package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// controlFrames is an upstream that answers a request over HTTP/2 with PING frames only,
// for as long as they are read.
func controlFrames() kase {
	k := upstreamCase("h2-control-frames", nil, nil, `{}`)
	k.bounds.cpu = 50 * time.Millisecond
	k.setup = func(ctx context.Context, s *stage) (string, error) {
		cert, err := tls.LoadX509KeyPair(s.w.path("server.crt"), s.w.path("server.key"))
		if err != nil {
			return "", err
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		if err != nil {
			return "", err
		}
		context.AfterFunc(ctx, func() { _ = ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go pings(ctx, c)
			}
		}()
		return fmt.Sprintf("mcpServers:\n  - {name: hostile, baseUrl: \"https://localhost:%d\", protocol: octopus, timeoutMs: 20000, refresh: 1s, caFile: %s}",
			ln.Addr().(*net.TCPAddr).Port, s.w.path("root.crt")), nil
	}
	return k
}

// pings writes PING frames to a client that has asked for something.
func pings(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	out := bufio.NewWriter(c)
	frames := http2.NewFramer(out, c)
	_, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	if err != nil || frames.WriteSettings() != nil || out.Flush() != nil {
		return
	}
	for asked := false; !asked; {
		f, err := frames.ReadFrame()
		if err != nil {
			return
		}
		asked = f.Header().Type == http2.FrameHeaders
	}
	go func() { _, _ = io.Copy(io.Discard, c) }() // until it is closed
	for err == nil {
		err = frames.WritePing(false, [8]byte{})
	}
}
