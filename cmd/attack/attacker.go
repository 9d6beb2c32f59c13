package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// roleVariable holds the arena of an attacker, in JSON; the program is one
// when it is set.
const roleVariable = "SANGATE_ATTACK_ROLE"

// An arena is what an attacker knows and counts.
type arena struct {
	Case    string
	Dir     string // of the world
	Stage   string // folder of the case
	Pid     int    // of the server
	Addr    string
	Admin   string
	Token   string // a good one, of the tenant acme
	Limit   int    // units; 0 is until told to stop
	Rate    float64
	Workers int

	units   atomic.Int64
	pace    *rate.Limiter
	onReady func()
}

// attackerMain runs one case's attack until standard input is closed, and
// prints "ready" once its connections are up and "units N" at the end.
func attackerMain() error {
	a := &arena{onReady: sync.OnceFunc(func() { fmt.Println("ready") })}
	if err := json.Unmarshal([]byte(os.Getenv(roleVariable)), a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	a.pace = rate.NewLimiter(rate.Inf, 1)
	if a.Rate > 0 {
		a.pace = rate.NewLimiter(rate.Limit(a.Rate), max(1, int(a.Rate/20)))
	}
	for _, k := range cases() {
		if k.name == a.Case {
			err := k.attack(ctx, a)
			a.onReady()
			fmt.Println("units", a.units.Load())
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return fmt.Errorf("no case %q", a.Case)
}

// each calls unit over and over, by several workers, at the arena's rate. What
// a unit returns is not looked at, because being refused is what is expected.
func (a *arena) each(ctx context.Context, unit func(ctx context.Context)) error {
	a.onReady()
	var wg sync.WaitGroup
	var begun atomic.Int64
	for range max(1, a.Workers) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if a.Limit > 0 && begun.Add(1) > int64(a.Limit) || a.pace.Wait(ctx) != nil {
					return
				}
				bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
				unit(bounded)
				cancel()
				a.units.Add(1)
			}
		})
	}
	wg.Wait()
	return nil
}

// hold keeps n connections open, made by dial, and replaces those that the
// server closes, at the arena's rate. Each counts as a unit.
func (a *arena) hold(ctx context.Context, n int, dial func(ctx context.Context, i int) (io.ReadCloser, error)) error {
	if a.Limit > 0 {
		n = min(n, a.Limit)
	}
	var wg sync.WaitGroup
	slots := make(chan int, n)
	for i := range n {
		slots <- i
	}
	for range 8 {
		wg.Go(func() {
			for {
				var i int
				select {
				case i = <-slots:
				case <-ctx.Done():
					return
				}
				if a.pace.Wait(ctx) != nil {
					return
				}
				short, cancel := context.WithTimeout(ctx, 5*time.Second)
				conn, err := dial(short, i)
				cancel()
				if done := a.units.Add(1); done >= int64(n) {
					a.onReady()
				}
				if err != nil {
					select {
					case <-time.After(10 * time.Millisecond):
					case <-ctx.Done():
						return
					}
					slots <- i
					continue
				}
				wg.Go(func() {
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					_, _ = io.Copy(io.Discard, conn) // until it is closed
					stop()
					_ = conn.Close()
					slots <- i
				})
			}
		})
	}
	if a.Limit > 0 { // costs are being measured: once all are up, that is all
		for a.units.Load() < int64(n) && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond)
	return nil
}

// dial connects to the server from an address of loopback, the i-th of many.
func (a *arena) dial(ctx context.Context, from net.IP) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	return d.DialContext(ctx, "tcp", a.Addr)
}

// handshake does one TLS handshake and waits for the server's verdict.
func (a *arena) handshake(ctx context.Context, config *tls.Config) {
	raw, err := a.dial(ctx, nil)
	if err != nil {
		return
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(15 * time.Second))
	conn := tls.Client(raw, config)
	if conn.HandshakeContext(ctx) == nil {
		_, _ = conn.Read(make([]byte, 1)) // in TLS 1.3 the verdict comes after the client's part
	}
}

// An attacker is the process of one.
type attacker struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *tail
	ready  chan struct{} // closed when its connections are up, or it has ended
	ended  chan struct{} // closed when its output has ended
	units  int           // once ended
}

// startAttacker starts a process that runs the case's attack, at a low
// priority: what is measured is the server and its clients.
func startAttacker(a *arena) (*attacker, error) {
	role, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	x := &attacker{cmd: exec.Command(self), stderr: &tail{}, ready: make(chan struct{}), ended: make(chan struct{})}
	x.cmd.Env = append(os.Environ(), roleVariable+"="+string(role))
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	x.cmd.Stderr = x.stderr
	if x.stdin, err = x.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := x.cmd.Start(); err != nil {
		return nil, err
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, x.cmd.Process.Pid, 15) // without it the measurement is noisier
	go x.read(out)                                                    // ends with the process
	return x, nil
}

// read follows what the attacker prints.
func (x *attacker) read(out io.Reader) {
	defer close(x.ended)
	ready := sync.OnceFunc(func() { close(x.ready) })
	defer ready()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			ready()
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "units %d", &x.units); err != nil {
			_, _ = x.stderr.Write(append(lines.Bytes(), '\n'))
		}
	}
}

// wait waits for its end, at most for limit, and returns how many units it did.
func (x *attacker) wait(ctx context.Context, limit time.Duration) (units int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-x.ended:
	case <-ctx.Done():
		_ = x.stdin.Close()
		select {
		case <-x.ended:
		case <-time.After(25 * time.Second):
			_ = x.cmd.Process.Kill()
			<-x.ended
		}
	}
	_ = x.stdin.Close()
	if err := x.cmd.Wait(); err != nil {
		return x.units, fmt.Errorf("attacker: %w: %s", err, x.stderr)
	}
	return x.units, nil
}

// stop ends it and returns how many units it did.
func (x *attacker) stop() (int, error) {
	_ = x.stdin.Close()
	return x.wait(context.Background(), 25*time.Second)
}
