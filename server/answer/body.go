package answer

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/turns"
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
		err = turns.Enter(r.Context(), len(body)) // for all that is made of it
	}
	if err == nil {
		err = taken(r, body)
	}
	if refused, ok := errors.AsType[*Error](err); ok {
		return nil, refused
	}
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

// smallBody is the size of bodies that take so little memory that it is not counted.
const smallBody = 1 << 10

// An Intake counts the memory of a request's body and of what is decoded from it.
type Intake interface {
	// Take counts so many bytes in the place of those before. It returns the refusal,
	// an [*Error], if they are too many.
	Take(size int64) error
}

// IntakeKey is the key of a request's [Intake] in its context.
type IntakeKey struct{}

func take(r *http.Request, size int64) error {
	if i, ok := r.Context().Value(IntakeKey{}).(Intake); ok {
		return i.Take(size)
	}
	return nil
}

// taken counts what a body takes that has been read.
func taken(r *http.Request, body []byte) error {
	if len(body) <= smallBody {
		return nil
	}
	return take(r, intake.Weight(body))
}

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
	in := io.Reader(http.MaxBytesReader(w, r.Body, limit))
	most := r.ContentLength
	if most < 0 { // it does not say: most are small
		first, err := io.ReadAll(io.LimitReader(in, firstRead))
		if err != nil || len(first) < firstRead {
			return first, err
		}
		in, most = io.MultiReader(bytes.NewReader(first), in), limit
	}
	if err := take(r, 2*most); err != nil { // the room grows while it is read
		return nil, err
	}
	return io.ReadAll(in)
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
