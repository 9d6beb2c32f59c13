package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/turns"
)

// free reports whether one has its turn free.
func free(one *turns.Turns) bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if one.Take(ended, "test", "") != nil {
		return false
	}
	one.Give()
	return true
}

// A request takes a turn for what is made of a large body and of a large result. It has
// none while a tool may wait for others, and while its client reads the answer. Small
// requests never wait.
//
// Holds: client/cpu-turns
func TestLargeRequestsTakeTurns(t *testing.T) {
	s := &Server{turns: turns.New(1), intake: intake.New(1 << 20)}
	small, large := []byte(`"x"`), bytes.Repeat([]byte(" "), turns.Large+1)
	ask := func() (*request, func(body []byte) error) {
		q := newRequest(t.Context())
		w := httptest.NewRecorder()
		q.out.server, q.out.q, q.out.ResponseWriter = s, q, w
		return q, func(body []byte) error {
			r := httptest.NewRequestWithContext(q, http.MethodPost, "/", bytes.NewReader(body))
			_, err := answer.Body(w, r, 1<<20)
			return err
		}
	}
	takeTurn(t, s.turns)
	gone := errors.New("gone")
	q, read := ask()
	q.End(gone)
	if read(small) != nil || read(large) == nil {
		t.Error("a small body waits for a turn, or a large one does not")
	}
	s.turns.Give()

	q, read = ask()
	if err := read(large); err != nil || free(s.turns) {
		t.Fatalf("%v; or a large body is worked on without a turn", err)
	}
	waits := &tool.Tool{Name: "waits", InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) {
			if !free(s.turns) {
				t.Error("a tool that may wait has a turn")
			}
			return &tool.Result{Structured: append([]byte(`{}`), large...)}, nil
		}}
	if err := waits.Compile(); err != nil {
		t.Fatal(err)
	}
	if _, err := waits.Call(q, &tool.Call{}); err != nil || free(s.turns) {
		t.Errorf("%v; or a large result is checked without a turn", err)
	}
	if _, err := q.out.Write(small); err != nil || !free(s.turns) {
		t.Errorf("%v; or an answer is written in a turn", err)
	}
}

func takeTurn(t *testing.T, of *turns.Turns) {
	t.Helper()
	if err := of.Take(t.Context(), "other", ""); err != nil {
		t.Fatal(err)
	}
}

// A connection takes a turn for each piece of what it reads and writes beyond the first, and
// none to wait for its client.
//
// Holds: client/cpu-turns
func TestLargeTransfersTakeTurns(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	one := turns.New(1)
	c := &connection{Conn: raw, turns: one, readBudget: unbounded}
	piece := make([]byte, 1000)
	for name, d := range map[string]struct {
		from io.Writer
		to   io.Reader
		of   *flow
	}{"read": {client, c, &c.in}, "write": {c, client, &c.out}} {
		takeTurn(t, one)
		if _, err := d.from.Write(piece); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(d.to, piece); err != nil { // little: no turn
			t.Fatal(err)
		}
		d.of.bytes.Store(turns.Large + 1)
		moved := make(chan error, 1)
		go func() {
			_, err := d.from.Write(piece)
			if err == nil {
				_, err = io.ReadFull(d.to, piece)
			}
			moved <- err
		}()
		for end := time.Now().Add(10 * time.Second); one.Waiting() == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if one.Waiting() != 1 || len(moved) > 0 {
			t.Errorf("%s: it does not wait for its turn", name)
		}
		one.Give()
		if err := <-moved; err != nil || !free(one) {
			t.Errorf("%s: %v; or it keeps its turn", name, err)
		}
		d.of.bytes.Store(0)
	}
	c.in.bytes.Store(turns.Large + 1)
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(c, make([]byte, len(piece))); read <- err }()
	for end := time.Now().Add(10 * time.Second); c.in.bytes.Load() != 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	takeTurn(t, one) // which who waits for the client has not
	if _, err := client.Write(piece); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// A handshake has a turn of its client's address while the server works on it, and none
// while it waits for its client.
//
// Holds: client/cpu-turns
func TestHandshakesTakeTurns(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	slot, ok := admission.NewHandshakes(1, 1, time.Second).Acquire(t.Context(), netip.Prefix{}, func() {})
	if !ok {
		t.Fatal("no slot")
	}
	one := turns.New(1)
	c := &connection{Conn: ours, handshakes: one, proving: t.Context(), slot: slot, readBudget: 1 << 10}
	takeTurn(t, one)
	read := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 10)); read <- err }()
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); one.Waiting() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if one.Waiting() != 1 || len(read) > 0 {
		t.Error("the handshake goes on without a turn")
	}
	one.Give()
	if err := <-read; err != nil {
		t.Error(err)
	}
	go func() { _, err := c.Read(make([]byte, 10)); read <- err }()
	takeTurn(t, one) // which it leaves to wait for its client
	one.Give()
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	c.turn.Leave()
	takeTurn(t, one)
	ended, end := context.WithCancel(t.Context())
	c.proving = ended
	go func() { _, err := c.Read(make([]byte, 10)); read <- err }()
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	end()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("a handshake that is over waits for a turn: %v", err)
	}
}

// A client that does not take what the handshake writes has no turn meanwhile, and its slot
// goes to another one.
//
// Holds: stranger/unread-handshake
func TestUnreadHandshakeGivesWay(t *testing.T) {
	ours, theirs := net.Pipe() // of which each write waits for its reader
	defer theirs.Close()
	slots := admission.NewHandshakes(1, 1, 100*time.Millisecond)
	slot, ok := slots.Acquire(t.Context(), netip.Prefix{}, func() { _ = ours.Close() })
	if !ok {
		t.Fatal("no slot")
	}
	one := turns.New(1)
	c := &connection{Conn: ours, handshakes: one, proving: t.Context(), slot: slot}
	if err := c.enterHandshake(); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { _, err := c.Write([]byte("x")); written <- err }()
	takeTurn(t, one)
	one.Give()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, ok := slots.Acquire(ctx, netip.Prefix{}, func() {}); !ok {
		t.Error("the handshake keeps its slot")
		_ = ours.Close()
	}
	if err := <-written; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v, want a closed connection", err)
	}
}
