package upstream

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/intake"
)

const (
	ping     = `{"jsonrpc":"2.0","id":"p","method":"ping"}`
	changed  = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	response = `{"jsonrpc":"2.0","id":1,"result":{"method":"ping"}}`
)

// TestUnaskedMessagesAreBounded checks how much of what is sent beside answers reaches the SDK, which queues all of it.
//
// Holds: upstream/unasked-messages
func TestUnaskedMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		i := newInbound(ended)
		began, passed := time.Now(), 0
		for range 5 * unaskedPerSec {
			if i.passes([]byte(ping)) {
				passed++
			}
		}
		took := time.Since(began)
		limit, least := askedBurst+askedPerSec*5, 4*time.Second-time.Millisecond
		if passed < askedBurst || passed > limit || took < least {
			t.Errorf("%d pings passed in %s, want at most %d, and a second for each %d messages",
				passed, took, limit, unaskedPerSec)
		}
		large := strings.Replace(changed, `"method"`, `"x":"`+strings.Repeat("x", maxUnasked)+`","METHOD"`, 1)
		for text, want := range map[string]bool{changed: true, large: false, response: true, "no message": true} {
			if got := i.passes([]byte(text)); got != want {
				t.Errorf("%.80s passes: %v, want %v", text, got, want)
			}
		}
		for range unaskedPerSec {
			i.passes([]byte(changed))
		}
		began = time.Now()
		if !i.passes([]byte(response)) || time.Since(began) > 0 {
			t.Error("a response waits for notifications")
		}
		close(ended)
		for range 2 * unaskedPerSec {
			i.passes([]byte(changed))
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("messages of a session that has ended wait for %s", took)
		}
	})
}

// TestUnaskedEvents checks that an event is dropped with all lines of its data, and nothing else.
//
// Holds: upstream/unasked-messages
func TestUnaskedEvents(t *testing.T) {
	const in = "id: 1\ndata: " + response + "\n\n" +
		": comment\r\nid: 2\r\ndata: {\"id\":1,\r\ndata:\"method\":\"ping\"}\r\nretry: 5\r\n\r\n" +
		"event: x\ndata\ndatas: 1\n\n\ndata:" + ping + "\n\ndata: " + response + "\n\ndata: " + ping
	const want = "id: 1\ndata: " + response + "\n\n" + ": comment\r\nid: 2\r\nretry: 5\r\n\r\n" +
		"event: x\ndata\ndatas: 1\n\n\n\ndata: " + response + "\n\n"
	i := newInbound(nil)
	i.requests.SetBurst(0)
	e := &events{in: bufio.NewReader(iotest.OneByteReader(strings.NewReader(in))), passes: i.passes}
	if got, err := io.ReadAll(e); err != nil || string(got) != want {
		t.Errorf("%v\n%q, want\n%q", err, got, want)
	}
	answer := "data: " + strings.Repeat("x", maxUnasked+1) + "\n\n"
	for beside, want := range map[bool]string{false: answer, true: "\n"} {
		e = &events{in: bufio.NewReader(strings.NewReader(answer)), passes: i.passes, beside: beside,
			taken: intake.AnswerTo(t.Context())}
		if got, err := io.ReadAll(e); err != nil || string(got) != want {
			t.Errorf("an answer in a stream of no call (%v): %v, %d bytes, want %d", beside, err, len(got), len(want))
		}
	}
	e = &events{in: bufio.NewReader(io.MultiReader(strings.NewReader("data: "), endlessText{})), passes: i.passes}
	if n, err := io.Copy(io.Discard, e); err == nil || n > maxAnswer {
		t.Errorf("an event without end: %d bytes, %v", n, err)
	}
}

type endlessText struct{}

func (endlessText) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestUnawaitedRequestsEnd checks that a message whose answer nobody waits for holds no connection for long.
//
// Holds: upstream/unasked-messages
func TestUnawaitedRequestsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := http.NewRequest(http.MethodPost, "http://upstream.example", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = begun(roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}), r)
		if err == nil || time.Since(began) != responseTime {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		var sent context.Context
		res, err := begun(roundTrip(func(r *http.Request) (*http.Response, error) {
			sent = r.Context()
			return &http.Response{Body: http.NoBody}, nil
		}), r)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * responseTime)
		if sent.Err() != nil {
			t.Error("a stream that has begun is cut")
		}
		_ = res.Body.Close()
		if sent.Err() == nil {
			t.Error("it goes on when its body is closed")
		}
	})
}

// TestRelayDoesNotWait checks that the progress of a call whose client does not read holds up no other, and that a
// client that reads gets all of it before the result.
//
// Holds: upstream/unread-progress
func TestRelayDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []float64
		report, end := relay(t.Context(), slog.New(slog.DiscardHandler), func(done, _ float64, _ string) {
			time.Sleep(time.Second)
			got = append(got, done)
		})
		for i := range maxReports {
			report(float64(i), 0, "")
		}
		end()
		if len(got) != maxReports {
			t.Errorf("%d reports of %d", len(got), maxReports)
		}
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan struct{})
		report, end = relay(ctx, slog.New(slog.DiscardHandler), func(float64, float64, string) { <-read })
		for i := range 1000 {
			report(float64(i), 0, "") // a deadlock of the bubble if it waits
		}
		cancel()
		end()
		close(read)
	})
}

// TestSilentEventsAreBounded checks that events without data are read at a bounded rate.
//
// Holds: upstream/unasked-messages
func TestSilentEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, began := newInbound(nil), time.Now()
		e := &events{in: bufio.NewReader(strings.NewReader(strings.Repeat(": x\n\n", 3*unaskedPerSec*silentEvents))),
			passes: i.passes, silent: i.silent}
		if _, err := io.Copy(io.Discard, e); err != nil || time.Since(began) < time.Second {
			t.Errorf("%v, all read in %s", err, time.Since(began))
		}
	})
}
