package upstream

import (
	"context"
	"net"
	"sync"

	"github.com/sangate/sangate/server/egress"
)

// conns are the connections to an upstream that are open. A transport closes those
// that idle, and over HTTP/2 one that has just done with a stream does not idle yet.
type conns struct {
	mu    sync.Mutex
	open  map[net.Conn]struct{}
	ended bool
}

// dial returns a dial whose connections close ends.
func (c *conns) dial(dial egress.DialFunc) egress.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended {
			_ = raw.Close()
			return nil, net.ErrClosed
		}
		if c.open == nil {
			c.open = make(map[net.Conn]struct{})
		}
		c.open[raw] = struct{}{}
		return &conn{raw, c}, nil
	}
}

// close ends what is open, and what is still being dialled.
func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for raw := range c.open {
		_ = raw.Close()
	}
	c.open = nil
}

// A conn is one of conns.
type conn struct {
	net.Conn
	of *conns
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
