package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/intake"
)

// TestUnreadAnswerEndsOneCall checks that a client that goes away while its answer is read, and one whose
// call is answered 403, end no call of another.
//
// Holds: upstream/answer-of-one-call
func TestUnreadAnswerEndsOneCall(t *testing.T) {
	begun, received, finish := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var id int
		if _, rest, ok := strings.Cut(string(body), `"id":`); !ok || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			return
		} else if _, err := fmt.Sscan(rest[:strings.IndexAny(rest, ",}")], &id); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		head := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,`, id)
		switch {
		case strings.Contains(string(body), `"initialize"`):
			fmt.Fprint(w, head, `"result":{"protocolVersion":"2025-06-18","capabilities":{},`+
				`"serverInfo":{"name":"x","version":"1"}}}`)
		case strings.Contains(string(body), `"refused"`):
			w.WriteHeader(http.StatusForbidden)
		case strings.Contains(string(body), `"tools/call"`):
			fmt.Fprint(w, head)
			begun <- struct{}{}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-finish:
				fmt.Fprint(w, `"result":{"content":[]}}`)
			case <-r.Context().Done():
			}
		default:
			fmt.Fprint(w, head, `"error":{"code":-32601,"message":"not here"}}`)
		}
	}))
	defer upstream.Close()
	closed := make(chan struct{}, 10)
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		res, err := kept{http.DefaultTransport, newInbound(nil)}.RoundTrip(r)
		if err == nil && contentType(res) == "application/json" && len(begun) > 0 {
			<-begun
			received <- struct{}{}
			res.Body = &canceling{res.Body, func() { closed <- struct{}{} }}
		}
		return res, err
	})}
	s := &Server{log: slog.New(slog.DiscardHandler)}
	transport := &sdk.StreamableClientTransport{Endpoint: upstream.URL, HTTPClient: client, DisableStandaloneSSE: true}
	l, err := s.session(t.Context(), transport, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	call := func(ctx context.Context) <-chan error {
		out := make(chan error, 1)
		go func() {
			_, err := l.session.CallTool(ctx, &sdk.CallToolParams{Name: "t"})
			out <- err
		}()
		select {
		case <-received: // its head; the SDK reads the rest
		case err := <-out:
			out <- err
		}
		return out
	}
	other := call(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	gone := call(ctx)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the call of the client that has gone: %v", err)
	}
	<-closed // its answer was given up
	if _, err := l.session.CallTool(t.Context(), &sdk.CallToolParams{Name: "refused"}); err == nil {
		t.Error("a call that was answered 403 has a result")
	}
	next := call(t.Context())
	close(finish)
	for _, c := range []<-chan error{other, next} {
		if err := <-c; err != nil {
			t.Errorf("a call of another client: %v", err)
		}
	}
}

type taker struct{ taken, limit int64 }

func (t *taker) TakeAnswer(more int64) error {
	if t.taken += more; t.taken > t.limit {
		return errors.New("too much")
	}
	return nil
}

// TestAnswersAreCounted checks that what an answer takes is counted before it is decoded, while it comes as well.
//
// Holds: upstream/answer-memory
func TestAnswersAreCounted(t *testing.T) {
	dense := `{"jsonrpc":"2.0","id":7,"result":{"_meta":{"a":[` + strings.Repeat("{},", 100_000) + `0]}}}`
	const unread = `"error":{"code":-32603,"message":"the answer was not read: `
	for name, c := range map[string]struct {
		kind, body string
		limit      int64
		want       string
	}{
		"small":            {"application/json", `{"jsonrpc":"2.0","id":7,"result":{}}`, 0, `"result":{}`},
		"dense":            {"application/json", dense, 4 << 20, unread + "too much"},
		"dense, with room": {"application/json", dense, 64 << 20, `{},0]}}}`},
		"while it comes":   {"application/json", `{"` + strings.Repeat("x", 10<<20), 1 << 20, unread + "too much"},
		"cut off":          {"application/json", "cut", 0, `{"jsonrpc":"2.0","id":7,` + unread + "unexpected EOF"},
		"too dense":        {"application/json", `[` + strings.Repeat("[],", 5<<20), 1 << 40, `when it is decoded`},
		"event":            {"text/event-stream", "data: " + dense + "\n\n", 4 << 20, "too much"},
		"event that comes": {"text/event-stream", "data: " + strings.Repeat("x", 10<<20), 1 << 20, "too much"},
		"event, with room": {"text/event-stream", "data: " + dense + "\n\n", 64 << 20, "{},0]}}}\n\n"},
	} {
		took := &taker{limit: c.limit}
		ctx := context.WithValue(t.Context(), intake.TakerKey{}, took)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x.example", strings.NewReader(`{"id":7}`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := kept{roundTrip(func(r *http.Request) (*http.Response, error) {
			body := io.Reader(strings.NewReader(c.body))
			if c.body == "cut" {
				body = iotest.ErrReader(io.ErrUnexpectedEOF)
			}
			header := http.Header{"Content-Type": {c.kind}}
			return bounded(&http.Response{Header: header, Body: io.NopCloser(body), Request: r}, nil)
		}), newInbound(nil)}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		if text := string(got) + fmt.Sprint(err); !strings.Contains(text, c.want) {
			t.Errorf("%s: %.100q… %v, want %s", name, got, err, c.want)
		}
	}
}
