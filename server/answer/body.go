package answer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Body reads the whole body of a JSON request. It returns an [*Error] where it
// is over the limit, encoded, of another type, or does not arrive in the time
// that the server gives it.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	return BodyInto(nil, w, r, limit)
}

// BodyInto is [Body] that makes use of room where it is enough.
func BodyInto(room []byte, w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	for _, encoding := range r.Header["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return nil, &UnsupportedType
		}
	}
	if ct := r.Header.Get("Content-Type"); ct != "" && ct != "application/json" {
		if kind, _, err := mime.ParseMediaType(ct); err != nil || kind != "application/json" {
			return nil, &UnsupportedType
		}
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := read(room, w, r, limit)
	if err == nil {
		// The server's bound was for the body; what follows may take longer.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // not there on a test's recorder
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge()
	}
	bad := BadRequest("The body did not arrive whole.")
	bad.Close = true
	return nil, &bad
}

// firstRead bounds what is made room for on a peer's word alone.
const firstRead = 64 << 10

// read reads a body at once where it says how long it is.
func read(room []byte, w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= firstRead {
		if int64(cap(room)) < n {
			room = make([]byte, n)
		}
		body := room[:n]
		_, err := io.ReadFull(r.Body, body) // net/http ends it after so many
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
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
