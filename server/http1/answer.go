package http1

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// framing is how a client finds the end of an answer.
type framing int

const (
	unbegun  framing = iota
	measured         // the whole is kept, to be measured
	declared         // by the handler
	chunked
	bodiless
)

// An output is what is not sent yet.
type output struct{ head, body []byte }

var outputs = sync.Pool{New: func() any { return &output{make([]byte, 0, enough), make([]byte, 0, keep)} }}

// enough is what is sent at once where more is to come, in bytes.
const enough = 4 << 10

// keep is what is kept of a body whose length the handler does not tell, in bytes,
// before it is sent in chunks.
const keep = 2 << 10

// Header is part of http.ResponseWriter.
func (x *exchange) Header() http.Header {
	if x.header == nil {
		x.header = make(http.Header)
	}
	return x.header
}

// WriteHeader is part of http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if status >= http.StatusOK { // nothing here has more to say before it
		x.head(status)
	}
}

// Write is part of http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return 0, x.err
	}
	if x.framing == unbegun {
		x.head(http.StatusOK)
	}
	switch {
	case x.framing == bodiless:
		return 0, http.ErrBodyNotAllowed
	case x.framing == declared && int64(len(p)) > x.said:
		x.said = -1 // nor is it true of what was written
		return 0, http.ErrContentLength
	case !x.typed && len(p) > 0:
		x.line("Content-Type", http.DetectContentType(p))
		x.typed = true
	}
	if x.framing == declared {
		x.said -= int64(len(p))
		x.seal()
		if x.out.head = append(x.out.head, p...); len(x.out.head) > enough {
			x.flush()
		}
	} else if x.out.body = append(x.out.body, p...); len(x.out.body) > keep {
		x.flush()
	}
	if x.err != nil {
		return 0, x.err
	}
	return len(p), nil
}

// FlushError serves http.ResponseController.
func (x *exchange) FlushError() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil && x.framing == unbegun {
		x.head(http.StatusOK)
	}
	if x.err == nil {
		x.flush()
	}
	return x.err
}

// Flush is part of http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() } // the next write fails, too

// SetReadDeadline serves http.ResponseController.
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.body.mu.Lock()
	x.body.until = t
	x.body.mu.Unlock()
	return nil
}

// SetWriteDeadline serves http.ResponseController.
func (x *exchange) SetWriteDeadline(t time.Time) error {
	x.conn.deadline(t)
	return nil
}

// head begins the answer. Callers hold mu.
func (x *exchange) head(status int) {
	if x.err != nil || x.framing != unbegun {
		return
	}
	h := x.Header()
	if !x.body.drop() || x.request.Close || x.conn.server.draining.Load() || httpguts.HeaderValuesContainsToken(h["Connection"], "close") {
		x.closing = true
	}
	x.out = outputs.Get().(*output)
	b := append(x.out.head[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	b = append(append(append(b, ' '), text...), "\r\n"...)
	if len(h["Date"]) == 0 {
		b = append(append(append(b, "Date: "...), date()...), "\r\n"...)
	}
	x.framing = measured
	if status == http.StatusNoContent || status == http.StatusNotModified {
		x.framing = bodiless
	}
	var room [16]string
	names := room[:0]
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	x.out.head = b
	for _, name := range names {
		switch name {
		case "Connection", "Transfer-Encoding", "Trailer":
			continue
		case "Content-Length":
			said, err := strconv.ParseUint(h.Get(name), 10, 63)
			if x.framing != measured || err != nil {
				continue
			}
			x.framing, x.said = declared, int64(said)
		case "Content-Type":
			x.typed = true
		}
		if httpguts.ValidHeaderFieldName(name) {
			for _, value := range h[name] {
				x.line(name, textproto.TrimString(oneLine.Replace(value)))
			}
		}
	}
	if x.closing {
		x.line("Connection", "close")
	}
}

var oneLine = strings.NewReplacer("\n", " ", "\r", " ")

// line adds one to the head, which is not whole.
func (x *exchange) line(name, value string) {
	x.out.head = append(append(append(append(x.out.head, name...), ": "...), value...), "\r\n"...)
}

// seal ends the head.
func (x *exchange) seal() {
	if !x.sealed {
		x.out.head = append(x.out.head, "\r\n"...)
		x.sealed, x.typed = true, true
	}
}

// flush sends what there is. Callers hold mu.
func (x *exchange) flush() {
	o := x.out
	if x.framing == measured {
		x.line("Transfer-Encoding", "chunked")
		x.framing = chunked
	}
	x.seal()
	if x.framing == chunked && len(o.body) > 0 {
		o.head = strconv.AppendInt(o.head, int64(len(o.body)), 16)
		o.head = append(append(append(o.head, "\r\n"...), o.body...), "\r\n"...)
		o.body = o.body[:0]
	}
	x.send()
}

func (x *exchange) send() {
	if len(x.out.head) > 0 && x.err == nil {
		if x.err = x.conn.write(x.out.head); x.err != nil {
			x.End(nil)
		}
	}
	x.out.head = x.out.head[:0]
}

// A day is the Date of a second.
type day struct {
	second int64
	text   string
}

var today atomic.Pointer[day]

// date is now, as RFC 9110, section 5.6.7, has it.
func date() string {
	now := time.Now()
	if d := today.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &day{now.Unix(), now.UTC().Format(http.TimeFormat)}
	today.Store(d)
	return d.text
}
