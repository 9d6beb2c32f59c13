package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// junkCases are strangers who do not speak TLS, or stop in the middle of it.
func junkCases() []kase {
	junk := func(name string, send func() []byte) kase {
		return kase{name: "stranger/" + name, unit: "connection", units: 200, rate: 100, bounds: handshakeBounds,
			attack: func(ctx context.Context, a *arena) error {
				data := send()
				return a.each(ctx, func(ctx context.Context) { a.exchange(ctx, data) })
			}}
	}
	return []kase{
		junk("random-bytes", func() []byte {
			b := make([]byte, 16<<10)
			_, _ = rand.Read(b) // does not fail
			return b
		}),
		junk("plain-http", func() []byte { return []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n") }),
		junk("plain-http-64k-path", func() []byte {
			return append([]byte("GET /"), bytes.Repeat([]byte("\x1b[31m"), 13_000)...)
		}),
		junk("alert", func() []byte { return []byte{21, 3, 3, 0, 2, 2, 40} }),
		junk("1000-warning-alerts", func() []byte { return bytes.Repeat([]byte{21, 3, 3, 0, 2, 1, 90}, 1000) }),
		junk("ten-thousand-empty-records", func() []byte { return bytes.Repeat([]byte{22, 3, 3, 0, 0}, 10_000) }),
		junk("change-cipher-spec-flood", func() []byte { return bytes.Repeat([]byte{20, 3, 3, 0, 1, 1}, 10_000) }),
		junk("hello-of-16mb-announced", func() []byte { return []byte{22, 3, 1, 0, 8, 1, 0xff, 0xff, 0xff, 3, 3, 0, 0} }),
		junk("huge-client-hello", hugeHello),
		junk("many-protocols-hello", func() []byte {
			return hello(&tls.Config{NextProtos: many(8_000, "p%05d"), ServerName: "localhost"})
		}),
		junk("session-ticket-garbage", ticketHello),
		junk("3700-key-shares", keyShareHello), // as many as limits.maxHandshakeBytes has room for
		{name: "stranger/connect-and-close", unit: "connection", units: 500, rate: 400, bounds: handshakeBounds,
			attack: func(ctx context.Context, a *arena) error {
				return a.each(ctx, func(ctx context.Context) {
					if conn, err := a.dial(ctx, nil); err == nil {
						_ = conn.Close()
					}
				})
			}},
		{name: "stranger/hello-and-reset", unit: "connection", units: 300, rate: 200, bounds: handshakeBounds,
			attack: func(ctx context.Context, a *arena) error {
				data := hello(&tls.Config{ServerName: "localhost"})
				return a.each(ctx, func(ctx context.Context) {
					conn, err := a.dial(ctx, nil)
					if err != nil {
						return
					}
					_, _ = conn.Write(data)
					_, _ = conn.Read(make([]byte, 1))    // the server has done its part
					_ = conn.(*net.TCPConn).SetLinger(0) // and is reset
					_ = conn.Close()
				})
			}},
	}
}

// exchange sends data and waits for the server to close.
func (a *arena) exchange(ctx context.Context, data []byte) {
	conn, err := a.dial(ctx, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = conn.Write(data)
	_, _ = io.Copy(io.Discard, conn)
}

// hello returns the first bytes that a client of config sends.
func hello(config *tls.Config) []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		config.InsecureSkipVerify = true // nobody is there
		_ = tls.Client(theirs, config).Handshake()
	}()
	_ = ours.SetDeadline(time.Now().Add(time.Second))
	var sent []byte
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(ours, head); err != nil {
			return sent
		}
		body := make([]byte, int(head[3])<<8|int(head[4]))
		if _, err := io.ReadFull(ours, body); err != nil {
			return sent
		}
		sent = append(append(sent, head...), body...)
		if len(body) < 16<<10 { // its last record
			return sent
		}
	}
}

// hugeHello is a ClientHello with an unknown extension of 60,000 bytes.
func hugeHello() []byte { return withExtension(0x7a7a, make([]byte, 60_000)) }

// ticketHello offers 1,000 tickets that nobody sealed.
func ticketHello() []byte {
	var identities, binders []byte
	for range 200 {
		identities = append(identities, 0, 200)
		ticket := make([]byte, 200)
		_, _ = rand.Read(ticket) // does not fail
		identities = append(append(identities, ticket...), 0, 0, 0, 0)
		binders = append(append(binders, 32), make([]byte, 32)...)
	}
	data := append([]byte{byte(len(identities) >> 8), byte(len(identities))}, identities...)
	data = append(append(data, byte(len(binders)>>8), byte(len(binders))), binders...)
	return withExtension(41, data)
}

// keyShareHello offers 3,700 key shares of one byte, of a group that nobody knows.
func keyShareHello() []byte {
	shares := bytes.Repeat([]byte{0x77, 0x77, 0, 1, 7}, 3_700)
	return withExtension(51, append([]byte{byte(len(shares) >> 8), byte(len(shares))}, shares...))
}

// withExtension puts an extension into an ordinary ClientHello, in the place of its own of
// that kind, in records of at most 16 KiB.
func withExtension(kind uint16, data []byte) []byte {
	record := hello(&tls.Config{ServerName: "localhost", SessionTicketsDisabled: true})
	msg := bytes.Clone(record[5:])
	at := 4 + 2 + 32
	at += 1 + int(msg[at])                     // session id
	at += 2 + int(msg[at])<<8 + int(msg[at+1]) // cipher suites
	at += 1 + int(msg[at])                     // compression
	for own := at + 2; own < len(msg); own += 4 + int(msg[own+2])<<8 + int(msg[own+3]) {
		if msg[own] == byte(kind>>8) && msg[own+1] == byte(kind) {
			msg[own], msg[own+1] = 0x7a, 0x7b // one that nobody knows
		}
	}
	total := int(msg[at])<<8 + int(msg[at+1]) + 4 + len(data)
	msg[at], msg[at+1] = byte(total>>8), byte(total)
	msg = append(msg, byte(kind>>8), byte(kind), byte(len(data)>>8), byte(len(data)))
	msg = append(msg, data...)
	n := len(msg) - 4
	msg[1], msg[2], msg[3] = byte(n>>16), byte(n>>8), byte(n)
	var out []byte
	for len(msg) > 0 {
		n := min(len(msg), 16<<10)
		out = append(append(out, 22, 3, 1, byte(n>>8), byte(n)), msg[:n]...)
		msg = msg[n:]
	}
	return out
}
