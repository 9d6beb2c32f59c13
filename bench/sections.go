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
	classic, err := f.startGate(ctx, "classic", "  sessionTickets: true\n  curves: [X25519]\n", "")
	if err != nil {
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
		fresh(f.octopus("gate, API key, resumed, `curves: [X25519]`", classic, f.w.key), true),
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
	u, err := f.gate.usage(ctx)
	if err != nil {
		return err
	}
	if want := float64(f.o.rounds) * f.o.length.Seconds() * 10 / 4; u.reloads < want {
		return fmt.Errorf("%.0f reloads, at least %.0f were meant to be: what was measured is something else", u.reloads, want)
	}
	p.reload(targets, samples, u.reloads)
	return nil
}

// hup gives the gate another configuration every 100 ms and has it read
// everything again.
func (f *field) hup(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// What fails here shows: the generation that the section looks at stays.
			if f.w.change("gate", i) == nil {
				_ = f.gate.cmd.Process.Signal(syscall.SIGHUP)
			}
		}
	}
}

// storm measures calls on kept connections while others do nothing but open new
// ones, as many at once as they can.
func (f *field) storm(ctx context.Context, p *page) error {
	var targets []*target
	for _, server := range []struct {
		name string
		*process
	}{{"bare net/http", f.bare}, {"gate, API key", f.gate}} {
		calm := f.octopus(server.name, server.process, f.w.key)
		stormy := f.octopus(server.name+", in a storm", server.process, f.w.key)
		fresh := f.octopus("the storm", server.process, f.w.key)
		fresh.oneShot = true
		if err := fresh.write(f.w, 100+len(targets)); err != nil {
			return err
		}
		stormy.during = func(ctx context.Context) {
			o := f.o
			o.length, o.workers = time.Minute, 64
			_, _ = fresh.vegeta(ctx, o, f.w, "storm") // ends with ctx
		}
		targets = append(targets, calm, stormy)
	}
	samples, err := f.rounds(ctx, targets)
	if err != nil {
		return err
	}
	p.storm(targets, samples)
	return nil
}

// collector measures what settings of the garbage collector cost and save.
func (f *field) collector(ctx context.Context, p *page) error {
	targets := []*target{f.octopus("as it comes", f.gate, f.w.key)}
	for _, env := range []string{"GOGC=100", "GOGC=400", "GOMEMLIMIT=48MiB"} {
		gate, err := f.startGate(ctx, strings.ToLower(strings.ReplaceAll(env, "=", "-")), "", "", env)
		if err != nil {
			return err
		}
		targets = append(targets, f.octopus("`"+env+"`", gate, f.w.key))
	}
	samples, err := f.rounds(ctx, targets)
	if err != nil {
		return err
	}
	p.collector(targets, samples)
	return nil
}

// idle is how many connections the memory of one is measured by.
const idle = 10_000

// memory measures what an idle connection costs, that has made a call.
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
	servers, idle := []*process{bare, gate}, idle
	if f.o.rounds == 1 { // only to see that it runs
		idle = 500
	}
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
		per[i] = usage{rss: (during.rss - before.rss) / float64(idle), heap: (during.heap - before.heap) / float64(idle), stack: (during.stack - before.stack) / float64(idle)}
	}
	p.memory(idle, per[0], per[1])
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
