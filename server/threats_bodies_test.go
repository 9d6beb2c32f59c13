package server_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/servertest"
)

const asJSON = "Content-Type: application/json"

// post is a request of acme's with a body of that length.
func post(g *servertest.Gate, path, body string, headers ...string) string {
	headers = append(headers, "Authorization: Bearer "+g.Key("acme"), fmt.Sprintf("Content-Length: %d", len(body)))
	return request("POST "+path, headers...) + body
}

func chunked(g *servertest.Gate, path, body string, headers ...string) string {
	headers = append(headers, "Authorization: Bearer "+g.Key("acme"), "Transfer-Encoding: chunked", asJSON)
	return request("POST "+path, headers...) + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
}

// TestPaths holds a promise of docs/security.md.
//
// Holds: client/tool-path
func TestPaths(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	w := dialWire(t, g, cert) // what any first request adds
	w.send(post(g, "/tool/nothing/call", "{}"))
	wantError(t, w.answer(t), 404, "not_found")
	series := g.Series()
	for name, line := range map[string]string{
		"encoded slashes":       "POST /tool/..%2F..%2Fapi%2Fcredentials/call",
		"encoded slash":         "POST /tool/echo%2Fcall",
		"encoded slash in name": "POST /tool/a%2Fecho/call",
		"NUL":                   "POST /tool/a%00b/call",
		"NUL after a name":      "POST /tool/echo%00/call",
		"10 KiB":                "POST /tool/" + strings.Repeat("a", 10<<10) + "/call",
		"dots":                  "POST /tool/%2e%2e/call",
		"plain dots":            "POST /tool/../tool/echo/call",
		"two slashes":           "POST //tool/echo/call",
		"last slash":            "POST /tool/echo/call/",
		"other case":            "POST /tool/ECHO/call",
		"unknown":               "POST /tool/nothing/call",
		"no name":               "POST /tool//call",
		"backslash":             `POST /tool\echo\call`,
		"absolute form":         "POST https://localhost/tool/echo/call",
		"admin paths":           "GET /metrics",
		"credentials":           "GET /api/credentials",
		"all":                   "OPTIONS *",
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(request(line, "Authorization: Bearer "+g.Key("acme"), "Content-Length: 0"))
			if name == "credentials" { // who is no admin is not told what there is below /api
				wantError(t, w.answer(t), 403, "forbidden")
				return
			}
			wantError(t, w.answer(t), 404, "not_found")
		})
	}
	if got := g.Series(); got != series {
		t.Errorf("%d metric series, %d before: a peer chose a label", got, series)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	for line, allow := range map[string]string{
		"POST /tools": "GET", "GET /tool/echo/call": "POST", "PUT /mcp": "DELETE, GET, POST",
		"OPTIONS /mcp": "DELETE, GET, POST", "BREW /health": "GET", "PUT /.well-known/oauth-protected-resource": "GET",
	} {
		t.Run(line, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(request(line, "Content-Length: 0", "Connection: close"))
			res := w.answer(t)
			wantError(t, res, 405, "method_not_allowed")
			if got := res.Header.Get("Allow"); got != allow {
				t.Errorf("Allow %q, want %q", got, allow)
			}
		})
	}
}

// TestOriginAndHost holds a promise of docs/security.md.
//
// Holds: client/origin-and-host
func TestOriginAndHost(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	for _, tc := range []struct {
		name, host string
		headers    []string
		ok         bool
	}{
		{"loopback name", "localhost", nil, true},
		{"loopback name and port", "localhost:8443", nil, true},
		{"loopback address", "127.0.0.1", nil, true},
		{"name of our certificate", "gate.example.org", nil, true},
		{"rebound name", "evil.example", nil, false},
		{"rebound name and port", "evil.example:8443", nil, false},
		{"name that begins like ours", "localhost.evil.example", nil, false},
		{"other address", "10.0.0.1", nil, false},
		{"own origin", "localhost", []string{"Origin: https://localhost"}, true},
		{"foreign origin", "localhost", []string{"Origin: https://evil.example"}, false},
		{"no origin at all", "localhost", []string{"Origin: null"}, false},
		{"own name in the clear", "localhost", []string{"Origin: http://localhost"}, false},
		{"own origin and a foreign one", "localhost", []string{"Origin: https://localhost", "Origin: https://evil.example"}, false},
		{"from another site", "localhost", []string{"Sec-Fetch-Site: cross-site"}, false},
	} {
		for _, path := range []string{"/mcp", "/tool/echo/call"} {
			t.Run(tc.name+path, func(t *testing.T) {
				w := dialWire(t, g, cert)
				w.send(strings.Replace(post(g, path, `{"message":"x"}`, tc.headers...), "Host: localhost", "Host: "+tc.host, 1))
				res := w.answer(t)
				switch {
				case !tc.ok:
					wantError(t, res, 403, "forbidden")
				case res == nil || res.StatusCode == 403:
					t.Errorf("answer %v, want it to pass", res)
				}
			})
		}
	}
}

// TestBodies holds a promise of docs/security.md.
//
// Holds: client/call-body
func TestBodies(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"message":"x"}`))
	_ = z.Close()
	const path = "/tool/echo/call"
	largest := `{"message":"` + strings.Repeat("a", 1<<20-len(`{"message":""}`)) + `"}`
	for _, tc := range []struct {
		name, request string
		status        int
		code          string
	}{
		{"good", post(g, path, `{"arguments":{"message":"x"}}`, asJSON), 200, ""},
		{"good, of no type", post(g, path, `{"message":"x"}`), 200, ""},
		{"good, with a charset", post(g, path, `{"message":"x"}`, "Content-Type: application/json; charset=utf-8"), 200, ""},
		{"good, chunked", chunked(g, path, `{"message":"x"}`), 200, ""},
		{"1 MiB", post(g, path, largest, asJSON), 200, ""},
		{"1 MiB and one", post(g, path, largest+" ", asJSON), 413, "too_large"},
		{"1 MiB and one, chunked", chunked(g, path, largest+" "), 413, "too_large"},
		{"3 MB of [", post(g, path, strings.Repeat("[", 3_000_000), asJSON), 413, "too_large"},
		{"1 MB of [", post(g, path, strings.Repeat("[", 1_000_000), asJSON), 400, "bad_request"},
		{"1 MB of [ inside", post(g, path, `{"message":`+strings.Repeat("[", 1_000_000), asJSON), 400, "bad_request"},
		{"gzip", post(g, path, zipped.String(), asJSON, "Content-Encoding: gzip"), 415, "unsupported_media_type"},
		{"two encodings", post(g, path, `{"message":"x"}`, asJSON, "Content-Encoding: identity", "Content-Encoding: gzip"), 415, "unsupported_media_type"},
		{"text", post(g, path, `{"message":"x"}`, "Content-Type: text/plain"), 415, "unsupported_media_type"},
		{"form", post(g, path, `message=x`, "Content-Type: application/x-www-form-urlencoded"), 415, "unsupported_media_type"},
		{"a name twice", post(g, path, `{"message":"x","message":"y"}`, asJSON), 400, "bad_request"},
		{"a name twice, escaped", post(g, path, `{"message":"x","\u006dessage":"y"}`, asJSON), 400, "bad_request"},
		{"arguments twice", post(g, path, `{"arguments":{},"arguments":{"message":"y"}}`, asJSON), 400, "bad_request"},
		{"a name twice, within", post(g, path, `{"arguments":{"message":"x","message":"y"}}`, asJSON), 400, "bad_request"},
		{"a name in other case", post(g, path, `{"message":"x","Message":"y"}`, asJSON), 400, "invalid_arguments"},
		{"arguments in other case", post(g, path, `{"Arguments":{"message":"y"}}`, asJSON), 400, "invalid_arguments"},
		{"invalid UTF-8", post(g, path, "{\"message\":\"\xff\"}", asJSON), 400, "bad_request"},
		{"lone surrogate", post(g, path, `{"message":"\ud800"}`, asJSON), 400, "bad_request"},
		{"byte order mark", post(g, path, "\ufeff{\"message\":\"x\"}", asJSON), 400, "bad_request"},
		{"two values", post(g, path, `{"message":"x"}{}`, asJSON), 400, "bad_request"},
		{"comment", post(g, path, `{"message":"x"/**/}`, asJSON), 400, "bad_request"},
		{"array", post(g, path, `[{"message":"x"}]`, asJSON), 400, "bad_request"},
		{"MCP batch", post(g, "/mcp", `[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`, asJSON), 400, "bad_request"},
		{"MCP, a name twice", post(g, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, asJSON), 400, "bad_request"},
		{"MCP, a name in other case", post(g, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}`, asJSON), 400, "bad_request"},
		{"MCP, an unknown name", post(g, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","x":1}`, accept, asJSON), 400, "bad_request"},
		{"MCP, params in an array", post(g, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}`, asJSON), 400, "bad_request"},
		{"MCP, the tool's name twice", post(g, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"whoami"}}`, asJSON), 400, "bad_request"},
		{"MCP, too large", post(g, "/mcp", largest+" ", asJSON), 413, "too_large"},
		{"MCP, gzip", post(g, "/mcp", zipped.String(), asJSON, "Content-Encoding: gzip"), 415, "unsupported_media_type"},
		{"MCP, nothing", post(g, "/mcp", "", asJSON), 400, "bad_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(tc.request)
			res := w.answer(t)
			if tc.status != 200 {
				wantError(t, res, tc.status, tc.code)
				return
			}
			if res == nil || res.StatusCode != 200 {
				t.Fatalf("answer %v, want 200", res)
			}
			if body, _ := io.ReadAll(res.Body); !bytes.HasPrefix(body, []byte(`{"message":"`)) {
				t.Errorf("body %.100s", body)
			}
		})
	}
}

// However a request is delimited, what is inside its body is never answered as
// a second one.
//
// Holds: stranger/request-smuggling
func TestOneRequestIsOne(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	const head, inner = "POST /tool/echo/call HTTP/1.1\r\nHost: localhost\r\n", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, raw := range map[string]string{
		"length and chunks":            head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"chunks and length":            head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + inner,
		"two lengths":                  head + "Content-Length: 0\r\nContent-Length: 41\r\n\r\n" + inner,
		"list of lengths":              head + "Content-Length: 0, 41\r\n\r\n" + inner,
		"signed length":                head + "Content-Length: +0\r\n\r\n" + inner,
		"chunked twice":                head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"not quite chunked":            head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner,
		"chunked, tab":                 head + "Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + inner,
		"space before the colon":       head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner,
		"bare LF after the chunk size": head + "Transfer-Encoding: chunked\r\n\r\n0;a\n\r\n\r\n" + inner,
		"chunked in HTTP/1.0":          strings.Replace(head, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + inner,
		"body to GET":                  "GET /tools HTTP/1.1\r\nHost: localhost\r\nContent-Length: 41\r\n\r\n" + inner,
		"bare LF throughout":           strings.ReplaceAll(head+"Content-Length: 41\r\n\r\n", "\r\n", "\n") + inner,
		"bare CR":                      head + "X-A: b\r\rContent-Length: 0\r\n\r\n" + inner,
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(raw)
			first := w.answer(t)
			if first == nil || first.StatusCode < http.StatusBadRequest {
				t.Fatalf("first answer %v, want a refusal", first)
			}
			w.send(request("GET /nothing", "Connection: close")) // ends the connection where it is still open
			for second := w.answer(t); second != nil; second = w.answer(t) {
				if second.StatusCode == http.StatusOK {
					t.Fatal("two requests out of one")
				}
			}
		})
	}
}
