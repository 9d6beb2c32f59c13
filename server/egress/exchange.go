package egress

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// pacing is a RoundTripper over paced connections: it tells each which requests it has, and
// what is read of their answers.
type pacing struct{ *http.Transport }

// RoundTrip sends a request and accounts for what its answer takes.
func (p pacing) RoundTrip(r *http.Request) (*http.Response, error) {
	x := new(exchange)
	x.trace.GotConn = x.use
	res, err := p.Transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &x.trace)))
	if err != nil {
		x.end(onTheWay)
		return nil, err
	}
	x.conn.explain(headSize(res.Header))
	if res.Body == http.NoBody {
		x.end(0)
		return res, nil
	}
	x.ReadCloser, x.length = res.Body, res.ContentLength
	res.Body = x
	return res, nil
}

// An exchange is a request and the body of its answer.
type exchange struct {
	io.ReadCloser
	trace  httptrace.ClientTrace
	conn   *pacedConn // nil before there is one
	length int64      // of the body; negative if it was not announced
	read   atomic.Int64
	ended  atomic.Bool
}

// use is told which connection the request goes over; another one after a retry.
func (x *exchange) use(info httptrace.GotConnInfo) {
	x.conn.end(onTheWay)
	x.conn = paced(info.Conn)
	x.conn.begin()
}

// Read reads the body of the answer.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.ReadCloser.Read(p)
	x.read.Add(int64(n))
	x.conn.explain(n)
	if errors.Is(err, io.EOF) {
		x.end(0)
	}
	return n, err
}

// Close ends the exchange. If the body was not read to its end, more of it may be on its
// way: as much as was read, or a little.
func (x *exchange) Close() error {
	err := x.ReadCloser.Close()
	if read := x.read.Load(); read == x.length {
		x.end(0)
	} else {
		x.end(int(min(onTheWay+read, window)))
	}
	return err
}

func (x *exchange) end(explained int) {
	if !x.ended.Swap(true) {
		x.conn.end(explained)
	}
}

// headSize returns about how many bytes the head of an answer took, without compression.
func headSize(h http.Header) int {
	size := 128 // the status, and frames around
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value) + 4
		}
	}
	return min(size, maxHead)
}
