package credential

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"
)

// MinScrubbed is the length in bytes below which a secret is not removed by itself: it would be found in ordinary
// words. What it is sent as (such as base64 of user:password) is removed all the same.
const MinScrubbed = 6

// Redacted replaces a secret that was removed.
const Redacted = "[redacted]"

// maxUsed is how many values added by Use a Scrubber knows at once; the oldest is forgotten first.
const maxUsed = 16

// A Scrubber removes secrets from what the peer they were sent to returns: plain, and in the encodings in which peers
// usually repeat them (base64, hexadecimal, URL, JSON and HTML escapes). Bytes without a secret pass unchanged. A peer
// that wants to leak a secret it was given can encode it in other ways; the Scrubber is not a defence against that.
// The zero value, and nil, know no secrets. Safe for concurrent use.
type Scrubber struct {
	forms atomic.Pointer[[][]byte] // longest first

	mu    sync.Mutex
	fixed []encodings // never forgotten
	used  []encodings // oldest first
}

// encodings are the forms of one value.
type encodings struct {
	value string
	forms [][]byte
}

// NewScrubber returns one that knows values and does not forget them.
func NewScrubber(values ...string) *Scrubber {
	s := new(Scrubber)
	for _, v := range values {
		if len(v) >= MinScrubbed && !s.knows(v) {
			s.fixed = append(s.fixed, encodings{v, formsOf(v)})
		}
	}
	s.publish()
	return s
}

// Derive returns a Scrubber for one exchange, which knows what s knows now. s may be nil.
func (s *Scrubber) Derive() *Scrubber {
	if s == nil {
		return new(Scrubber)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &Scrubber{fixed: slices.Concat(s.fixed, s.used)}
	out.forms.Store(s.forms.Load())
	return out
}

// Use adds values that are about to be sent. Values that are known already cost a comparison each.
func (s *Scrubber) Use(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, v := range values {
		if len(v) >= MinScrubbed && !s.knows(v) {
			s.used = append(s.used, encodings{v, formsOf(v)})
			changed = true
		}
	}
	if extra := len(s.used) - maxUsed; extra > 0 {
		s.used = slices.Delete(s.used, 0, extra)
	}
	if changed {
		s.publish()
	}
}

func (s *Scrubber) knows(value string) bool {
	is := func(e encodings) bool { return e.value == value }
	return slices.ContainsFunc(s.fixed, is) || slices.ContainsFunc(s.used, is)
}

// publish makes the list of all forms.
func (s *Scrubber) publish() {
	var forms [][]byte
	for _, e := range slices.Concat(s.fixed, s.used) {
		forms = append(forms, e.forms...)
	}
	slices.SortStableFunc(forms, func(a, b []byte) int { return len(b) - len(a) })
	s.forms.Store(&forms)
}

// UseSecret adds the parts of a secret that a peer sees.
func (s *Scrubber) UseSecret(secret *Secret) {
	if secret != nil {
		s.Use(secret.parts()...)
	}
}

// UseHeader adds the credentials that a request carries in its headers; names are of headers to look at beside
// Authorization.
func (s *Scrubber) UseHeader(h http.Header, names ...string) {
	for _, name := range append(names, "Authorization") {
		value := h.Get(name)
		if _, credentials, ok := strings.Cut(value, " "); ok {
			s.Use(value, credentials)
		} else {
			s.Use(value)
		}
	}
}

func (s *Scrubber) load() [][]byte {
	if s == nil {
		return nil
	}
	if forms := s.forms.Load(); forms != nil {
		return *forms
	}
	return nil
}

// Bytes returns b without secrets: b itself if there is none.
func (s *Scrubber) Bytes(b []byte) []byte {
	out, _ := scrub(s.load(), b, true)
	return out
}

// String returns text without secrets.
func (s *Scrubber) String(text string) string {
	if s.load() == nil {
		return text
	}
	return string(s.Bytes([]byte(text)))
}

// JSON is [Scrubber.Bytes] for JSON, in which a secret is also found if characters of it are escaped that need not be.
func (s *Scrubber) JSON(b []byte) []byte {
	b = s.Bytes(b)
	if s.load() == nil || !bytes.Contains(b, []byte(`\u`)) {
		return b
	}
	var out []byte
	for rest := b; ; {
		start := bytes.IndexByte(rest, '"')
		if start < 0 {
			return append(out, rest...)
		}
		end := start + 1
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(rest))
		out = append(append(out, rest[:start]...), s.quoted(rest[start:end])...)
		rest = rest[end:]
	}
}

// quoted returns a JSON string without secrets.
func (s *Scrubber) quoted(literal []byte) []byte {
	if !bytes.Contains(literal, []byte(`\u`)) {
		return literal
	}
	text, err := jsontext.AppendUnquote(nil, literal)
	if err != nil {
		return literal
	}
	clean := s.Bytes(text)
	if string(clean) == string(text) {
		return literal
	}
	if clean, err = jsontext.AppendQuote(nil, clean); err != nil {
		return literal
	}
	return clean
}

// Cut returns the text without secrets, where it is the beginning of a longer one: what may be the first bytes of a
// secret at its end is left out.
func (s *Scrubber) Cut(b []byte) []byte {
	out, _ := scrub(s.load(), b, false)
	return out
}

// Header removes secrets from the values of h, in place.
func (s *Scrubber) Header(h http.Header) {
	if s.load() == nil {
		return
	}
	for _, values := range h {
		for i, v := range values {
			values[i] = s.String(v)
		}
	}
}

// Error returns err without secrets: err itself if it has none. [errors.Is] sees through the error that is returned,
// errors.As does not: what is inside still has the secret.
func (s *Scrubber) Error(err error) error {
	if err == nil || s.load() == nil {
		return err
	}
	text := err.Error()
	if clean := s.String(text); clean != text {
		return &scrubbedError{clean, err}
	}
	return err
}

type scrubbedError struct {
	text string
	err  error
}

func (e *scrubbedError) Error() string        { return e.text }
func (e *scrubbedError) Is(target error) bool { return errors.Is(e.err, target) }

// Reader returns what body has, without the secrets known at each read. A secret that comes in pieces is found; only
// bytes that may be the beginning of one wait for the next.
func (s *Scrubber) Reader(body io.ReadCloser) io.ReadCloser {
	return &scrubbedBody{ReadCloser: body, scrubber: s}
}

type scrubbedBody struct {
	io.ReadCloser
	scrubber *Scrubber
	held     []byte // may be the beginning of a secret
	out      []byte
	err      error
}

func (r *scrubbedBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.ReadCloser.Read(p)
		in := p[:n]
		r.err = r.scrubber.Error(err)
		if len(r.held) > 0 {
			in = append(r.held, in...)
		}
		out, rest := scrub(r.scrubber.load(), in, errors.Is(err, io.EOF))
		if len(rest) == 0 && n > 0 && len(out) == n && &out[0] == &p[0] {
			r.held = nil
			return n, r.err // nothing to remove: no copy
		}
		r.held, r.out = bytes.Clone(rest), bytes.Clone(out)
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}
