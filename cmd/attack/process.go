package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A process is a running `sangate serve`.
type process struct {
	cmd         *exec.Cmd
	addr, admin string
	log         *tail
	exited      chan struct{} // closed when it has been waited for
	overweight  atomic.Bool   // it was killed for its memory
}

// startServer starts binary and waits until /healthz answers.
func startServer(ctx context.Context, binary, config string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &process{addr: addr, admin: admin, log: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.Command(binary, "serve", "--config", config, "--set", "listen="+addr, "--set", "admin="+admin)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }() // ends when the process does; kill sees to that
	go p.watch()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return p, conn.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) || p.dead() {
			p.kill()
			return nil, fmt.Errorf("the server does not listen: %w; its log: %s", errors.Join(ctx.Err(), err), p.log)
		}
	}
}

// memoryLimit is what a server may hold before it is killed: some attacks
// make an unprotected one take all there is.
const memoryLimit = 2_500 * mb

// watch kills a server that takes more than memoryLimit. It returns when the
// process has exited.
func (p *process) watch() {
	for {
		select {
		case <-p.exited:
			return
		case <-time.After(20 * time.Millisecond):
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err == nil && statusKiB(status, "VmRSS:") > memoryLimit {
			p.overweight.Store(true)
			_ = p.cmd.Process.Kill()
		}
	}
}

func (p *process) dead() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// terminate sends SIGTERM and returns how long the process took to exit. It
// is killed after limit.
func (p *process) terminate(limit time.Duration) (took time.Duration, ok bool) {
	begun := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return time.Since(begun), true
	case <-time.After(limit):
		p.kill()
		return time.Since(begun), false
	}
}

// A usage is what a server has used so far.
type usage struct {
	cpu  time.Duration // user and system
	rss  int64         // bytes
	peak int64         // bytes, since resetPeak
	log  int64         // bytes written to standard output and error
}

func (p *process) usage() (u usage, err error) {
	u.log = p.log.size()
	pid := p.cmd.Process.Pid
	// In nanoseconds from each thread's schedstat (proc(5)): /proc/PID/stat counts
	// in ticks of 10 ms. Go's threads do not end.
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return u, err
	}
	for _, thread := range threads {
		data, err := os.ReadFile(thread)
		if err != nil {
			continue
		}
		ran, _, _ := strings.Cut(string(data), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ns)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	u.rss, u.peak = statusKiB(status, "VmRSS:"), statusKiB(status, "VmHWM:")
	if u.rss == 0 {
		return u, errors.New("the server has exited")
	}
	return u, nil
}

func statusKiB(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// resetPeak sets the peak of resident memory to what is resident now.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// allocated returns how many bytes the server has allocated, by its metrics.
func (p *process) allocated(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return 0, err
	}
	f := families["go_memstats_alloc_bytes_total"]
	if f == nil || len(f.Metric) == 0 {
		return 0, errors.New("no go_memstats_alloc_bytes_total in the metrics")
	}
	return f.Metric[0].GetCounter().GetValue(), nil
}

// settle waits until the server uses less than a fifth of a core, at most for
// limit, and reports whether it does.
func (p *process) settle(ctx context.Context, limit time.Duration) bool {
	const look = 200 * time.Millisecond
	for deadline := time.Now().Add(limit); ctx.Err() == nil && time.Now().Before(deadline); {
		before, err := p.usage()
		if err != nil {
			return false
		}
		time.Sleep(look)
		after, err := p.usage()
		if err != nil {
			return false
		}
		if after.cpu-before.cpu < look/5 {
			return true
		}
	}
	return false
}

// A tail counts what is written to it and keeps the end.
type tail struct {
	mu   sync.Mutex
	n    int64
	last []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const keep = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += int64(len(b))
	t.last = append(t.last, b[max(0, len(b)-keep):]...)
	t.last = t.last[max(0, len(t.last)-keep):]
	return len(b), nil
}

func (t *tail) size() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}

var ports struct {
	sync.Mutex
	next int
}

// freeAddress returns an address of loopback that nobody listens on, below the
// range from which the kernel picks client ports: there are thousands of
// clients here.
func freeAddress() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = 26_000 + os.Getpid()%5_000
	}
	for range 1000 {
		ports.next++
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.next))
		if err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", errors.New("no free port between 26,000 and 32,000")
}
