package http1

import (
	"io"
	"net/http"
	"sync"
)

// A body is what comes behind a head.
type body struct {
	of *exchange

	mu     sync.Mutex
	left   int64
	err    error
	closed bool
	long   bool // too long to be dropped
}

// taken reports whether nothing of it is left to come.
func (b *body) taken() bool {
	if !b.mu.TryLock() {
		return false // it is being read
	}
	defer b.mu.Unlock()
	return b.left == 0
}

// tooLong reports whether more of it came, or comes, than is dropped.
func (b *body) tooLong() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.long
}

// Read is part of io.ReadCloser.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (n int, err error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.left == 0:
		return 0, io.EOF
	case int64(len(p)) > b.left:
		p = p[:b.left]
	}
	c := b.of.conn
	if c.start < c.end {
		n = copy(p, c.buf[c.start:c.end])
		c.start += n
	} else if n, err = c.more(p); err != nil && int64(n) < b.left {
		b.of.End(nil)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	if b.left -= int64(n); b.left == 0 {
		err = io.EOF // whatever comes behind it
	}
	b.err = err
	return n, err
}

// more reads what is too much for the room.
func (c *Conn) more(p []byte) (int, error) {
	c.mu.Lock()
	c.start, c.end = 0, 0
	c.await()
	c.mu.Unlock()
	return c.read(p)
}

// Close is part of io.ReadCloser. What is left is dropped with the answer.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// maxDropped is what is too much of a body that nobody has read to be read, in bytes.
const maxDropped = 256 << 10

// drop reads what is left, and reports whether the next request can be found. If so,
// whoever reads on learns that this was not for them.
func (b *body) drop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left >= maxDropped {
		b.long = true
		return false
	}
	var waste [1 << 10]byte
	for b.left > 0 && b.err == nil {
		_, _ = b.read(waste[:]) // b.err has it
	}
	if b.left == 0 {
		b.closed = true
	}
	return b.left == 0
}
