package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
)

// How many connections and streams the memory of one is measured by.
const (
	idle    = 10_000
	streams = 2_000
)

// memory measures what an idle connection costs, that has made a call, and one with
// a stream open on it.
func (f *field) memory(ctx context.Context, p *page) error {
	config, err := f.clientTLS()
	if err != nil {
		return err
	}
	bare, err := f.startRole(ctx, "bare", collectOften)
	if err != nil {
		return err
	}
	gate, err := f.startGate(ctx, "idle", "", "", collectOften)
	if err != nil {
		return err
	}
	listening, err := f.startGate(ctx, "listening", "", "", collectOften) // the other's heap gets smaller by itself, afterwards
	if err != nil {
		return err
	}
	listen := f.mcp("gate, a stream of `subscriptions/listen`", listening, f.w.key, "2026-07-28")
	listen.body, listen.stream = mcpListenBody, true
	maps.Copy(listen.header, listenHead)
	delete(listen.header, "Mcp-Name")
	rows := []holding{{target: f.octopus("bare net/http, an idle connection", bare, f.w.key), n: idle},
		{target: f.octopus("gate, an idle connection", gate, f.w.key), n: idle}, {target: listen, n: streams}}
	for i := range rows {
		r := &rows[i]
		if f.o.rounds == 1 { // only to see that it runs
			r.n = 500
		}
		// A server that has just done something else holds memory of that.
		if err := open(ctx, r.target, config, 200, nil); err != nil {
			return err
		}
		before, err := r.server.settled(ctx)
		if err != nil {
			return err
		}
		var during usage
		err = open(ctx, r.target, config, r.n, func() error {
			during, err = r.server.settled(ctx)
			return err
		})
		if err != nil {
			return err
		}
		n := float64(r.n)
		r.usage = usage{rss: (during.rss - before.rss) / n, heap: (during.heap - before.heap) / n, stack: (during.stack - before.stack) / n}
	}
	p.memory(rows)
	return nil
}

// A holding is what n clients of one kind have a server hold, for each.
type holding struct {
	*target
	n int
	usage
}

// open holds n connections open that have made a call each, or have a stream, while
// what runs.
func open(ctx context.Context, t *target, config *tls.Config, n int, while func() error) error {
	clients := make([]*http.Transport, n)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.CloseIdleConnections()
			}
		}
	}()
	for i := range clients {
		clients[i] = &http.Transport{TLSClientConfig: config.Clone(), WriteBufferSize: 512, ReadBufferSize: 512}
		req, err := http.NewRequestWithContext(ctx, t.method, "https://"+t.server.addr+t.path, strings.NewReader(t.body))
		if err != nil {
			return err
		}
		req.Header = t.header
		resp, err := clients[i].RoundTrip(req)
		if err != nil {
			return err
		}
		if t.stream {
			defer resp.Body.Close()
			_, err = io.ReadFull(resp.Body, make([]byte, len("event")))
		} else {
			_, err = io.Copy(io.Discard, resp.Body) // else the connection is not kept
			_ = resp.Body.Close()
		}
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", t.server.addr, resp.Status)
		}
	}
	if while == nil {
		return nil
	}
	return while()
}

// settled is the usage of a server that has nothing to do, when the collector has
// run again: what is held.
func (p *process) settled(ctx context.Context) (u usage, err error) {
	if err := p.quiet(ctx); err != nil {
		return u, err
	}
	before, err := p.usage(ctx)
	if err != nil {
		return u, err
	}
	for range 5000 { // the metrics themselves are garbage enough
		if u, err = p.usage(ctx); err != nil || u.cycles > before.cycles {
			return u, err
		}
	}
	return u, fmt.Errorf("%s does not collect its garbage", p.addr)
}
