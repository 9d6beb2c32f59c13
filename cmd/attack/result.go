package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// A result is what was measured of a case.
type result struct {
	units           int
	cpu             time.Duration // for each unit
	alloc, log      float64       // bytes for each unit
	growth          int64         // of peak resident memory
	quiet, attacked latencies
	sigterm         time.Duration
	settled         bool     // the server stopped using CPU when the attack did
	faults          []string // bounds that do not hold
	logTail         string
}

// noise is the latency below which a ratio says nothing: the scheduler of a
// shared machine makes it.
const noise = 20 * time.Millisecond

func (r *result) judge(b bounds, o options) {
	fault := func(format string, args ...any) { r.faults = append(r.faults, fmt.Sprintf(format, args...)) }
	if b.cpu > 0 && r.cpu > b.cpu {
		fault("CPU %v a unit, bound %v", r.cpu.Round(100*time.Microsecond), b.cpu)
	}
	if b.alloc > 0 && r.alloc > b.alloc {
		fault("allocates %s a unit, bound %s", bytesText(r.alloc), bytesText(b.alloc))
	}
	if b.log > 0 && r.log > b.log {
		fault("log %s a unit, bound %s", bytesText(r.log), bytesText(b.log))
	}
	if b.growth > 0 && r.growth > b.growth {
		fault("memory grew by %s, bound %s", bytesText(float64(r.growth)), bytesText(float64(b.growth)))
	}
	if !r.settled {
		fault("still uses CPU 5 s after the attack")
	}
	if n := len(r.attacked.all); n == 0 || r.attacked.failed*2 > n {
		fault("%d of %d requests of a well-behaved client failed", r.attacked.failed, n)
	}
	if o.short {
		return
	}
	for _, x := range []struct {
		name         string
		share, bound float64
	}{{"median", 0.5, b.median}, {"p99", 0.99, b.p99}} {
		quiet, attacked := r.quiet.at(x.share), r.attacked.at(x.share)
		if x.bound > 0 && attacked > noise && float64(attacked) > x.bound*float64(quiet) {
			fault("%s of a well-behaved client %v, quiet %v, bound %v times", x.name, round(attacked), round(quiet), x.bound)
		}
	}
}

func printHead(o options) {
	fmt.Printf("drainTimeout %v; latencies are of a well-behaved client of another tenant, each request on a new connection\n\n", o.drain)
	fmt.Printf("%-36s %6s %9s %9s %9s %9s %9s %9s %9s %9s %8s  %s\n", "case", "units", "CPU/unit", "alloc/u", "log/u", "peak RSS",
		"quiet p50", "p99", "under p50", "p99", "SIGTERM", "verdict")
}

func (r *result) print(k kase, o options) {
	verdict := "ok"
	if len(r.faults) > 0 {
		verdict = "FAIL: " + strings.Join(r.faults, "; ")
	}
	fmt.Printf("%-36s %6d %9v %9s %9s %9s %9v %9v %9v %9v %8v  %s\n", k.name, r.units, round(r.cpu), bytesText(r.alloc), bytesText(r.log),
		bytesText(float64(r.growth)), round(r.quiet.at(0.5)), round(r.quiet.at(0.99)), round(r.attacked.at(0.5)), round(r.attacked.at(0.99)),
		r.sigterm.Round(10*time.Millisecond), verdict)
	if o.verbose && r.logTail != "" {
		fmt.Fprintf(os.Stderr, "--- end of the log of %s\n%s\n", k.name, r.logTail)
	}
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

func bytesText(n float64) string {
	switch {
	case n >= mb:
		return fmt.Sprintf("%.1f MB", n/mb)
	case n >= kb:
		return fmt.Sprintf("%.1f kB", n/kb)
	}
	return fmt.Sprintf("%.0f B", n)
}
