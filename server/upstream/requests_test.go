package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/intake"
)

// answering returns what sends requests past the SDK, to an upstream that answers with a
// body of that kind.
func answering(kind string, body func(id string) io.Reader) *overHTTP {
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			return nil, err
		}
		res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Request: r,
			Body: io.NopCloser(body(m.ID))}
		return bounded(res, nil)
	})}
	return &overHTTP{"http://x.example", client, newInbound(nil), func() (string, string) { return "", "2025-11-25" }}
}

// TestTaskAnswersAreCounted checks that answers to requests past the SDK, those about tasks, are counted while they
// come and before they are decoded, as others are.
//
// Holds: upstream/answer-memory
func TestTaskAnswersAreCounted(t *testing.T) {
	const head = `{"jsonrpc":"2.0","id":%q,"result":`
	dense := head + "[" + strings.Repeat("{},", 100_000) + "0]}"
	for name, c := range map[string]struct {
		kind, body string
		limit      int64
		want       string
	}{
		"small":            {"application/json", head + "[]}", 0, "[]"},
		"dense":            {"application/json", dense, 4 << 20, "too much"},
		"dense, with room": {"application/json", dense, 64 << 20, "{},0]"},
		"event":            {eventStream, "data: " + dense + "\n\n", 4 << 20, "too much"},
		"event that comes": {eventStream, "data: " + strings.Repeat("x", 10<<20) + "%q", 1 << 20, "too much"},
		"event, with room": {eventStream, ": x\n\ndata: {}\n\nid: 1\ndata: " + dense + "\n\n", 64 << 20, "{},0]"},
		"two lines":        {eventStream, "data: " + head + "\ndata: [1]}\r\n\r\n", 0, "[1]"},
		"of another":       {eventStream, "data: {\"id\":\"%.0qx\"}\n\n", 0, "ended before the answer"},
	} {
		ctx := context.WithValue(t.Context(), intake.TakerKey{}, intake.Taker(&taker{limit: c.limit}))
		o := answering(c.kind, func(id string) io.Reader { return strings.NewReader(fmt.Sprintf(c.body, id)) })
		got, err := o.request(ctx, "tasks/result", struct{}{})
		if text := string(got) + fmt.Sprint(err); !strings.Contains(text, c.want) {
			t.Errorf("%s: %.100q… %v, want %s", name, got, err, c.want)
		}
	}
}

// TestTaskEventsArePaced checks that events that answer nothing are read at the pace of unasked messages.
//
// Holds: upstream/unasked-messages
func TestTaskEventsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = 3 * unaskedPerSec
		stream := strings.Repeat("data: {\"id\":\"x\"}\n\n", events)
		o := answering(eventStream, func(string) io.Reader { return strings.NewReader(stream) })
		begun := time.Now()
		if _, err := o.request(t.Context(), "tasks/get", struct{}{}); err == nil {
			t.Error("an answer to another request is taken")
		}
		if took := time.Since(begun); took < time.Second {
			t.Errorf("%d events were read in %s", events, took)
		}
	})
}
