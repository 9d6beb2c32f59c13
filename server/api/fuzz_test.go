package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// FuzzIfMatch checks that If-Match is taken in the one spelling that ETag has, or as "*".
//
// Holds: admin/precondition
func FuzzIfMatch(f *testing.F) {
	for _, s := range []string{`"2"`, `*`, `"+2"`, `"02"`, `W/"2"`, `2`, `"2","3"`, `"-1"`, `"0"`, `"9223372036854775808"`, `""`, `"`, `" 2"`, `"2_0"`} {
		f.Add(s, int64(0))
		f.Add(s, int64(2))
	}
	f.Fuzz(func(t *testing.T, match string, version int64) {
		r := httptest.NewRequest(http.MethodPatch, "/api/credentials/1", nil)
		r.Header["If-Match"] = []string{match}
		w := httptest.NewRecorder()
		got, ok := new(Credentials).expected(w, r, version)
		switch {
		case !ok:
			if w.Code != http.StatusBadRequest {
				t.Errorf("%q is refused by %d", match, w.Code)
			}
		case match == "*":
			if got != version {
				t.Errorf("any is %d, want %d", got, version)
			}
		case match != etag(got) || got <= 0 || version != 0 && version != got:
			t.Errorf("%q with version %d is taken as %d", match, version, got)
		}
	})
}
