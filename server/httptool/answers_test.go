package httptool_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
)

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type taker struct{ taken int64 }

func (t *taker) TakeAnswer(more int64) error { t.taken += more; return nil }

// TestAnswersShared checks that the answers to tools of one API wait for each other while they are too much, and that
// a request keeps counting what it keeps of one.
//
// Holds: upstream/answers-share
func TestAnswersShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		text := strings.Repeat("x", 1<<20)
		client := &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}},
				Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		})}
		var answers intake.Source
		p, errs := httptool.Compile(httptool.Definition{Name: "t", Description: "d", Input: []byte(input),
			Request: httptool.Request{URL: "http://127.0.0.1/"}, Timeout: time.Minute})
		for _, err := range errs {
			t.Fatal(err)
		}
		made, err := p.Tool(httptool.Options{Client: client, Resolver: fixed{}, Answers: &answers,
			Authorizer: credential.NewAuthorizer(guard.Client(egress.Target{}), time.Now)})
		if err != nil {
			t.Fatal(err)
		}
		other, call := answers.Begin(t.Context())
		if err := intake.AnswerTo(other).Grow(intake.SourceShare); err != nil {
			t.Fatal(err)
		}
		var took taker
		done := make(chan error, 1)
		go func() {
			ctx := context.WithValue(t.Context(), intake.TakerKey{}, intake.Taker(&took))
			res, err := made.Call(ctx, &tool.Call{Arguments: []byte(`{"id":"x"}`)})
			if err == nil && took.taken != res.Weight() {
				t.Errorf("%d bytes are the request's, want %d", took.taken, res.Weight())
			}
			done <- err
		}()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("an answer is read while another takes too much: %v", <-done)
		}
		call.End(0)
		if err := <-done; err != nil || answers.Held() != 0 {
			t.Errorf("%v, %d held in the end", err, answers.Held())
		}
	})
}
