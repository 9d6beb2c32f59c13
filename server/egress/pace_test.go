package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sangate/sangate/pki/pkitest"
)

// counted counts what is read of a connection.
type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// piped returns a client whose connections are pipes to serve, and how many bytes it has
// read of all.
func piped(t *testing.T, target Target, serve func(net.Conn, *tls.Config)) (*http.Client, *atomic.Int64) {
	ca := pkitest.NewCA(t, "server CA")
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pkitest.Leaf{DNS: []string{"server.test"}}).TLS}}
	read := new(atomic.Int64)
	target.Roots = ca.Pool()
	target.Dial = func(DialFunc) DialFunc {
		return func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { _ = theirs.Close() })
			go serve(theirs, config)
			return counted{ours, read}, nil
		}
	}
	return New(Options{}).Client(target), read
}

// flood returns a server of HTTP/2 that answers the first request, whole or not, and
// writes frames from then on: over 4 MiB of them.
func flood(whole bool, write func(*http2.Framer) error) func(net.Conn, *tls.Config) {
	return func(raw net.Conn, config *tls.Config) {
		config = config.Clone()
		config.NextProtos = []string{"h2"}
		c := tls.Server(raw, config)
		defer c.Close()
		out := bufio.NewWriterSize(c, 16<<10)
		fr := http2.NewFramer(out, c)
		_, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		if err != nil || fr.WriteSettings() != nil || out.Flush() != nil {
			return
		}
		for asked := false; !asked; {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			asked = f.Header().Type == http2.FrameHeaders
		}
		go func() { _, _ = io.Copy(io.Discard, c) }() // until it is closed
		var head bytes.Buffer
		_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		err = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: whole})
		for range 6 << 20 / 17 {
			if err != nil {
				return
			}
			err = write(fr)
		}
	}
}

// What a server sends over HTTP/2 that no request explains is read at a bounded rate.
//
// Holds: upstream/http2-frames
func TestFloodIsPaced(t *testing.T) {
	log.SetOutput(io.Discard) // net/http logs unknown frames
	defer log.SetOutput(os.Stderr)
	floods := map[string]func(*http2.Framer) error{
		"ping":     func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{}) },
		"ping ack": func(fr *http2.Framer) error { return fr.WritePing(true, [8]byte{}) },
		"settings": func(fr *http2.Framer) error {
			return fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
		},
		"window update": func(fr *http2.Framer) error { return fr.WriteWindowUpdate(99, 1) },
		"reset":         func(fr *http2.Framer) error { return fr.WriteRSTStream(999, http2.ErrCodeCancel) },
		"priority":      func(fr *http2.Framer) error { return fr.WritePriority(1, http2.PriorityParam{}) },
		"unknown":       func(fr *http2.Framer) error { return fr.WriteRawFrame(0xee, 0, 1, make([]byte, 9)) },
		"go away":       func(fr *http2.Framer) error { return fr.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil) },
		"empty data": func(fr *http2.Framer) error {
			return errors.Join(fr.WriteData(1, false, nil), fr.WriteData(1, false, nil))
		},
		"padding": func(fr *http2.Framer) error { return fr.WriteDataPadded(1, false, nil, make([]byte, 8)) },
	}
	for name, write := range floods {
		for _, whole := range []bool{true, false} {
			state, most := "idle", burst+60*idleRate
			if !whole {
				state, most = "open", burst+explained(window)+10*openRate
			}
			if whole && (name == "empty data" || name == "padding" || name == "go away") {
				continue // ends the connection
			}
			t.Run(name+"/"+state, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, read := piped(t, Target{HTTP2: true}, flood(whole, write))
					defer client.CloseIdleConnections()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://server.test/", nil)
					res, err := client.Do(req)
					if err != nil || res.ProtoMajor != 2 {
						t.Fatalf("got %v, %v, want an answer over HTTP/2", res, err)
					}
					defer res.Body.Close()
					if whole {
						_, _ = io.Copy(io.Discard, res.Body)
						time.Sleep(time.Minute)
					} else {
						time.Sleep(10 * time.Second)
					}
					if got := read.Load(); got > int64(most)+64<<10 { // the handshake, the head and a record
						t.Errorf("read %d bytes, want at most %d", got, most)
					} else if got < 64<<10 {
						t.Errorf("read %d bytes: the flood ended by itself", got)
					}
				})
			})
		}
	}
}

// Servers that are asked rarely are spoken to in HTTP/1.1, and their connections are closed
// soon.
//
// Holds: upstream/http2-frames
func TestRareTargetSpeaksHTTP1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		client, _ := piped(t, Target{}, func(raw net.Conn, config *tls.Config) {
			defer close(ended)
			config.NextProtos = []string{"h2", "http/1.1"}
			c := tls.Server(raw, config)
			defer c.Close()
			in := bufio.NewReader(c)
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_, _ = in.ReadByte() // until it is closed
		})
		res, err := client.Get("https://server.test/")
		if err != nil || res.ProtoMajor != 1 {
			t.Fatalf("got %v, %v, want an answer over HTTP/1.1", res, err)
		}
		_ = res.Body.Close()
		begun := time.Now()
		<-ended
		if got := time.Since(begun); got > 10*time.Second {
			t.Errorf("the connection was kept for %v", got)
		}
	})
}

// A Read that waits ends with its deadline, and when the connection is closed.
func TestPacedReadEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(net.Conn)
		want error
	}{
		"deadline":      {func(c net.Conn) { _ = c.SetDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		"read deadline": {func(c net.Conn) { _ = c.SetReadDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		"close":         {func(c net.Conn) { _ = c.Close() }, io.ErrClosedPipe},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				c, err := pace(func(context.Context, string, string) (net.Conn, error) { return ours, nil })(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				go func() { _, _ = theirs.Write(make([]byte, 2<<20)) }()
				if _, err := io.ReadFull(c, make([]byte, burst)); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
				begun, result := time.Now(), make(chan error)
				go func() {
					_, err := c.Read(make([]byte, 1))
					result <- err
				}()
				synctest.Wait()
				tt.end(c)
				if err := <-result; !errors.Is(err, tt.want) || time.Since(begun) > 2*time.Second {
					t.Errorf("got %v after %v, want %v", err, time.Since(begun), tt.want)
				}
			})
		})
	}
}

// Answers leave no more budget behind than a new connection has, and what was read with
// the window of an answer that did not come is owed.
//
// Holds: upstream/http2-frames
func TestBudgetDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		raw, err := pace(func(context.Context, string, string) (net.Conn, error) { return ours, nil })(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		c := paced(tls.Client(tls.Client(raw, &tls.Config{}), &tls.Config{})) // through a proxy
		if c != raw {
			t.Fatalf("got %v under TLS", c)
		}
		for range 100 {
			c.begin()
			c.explain(16 << 20)
			c.end(onTheWay)
		}
		if c.budget > burst {
			t.Errorf("the budget is %d after 100 answers, want at most %d", c.budget, burst)
		}
		c.begin()
		c.explain(64 << 20)
		if c.budget > burst+explained(window) {
			t.Errorf("the budget is %d in an answer, want at most %d", c.budget, burst+explained(window))
		}
		go func() { _, _ = theirs.Write(make([]byte, 4<<20)) }()
		_, err = io.ReadFull(c, make([]byte, burst+explained(window)))
		c.end(0)
		if err != nil || c.budget >= 0 {
			t.Errorf("the budget is %d, %v after a flood, want less than nothing", c.budget, err)
		}
	})
}
