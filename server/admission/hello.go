package admission

import (
	"errors"
	"io"
	"net"
	"time"
)

// Bounds of the record that a ClientHello begins with (RFC 8446, 5.1).
const (
	recordHeader = 5
	maxRecord    = 1 << 14
	chunk        = 2 << 10 // by which the buffer grows, so that memory follows what was sent
)

// ReadHello reads the first record of a connection, which a ClientHello begins
// with, and returns it as it came. The first byte has to come within limit, and the
// rest within limit after it. What cannot begin a handshake is returned at once
// for the TLS stack to refuse.
func ReadHello(c net.Conn, limit time.Duration) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	hello := make([]byte, recordHeader, recordHeader+chunk)
	n, err := c.Read(hello)
	if err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, hello[n:]); err != nil {
		return nil, err
	}
	if length := int(hello[3])<<8 | int(hello[4]); hello[0] == handshakeRecord && length <= maxRecord {
		for length > 0 {
			part := min(length, chunk)
			start := len(hello)
			hello = append(hello, make([]byte, part)...)
			if n, err = io.ReadFull(c, hello[start:]); err != nil {
				return nil, errors.Join(err, c.SetReadDeadline(time.Time{}))
			}
			length -= n
		}
	}
	return hello, c.SetReadDeadline(time.Time{})
}

const handshakeRecord = 22
