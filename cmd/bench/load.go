package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// A target is one kind of request to one server.
type target struct {
	name    string
	server  *process
	method  string
	path    string
	header  http.Header
	body    string
	oneShot bool // a new connection for each request
	resume  bool // by a session ticket
	http2   bool
	stream  bool                  // its answer does not end
	during  func(context.Context) // runs beside the attack

	file, bodyFile string
}

// write has vegeta's files made: the request, in its HTTP format.
func (t *target) write(w *world, n int) error {
	t.file, t.bodyFile = w.loadPath(fmt.Sprintf("target-%d", n)), w.loadPath(fmt.Sprintf("body-%d", n))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s https://%s%s\n", t.method, t.server.addr, t.path)
	for name, values := range t.header {
		fmt.Fprintf(&b, "%s: %s\n", name, values[0])
	}
	if t.body != "" {
		fmt.Fprintf(&b, "@%s\n", t.bodyFile)
	}
	if err := os.WriteFile(t.bodyFile, []byte(t.body), 0o600); err != nil {
		return err
	}
	return os.WriteFile(t.file, b.Bytes(), 0o600)
}

// A sample is what came of one attack.
type sample struct {
	perSecond        float64
	p50, p99         time.Duration
	cpu              float64 // µs of the server for each call
	mallocs, bytes   float64 // of the server for each call
	rss              float64
	requests, failed int
}

// A report is what vegeta reports.
type report struct {
	Latencies struct {
		P50 time.Duration `json:"50th"`
		P99 time.Duration `json:"99th"`
	} `json:"latencies"`
	Duration   time.Duration  `json:"duration"`
	Wait       time.Duration  `json:"wait"`
	Requests   int            `json:"requests"`
	Success    float64        `json:"success"`
	Throughput float64        `json:"throughput"`
	Codes      map[string]int `json:"status_codes"`
	Errors     []string       `json:"errors"`
}

// attack sends as many requests as the server answers, for o.length.
func (t *target) attack(ctx context.Context, o options, w *world) (s sample, err error) {
	before, err := t.server.usage(ctx)
	if err != nil {
		return s, err
	}
	beside, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if t.during != nil {
		wg.Go(func() { t.during(beside) })
	}
	r, err := t.vegeta(ctx, o, w, "results")
	stop()
	wg.Wait()
	if err != nil {
		return s, fmt.Errorf("%s: %w", t.name, err)
	}
	after, err := t.server.usage(ctx)
	if err != nil {
		return s, err
	}
	n := float64(r.Requests)
	s = sample{perSecond: r.Throughput, p50: r.Latencies.P50, p99: r.Latencies.P99, rss: after.rss, requests: r.Requests,
		cpu:     float64(after.cpu-before.cpu) / float64(time.Microsecond) / n,
		mallocs: (after.mallocs - before.mallocs) / n, bytes: (after.bytes - before.bytes) / n}
	s.failed = r.Requests - r.Codes["200"]
	if s.failed > 0 {
		return s, fmt.Errorf("%s: %d of %d requests failed: %v %v", t.name, s.failed, r.Requests, r.Codes, r.Errors)
	}
	return s, nil
}

func (t *target) vegeta(ctx context.Context, o options, w *world, name string) (*report, error) {
	workers := strconv.Itoa(o.workers)
	results := w.loadPath(name)
	args := []string{"attack", "-targets", t.file, "-output", results, "-duration", o.length.String(), "-rate", "0",
		"-workers", workers, "-max-workers", workers, "-connections", workers, "-max-body", "0", "-timeout", "10s",
		"-cert", w.path("client.crt"), "-key", w.path("client.key"), "-root-certs", w.path("root.crt"),
		"-http2=" + strconv.FormatBool(t.http2), "-keepalive=" + strconv.FormatBool(!t.oneShot)}
	if t.resume {
		args = append(args, "-session-tickets")
	}
	cmd := exec.CommandContext(ctx, o.vegeta, args...)
	cmd.Env = append(os.Environ(), "GOGC=1600") // the less of the machine it takes, the more is measured of the servers
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("vegeta: %w: %s", err, out)
	}
	out, err := exec.CommandContext(ctx, o.vegeta, "report", "-type", "json", results).Output()
	if err != nil {
		return nil, fmt.Errorf("vegeta report: %w", err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, err
	}
	if r.Requests == 0 {
		return nil, fmt.Errorf("no requests were sent: %v", r.Errors)
	}
	return &r, nil
}
