package main

import (
	"context"
	"fmt"
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
