package server_test

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sangate/sangate/server/servertest"
)

// An event stream over HTTP/2 does not keep a body that its client sends: that would be
// as much as the window for as long as the stream is open.
//
// Holds: client/request-memory
func TestStreamKeepsNoBody(t *testing.T) {
	const n, part, parts = 20, 16 << 10, 50
	g := servertest.Start(t, servertest.Options{})
	id := begin(t, g.Client(g.Cert("acme")), g.URL+"/mcp", "2025-11-25", "Authorization: Bearer "+g.Key("acme"))
	before := heap()
	for range n {
		f := framesTo(t, g)
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/mcp"},
			{"accept", "text/event-stream"}, {"authorization", "Bearer " + f.token}, {"mcp-session-id", id}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // into memory
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		_ = f.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		for open, acknowledged := false, false; !acknowledged; {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch frame := frame.(type) {
			case *http2.WindowUpdateFrame:
				f.window += int(frame.Increment)
			case *http2.HeadersFrame:
				open = true
				for range parts {
					if err := f.WriteData(1, false, make([]byte, part)); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.WritePing(false, [8]byte{}); err != nil {
					t.Fatal(err)
				}
			case *http2.PingFrame:
				acknowledged = open
			}
		}
		if f.window < part*parts {
			t.Fatalf("the window is %d, want at least %d", f.window, part*parts)
		}
	}
	if streams := g.Metric("sangate_streams_open"); streams != n {
		t.Errorf("%v streams are open, want %d", streams, n)
	}
	if grown := int64(heap()) - int64(before); grown > n*part*parts/2 {
		t.Errorf("the heap grew by %d for bodies of %d bytes", grown, n*part*parts)
	}
}
