package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A process is a server that is measured.
type process struct {
	cmd   *exec.Cmd
	addr  string // of its TLS listener
	admin string // of its metrics; "" where it has none
}

// start runs a server and waits until it answers.
func start(ctx context.Context, cmd *exec.Cmd, addr, admin string) (*process, error) {
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, addr, admin}
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // whether anybody is there; nothing is sent
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen on %s: %w", cmd.Path, addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends it and waits.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	gone := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-gone
	}
}

// A usage is what a server has used up so far.
type usage struct {
	cpu            time.Duration
	mallocs, bytes float64 // allocated; zero where nobody tells
	rss            float64 // bytes, now
	heap, stack    float64 // bytes in use, now
	cycles         float64 // of the garbage collector
	reloads        float64 // of the gate's configuration
}

// usage reads it: CPU time and memory from the system, with all children, and
// allocations from the server's metrics.
func (p *process) usage(ctx context.Context) (u usage, err error) {
	pids := []int{p.cmd.Process.Pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pids[0]))
	if err != nil {
		return u, err
	}
	for _, field := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return u, err
		}
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		cpu, rss, err := proc(pid)
		if err != nil {
			return u, err
		}
		u.cpu += cpu
		u.rss += rss
	}
	if p.admin == "" {
		return u, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return u, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return u, err
	}
	value := func(name string) float64 {
		f := families[name]
		if f == nil || len(f.Metric) == 0 {
			return 0
		}
		return f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue()
	}
	u.mallocs, u.bytes = value("go_memstats_mallocs_total"), value("go_memstats_alloc_bytes_total")
	if f := families["sangate_config_reloads_total"]; f != nil {
		for _, m := range f.Metric {
			if m.GetLabel()[0].GetValue() == "ok" {
				u.reloads += m.GetCounter().GetValue()
			}
		}
	}
	if f := families["go_gc_duration_seconds"]; f != nil && len(f.Metric) > 0 {
		u.cycles = float64(f.Metric[0].GetSummary().GetSampleCount())
	}
	u.heap, u.stack = value("go_memstats_heap_alloc_bytes"), value("go_memstats_stack_inuse_bytes")
	return u, nil
}

// proc reads CPU time, in nanoseconds from each thread's schedstat
// (proc(5): Go's threads do not end), and resident memory.
func proc(pid int) (cpu time.Duration, rss float64, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, thread := range threads {
		data, err := os.ReadFile(thread)
		if err != nil {
			continue // has ended
		}
		ran, _, _ := strings.Cut(string(data), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		cpu += time.Duration(ns)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, 0, fmt.Errorf("/proc/%d/statm: %q", pid, data)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return cpu, float64(pages) * float64(os.Getpagesize()), err
}
