package spiffetest

import (
	"context"

	"google.golang.org/grpc/stats"
)

// connections counts an agent's connections.
type connections struct{ a *Agent }

func (c connections) HandleConn(_ context.Context, s stats.ConnStats) {
	c.a.state.Lock()
	defer c.a.state.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		c.a.conns++
	case *stats.ConnEnd:
		c.a.conns--
	}
}

func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (connections) HandleRPC(context.Context, stats.RPCStats)                         {}
