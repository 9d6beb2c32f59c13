package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
)

// fakeCommand begins a session with a command that answers calls with results of the tool's name.
func fakeCommand(t *testing.T, s *Server, results map[string]string) *mcpLink {
	t.Helper()
	stdin, in := net.Pipe()
	out, stdout := net.Pipe()
	pipe := newPipe(in, time.Minute)
	go pipe.write()
	go func() {
		requests := bufio.NewScanner(stdin)
		for requests.Scan() {
			var m struct {
				ID     json.RawMessage
				Method string
				Params struct{ Name string }
			}
			if json.Unmarshal(requests.Bytes(), &m) != nil || m.ID == nil {
				continue
			}
			answer := `"error":{"code":-32601,"message":"not here"}`
			switch m.Method {
			case "initialize":
				answer = `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`
			case "tools/list":
				answer = `"result":{"tools":[],"nextCursor":"more"}`
			case "tools/call":
				answer = `"result":` + results[m.Params.Name]
			}
			if _, err := fmt.Fprintf(stdout, "{\"jsonrpc\":\"2.0\",\"id\":%s,%s}\n", m.ID, answer); err != nil {
				return
			}
		}
	}()
	l, err := s.session(t.Context(), s.commandConn(pipe, out), func() {
		_ = pipe.Close()
		_ = stdout.Close()
		_ = stdin.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func quietServer() *Server {
	return &Server{conf: &config.MCPServer{Name: "x", TimeoutMs: 60_000}, log: slog.New(slog.DiscardHandler), told: slog.New(slog.DiscardHandler),
		scrub: credential.NewScrubber(), opts: Options{OnExchange: func(context.Context, string, time.Duration) {}}}
}

// TestPagesAreBounded checks that a list of which each page is empty but for a cursor is not read for ever.
//
// Holds: upstream/offer-bounded
func TestPagesAreBounded(t *testing.T) {
	s := quietServer()
	l := fakeCommand(t, s, nil)
	defer l.close()
	if _, err := l.look(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 1000 pages") {
		t.Errorf("look = %v, want an error of too many pages", err)
	}
}

// TestCommandAnswersAreCounted checks that what the answers of a command take is counted for the requests they are for,
// and that no answer is read while those to other calls take too much.
//
// Holds: upstream/answer-memory
// Holds: upstream/answers-share
func TestCommandAnswersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dense := `{"content":[],"_meta":{"a":[` + strings.Repeat("{},", 400_000) + `0]}}`
		s := quietServer()
		l := fakeCommand(t, s, map[string]string{"dense": dense, "small": `{"content":[]}`})
		defer l.close()
		type called struct {
			call *intake.Call
			took *taker
			done chan error
		}
		begin := func(name string, limit int64) called {
			c := called{took: &taker{limit: limit}, done: make(chan error, 1)}
			ctx, call := s.answers.Begin(context.WithValue(t.Context(), intake.TakerKey{}, intake.Taker(c.took)))
			c.call = call
			go func() {
				_, err := l.call(ctx, name, &tool.Call{Arguments: []byte("{}")})
				c.done <- err
			}()
			synctest.Wait()
			return c
		}
		first := begin("dense", 1<<40)
		if err, weight := <-first.done, intake.Weight([]byte(dense)); err != nil || first.took.taken < weight {
			t.Errorf("%d bytes counted for an answer of weight %d: %v", first.took.taken, weight, err)
		}
		second, small := begin("dense", 1<<40), begin("small", 0)
		if len(second.done)+len(small.done) > 0 {
			t.Error("answers are read while another takes too much")
		}
		first.call.End(0)
		if err := <-second.done; err != nil || first.took.taken != 0 {
			t.Errorf("the answer that waited: %v; %d bytes stay counted for the first", err, first.took.taken)
		}
		second.call.End(0)
		if err := <-small.done; err != nil || small.took.taken != 0 {
			t.Errorf("a small answer: %v, %d bytes", err, small.took.taken)
		}
		refused := begin("dense", 1<<20)
		if err := <-refused.done; err == nil || !strings.Contains(err.Error(), "the answer was not read: too much") {
			t.Errorf("an answer that takes too much: %v", err)
		}
	})
}

// TestExchangeCountsAnswers checks that a call is counted while it lasts, and what its request keeps after it.
//
// Holds: upstream/answers-share
func TestExchangeCountsAnswers(t *testing.T) {
	s := quietServer()
	s.up, s.link = true, &octopusLink{}
	took := &taker{limit: 1 << 40}
	kept := &tool.Result{Content: bytes.Repeat([]byte("x"), 1<<20)}
	_, err := s.exchange(context.WithValue(t.Context(), intake.TakerKey{}, intake.Taker(took)), "", "",
		func(ctx context.Context, _ link) (*tool.Result, error) {
			return kept, intake.AnswerTo(ctx).Grow(32 << 20)
		})
	if err != nil || s.answers.Held() != 0 || took.taken != kept.Weight() {
		t.Errorf("%v: %d held, %d bytes are the request's, want 0 and %d",
			err, s.answers.Held(), took.taken, kept.Weight())
	}
}

// TestCommandLines checks what is read of a command's output beside answers: lines that are no messages are passed
// over, long ones that no call awaits are not kept, and an answer that nobody awaits is dropped.
//
// Holds: upstream/response-for-another
func TestCommandLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, stdout := net.Pipe()
		var log bytes.Buffer
		s := quietServer()
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		c := s.commandConn(newPipe(nil, 0), out)
		go func() {
			_, _ = io.WriteString(stdout, "Listening on stdio\x1b\n\n\ufeff"+ping+"\r\n"+response+"\n"+
				"["+changed+","+changed+"]\n"+strings.Repeat("x", 2*maxAnswer)+"\n"+`{"jsonrpc":"2.0","method":"last"}`)
			_ = stdout.Close()
		}()
		var got []string
		for {
			m, err := c.Read(t.Context())
			if err != nil {
				break
			}
			data, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(data))
		}
		text := strings.Join(got, "\n")
		if len(got) != 4 || strings.Count(text, "list_changed") != 2 || !strings.Contains(text, "last") {
			t.Errorf("read %s", text)
		}
		if !strings.Contains(log.String(), `line="Listening on stdio\x1b"`) {
			t.Errorf("the log has not the line that is no message: %s", log.String())
		}
	})
}
