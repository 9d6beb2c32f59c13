// Package object reads JSON objects that a peer sent: strictly (RFC 7493: UTF-8,
// each name once, at every depth), in one pass, without copies. What it returns
// lies in what it was given.
package object

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/shape"
)

// A Reader goes through one object and those in it, member by member. The first
// error ends it, and stays; [Reader.Close] tells.
//
// What is surely strict JSON is gone through by skipping; the rest is left to
// jsontext, which says what is wrong with it.
type Reader struct {
	data []byte
	err  error

	sure bool // data is strict JSON, without escapes by number
	at   int

	dec jsontext.Decoder
	buf bytes.Buffer
}

var readers = sync.Pool{New: func() any { return new(Reader) }}

var errShape = errors.New("not the JSON that was expected")

var anyJSON = shape.Of(true)

// Read returns a reader of data; Close must be called.
func Read(data []byte) *Reader {
	r := readers.Get().(*Reader)
	r.data, r.err, r.at = data, nil, 0
	if r.sure = anyJSON.Accepts(data); !r.sure {
		r.buf = *bytes.NewBuffer(data)
		r.dec.Reset(&r.buf)
	}
	return r
}

// Enter goes into the object that stands next.
func (r *Reader) Enter() {
	switch {
	case r.err != nil:
	case r.Kind() != '{':
		r.err = errShape
	case r.sure:
		r.space()
		r.at++
	default:
		_, r.err = r.dec.ReadToken()
	}
}

// Next returns the name of the next member, unquoted; or leaves the object, and
// is not ok.
func (r *Reader) Next() (name []byte, ok bool) {
	if r.err != nil {
		return nil, false
	}
	if r.sure {
		switch r.space() {
		case ',':
			r.at++
			r.space()
		case '}':
			r.at++
			return nil, false
		}
		name = r.text(r.skip())
		r.space()
		r.at++ // the colon
		return name, true
	}
	if r.dec.PeekKind() != '"' {
		_, r.err = r.dec.ReadToken()
		return nil, false
	}
	name = r.Value()
	if r.err != nil {
		return nil, false
	}
	return r.text(name), true
}

// Kind is that of what stands next: '{', '[', '"', '0', 't', 'f' or 'n'.
func (r *Reader) Kind() jsontext.Kind {
	switch {
	case r.err != nil:
		return 0
	case r.sure:
		return jsontext.Value(r.data[r.at:]).Kind()
	}
	return r.dec.PeekKind()
}

// Value returns the next value as it stands.
func (r *Reader) Value() jsontext.Value {
	if r.err != nil {
		return nil
	}
	if r.sure {
		r.space()
		return r.skip()
	}
	v, err := r.dec.ReadValue()
	if err != nil {
		r.err = err
		return nil
	}
	end := int(r.dec.InputOffset())
	return r.data[end-len(v) : end : end] // v itself is good until the next read
}

// Text returns the next value, which must be a text, unquoted.
func (r *Reader) Text() []byte {
	if r.Kind() != '"' {
		r.fail()
		return nil
	}
	return r.text(r.Value())
}

func (r *Reader) fail() {
	if r.err == nil {
		r.err = errShape
	}
}

// space skips white space and returns what follows.
func (r *Reader) space() byte {
	for ; r.at < len(r.data); r.at++ {
		switch b := r.data[r.at]; b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
	return 0
}

// skip goes over the value that stands here, in JSON that is sure.
func (r *Reader) skip() jsontext.Value {
	start, depth := r.at, 0
	for ; r.at < len(r.data); r.at++ {
		switch r.data[r.at] {
		case '"':
			for r.at++; r.data[r.at] != '"'; r.at++ {
				if r.data[r.at] == '\\' {
					r.at++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return r.data[start:r.at:r.at] // the object around a number or word ends
			}
			depth--
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return r.data[start:r.at:r.at] // behind a number or word
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			r.at++
			break
		}
	}
	return r.data[start:r.at:r.at]
}

// text unquotes; where nothing is escaped, in place.
func (r *Reader) text(v jsontext.Value) []byte {
	if len(v) < 2 {
		return nil
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	unquoted, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		r.err = err
	}
	return unquoted
}

// Close ends the reading and tells whether all of it was as it should be: nothing
// may follow.
func (r *Reader) Close() error {
	err := r.err
	switch {
	case err != nil:
	case r.sure:
		if r.space(); r.at < len(r.data) {
			err = errShape
		}
	default:
		if _, err = r.dec.ReadToken(); err == io.EOF {
			err = nil
		} else {
			err = errShape
		}
	}
	if !r.sure {
		r.buf = bytes.Buffer{}
		r.dec.Reset(&r.buf)
	}
	r.data = nil
	readers.Put(r)
	return err
}

// A Member is one of an object.
type Member struct {
	Name  []byte // unquoted
	Value jsontext.Value
}

// Parse appends the members of one object to room.
func Parse(room []Member, data []byte, most int) ([]Member, error) {
	r := Read(data)
	r.Enter()
	for name, ok := r.Next(); ok; name, ok = r.Next() {
		if len(room) == most {
			r.fail()
			break
		}
		room = append(room, Member{name, r.Value()})
	}
	return room, r.Close()
}
