package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"
)

// A step is a gate of one size.
type step struct {
	n       int
	started time.Duration // until it listened
	heap    float64       // bytes held
	samples []sample      // of calls
}

// scale measures what grows with tenants (each with a rule of its own), with the
// rules of one tenant and with revoked serial numbers: memory, the time of a start, and, hopefully not, calls.
func (f *field) scale(ctx context.Context, p *page) error {
	tenants, revoked := []int{100, 1_000, 10_000, 100_000}, []int{1_000, 10_000, 100_000, 1_000_000}
	if f.o.rounds == 1 { // only to see that it runs
		tenants, revoked = tenants[:2], revoked[:2]
	}
	byTenants, err := f.steps(ctx, "tenants", tenants, func(n int) (tls, more string, err error) {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - {id: t%d, sans: [\"uri:spiffe://bench.example/tenant/t%[1]d/*\"]}\n", i)
		}
		return "", b.String(), nil
	})
	if err != nil {
		return err
	}
	byRules, err := f.steps(ctx, "rules", tenants, func(n int) (tls, more string, err error) {
		var b strings.Builder
		b.WriteString("  - id: many\n    sans:\n")
		for i := range n {
			fmt.Fprintf(&b, "      - \"uri:spiffe://bench.example/rule/r%d/*\"\n", i)
		}
		return "", b.String(), nil
	})
	if err != nil {
		return err
	}
	byRevoked, err := f.steps(ctx, "revoked", revoked, func(n int) (tls, more string, err error) {
		file := f.w.path(fmt.Sprintf("denylist-%d", n))
		return fmt.Sprintf("  revocation: {denylist: %s}\n", file), "", denylist(file, n)
	})
	if err != nil {
		return err
	}
	return p.scale(byTenants, byRules, byRevoked)
}

// steps starts a gate of each size, and calls them in turns.
func (f *field) steps(ctx context.Context, name string, sizes []int, config func(n int) (tls, tenants string, err error)) ([]step, error) {
	var steps []step
	var targets []*target
	for _, n := range sizes {
		tls, tenants, err := config(n)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s-%d", name, n)
		lean, err := f.startGate(ctx, name+"-lean", tls, tenants, collectOften)
		if err != nil {
			return nil, err
		}
		u, err := lean.settled(ctx)
		if err != nil {
			return nil, err
		}
		lean.stop()
		begun := time.Now()
		gate, err := f.startGate(ctx, name, tls, tenants)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{n: n, started: time.Since(begun), heap: u.heap})
		if err := gate.quiet(ctx); err != nil {
			return nil, err
		}
		targets = append(targets, f.octopus(name, gate, f.w.key))
	}
	samples, err := f.rounds(ctx, targets)
	if err != nil {
		return nil, err
	}
	for i, t := range targets {
		steps[i].samples = samples[i]
		t.server.stop()
	}
	return steps, nil
}

// collectOften has a server hold little garbage, so that its heap is what it needs.
const collectOften = "GOGC=10"

// quiet waits until a server has nothing left to do that nobody asked for: after
// a start it looks at its files again.
func (p *process) quiet(ctx context.Context) error {
	const look = 500 * time.Millisecond
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		before, err := p.usage(ctx)
		if err != nil {
			return err
		}
		time.Sleep(look)
		after, err := p.usage(ctx)
		if err != nil {
			return err
		}
		if after.cpu-before.cpu < look/5 {
			return nil
		}
	}
	return fmt.Errorf("%s is busy though nobody asks it anything", p.addr)
}

// denylist writes n random serial numbers, as long as step-ca's.
func denylist(file string, n int) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	w := bufio.NewWriter(out)
	serial := make([]byte, 16)
	for range n {
		if _, err := rand.Read(serial); err != nil {
			return err
		}
		serial[0] |= 0x40
		if _, err := fmt.Fprintf(w, "serial:%s\n", hex.EncodeToString(serial)); err != nil {
			return err
		}
	}
	return w.Flush()
}
