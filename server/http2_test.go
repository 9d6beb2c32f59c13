package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// A frames is a client's end of an HTTP/2 connection that sends what it likes.
type frames struct {
	*http2.Framer
	conn   *tls.Conn
	token  string
	window int // of the connection, for what is sent, as far as it has been read
}

// framesTo connects as acme, and sends the preface with settings.
func framesTo(t *testing.T, g *servertest.Gate, settings ...http2.Setting) *frames {
	t.Helper()
	config := g.TLS(g.Cert("acme"))
	config.NextProtos = []string{"h2"}
	raw, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	_ = raw.(*net.TCPConn).SetReadBuffer(4 << 10) // so that what is not read is soon noticed
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &frames{Framer: http2.NewFramer(conn, conn), conn: conn, token: g.Key("acme"), window: 65_535}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return f
}

// head returns an encoded header block of a POST request.
func (f *frames) head(path string, more ...string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := append([]string{":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", path,
		"content-type", "application/json", "authorization", "Bearer " + f.token}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return block.Bytes()
}

// request opens the stream i, counted from 0.
func (f *frames) request(i int, path string, end bool) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: f.head(path), EndStream: end, EndHeaders: true})
}

func stream(i int) uint32 { return uint32(2*i + 1) }

// ended reads until the server ends the connection, and returns the code of its
// GOAWAY frame, or none if there was none. It fails if that takes longer than limit.
func (f *frames) ended(t *testing.T, limit time.Duration) http2.ErrCode {
	t.Helper()
	code := none
	_ = f.conn.SetReadDeadline(time.Now().Add(limit))
	for {
		frame, err := f.ReadFrame()
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatalf("the server left the connection open for %v", limit)
		}
		if err != nil && !errors.As(err, new(http2.StreamError)) {
			return code
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			code = away.ErrCode
		}
	}
}

// none stands for no GOAWAY frame.
const none = http2.ErrCode(0xffffffff)

// stubborn is a tool that does not end with its context but when it is released, and how
// many of its calls run.
func stubborn() (stubborn *tool.Tool, running *atomic.Int32, release func()) {
	released, running := make(chan struct{}), new(atomic.Int32)
	return &tool.Tool{Name: "stubborn", Builtin: true, InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) {
			running.Add(1)
			<-released
			return tool.Text("late"), nil
		}}, running, func() { close(released) }
}

// others checks that a client of another tenant is answered.
func others(t *testing.T, g *servertest.Gate) {
	t.Helper()
	client := g.Client(g.Cert("globex"))
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
		t.Errorf("a client beside it: %s, want 200", res.Status)
	}
}

// Requests that are reset as soon as they are sent do not start more calls than the
// connection may have streams, whatever becomes of the calls (CVE-2023-44487).
//
// Holds: client/http2-rapid-reset
func TestHTTP2RapidReset(t *testing.T) {
	t.Parallel()
	slow, running, release := stubborn()
	defer release()
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{slow}, Config: func(yaml string) string {
		return yaml + "\nlimits: {maxStreamsPerConnection: 8, drainTimeout: 100ms}\n"
	}})
	f := framesTo(t, g)
	for i := range 1000 {
		if f.request(i, "/tool/stubborn/call", true) != nil || f.WriteRSTStream(stream(i), http2.ErrCodeCancel) != nil {
			break // closed meanwhile
		}
	}
	if code := f.ended(t, 20*time.Second); code != http2.ErrCodeEnhanceYourCalm && code != none {
		t.Errorf("ended with %v", code)
	}
	if n := running.Load(); n > 8 {
		t.Errorf("%d calls run, want 8 at most", n)
	}
	others(t, g)
}

// A flood of frames that ask for work or answers ends the connection, or leaves nothing
// behind that would keep it from ending as an idle one.
//
// Holds: client/http2-floods
func TestHTTP2Floods(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return yaml + "\nlimits: {idleTimeout: 1s}\n" }})
	for name, c := range map[string]struct {
		n     int
		write func(f *frames, i int) error
	}{
		"header block without end": {10_000, func(f *frames, i int) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head("/tools"), EndStream: true})
			}
			return f.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 1, 'a', 1, 'b'}, 1000))
		}},
		"references to a long header": {100, func(f *frames, i int) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
					BlockFragment: f.head("/tools", "x", strings.Repeat("y", 3900))})
			}
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), EndHeaders: true, EndStream: true,
				BlockFragment: append(f.head("/tools"), bytes.Repeat([]byte{0xbe}, 15_000)...)})
		}},
		"more streams than allowed": {2_000, func(f *frames, i int) error { return f.request(i, "/tool/echo/call", false) }},
		"pings, answers unread":     {1_000_000, func(f *frames, _ int) error { return f.WritePing(false, [8]byte{}) }},
		"empty data after the end": {10_000, func(f *frames, i int) error {
			if i == 0 {
				return f.request(0, "/tools", true)
			}
			return f.WriteData(1, false, nil)
		}},
		"window beyond its bound": {10, func(f *frames, _ int) error { return f.WriteWindowUpdate(0, 1<<31-1) }},
		"a stream that needs itself": {10, func(f *frames, i int) error {
			return f.WritePriority(stream(i), http2.PriorityParam{StreamDep: stream(i), Weight: 1})
		}},
		"half a header block": {1, func(f *frames, _ int) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head("/tools"), EndStream: true})
		}},
		"half a frame": {1, func(f *frames, _ int) error { _, err := f.conn.Write([]byte{0, 0, 200, 1, 0}); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer others(t, g)
			f := framesTo(t, g)
			_ = f.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
			for i := range c.n {
				if err := c.write(f, i); err != nil {
					break // closed meanwhile
				}
			}
			f.ended(t, 30*time.Second)
		})
	}
}

// A client that asks and reads nothing loses its connection, although nobody can tell it
// to go away: what it has asked for is in the way.
//
// Holds: client/http2-unread
func TestHTTP2Unread(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 1<<20)
	large := &tool.Tool{Name: "large", Builtin: true, InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) { return tool.Text(text), nil }}
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{large}, Config: withLimits("stallTimeout: 2s")})
	f := framesTo(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	if err := f.WriteWindowUpdate(0, 1<<31-1-65_535); err != nil {
		t.Fatal(err)
	}
	for i := range 16 { // more than lies between the two ends
		if err := f.request(i, "/tool/large/call", true); err != nil {
			t.Fatal(err)
		}
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") > 0 }, 10*time.Second) {
		t.Fatal("no call came")
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_open") == 0 }, 25*time.Second) {
		t.Error("the connection is still open")
	}
	others(t, g)
}
