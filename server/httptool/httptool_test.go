package httptool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/tool"
)

const input = `{"type":"object","properties":{"id":{"type":"string"},"n":{"type":"integer"},"list":{"type":"array","items":{"type":"string"}},"free":{}}}`

// fixed resolves to one secret, by name or id.
type fixed struct{ secret *credential.Secret }

func (f fixed) Resolve(_ context.Context, ref credential.Ref) (*credential.Secret, error) {
	if f.secret == nil {
		return nil, fmt.Errorf("%s: %w", ref, credential.ErrCredentialNotFound)
	}
	return f.secret, nil
}

// made compiles a definition and makes its tool.
func made(t testing.TB, def httptool.Definition, secret *credential.Secret) *tool.Tool {
	t.Helper()
	return madeWith(t, def, fixed{secret})
}

func madeWith(t testing.TB, def httptool.Definition, resolver credential.Resolver) *tool.Tool {
	t.Helper()
	def.Name, def.Description = "t", "d"
	if def.Input == nil {
		def.Input = json.RawMessage(input)
	}
	p, errs := httptool.Compile(def)
	for _, err := range errs {
		t.Fatal(err)
	}
	client := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Client(egress.Target{HTTP2: true})
	t.Cleanup(client.CloseIdleConnections)
	made, err := p.Tool(httptool.Options{Client: client, Resolver: resolver, Authorizer: credential.NewAuthorizer(client, time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func run(t testing.TB, tl *tool.Tool, args string) (string, error) {
	t.Helper()
	res, err := tl.Call(t.Context(), &tool.Call{Caller: tool.Caller{Tenant: "acme", Vars: map[string]string{"sub": "eu", "bad": "evil.example/x"}}, Arguments: json.RawMessage(args)})
	if err != nil {
		return "", err
	}
	if res.Structured != nil {
		return string(res.Structured), nil
	}
	return res.Text(), nil
}

// mirror answers with what it was sent, the credential in two parts: as a whole it would be removed from the answer.
func mirror(t testing.TB) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "type": r.Header.Get("Content-Type"), "body": string(body),
			"auth": strings.Split(r.Header.Get("Authorization"), " "), "x": r.Header.Get("X-Key")})
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRequests(t *testing.T) {
	base := mirror(t)
	for name, tt := range map[string]struct {
		def    httptool.Definition
		secret *credential.Secret
		args   string
		want   []string
	}{
		"path":   {httptool.Definition{Request: httptool.Request{URL: base + "/a/{args.id}/{tenant.id}/{args.n}"}}, nil, `{"id":"x y/ü?#%2e","n":7}`, []string{`"uri":"/a/x%20y%2F%C3%BC%3F%23%252e/acme/7"`}},
		"query":  {httptool.Definition{Request: httptool.Request{URL: base, Query: map[string]string{"q": "args.id", "l": "args.list", "none": "args.?n", "null": "null", "b": "true"}}}, nil, `{"id":"a&b=c","list":["1","2"]}`, []string{`"uri":"/?b=true&l=1&l=2&q=a%26b%3Dc"`}},
		"json":   {httptool.Definition{Request: httptool.Request{Method: "POST", URL: base, Body: `{"id": args.id, ?"n": args.?n, "free": args.free}`}}, nil, `{"id":"\"}","free":{"x":[9007199254740993]}}`, []string{`"body":"{\"free\":{\"x\":[9007199254740993]},\"id\":\"\\\"}\"}"`, `"type":"application/json"`}},
		"form":   {httptool.Definition{Request: httptool.Request{Method: "POST", URL: base, Body: `{"id": args.id, "l": args.list}`, BodyType: "form"}}, nil, `{"id":"a&b","list":["x"]}`, []string{`"body":"id=a%26b&l=x"`, `x-www-form-urlencoded`}},
		"text":   {httptool.Definition{Request: httptool.Request{Method: "PUT", URL: base, Body: `args.id`, BodyType: "text"}}, nil, `{"id":"plain"}`, []string{`"body":"plain"`, `text/plain`, `"method":"PUT"`}},
		"bearer": {httptool.Definition{Credential: "c", Request: httptool.Request{URL: base}}, &credential.Secret{Type: credential.APIKey, Value: "k"}, `{}`, []string{`"auth":["Bearer","k"]`}},
		"basic":  {httptool.Definition{Credential: "c", Request: httptool.Request{URL: base}}, &credential.Secret{Type: credential.Basic, Value: "u:p"}, `{}`, []string{`"auth":["Basic","dTpw"]`}},
		"by hand": {httptool.Definition{Credential: "c", Request: httptool.Request{URL: base, Headers: map[string]string{"x-key": `"key " + secret`}}}, &credential.Secret{Type: credential.APIKey, Value: "k"}, `{}`,
			[]string{`"x":"key k"`, `"auth":[""]`}},
		"response": {httptool.Definition{Request: httptool.Request{URL: base}, Response: `{"s": response.status, "m": response.body.method, "t": response.headers["content-type"]}`}, nil, `{}`, []string{`{"m":"GET","s":200,"t":"application/json"}`}},
		"a text":   {httptool.Definition{Request: httptool.Request{URL: base}, Response: `response.body.method`}, nil, `{}`, []string{`GET`}},
	} {
		got, err := run(t, made(t, tt.def, tt.secret), tt.args)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s; want %s", name, got, want)
			}
		}
	}
}

// What a caller sends does not change where the request goes or what it is.
func TestHostileArguments(t *testing.T) {
	var hits atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if !strings.HasPrefix(r.URL.EscapedPath(), "/a/") || strings.Contains(r.URL.EscapedPath(), "..") || len(r.Header["X-Evil"]) > 0 {
			t.Errorf("reached %s with %v", r.URL.EscapedPath(), r.Header)
		}
	}))
	defer srv.Close()
	path := made(t, httptool.Definition{Request: httptool.Request{URL: srv.URL + "/a/{args.id}"}}, nil)
	for _, id := range []string{"..", ".", "", "../b", "..\\b", "a/../../b", "x\r\nX-Evil: 1", "\x00", "a\x7f"} {
		args, _ := json.Marshal(map[string]string{"id": id})
		_, err := run(t, path, string(args))
		if _, ok := errors.AsType[*tool.Failure](err); !ok {
			t.Errorf("%q: %v", id, err)
		}
	}
	glued := made(t, httptool.Definition{Request: httptool.Request{URL: srv.URL + "/a/.{args.id}/b"}}, nil)
	if _, err := run(t, glued, `{"id":"."}`); err == nil {
		t.Error("a literal and a value together climb")
	}
	header := made(t, httptool.Definition{Request: httptool.Request{URL: srv.URL + "/a/", Headers: map[string]string{"X-Key": "args.id"}}}, nil)
	for _, id := range []string{"x\r\nX-Evil: 1", "x\ny", "\x00"} {
		args, _ := json.Marshal(map[string]string{"id": id})
		_, err := run(t, header, string(args))
		if _, ok := errors.AsType[*tool.Failure](err); !ok {
			t.Errorf("header %q: %v", id, err)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests were sent", hits.Load())
	}
	host := made(t, httptool.Definition{Request: httptool.Request{URL: "https://{tenant.vars.bad}.zendesk.com/"}}, nil)
	if _, err := run(t, host, `{}`); err == nil || !strings.Contains(err.Error(), "no part of a host name") {
		t.Errorf("a tenant's variable that is no label: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	var tries atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := tries.Add(1)
		w.Header().Set("Content-Type", "application/json")
		status := 0
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		switch {
		case r.URL.Path == "/flaky" && n < 3:
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/flaky":
			fmt.Fprint(w, `{"ok":true}`)
		case r.URL.Path == "/cut" && n < 3:
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/big":
			fmt.Fprint(w, `"`+strings.Repeat("x", 2<<20)+`"`)
		case r.URL.Path == "/twice":
			fmt.Fprint(w, `{"a":1,"a":2}`)
		case r.URL.Path == "/away":
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		case r.URL.Path == "/later":
			w.Header().Set("Retry-After", "10")
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/slow":
			<-r.Context().Done()
		case r.URL.Path == "/auth" && r.Header.Get("Authorization") != "Bearer right":
			w.WriteHeader(http.StatusUnauthorized)
		case status != 0:
			w.WriteHeader(status)
			fmt.Fprint(w, `{"why":"because"}`)
		default:
			fmt.Fprint(w, `{}`)
		}
	}))
	defer srv.Close()
	secret := &credential.Secret{Type: credential.APIKey, Value: "wrong hunter2"}
	for name, tt := range map[string]struct {
		method, path string
		errors       map[string]string
		want         string // kind of an upstream error, or "says: …"
		tries        int32
	}{
		"flaky":              {"GET", "/flaky", nil, "", 3},
		"flaky put":          {"PUT", "/flaky", nil, "", 3},
		"flaky post":         {"POST", "/flaky", nil, tool.UpstreamFailed, 1},
		"cut off":            {"GET", "/cut", nil, "", 3},
		"cut off post":       {"POST", "/cut", nil, tool.UpstreamFailed, 1},
		"404":                {"GET", "/404", nil, "says: The API refused the request (status 404).", 1},
		"404 mapped":         {"GET", "/404", map[string]string{"404": `"no: " + response.body.why`, "4xx": `"x"`}, "says: no: because", 1},
		"4xx mapped":         {"GET", "/409", map[string]string{"4xx": `"four"`, "default": `"x"`}, "says: four", 1},
		"default mapped":     {"GET", "/500", map[string]string{"default": `"other"`}, "says: other", 1},
		"mapped to nonsense": {"GET", "/404", map[string]string{"404": `response.body.nothing`}, tool.UpstreamFailed, 1},
		"500":                {"GET", "/500", nil, tool.UpstreamFailed, 1},
		"503":                {"GET", "/503", nil, tool.UpstreamUnavailable, 3},
		"503 for long":       {"GET", "/later", nil, tool.UpstreamUnavailable, 1},
		"429":                {"GET", "/429", nil, tool.UpstreamUnavailable, 1},
		"403":                {"GET", "/403", nil, tool.UpstreamFailed, 1},
		"too much":           {"GET", "/big", nil, tool.UpstreamFailed, 1},
		"a name twice":       {"GET", "/twice", nil, tool.UpstreamFailed, 1},
		"a redirect":         {"GET", "/away", nil, tool.UpstreamFailed, 3},
		"too slow":           {"GET", "/slow", nil, tool.UpstreamTimeout, 1},
		"a bad credential":   {"GET", "/auth", nil, tool.UpstreamFailed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tries.Store(0)
			def := httptool.Definition{Credential: "c", Timeout: time.Second, Errors: tt.errors, Request: httptool.Request{Method: tt.method, URL: srv.URL + tt.path}}
			got, err := run(t, made(t, def, secret), `{}`)
			outcome := ""
			if failed, ok := errors.AsType[*tool.Failure](err); ok {
				outcome = "says: " + failed.Message
			} else if upstream, ok := errors.AsType[*tool.UpstreamError](err); ok {
				outcome = upstream.Kind
			} else if err != nil {
				outcome = err.Error()
			}
			if outcome != tt.want || tries.Load() != tt.tries {
				t.Errorf("%q after %d tries, want %q after %d (%v, %s)", outcome, tries.Load(), tt.want, tt.tries, err, got)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is in the error: %v", err)
			}
		})
	}
	// Dialled all the same: what is not public is refused.
	if _, err := run(t, made(t, httptool.Definition{Request: httptool.Request{URL: "https://169.254.169.254/latest/meta-data"}}, nil), `{}`); err == nil || !strings.Contains(err.Error(), "egress.allow") {
		t.Errorf("the metadata service: %v", err)
	}
	if _, err := run(t, made(t, httptool.Definition{Credential: "c", Request: httptool.Request{URL: srv.URL}}, &credential.Secret{Tenant: "globex", Type: credential.APIKey, Value: "x"}), `{}`); err == nil || !strings.Contains(err.Error(), "another tenant's") {
		t.Errorf("another tenant's secret: %v", err)
	}
	_, err := run(t, made(t, httptool.Definition{CredentialID: 55, Request: httptool.Request{URL: srv.URL}}, nil), `{}`)
	if !errors.Is(err, credential.ErrCredentialNotFound) || !strings.Contains(err.Error(), "tool t refers to it") || !strings.Contains(err.Error(), "55") {
		t.Errorf("no such secret: %v", err)
	}
}
