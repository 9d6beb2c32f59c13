package answer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// bodyTimeout bounds how long a body may take to arrive.
const bodyTimeout = 10 * time.Second

// Body reads the whole body of a JSON request. It returns an [*Error] where it
// is over the limit, encoded, of another type, or does not arrive in time.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	for _, encoding := range r.Header["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return nil, &UnsupportedType
		}
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if kind, _, err := mime.ParseMediaType(ct); err != nil || kind != "application/json" {
			return nil, &UnsupportedType
		}
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // not there on a test's recorder
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		_ = rc.SetReadDeadline(time.Time{}) // a stream may follow
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge()
	}
	bad := BadRequest("The body did not arrive whole.")
	bad.Close = true
	return nil, &bad
}

// tooLarge ends the connection: what is left of the body is not worth reading.
func tooLarge() error {
	e := TooLarge
	e.Close = true
	return &e
}

// FailWith answers with err, which is an [*Error] or becomes [Internal].
func FailWith(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*Error](err); ok {
		Fail(w, r, *e)
		return
	}
	Fail(w, r, Internal)
}
