package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// latencies are those of a well-behaved client.
type latencies struct {
	all    []time.Duration
	failed int
}

func (l *latencies) at(share float64) time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return l.all[int(share*float64(len(l.all)-1)+0.5)]
}

// A probe is a well-behaved client of the tenant globex. Each request is on a
// connection of its own: who can no longer connect is locked out.
type probe struct {
	p      *process
	config *tls.Config
	token  string
	limit  time.Duration // what a request that was not answered counts as
	health bool
	mcp    bool
}

// run sends requests for a while, one every 15 ms at most.
func (b *probe) run(ctx context.Context, length time.Duration, l *latencies) {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); {
		begun := time.Now()
		err := b.once(ctx)
		took := time.Since(begun)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.failed++
			took = b.limit
		}
		l.all = append(l.all, took)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *probe) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	tr := &http.Transport{TLSClientConfig: b.config, DisableKeepAlives: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 77, 7, 7)}}).DialContext}
	url, method, body := "https://"+b.p.addr+"/tool/echo/call", http.MethodPost, `{"arguments":{"message":"hello"}}`
	if b.mcp {
		url, body = "https://"+b.p.addr+"/mcp", listTools
	}
	if b.health {
		url, method, body = "http://"+b.p.admin+"/healthz", http.MethodGet, ""
		tr.DialContext = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if !b.health {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &net.OpError{Op: "answer " + resp.Status}
	}
	return nil
}
