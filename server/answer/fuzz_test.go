package answer

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzBody checks that a body is read only if it is plain JSON by its headers and within
// the limit, and then all of it, whatever length the client announces.
//
// Holds: client/body-bound
func FuzzBody(f *testing.F) {
	for _, s := range [][2]string{{"application/json", ""}, {"application/json; charset=utf-8", "identity"}, {"APPLICATION/JSON", ""}, {"application/jsonx", ""}, {"text/plain", ""},
		{"application/json", "gzip"}, {"application/json;;", ""}, {"application/json, text/plain", ""}, {"", "deflate"}, {" application/json", ""}, {"application/json; a=\"\r\n", ""}} {
		for _, length := range []int64{-1, 0, 2, 100, 200} {
			f.Add(s[0], s[1], []byte(`{"a":1}`), length)
		}
	}
	f.Add("", "", bytes.Repeat([]byte("["), 5000), int64(-1))
	const limit = 128
	f.Fuzz(func(t *testing.T, kind, encoding string, body []byte, length int64) {
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		r.ContentLength = max(length, -1)
		r.Header["Content-Type"], r.Header["Content-Encoding"] = []string{kind}, []string{encoding}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if length >= 0 { // net/http ends it after so many
			r.Body = io.NopCloser(io.LimitReader(bytes.NewReader(body), length))
		}
		got, err := Body(httptest.NewRecorder(), r, limit)
		if err != nil {
			if got != nil {
				t.Errorf("%d bytes and %v", len(got), err)
			}
			return
		}
		media, _, mediaErr := mime.ParseMediaType(kind)
		if kind != "" && (mediaErr != nil || media != "application/json") || encoding != "" && !strings.EqualFold(encoding, "identity") {
			t.Errorf("took %q with encoding %q", kind, encoding)
		}
		want := body
		if length >= 0 && length < int64(len(body)) {
			want = body[:length]
		}
		if len(got) > limit || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, want %d; announced %d", len(got), len(want), length)
		}
	})
}
