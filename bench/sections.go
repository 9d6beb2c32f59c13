package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// connections measures a call on a new connection each, by a whole handshake and
// by a session ticket.
func (f *field) connections(ctx context.Context, p *page) (err error) {
	if f.gateTickets, err = f.startGate(ctx, "tickets", "  sessionTickets: true\n", ""); err != nil {
		return err
	}
	if f.bareTickets, err = f.startRole(ctx, "bare", ticketVariable+"=on"); err != nil {
		return err
	}
	fresh := func(t *target, resume bool) *target {
		t.oneShot, t.resume = true, resume
		return t
	}
	targets := []*target{
		fresh(f.octopus("bare net/http", f.bare, f.w.key), false),
		fresh(f.octopus("gate, API key", f.gate, f.w.key), false),
		fresh(f.octopus("nginx in front of bare", f.nginx, f.w.key), false),
		fresh(f.octopus("bare net/http, resumed", f.bareTickets, f.w.key), true),
		fresh(f.octopus("gate, API key, resumed", f.gateTickets, f.w.key), true),
	}
	samples, err := f.rounds(ctx, targets)
	if err != nil {
		return err
	}
	p.connections(targets, samples)
	return nil
}

// reload measures calls while everything is read again every 100 ms.
func (f *field) reload(ctx context.Context, p *page) error {
	quiet := f.octopus("left alone", f.gate, f.w.key)
	busy := f.octopus("SIGHUP every 100 ms", f.gate, f.w.key)
	busy.during = f.hup
	targets := []*target{quiet, busy}
	samples, err := f.rounds(ctx, targets)
	if err != nil {
		return err
	}
	p.reload(targets, samples)
	return nil
}

// hup has the gate read everything again every 100 ms.
func (f *field) hup(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = f.gate.cmd.Process.Signal(syscall.SIGHUP) // where it is gone, the load fails
		}
	}
}

// idle is how many connections the memory of one is measured by.
const idle = 2000

// memory measures what an idle connection costs, that has made a call.
func (f *field) memory(ctx context.Context, p *page) error {
	config, err := f.clientTLS()
	if err != nil {
		return err
	}
	servers := []*process{f.bare, f.gate}
	per := make([]usage, len(servers))
	for i, server := range servers {
		// A server that has just done something else holds memory of that.
		if err := f.open(ctx, server, config, 200, nil); err != nil {
			return err
		}
		before, err := server.settled(ctx)
		if err != nil {
			return err
		}
		var during usage
		err = f.open(ctx, server, config, idle, func() error {
			during, err = server.settled(ctx)
			return err
		})
		if err != nil {
			return err
		}
		per[i] = usage{rss: (during.rss - before.rss) / idle, heap: (during.heap - before.heap) / idle, stack: (during.stack - before.stack) / idle}
	}
	p.memory(per[0], per[1])
	return nil
}

// open holds n connections open that have made a call each, while what runs.
func (f *field) open(ctx context.Context, server *process, config *tls.Config, n int, while func() error) error {
	t := f.octopus("", server, f.w.key)
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
		req, err := http.NewRequestWithContext(ctx, t.method, "https://"+server.addr+t.path, strings.NewReader(t.body))
		if err != nil {
			return err
		}
		req.Header = t.header
		resp, err := clients[i].RoundTrip(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body) // else the connection is not kept
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", server.addr, resp.Status)
		}
	}
	if while == nil {
		return nil
	}
	return while()
}

// settled is the usage when the collector has run twice: what is held.
func (p *process) settled(ctx context.Context) (u usage, err error) {
	before, err := p.usage(ctx)
	if err != nil {
		return u, err
	}
	for range 1000 { // the metrics themselves are garbage enough
		if u, err = p.usage(ctx); err != nil || u.cycles >= before.cycles+2 {
			return u, err
		}
	}
	return u, fmt.Errorf("%s does not collect its garbage", p.addr)
}
