// Command attack runs denial-of-service cases against a real `sangate serve`
// process on loopback and judges what each costs the server: CPU, memory and
// log per unit, the latency of a well-behaved client during the attack, and the
// time SIGTERM takes. It exits with 1 if any case exceeds its bounds.
// docs/attacks.md explains the output.
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

// options hold the command line.
type options struct {
	binary  string // the sangate program; built if empty
	cases   *regexp.Regexp
	short   bool
	list    bool
	verbose bool
	drain   time.Duration // limits.drainTimeout of the servers
	rounds  int           // quiet and attacked windows, in turns
	window  time.Duration // length of an attacked window; a quiet one is half of it
}

func main() {
	if behaviour := os.Getenv(commandVariable); behaviour != "" {
		commandMain(behaviour)
		return
	}
	if os.Getenv(roleVariable) != "" {
		if err := attackerMain(); err != nil {
			fmt.Fprintln(os.Stderr, "attack: attacker:", err)
			os.Exit(1)
		}
		return
	}
	o := options{drain: 2 * time.Second, rounds: 3, window: 3 * time.Second}
	var cases string
	flag.StringVar(&o.binary, "binary", "", "sangate program to attack (default: build ./cmd/sangate)")
	flag.StringVar(&cases, "cases", "", "run only the cases whose name matches this regular expression")
	flag.BoolVar(&o.short, "short", false, "a few units of each case; latencies are printed, not judged")
	flag.BoolVar(&o.list, "list", false, "list the cases and exit")
	flag.BoolVar(&o.verbose, "v", false, "print the end of each server's log")
	flag.Parse()
	if o.short {
		o.drain, o.rounds, o.window = 500*time.Millisecond, 1, 300*time.Millisecond
	}
	// SIGHUP too: a closed terminal must not leave servers behind. Not SIGPIPE, which
	// Go would then also send for sockets.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	if o.cases, err = regexp.Compile(cases); err == nil && flag.NArg() > 0 {
		err = errors.New("takes flags only")
	}
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}
