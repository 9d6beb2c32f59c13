package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// tags leave out what the embedded CA does not use, as in the Makefile.
const tags = "noawskms,noazurekms,nocloudkms,nobadger,nomysql"

// run runs the cases and prints a line for each.
func run(ctx context.Context, o options) error {
	var chosen []kase
	for _, k := range cases() {
		if o.cases.MatchString(k.name) && !(o.short && k.long) {
			chosen = append(chosen, k)
		}
	}
	if o.list {
		for _, k := range chosen {
			fmt.Printf("%-40s %s\n", k.name, k.unit)
		}
		return nil
	}
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	if o.binary == "" {
		o.binary = w.path("sangate")
		build := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", o.binary, "./cmd/sangate")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	printHead(o)
	var mu sync.Mutex
	failed := 0
	var wg sync.WaitGroup
	// In -short nothing that is judged depends on what else the machine does.
	places := make(chan struct{}, 1)
	if o.short {
		places = make(chan struct{}, 6)
	}
	for i, k := range chosen {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return ctx.Err()
		}
		wg.Go(func() {
			defer func() { <-places }()
			s := &stage{o: o, w: w, k: k, dir: w.path(fmt.Sprintf("case-%d", i))}
			r, err := s.play(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.faults = append(r.faults, err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			r.print(k, o)
			if len(r.faults) > 0 {
				failed++
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Printf("\n%d cases, %d failed\n", len(chosen), failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(chosen))
	}
	return nil
}

// A stage is one case's server and what is around it.
type stage struct {
	o   options
	w   *world
	k   kase
	dir string
	p   *process
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// arena returns what an attacker is given.
func (s *stage) arena(limit int, rate float64) *arena {
	return &arena{Case: s.k.name, Dir: s.w.dir, Addr: s.p.addr, Admin: s.p.admin, Token: s.w.tokens["acme"], Stage: s.dir, Pid: s.p.cmd.Process.Pid,
		Limit: limit, Rate: rate, Workers: 4}
}

// play runs a case: what a unit costs, what a well-behaved client notices, and
// whether SIGTERM ends the server meanwhile.
func (s *stage) play(ctx context.Context) (r result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return r, err
	}
	defer os.RemoveAll(s.dir)
	more := ""
	if s.k.setup != nil {
		if more, err = s.k.setup(ctx, s); err != nil {
			return r, err
		}
	}
	if err := os.WriteFile(s.path("sangate.yaml"), []byte(s.w.config(s.dir, s.o.drain, s.k.tls, s.k.limits, more)), 0o600); err != nil {
		return r, err
	}
	if s.p, err = startServer(ctx, s.o.binary, s.path("sangate.yaml")); err != nil {
		return r, err
	}
	defer s.p.kill()
	defer func() { r.logTail = s.p.log.String() }()
	config, err := s.w.client("globex")
	if err != nil {
		return r, err
	}
	good := &probe{p: s.p, config: config, token: s.w.tokens["globex"], limit: min(10*s.o.window, 3*time.Second), health: s.k.health, mcp: s.k.mcp}
	good.run(ctx, 200*time.Millisecond, &latencies{}) // warms up
	start, err := s.p.usage()
	if err == nil {
		err = s.p.resetPeak()
	}
	if s.p.dead() {
		r.faults = append(r.faults, s.death())
		return r, nil
	}
	if err != nil {
		return r, err
	}
	err = errors.Join(s.costs(ctx, &r), s.crowd(ctx, good, &r))
	end, uerr := s.p.usage()
	if s.p.dead() {
		r.faults = append(r.faults, s.death())
		return r, nil
	}
	if err = errors.Join(err, uerr); err != nil || ctx.Err() != nil {
		return r, err
	}
	r.growth = max(0, end.peak-start.rss)
	r.judge(s.k.bounds, s.o)
	return r, s.sigterm(ctx, &r)
}

// costs measures CPU, allocations and log of some units, with nobody else
// there.
func (s *stage) costs(ctx context.Context, r *result) error {
	s.p.settle(ctx, 2*time.Second)
	before, err := s.p.usage()
	if err != nil {
		return err
	}
	allocBefore, err := s.p.allocated(ctx)
	if err != nil {
		return err
	}
	n := s.k.units
	if s.o.short {
		n = max(1, n/4)
	}
	x, err := startAttacker(s.arena(n, 0))
	if err != nil {
		return err
	}
	if r.units, err = x.wait(ctx, max(s.o.window*4, 5*time.Second)); err != nil {
		return err
	}
	r.settled = s.p.settle(ctx, 5*time.Second)
	if r.units == 0 {
		r.faults = append(r.faults, "not one unit was done")
		return nil
	}
	allocAfter, allocErr := s.p.allocated(ctx)
	after, err := s.p.usage()
	if err != nil {
		return err
	}
	units := float64(r.units)
	r.cpu = time.Duration(float64(after.cpu-before.cpu) / units)
	r.log = float64(after.log-before.log) / units
	if allocErr != nil {
		r.faults = append(r.faults, "/metrics is not answered after the attack")
		return nil
	}
	r.alloc = (allocAfter - allocBefore) / units
	return nil
}

// crowd measures a well-behaved client, left alone and beside the attack in
// turns, so that both have the same machine.
func (s *stage) crowd(ctx context.Context, good *probe, r *result) error {
	for range s.o.rounds {
		s.p.settle(ctx, 2*time.Second)
		good.run(ctx, s.o.window/2, &r.quiet)
		x, err := startAttacker(s.arena(0, s.k.rate))
		if err != nil {
			return err
		}
		select {
		case <-x.ready:
		case <-time.After(s.o.window * 4):
		case <-ctx.Done():
		}
		good.run(ctx, s.o.window, &r.attacked)
		if _, err := x.stop(); err != nil {
			return err
		}
	}
	return nil
}

// sigterm sends SIGTERM while the attack goes on.
func (s *stage) sigterm(ctx context.Context, r *result) error {
	x, err := startAttacker(s.arena(0, s.k.rate))
	if err != nil {
		return err
	}
	select {
	case <-x.ready:
	case <-time.After(s.o.window):
	case <-ctx.Done():
	}
	time.Sleep(s.o.window / 6)
	if s.p.dead() {
		r.faults = append(r.faults, s.death())
	}
	limit := s.o.drain + 2*time.Second
	took, ok := s.p.terminate(limit)
	r.sigterm = took
	if !ok {
		r.faults = append(r.faults, fmt.Sprintf("SIGTERM did not end it within %v", limit))
	}
	_, err = x.stop()
	return err
}

// death says why the server is no longer there.
func (s *stage) death() string {
	if s.p.overweight.Load() {
		return fmt.Sprintf("the server took more than %s and was killed", bytesText(memoryLimit))
	}
	return "the server died"
}
