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
	measured         // if all of it is kept until its end
	declared         // by the handler
	chunked
	bodiless
)

// An output is what is not sent yet.
type output struct{ head, body []byte }

var outputs = sync.Pool{New: func() any { return &output{make([]byte, 0, 2*keep), make([]byte, 0, keep)} }}

// keep is what is kept of a body, in bytes, before it is sent.
const keep = 2 << 10

// much is what is sent from where it is rather than copied behind the head, in bytes.
// Of less, a copy costs less than another record of TLS.
const much = 32 << 10

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
	case len(p) == 0:
		return 0, nil
	case x.framing == bodiless:
		return 0, http.ErrBodyNotAllowed
	case x.framing == declared && int64(len(p)) > x.said:
		x.said = -1 // nor is it true of what was written
		return 0, http.ErrContentLength
	case x.framing == declared:
		x.said -= int64(len(p))
	}
	n := min(len(p), keep-len(x.out.body))
	if x.out.body = append(x.out.body, p[:n]...); n < len(p) {
		x.flush(p[n:], false)
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
		x.flush(nil, false)
	}
	return x.err
}

// Flush is part of http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() } // the next write fails, too

// SetReadDeadline serves http.ResponseController.
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.conn.hurry(x, t)
	return nil
}

// SetWriteDeadline serves http.ResponseController.
func (x *exchange) SetWriteDeadline(t time.Time) error {
	x.conn.bound(x, t)
	return nil
}

// head begins the answer, which is not sent before its first part of a body, or its end,
// is known. Callers hold mu.
func (x *exchange) head(status int) {
	if x.err != nil || x.framing != unbegun {
		return
	}
	h := x.Header()
	x.closing = x.request.Close || httpguts.HeaderValuesContainsToken(h["Connection"], "close")
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
			if x.typed = true; status == http.StatusNotModified {
				continue
			}
		case "Content-Encoding":
			x.typed = x.typed || h.Get(name) != ""
		}
		if httpguts.ValidHeaderFieldName(name) {
			for _, value := range h[name] {
				x.line(name, textproto.TrimString(oneLine.Replace(value)))
			}
		}
	}
}

var oneLine = strings.NewReplacer("\n", " ", "\r", " ")

// line adds one to the head, which is not whole.
func (x *exchange) line(name, value string) {
	x.out.head = append(append(append(append(x.out.head, name...), ": "...), value...), "\r\n"...)
}

// seal ends the head, which says how the connection and the body go on; over says that
// all of the body is there. Where another request is to follow, all of this one is taken
// first: some clients read nothing before they have sent it.
func (x *exchange) seal(over bool) {
	if x.sealed {
		return
	}
	x.sealed = true
	if x.closing = x.closing || x.conn.server.draining.Load() || !x.body.drop(); x.closing {
		x.line("Connection", "close")
	}
	o := x.out
	if !x.typed && len(o.body) > 0 {
		x.line("Content-Type", http.DetectContentType(o.body))
	}
	switch {
	case x.framing == measured && over:
		o.head = append(strconv.AppendInt(append(o.head, "Content-Length: "...), int64(len(o.body)), 10), "\r\n"...)
	case x.framing == measured:
		x.line("Transfer-Encoding", "chunked")
		x.framing = chunked
	}
	o.head = append(o.head, "\r\n"...)
}

// flush sends what there is, with p behind it; over says that it is the end. Callers
// hold mu.
func (x *exchange) flush(p []byte, over bool) {
	x.seal(over)
	o := x.out
	end := ""
	if n := len(o.body) + len(p); x.framing == chunked && n > 0 {
		o.head = append(strconv.AppendInt(o.head, int64(n), 16), "\r\n"...)
		end = "\r\n"
	}
	o.head, o.body = append(o.head, o.body...), o.body[:0]
	if len(p) > much {
		x.send(o.head)
		x.send(p)
		o.head = append(o.head[:0], end...) // goes with what follows
		return
	}
	o.head = append(append(o.head, p...), end...)
	if x.framing == chunked && over {
		o.head = append(o.head, "0\r\n\r\n"...)
	}
	x.send(o.head)
	o.head = o.head[:0]
}

func (x *exchange) send(p []byte) {
	if len(p) > 0 && x.err == nil {
		if x.err = x.conn.write(p); x.err != nil {
			x.End(nil)
		}
	}
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
