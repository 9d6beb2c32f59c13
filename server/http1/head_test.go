package http1_test

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/http1"
)

// heads are of requests, with whether they are plain.
var heads = map[string]bool{
	"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}":                                                                 true,
	"POST /tool/echo/call HTTP/1.1\r\nhost: x:8443\r\ncontent-length: 0\r\nauthorization:Bearer a.b\r\nx-a:  b \r\nX-A: c\r\n\r\n": true,
	"GET /tools HTTP/1.1\r\nHost: [::1]:1\r\nConnection: Keep-Alive\r\nAccept: \t\r\n\r\nGET ":                                     true,
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                            true,
	"GET / HTTP/1.1\r\nHost: x\r\nA-b: 1\r\n_c: 2\r\nX-0D-eF: 3\r\na!b: 4\r\n\r\n": true,
	// Not yet whole.
	"": false, "GET": false, "GET / HTTP/1.1\r\nHost: x\r\n": false,
	// Of lines.
	"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n":                     false,
	"GET / HTTP/1.1\nHost: x\r\n\r\n":                           false,
	"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n":                   false,
	"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n":                   false,
	"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n":              false,
	"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n":                false,
	"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n":                  false,
	"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n":                    false,
	"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n":              false,
	"GET / HTTP/1.1\r\nHost: x\r\nA: \u00e4\r\n\r\n":            false,
	"GET / HTTP/1.1\r\nHost: x\r\n\u00e4: a\r\n\r\n":            false,
	"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n": false,
	// Of the request.
	"GET / HTTP/1.0\r\nHost: x\r\n\r\n":            false,
	"GET  / HTTP/1.1\r\nHost: x\r\n\r\n":           false,
	"GET / HTTP/1.1 \r\nHost: x\r\n\r\n":           false,
	"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n":           false,
	"get / HTTP/1.1\r\nHost: x\r\n\r\n":            false,
	"GET //x HTTP/1.1\r\nHost: x\r\n\r\n":          false,
	"GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n":       false,
	"GET /?a HTTP/1.1\r\nHost: x\r\n\r\n":          false,
	"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n":          false,
	"GET * HTTP/1.1\r\nHost: x\r\n\r\n":            false,
	"GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n":   false,
	"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n":      false,
	"GET / HTTP/1.1\r\nA: b\r\n\r\n":               false,
	"GET / HTTP/1.1\r\nHost: \r\n\r\n":             false,
	"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n": false,
	"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n":          false,
	// Of its body and the connection.
	"POST / HTTP/1.1\r\nHost: x\r\n\r\n":                                                       false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n":                                   false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}":                               false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}":                               false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x2\r\n\r\n{}":                              false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}":                             false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999\r\n\r\n{}":                 false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}":           false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\n{}":           false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}":  false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\ntransfer-encoding: identity\r\n\r\n{}": false,
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTrailer: A\r\n\r\n{}":                  false,
	"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}":                                 false,
	"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n":                                   false,
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                                   true,
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n":         false,
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\n":                     false,
	"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n":                                        false,
	"GET / HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\n\r\n":                                    false,
}

func TestHead(t *testing.T) {
	for head, plain := range heads {
		var r http.Request
		if _, ok := http1.Parse([]byte(head), &r, new(url.URL), make([]string, 2)); ok != plain {
			t.Errorf("%q: %v", head, ok)
		}
	}
}

// FuzzHead checks that net/http reads the same request, and the same bytes behind it,
// from every head that is accepted as plain: never two requests out of one.
//
// Holds: stranger/request-smuggling
func FuzzHead(f *testing.F) {
	for head := range heads {
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got http.Request
		n, ok := http1.Parse([]byte(text), &got, new(url.URL), make([]string, 2))
		if !ok {
			return
		}
		reader := bufio.NewReader(strings.NewReader(text))
		want, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("%q: net/http: %v", text, err)
		}
		if rest, _ := io.ReadAll(reader); string(rest) != text[n:] {
			t.Errorf("%q: behind it is %q, for net/http %q", text, text[n:], rest)
		}
		if want.TransferEncoding != nil || want.Trailer != nil {
			t.Errorf("%q: net/http: %v, %v", text, want.TransferEncoding, want.Trailer)
		}
		got.Body, want.Body = nil, nil
		if g, w := got.WithContext(t.Context()), want.WithContext(t.Context()); !reflect.DeepEqual(g, w) {
			t.Errorf("%q:\n%+v, for net/http\n%+v", text, g, w)
		}
	})
}
