package httptool_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/tool"
)

// Arguments of which no request can be made are their caller's mistake: it is told, and
// nothing is sent.
//
// Holds: client/unfit-arguments
func TestUnfitArguments(t *testing.T) {
	var hits atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	at := func(e string) httptool.Request { return httptool.Request{URL: srv.URL + "/{" + e + "}"} }
	query := func(e string) httptool.Request {
		return httptool.Request{URL: srv.URL, Query: map[string]string{"q": e}}
	}
	header := func(e string) httptool.Request {
		return httptool.Request{URL: srv.URL, Headers: map[string]string{"X-Key": e}}
	}
	body := func(kind, e string) httptool.Request {
		return httptool.Request{Method: "POST", URL: srv.URL, Body: e, BodyType: kind}
	}
	long := strings.Repeat("x", 70<<10)
	for _, tt := range []struct {
		name    string
		request httptool.Request
		args    []string
	}{
		{"path", at("string(args.free)"), []string{`{"free":{}}`, `{"free":[1]}`, `{"free":null}`, `{}`}},
		{"path that is too long", at("args.id"), []string{`{"id":"` + long + `"}`}},
		{"query", query("args.free"), []string{`{"free":{}}`, `{"free":{"a":1}}`, `{"free":[{}]}`, `{"free":[[1]]}`, `{"free":[null]}`, `{}`, `{"free":"` + long + `"}`}},
		{"query of a number", query("double(args.free)"), []string{`{"free":"NaN"}`, `{"free":"Infinity"}`, `{"free":"-Inf"}`, `{"free":"x"}`, `{"free":{}}`}},
		{"query of a list of numbers", query("[double(args.free)]"), []string{`{"free":"NaN"}`}},
		{"query of what cannot be added", query("args.free + 1"), []string{`{"free":"x"}`, `{"free":9223372036854775807}`}},
		{"header", header("args.free"), []string{`{"free":{}}`, `{"free":["x"]}`, `{}`, `{"free":"` + long + `"}`}},
		{"form", body("form", `{"f": args.free}`), []string{`{"free":{}}`, `{"free":[{}]}`, `{"free":[null]}`, `{}`}},
		{"form of arguments", body("form", `args.free`), []string{`{"free":"x"}`, `{"free":null}`, `{"free":[]}`, `{"free":{"a":{}}}`}},
		{"text", body("text", `args.free`), []string{`{"free":{}}`, `{"free":[]}`}},
		{"JSON", body("", `{"f": double(args.free)}`), []string{`{"free":"NaN"}`, `{"free":"x"}`, `{}`}},
	} {
		made := made(t, httptool.Definition{Request: tt.request}, nil)
		for _, args := range tt.args {
			_, err := run(t, made, args)
			if failed, ok := errors.AsType[*tool.Failure](err); !ok || len(failed.Message) > 200 {
				t.Errorf("%s: %.60s: %v, want it told in short", tt.name, args, err)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	// What is wrong whatever the arguments is the operator's to know.
	_, err := run(t, made(t, httptool.Definition{Request: query(`{"a": 1}`)}, nil), `{}`)
	if _, ok := errors.AsType[*tool.Failure](err); ok || err == nil || !strings.Contains(err.Error(), "request.query.q") {
		t.Errorf("a constant that is no value: %v", err)
	}
}
