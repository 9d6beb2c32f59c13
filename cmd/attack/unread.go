package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
)

// unreadCases are clients that ask for large answers and read nothing of them, each
// answer as large as its request.
func unreadCases() []kase {
	message := strings.Repeat("x", 900_000)
	echo := `{"arguments":{"message":"` + message + `"}}`
	// The MCP SDK answers those who want events.
	const accept = "Accept: text/event-stream, application/json\r\nMcp-Protocol-Version: 2025-11-25\r\n"
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",` + echo[1:] + `}`
	over1 := func(name, path, head, body string) kase {
		return kase{name: "client/unread-" + name, unit: "answer", units: 100, bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error {
				config, err := clientTLS(a.Dir, "acme")
				if err != nil {
					return err
				}
				text := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
					"Authorization: Bearer %s\r\n%sContent-Length: %d\r\n\r\n%s", path, a.Token, head, len(body), body)
				return a.hold(ctx, 600, func(ctx context.Context, _ int) (io.ReadCloser, error) {
					conn, err := a.secure(ctx, config)
					if err == nil {
						_, err = io.WriteString(conn, text)
					}
					if err != nil {
						return nil, err
					}
					return &unread{Conn: conn, closed: make(chan struct{})}, nil
				})
			}}
	}
	return []kase{
		over1("answers", "/tool/echo/call", "", echo),
		over1("events", "/mcp", accept, call),
		{name: "client/h2-unread-large-answers", unit: "connection", units: 10, bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error {
				return a.hold(ctx, 20, func(ctx context.Context, _ int) (io.ReadCloser, error) {
					h, err := a.h2(ctx)
					if err != nil {
						return nil, err
					}
					for i := range 30 {
						if err := h.call(uint32(2*i+1), "/tool/echo/call", []byte(echo)); err != nil {
							return h, err
						}
					}
					return h, nil
				})
			}},
	}
}

// An unread connection has a Read that reads nothing, and ends when the server has
// reset the connection.
type unread struct {
	*tls.Conn
	closed chan struct{}
	once   sync.Once
}

// Read is io.Reader's.
func (u *unread) Read([]byte) (int, error) {
	raw, err := u.NetConn().(*net.TCPConn).SyscallConn()
	for err == nil {
		select {
		case <-u.closed:
			return 0, net.ErrClosed
		case <-time.After(200 * time.Millisecond):
		}
		var code int
		if e := raw.Control(func(fd uintptr) {
			code, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		}); e != nil || code != 0 {
			return 0, io.EOF
		}
	}
	return 0, err
}

// Close is io.Closer's. What is unread would have the system wait.
func (u *unread) Close() error {
	u.once.Do(func() { close(u.closed) })
	return u.NetConn().Close()
}

// call sends a request with a body as the server gives the connection a window.
func (h *h2) call(id uint32, path string, body []byte) error {
	if err := h.request(id, path, false); err != nil {
		return err
	}
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 16<<10)
		for h.window < n {
			frame, err := h.ReadFrame()
			if err != nil {
				return err
			}
			if update, ok := frame.(*http2.WindowUpdateFrame); ok && update.StreamID == 0 {
				h.window += int(update.Increment)
			}
		}
		if err := h.WriteData(id, n == len(rest), rest[:n]); err != nil {
			return err
		}
		rest, h.window = rest[n:], h.window-n
	}
	return nil
}
