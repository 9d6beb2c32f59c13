package server_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// bigAnswer is a tool whose answers are of that many bytes, each in memory of its own.
func bigAnswer(size int) *tool.Tool {
	return &tool.Tool{Name: "big", Builtin: true, InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: json.RawMessage(`{"text":"` + strings.Repeat("x", size) + `"}`)}, nil
		}}
}

// withLimits adds lines below limits to a configuration.
func withLimits(limits string) func(string) string {
	return func(yaml string) string { return yaml + "limits: {" + limits + "}\n" }
}

// unreadOver1 sends a request over HTTP/1.1 on a connection of its own, whose answer
// nobody reads until the returned connection is read.
func unreadOver1(t *testing.T, g *servertest.Gate, request []byte) *tls.Conn {
	t.Helper()
	config := g.TLS(g.Cert("acme"))
	config.NextProtos = nil
	raw, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	_ = raw.(*net.TCPConn).SetReadBuffer(16 << 10)
	conn := tls.Client(raw, config)
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 { // what pools held, too
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The memory of answers that one identity does not read is bounded, over HTTP/1.1, over
// HTTP/2 without a window, and over HTTP/2 with a window and a connection that is not
// read, by both dialects and for requests as large as the answers. Others are answered.
//
// Holds: client/unread-answers-bound
func TestUnreadAnswersAreBounded(t *testing.T) {
	const size, bound = 1 << 20, 24 << 20
	echo := `{"arguments":{"message":"` + strings.Repeat("x", size-200) + `"}}`
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",` + echo[1:] + `}`
	for _, dialect := range []struct {
		name, path, body string
		headers          []string
	}{
		{"Octopus", "/tool/big/call", "{}", nil},
		{"Octopus, large request", "/tool/echo/call", echo, nil},
		{"MCP, large request", "/mcp", call, []string{"Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2025-11-25"}},
		{"MCP by events", "/mcp", call, []string{"Accept", "text/event-stream, application/json", "Mcp-Protocol-Version", "2025-11-25"}},
	} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2 without a window", "HTTP/2 unread"} {
			if protocol == "HTTP/2 unread" && len(dialect.body) > 1000 {
				continue // a client that reads nothing gets no window for more than one of these
			}
			t.Run(dialect.name+" over "+protocol, func(t *testing.T) {
				g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{bigAnswer(size)},
					Config: withLimits(fmt.Sprintf("stallTimeout: 5m, maxBodyBytes: 2000000, perIdentity: {unreadBytes: %d}", bound))})
				others(t, g)
				n, most := 60, bound/size
				if strings.HasSuffix(dialect.name, "events") {
					n, most = 20, most/5 // each is work, and counts for five
				}
				before, decided := heap(), g.Metric(decisions)
				switch protocol {
				case "HTTP/1.1":
					request := requestBytes("POST", dialect.path, "localhost", dialect.body, append(dialect.headers, "Authorization", "Bearer "+g.Key("acme"))...)
					for range n {
						unreadOver1(t, g, request)
					}
				case "HTTP/2 without a window":
					for range n / 20 {
						f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
						f.calls(t, 20, dialect.path, dialect.body, dialect.headers...)
					}
				default:
					for range n / 20 {
						f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
						if err := f.WriteWindowUpdate(0, 1<<31-1-65_535); err != nil {
							t.Fatal(err)
						}
						f.calls(t, 20, dialect.path, dialect.body, dialect.headers...)
					}
				}
				cut := func() float64 { return g.Metric("sangate_answers_cut_total", "reason", "identity_bytes") }
				// As many have been decided on as were sent: too early, there is nothing to bound.
				begun := func() bool { return protocol == "HTTP/2 unread" || g.Metric(decisions)-decided >= float64(n) }
				if !servertest.WaitFor(func() bool { return begun() && cut() > 0 && g.Metric("sangate_streams_open") <= float64(most) }, time.Minute) {
					t.Fatalf("%v decided on, %v answers cut, %v still being written, want at most %d", g.Metric(decisions)-decided, cut(), g.Metric("sangate_streams_open"), most)
				}
				if held := g.Metric("sangate_unread_answer_bytes"); held > bound {
					t.Errorf("%v bytes counted, want at most %d", held, bound)
				}
				var grown int64
				servertest.WaitFor(func() bool { // those that were cut give their memory back when they end
					grown = int64(heap()) - int64(before)
					return grown <= bound*3/2
				}, 30*time.Second)
				t.Logf("%d answers asked for, %v cut, %v bytes counted, heap grew by %d", n, cut(), g.Metric("sangate_unread_answer_bytes"), grown)
				if grown > bound*3/2 {
					t.Errorf("the heap grew by %d, want at most half more than the bound", grown)
				}
				others(t, g)
			})
		}
	}
}

// calls sends a request with a body on the streams 0 to n-1. A body is sent as the server
// gives the connection a window; that of a stream is large enough.
func (f *frames) calls(t *testing.T, n int, path, body string, headers ...string) {
	t.Helper()
	fields := make([]string, len(headers))
	for i, h := range headers {
		if fields[i] = h; i%2 == 0 {
			fields[i] = strings.ToLower(h)
		}
	}
	for i := range n {
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: f.head(path, fields...), EndHeaders: true}); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		for rest := body; ; {
			for len(body) > 1000 && f.window < 16<<10 {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
				if update, ok := frame.(*http2.WindowUpdateFrame); ok && update.StreamID == 0 {
					f.window += int(update.Increment)
				}
			}
			part := rest[:min(len(rest), 16<<10)]
			rest = rest[len(part):]
			f.window -= len(part)
			if err := f.WriteData(stream(i), rest == "", []byte(part)); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			if rest == "" {
				break
			}
		}
	}
}

// An answer that its client reads nothing of is cut after the stall time, long before
// the tool's time would be over: by connection, and by stream if the connection of
// HTTP/2 is read and the stream has no window. Other streams of that connection go on.
//
// Holds: client/unread-answers-stall
func TestStalledAnswerIsCut(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *servertest.Gate {
		return servertest.Start(t, servertest.Options{Tools: []*tool.Tool{bigAnswer(1 << 20)}, Config: withLimits("stallTimeout: 1s, toolTimeout: 1h")})
	}
	ended := func(t *testing.T, g *servertest.Gate, before func() bool) {
		t.Helper()
		if !servertest.WaitFor(func() bool { return before() && g.Metric("sangate_streams_open") == 0 }, 20*time.Second) {
			t.Fatalf("%v answers still being written", g.Metric("sangate_streams_open"))
		}
		if held := g.Metric("sangate_unread_answer_bytes"); held != 0 {
			t.Errorf("%v bytes counted after all were cut", held)
		}
		others(t, g)
	}
	t.Run("HTTP/1.1", func(t *testing.T) {
		g := start(t)
		for range 3 {
			unreadOver1(t, g, requestBytes("POST", "/tool/big/call", "localhost", "{}", "Authorization", "Bearer "+g.Key("acme")))
		}
		ended(t, g, func() bool { return g.Metric("sangate_connections_dropped_total", "reason", "stalled") == 3 })
	})
	t.Run("HTTP/1.1 by net/http", func(t *testing.T) {
		g := start(t)
		unreadOver1(t, g, requestBytes("POST", "/tool/big/call", "localhost", "{}", "Authorization", "Bearer "+g.Key("acme"), "Connection", "keep-alive, x"))
		ended(t, g, func() bool { return g.Metric("sangate_connections_dropped_total", "reason", "stalled") == 1 })
	})
	t.Run("HTTP/2 unread", func(t *testing.T) {
		g := start(t)
		f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
		if err := f.WriteWindowUpdate(0, 1<<31-1-65_535); err != nil {
			t.Fatal(err)
		}
		f.calls(t, 20, "/tool/big/call", "{}")
		ended(t, g, func() bool { // where the machine is slow, an answer is cut first, and the connection with it
			return g.Metric("sangate_connections_dropped_total", "reason", "stalled")+g.Metric("sangate_answers_cut_total", "reason", "stalled") > 0
		})
	})
	t.Run("HTTP/2 without a window", func(t *testing.T) {
		g := start(t)
		f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		const n = 5
		f.calls(t, n, "/tool/big/call", "{}")
		reset, answered := 0, false
		_ = f.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		for reset < n || !answered {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatalf("%d streams reset, another one answered %v: %v", reset, answered, err)
			}
			switch frame := frame.(type) {
			case *http2.RSTStreamFrame:
				if reset++; reset == n { // the connection goes on
					if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(n), BlockFragment: f.head("/tool/whoami/call"), EndHeaders: true, EndStream: true}); err != nil {
						t.Fatal(err)
					}
					if err := f.WriteWindowUpdate(stream(n), 1<<20); err != nil {
						t.Fatal(err)
					}
				}
			case *http2.DataFrame:
				answered = answered || frame.StreamID == stream(n) && frame.StreamEnded()
			}
		}
		ended(t, g, func() bool { return g.Metric("sangate_answers_cut_total", "reason", "stalled") == n })
	})
}

// A client that reads slowly but steadily gets the whole answer, although that takes
// many times the stall time.
//
// Holds: client/slow-reader-served
func TestSlowReaderIsServed(t *testing.T) {
	const size = 384 << 10
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{bigAnswer(size)}, Config: withLimits("stallTimeout: 1s")})
	t.Run("HTTP/1.1", func(t *testing.T) {
		conn := unreadOver1(t, g, requestBytes("POST", "/tool/big/call", "localhost", "{}", "Authorization", "Bearer "+g.Key("acme")))
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		begun, got := time.Now(), 0
		for part := make([]byte, 16<<10); got < size; {
			time.Sleep(80 * time.Millisecond)
			n, err := conn.Read(part)
			if got += n; err != nil {
				t.Fatalf("after %d bytes and %v: %v", got, time.Since(begun), err)
			}
		}
		t.Logf("read in %v", time.Since(begun))
	})
	t.Run("HTTP/2", func(t *testing.T) {
		f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		f.calls(t, 1, "/tool/big/call", "{}")
		_ = f.conn.SetReadDeadline(time.Now().Add(time.Minute))
		begun, got := time.Now(), 0
		for ended := false; !ended; {
			time.Sleep(80 * time.Millisecond)
			for _, id := range []uint32{0, stream(0)} {
				if err := f.WriteWindowUpdate(id, 16<<10); err != nil {
					t.Fatal(err)
				}
			}
			for room := got + 16<<10; got < room && !ended; {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatalf("after %d bytes and %v: %v", got, time.Since(begun), err)
				}
				if data, ok := frame.(*http2.DataFrame); ok {
					got, ended = got+len(data.Data()), data.StreamEnded()
				} else if reset, ok := frame.(*http2.RSTStreamFrame); ok {
					t.Fatalf("reset after %d bytes and %v: %v", got, time.Since(begun), reset.ErrCode)
				}
			}
		}
		if got < size {
			t.Errorf("%d bytes, want more than %d", got, size)
		}
		t.Logf("read in %v", time.Since(begun))
	})
	if n := g.Metric("sangate_answers_cut_total", "reason", "stalled") + g.Metric("sangate_connections_dropped_total", "reason", "stalled"); n != 0 {
		t.Errorf("%v answers were cut", n)
	}
}

// Small answers that clients of HTTP/2 give no window for are counted, too, with or
// without a token: each holds a stream of the server.
//
// Holds: client/unread-answers-bound
func TestUnreadSmallAnswersAreBounded(t *testing.T) {
	t.Parallel()
	const bound, n = 1 << 20, 100 // 64 streams
	for name, token := range map[string]string{"admitted": "", "without a token": "x"} {
		t.Run(name, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{Config: withLimits(fmt.Sprintf("stallTimeout: 1m, perIdentity: {unreadBytes: %d}", bound))})
			f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			if token != "" {
				f.token = token
			}
			f.calls(t, n, "/tool/whoami/call", "{}")
			reset := 0
			_ = f.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			for reset < 30 {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatalf("%d streams reset: %v", reset, err)
				}
				if _, ok := frame.(*http2.RSTStreamFrame); ok {
					reset++
				}
			}
			if held := g.Metric("sangate_unread_answer_bytes"); held > bound || held == 0 {
				t.Errorf("%v bytes counted, want at most %d", held, bound)
			}
			if open := g.Metric("sangate_streams_open"); token == "" && (open == 0 || open > 64) {
				t.Errorf("%v admitted requests in progress, want at most 64: they are counted until they are read", open)
			}
			others(t, g)
		})
	}
}
