package main

import (
	"context"
	"time"
)

// A kase is one attack.
type kase struct {
	name string // attacker/what
	unit string // what one unit is
	// attack runs in a process of its own until ctx ends or the arena's limit
	// of units is reached.
	attack func(ctx context.Context, a *arena) error
	// setup, if non-nil, runs before the server starts, in the tool's own
	// process: it serves hostile upstreams and writes hostile documents. It
	// returns further lines of configuration.
	setup func(ctx context.Context, s *stage) (config string, err error)

	limits string  // further lines of limits: in the configuration
	tls    string  // and of tls:
	units  int     // of the measurement of costs
	rate   float64 // units a second while latencies are measured; 0 is no limit
	health bool    // the well-behaved client asks for /healthz on the admin listener
	mcp    bool    // it lists tools by MCP instead of calling one
	bounds bounds
	long   bool // left out of -short
}

// bounds are what a case may cost; zero is no bound.
type bounds struct {
	cpu    time.Duration // for each unit
	alloc  float64       // bytes allocated for each unit
	log    float64       // bytes of log for each unit
	growth int64         // bytes of peak resident memory, in all
	p99    float64       // of a well-behaved client's quiet one
	median float64
}

const (
	mb = 1_000_000
	kb = 1_000
)

// handshakeBounds are those of issue 18 for what has no certificate that is
// accepted.
var handshakeBounds = bounds{cpu: 20 * time.Millisecond, alloc: mb, log: 4 * kb, growth: 128 * mb, p99: 3}

// crowdBounds are those of many connections that say nothing.
var crowdBounds = bounds{cpu: 20 * time.Millisecond, alloc: mb, log: 4 * kb, growth: 512 * mb, p99: 3, median: 2}

// clientBounds are those of a client with a certificate: other tenants' clients
// are not slowed down, and memory is bounded.
var clientBounds = bounds{log: 4 * kb, growth: 256 * mb, p99: 3}

// sourceBounds are those of upstreams, documents and configuration.
var sourceBounds = bounds{growth: 256 * mb, p99: 3}

// operatorBounds are those of a configuration that cannot be loaded.
var operatorBounds = bounds{growth: 100 * mb, p99: 3}

// cases returns all of them.
func cases() []kase {
	var all []kase
	for _, some := range [][]kase{certificateCases(), junkCases(), crowdCases(), localCases(), clientCases(),
		http2Cases(), unreadCases(), cpuCases(), upstreamCases(), sessionCases(), documentCases(), operatorCases()} {
		all = append(all, some...)
	}
	return all
}

// withGrowth returns b with another bound of memory.
func (b bounds) withGrowth(bytes int64) bounds {
	b.growth = bytes
	return b
}
