package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Cases are clients whose HTTP/2 is meant to cost.
func http2Cases() []kase {
	flood := func(name string, write func(h *h2, i int) error) kase {
		return kase{name: "client/h2-" + name, unit: "connection", units: 20, rate: 4, bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error {
				return a.each(ctx, func(ctx context.Context) {
					h, err := a.h2(ctx)
					if err != nil {
						return
					}
					defer h.Close()
					stop := context.AfterFunc(ctx, func() { _ = h.Close() })
					defer stop()
					for i := range 2_000 {
						if write(h, i) != nil {
							return
						}
					}
				})
			}}
	}
	held := func(name string, n int, open func(h *h2) error) kase {
		return kase{name: "client/h2-" + name, unit: "connection", units: min(n, 20), bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error {
				return a.hold(ctx, n, func(ctx context.Context, _ int) (io.ReadCloser, error) {
					h, err := a.h2(ctx)
					if err == nil {
						err = open(h)
					}
					return h, err
				})
			}}
	}
	return []kase{
		held("streams-without-body", 100, func(h *h2) error {
			for i := range 100 {
				if err := h.request(uint32(2*i+1), "/tool/echo/call", false); err != nil {
					return err
				}
			}
			return nil
		}),
		held("unread-answers", 20, func(h *h2) error {
			body := []byte(`{"arguments":{"message":"` + strings.Repeat("x", 60_000) + `"}}`)
			for i := range 30 {
				if err := h.request(uint32(2*i+1), "/tool/echo/call", false); err != nil {
					return err
				}
				for rest := body; len(rest) > 0; {
					n := min(len(rest), 16<<10)
					if err := h.WriteData(uint32(2*i+1), n == len(rest), rest[:n]); err != nil {
						return err
					}
					rest = rest[n:]
				}
			}
			return nil
		}),
		held("silent-after-settings", 400, func(*h2) error { return nil }),
		flood("rapid-reset", func(h *h2, i int) error {
			if err := h.request(uint32(2*i+1), "/tool/echo/call", true); err != nil {
				return err
			}
			return h.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}),
		flood("continuation", func(h *h2, i int) error {
			if i == 0 {
				return h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.head("/health"), EndStream: true})
			}
			return h.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 1, 'a', 1, 'b'}, 1000))
		}),
		flood("settings", func(h *h2, _ int) error {
			return h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		}),
		flood("ping", func(h *h2, _ int) error { return h.WritePing(false, [8]byte{}) }),
		flood("window-updates", func(h *h2, _ int) error { return h.WriteWindowUpdate(0, 1) }),
		flood("priority", func(h *h2, i int) error {
			return h.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: 0, Weight: 1})
		}),
		flood("empty-data", func(h *h2, i int) error {
			if i == 0 {
				return h.request(1, "/tool/echo/call", false)
			}
			return h.WriteData(1, false, nil)
		}),
		flood("header-bomb", func(h *h2, i int) error {
			// One entry of 4,000 bytes in the table, then thousands of references to it.
			if i > 0 {
				return h.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndHeaders: true, EndStream: true,
					BlockFragment: append(h.head("/health"), bytes.Repeat([]byte{0xbe}, 15_000)...)})
			}
			return h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
				BlockFragment: h.head("/health", "x", strings.Repeat("y", 3_900))})
		}),
	}
}

// An h2 is a client's end of an HTTP/2 connection whose answers are read by
// hold, or not at all.
type h2 struct {
	*http2.Framer
	net.Conn
	token   string
	encoder *hpack.Encoder
	block   *bytes.Buffer
	window  int // of the connection, for bodies
}

// Read and Close are the connection's.
func (h *h2) Read(b []byte) (int, error) { return h.Conn.Read(b) }

// h2 connects and sends a preface, with a window of nothing for answers.
func (a *arena) h2(ctx context.Context) (*h2, error) {
	config, err := clientTLS(a.Dir, "acme")
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"h2"}
	conn, err := a.secure(ctx, config)
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	h := &h2{Conn: conn, Framer: http2.NewFramer(conn, conn), token: a.Token, block: &bytes.Buffer{}, window: 65_535}
	h.encoder = hpack.NewEncoder(h.block)
	_, err = io.WriteString(conn, http2.ClientPreface)
	if err == nil {
		err = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return h, nil
}

// head returns an encoded header block.
func (h *h2) head(path string, more ...string) []byte {
	h.block.Reset()
	fields := append([]string{":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", path,
		"content-type", "application/json", "authorization", "Bearer " + h.token}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = h.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return bytes.Clone(h.block.Bytes())
}

func (h *h2) request(id uint32, path string, end bool) error {
	return h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.head(path), EndStream: end, EndHeaders: true})
}
