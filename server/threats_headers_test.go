package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// wire is a TLS connection that the test writes HTTP/1.1 to byte by byte: what
// net/http's client would not send.
type wire struct {
	*tls.Conn
	in *bufio.Reader
}

func dialWire(t *testing.T, g *servertest.Gate, cert *pkitest.Cert) *wire {
	t.Helper()
	conn, err := tls.Dial("tcp", g.Addr, g.TLS(cert))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{conn, bufio.NewReader(conn)}
}

// send writes while answers are read: an answer may come before all is written.
func (w *wire) send(request string) { go func() { _, _ = io.WriteString(w, request) }() }

// answer reads the next answer, or returns nil where the connection ended.
func (w *wire) answer(t *testing.T) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the body of a %s: %v", res.Status, err)
	}
	res.Body = io.NopCloser(strings.NewReader(string(body)))
	return res
}

// request is an HTTP/1.1 request for the gate, with these header lines.
func request(line string, headers ...string) string {
	return line + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

// wantError checks an error answer against contract section 2, and returns its
// body.
func wantError(t *testing.T, res *http.Response, status int, code string) map[string]json.RawMessage {
	t.Helper()
	if res == nil {
		t.Fatalf("no answer, want %d %s", status, code)
	}
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(data, &body); err != nil {
		t.Fatalf("%s, body %q: %v", res.Status, data, err)
	}
	var got, message, id string
	_ = json.Unmarshal(body["error"], &got)
	_ = json.Unmarshal(body["message"], &message)
	_ = json.Unmarshal(body["requestId"], &id)
	if res.StatusCode != status || got != code {
		t.Fatalf("answer %s %s, want %d %s", res.Status, data, status, code)
	}
	keys := []string{"error", "message", "requestId"}
	if code == "invalid_arguments" {
		keys = []string{"details", "error", "message", "requestId"}
	}
	if have := slices.Sorted(maps.Keys(body)); !slices.Equal(have, keys) {
		t.Errorf("body has %q, want %q", have, keys)
	}
	if id == "" || res.Header.Get("X-Request-Id") != id || message == "" {
		t.Errorf("message %q, requestId %q, X-Request-Id %q", message, id, res.Header.Get("X-Request-Id"))
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	challenge := res.Header.Get("WWW-Authenticate")
	if (status == 401 || status == 403) != strings.HasPrefix(challenge, `Bearer resource_metadata="https://`) {
		t.Errorf("%d with WWW-Authenticate %q", status, challenge)
	}
	return body
}

const decisions = "sangate_auth_decisions_total"

// TestHeaders holds a promise of docs/security.md.
//
// Holds: client/authorization-header
func TestHeaders(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert, key := g.Cert("acme"), g.Key("acme")
	token := "Authorization: Bearer " + key
	for _, tc := range []struct {
		name    string
		headers []string
		status  int
		code    string
		reason  string
	}{
		{"good", []string{token}, 200, "", "ok"},
		{"scheme without case", []string{"Authorization: bEaReR " + key}, 200, "", "ok"},
		{"good with tenant", []string{token, "X-Octopus-Tenant-Id: acme"}, 200, "", "ok"},
		{"none", nil, 401, "unauthorized", "token_missing"},
		{"another scheme", []string{"Authorization: Basic YTpi"}, 401, "unauthorized", "token_missing"},
		{"scheme alone", []string{"Authorization: Bearer"}, 401, "unauthorized", "token_missing"},
		{"two of them", []string{token, token}, 400, "bad_request", "token_malformed"},
		{"two, one of them lower case", []string{token, "authorization: Basic x"}, 400, "bad_request", "token_malformed"},
		{"two spaces", []string{"Authorization: Bearer  " + key}, 400, "bad_request", "token_malformed"},
		{"tab", []string{"Authorization: Bearer\t" + key}, 400, "bad_request", "token_malformed"},
		{"tab after the space", []string{"Authorization: Bearer \t" + key}, 400, "bad_request", "token_malformed"},
		{"two tokens", []string{token + "," + key}, 400, "bad_request", "token_malformed"},
		{"8 KiB", []string{"Authorization: Bearer " + strings.Repeat("a", 8<<10)}, 401, "unauthorized", "token_unknown"},
		{"8 KiB and one", []string{"Authorization: Bearer " + strings.Repeat("a", 8<<10+1)}, 400, "bad_request", "token_malformed"},
		{"plus sign", []string{"Authorization: Bearer a+b"}, 400, "bad_request", "token_malformed"},
		{"padding", []string{"Authorization: Bearer YQ=="}, 400, "bad_request", "token_malformed"},
		{"byte over 127", []string{"Authorization: Bearer a\x80b"}, 400, "bad_request", "token_malformed"},
		{"unknown", []string{"Authorization: Bearer " + strings.ToUpper(key)}, 401, "unauthorized", "token_unknown"},

		{"two tenants", []string{token, "X-Octopus-Tenant-Id: acme", "X-Octopus-Tenant-Id: globex"}, 400, "bad_request", "header_malformed"},
		{"one tenant twice", []string{token, "X-Octopus-Tenant-Id: acme", "x-octopus-tenant-id: acme"}, 400, "bad_request", "header_malformed"},
		{"list of tenants", []string{token, "X-Octopus-Tenant-Id: acme, globex"}, 400, "bad_request", "header_malformed"},
		{"empty tenant", []string{token, "X-Octopus-Tenant-Id:"}, 400, "bad_request", "header_malformed"},
		{"underscores", []string{token, "X_Octopus_Tenant_Id: acme"}, 400, "bad_request", "header_malformed"},
		{"one underscore beside it", []string{token, "X-Octopus-Tenant-Id: acme", "x-octopus_tenant-id: globex"}, 400, "bad_request", "header_malformed"},
		{"another tenant", []string{token, "X-Octopus-Tenant-Id: globex"}, 403, "forbidden", "header_mismatch"},
		{"another case", []string{token, "X-Octopus-Tenant-Id: Acme"}, 403, "forbidden", "header_mismatch"},
	} {
		for protocol, ask := range map[string]func(t *testing.T) *http.Response{
			"HTTP1": func(t *testing.T) *http.Response {
				w := dialWire(t, g, cert)
				w.send(request("GET /tools", tc.headers...))
				return w.answer(t)
			},
			"HTTP2": func(t *testing.T) *http.Response {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/tools", nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range tc.headers {
					name, value, _ := strings.Cut(line, ":")
					req.Header.Add(name, strings.TrimPrefix(value, " "))
				}
				res, err := g.Client(cert).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = res.Body.Close() })
				if res.ProtoMajor != 2 {
					t.Fatalf("asked over %s", res.Proto)
				}
				return res
			},
		} {
			t.Run(tc.name+"/"+protocol, func(t *testing.T) {
				before := g.Metric(decisions, "reason", tc.reason)
				res := ask(t)
				if tc.status == 200 {
					if res == nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("X-Request-Id") == "" {
						t.Fatalf("answer %+v, want 200", res)
					}
				} else {
					wantError(t, res, tc.status, tc.code)
				}
				if got := g.Metric(decisions, "reason", tc.reason) - before; got != 1 {
					t.Errorf("%s{reason=%q} went up by %v, want 1", decisions, tc.reason, got)
				}
			})
		}
	}
}

// What net/http itself refuses never reaches a route.
func TestHeadersRefusedBeforeRoutes(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert, token := g.Cert("acme"), "Authorization: Bearer "+g.Key("acme")
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"900 KiB of headers":    {request("GET /tools", token, "X-Filler: "+strings.Repeat("a", 900<<10)), 431},
		"40 KiB in many":        {request("GET /tools", token, strings.Repeat("X-F: aaaaaaaaaaaaaa\r\n", 2000)+"X-End: 1"), 431},
		"control byte":          {request("GET /tools", "Authorization: Bearer a\x01b"), 400},
		"space before colon":    {request("GET /tools", token, "X-Octopus-Tenant-Id : acme"), 400},
		"no name":               {request("GET /tools", token, ": acme"), 400},
		"no Host":               {"GET /tools HTTP/1.1\r\n" + token + "\r\n\r\n", 400},
		"two Hosts":             {request("GET /tools", token, "Host: localhost"), 400},
		"unknown expectation":   {request("GET /tools", token, "Expect: x"), 417},
		"HTTP/3.0":              {"GET /tools HTTP/3.0\r\nHost: localhost\r\n" + token + "\r\n\r\n", 505},
		"30 KiB, which may be":  {request("GET /tools", token, "X-Filler: "+strings.Repeat("a", 30<<10)), 200},
		"folded, as one header": {request("GET /tools", "Authorization: Bearer\r\n "+g.Key("globex")), 403},
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(tc.request)
			if res := w.answer(t); res == nil || res.StatusCode != tc.status {
				t.Errorf("answer %v, want %d", res, tc.status)
			}
		})
	}
}

// A certificate that is no longer good is told nothing, not even which methods
// and paths there are.
func TestExpiredIsToldNothing(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	g := servertest.Start(t, servertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	cert := g.Cert("acme")
	asks := []string{"GET /tools", "DELETE /tools", "GET /nothing", "GET /tool/..%2Fx/call", "OPTIONS *", "GET /mcp", "GET /health"}
	var wires []*wire
	for range asks {
		w := dialWire(t, g, cert)
		w.send(request("GET /health"))
		if res := w.answer(t); res == nil || res.StatusCode != 200 {
			t.Fatalf("before it expired: %v", res)
		}
		wires = append(wires, w)
	}
	before := g.Metric(decisions, "reason", "cert_expired")
	ahead.Store(int64(2 * time.Hour))
	for i, ask := range asks {
		wires[i].send(request(ask))
		wantError(t, wires[i].answer(t), 401, "unauthorized")
		if wires[i].answer(t) != nil {
			t.Errorf("%s: the connection was not closed", ask)
		}
	}
	if got := g.Metric(decisions, "reason", "cert_expired") - before; got != float64(len(asks)) {
		t.Errorf("cert_expired went up by %v, want %d", got, len(asks))
	}
}
