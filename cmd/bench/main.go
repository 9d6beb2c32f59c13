// Command bench measures the gate beside what it is made of: bare net/http with
// mTLS answering the same bytes, the MCP SDK as it comes, and nginx in front of
// the bare handler; all on loopback, in turns, in one run. It writes what it
// found into docs/performance.md. `make bench` builds what it needs and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	gate, vegeta string // programs
	page         string // what is written; "" for none
	rounds       int
	length       time.Duration // of one attack
	workers      int
	only         *regexp.Regexp
	profile      string // where the gate's CPU profile goes; "" for none
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", role, err)
			os.Exit(1)
		}
		return
	}
	var o options
	var only string
	flag.StringVar(&o.gate, "gate", "bin/sangate", "the gate to measure")
	flag.StringVar(&o.vegeta, "vegeta", "bin/vegeta", "the load generator")
	flag.StringVar(&o.page, "page", "", "file to write the result to, beside standard output")
	flag.IntVar(&o.rounds, "rounds", 41, "rounds of each measurement")
	flag.DurationVar(&o.length, "length", 400*time.Millisecond, "length of one measurement of a round")
	flag.IntVar(&o.workers, "workers", 8, "clients at once")
	flag.StringVar(&only, "only", "", "measure only the sections whose name this expression matches")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the gate under load to this file and measure nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.only, err = regexp.Compile(only); err == nil && flag.NArg() > 0 {
		err = errors.New("takes flags only")
	}
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
