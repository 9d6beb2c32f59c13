package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/sangate/sangate/server/progress"
)

// A field is the servers that are measured.
type field struct {
	o options
	w *world

	gate, bare, sdk, nginx   *process
	gateTickets, bareTickets *process // with session tickets
	started                  []*process
}

// The requests.
const (
	octopusPath = "/tool/echo/call"
	mcpPath     = "/mcp"
	octopusBody = `{"arguments":{"message":"The quick brown fox jumps over the lazy dog."}}`
	mcpBody     = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"The quick brown fox jumps over the lazy dog."}}}`
	mcp2026Body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"The quick brown fox jumps over the lazy dog."},` +
		mcp2026Meta
	mcpListenBody = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` + mcp2026Meta
	mcp2026Meta   = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}`
)

func jsonHeader(more ...string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

var (
	mcpHeader  = jsonHeader("Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2025-11-25")
	listenHead = jsonHeader("Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
	mcp26Heads = jsonHeader("Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "echo")
)

func (f *field) octopus(name string, server *process, token string) *target {
	h := jsonHeader("Authorization", "Bearer "+token, "X-Octopus-Tenant-Id", "acme")
	return &target{name: name, server: server, method: "POST", path: octopusPath, header: h, body: octopusBody}
}

func (f *field) mcp(name string, server *process, token string, revision string) *target {
	t := &target{name: name, server: server, method: "POST", path: mcpPath, header: maps.Clone(mcpHeader), body: mcpBody}
	if revision == "2026-07-28" {
		t.header, t.body = maps.Clone(mcp26Heads), mcp2026Body
	}
	t.header["Authorization"] = []string{"Bearer " + token}
	t.header["X-Octopus-Tenant-Id"] = []string{"acme"}
	return t
}

// run measures and writes.
func run(ctx context.Context, o options) (err error) {
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	f := &field{o: o, w: w}
	defer f.stop()
	if o.profile != "" {
		return f.profile(ctx)
	}
	if err := f.start(ctx); err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, o.gate, "version").Output()
	if err != nil {
		return fmt.Errorf("%s version: %w", o.gate, err)
	}
	p := &page{o: o}
	p.intro(string(version))
	for _, s := range []section{
		{"calls", f.calls},
		{"connections", f.connections},
		{"storm", f.storm},
		{"reload", f.reload},
		{"collector", f.collector},
		{"memory", f.memory},
		{"scale", f.scale},
	} {
		if !o.only.MatchString(s.name) {
			continue
		}
		if err := s.run(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return p.write()
}

type section struct {
	name string
	run  func(context.Context, *page) error
}

// start starts what every section needs; the rest is started by its section.
func (f *field) start(ctx context.Context) (err error) {
	if f.gate, err = f.startGate(ctx, "gate", "", ""); err != nil {
		return err
	}
	if err := f.record(ctx); err != nil {
		return err
	}
	plain, err := freeAddress()
	if err != nil {
		return err
	}
	if f.bare, err = f.startRole(ctx, "bare", plainVariable+"="+plain); err != nil {
		return err
	}
	if f.sdk, err = f.startRole(ctx, "sdk"); err != nil {
		return err
	}
	f.nginx, err = f.startNginx(ctx, "nginx", plain, "off")
	return err
}

// keep has a server stopped at the end.
func (f *field) keep(p *process, err error) (*process, error) {
	if err == nil {
		f.started = append(f.started, p)
	}
	return p, err
}

func (f *field) stop() {
	for _, p := range f.started {
		p.stop()
	}
}

func (f *field) startGate(ctx context.Context, name, tlsLines, tenants string, env ...string) (*process, error) {
	file, err := f.w.config(name, tlsLines, tenants)
	if err != nil {
		return nil, err
	}
	addr, admin, err := twoAddresses()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, f.o.gate, "serve", "--config", file,
		"--set", "listen="+addr, "--set", "admin="+admin, "--set", "log.level=warn")
	cmd.Env = append(os.Environ(), env...)
	return f.keep(start(ctx, cmd, addr, admin))
}

func (f *field) startRole(ctx context.Context, role string, env ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, admin, err := twoAddresses()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, dirVariable+"="+f.w.dir, listenVariable+"="+addr, adminVariable+"="+admin)
	cmd.Env = append(cmd.Env, env...)
	return f.keep(start(ctx, cmd, addr, admin))
}

func twoAddresses() (a, b string, err error) {
	if a, err = freeAddress(); err != nil {
		return
	}
	b, err = freeAddress()
	return
}

// record has the gate answer once for each path, for the bare handler to repeat,
// byte for byte.
func (f *field) record(ctx context.Context) error {
	config, err := f.clientTLS()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	answers := map[string]answered{}
	for _, t := range []*target{f.octopus("", f.gate, f.w.key), f.mcp("", f.gate, f.w.key, "2026-07-28")} {
		req, err := http.NewRequestWithContext(ctx, t.method, "https://"+f.gate.addr+t.path, strings.NewReader(t.body))
		if err != nil {
			return err
		}
		req.Header = t.header
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s: %s (%v)", t.path, resp.Status, body, err)
		}
		resp.Header.Del("Date")
		answers[t.path] = answered{resp.Header, body}
	}
	data, err := json.Marshal(answers)
	if err != nil {
		return err
	}
	return os.WriteFile(f.w.path("answers.json"), data, 0o600)
}

func (f *field) clientTLS() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.w.path("client.crt"), f.w.path("client.key"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}, nil // whom we have started ourselves
}

// calls measures calls on connections that are kept.
func (f *field) calls(ctx context.Context, p *page) error {
	targets := []*target{
		f.octopus("bare net/http, the Octopus answer", f.bare, f.w.key),
		f.mcp("bare net/http, the MCP answer", f.bare, f.w.key, "2026-07-28"),
	}
	targets = append(targets, f.gateCalls()...)
	targets = append(targets, f.mcp("plain SDK, MCP 2026-07-28, no token", f.sdk, f.w.key, "2026-07-28"),
		f.octopus("nginx in front of bare, the Octopus answer", f.nginx, f.w.key))
	samples, err := f.rounds(ctx, targets)
	if err != nil {
		return err
	}
	p.calls(targets, samples)
	return nil
}

// gateCalls are the gate's kinds of call, with either token.
func (f *field) gateCalls() []*target {
	return []*target{
		f.octopus("gate, Octopus call, API key", f.gate, f.w.key),
		f.octopus("gate, Octopus call, JWT", f.gate, f.w.jwt),
		f.mcp("gate, MCP 2026-07-28, API key", f.gate, f.w.key, "2026-07-28"),
		f.mcp("gate, MCP 2026-07-28, JWT", f.gate, f.w.jwt, "2026-07-28"),
		f.mcp("gate, MCP 2025-11-25, API key", f.gate, f.w.key, "2025-11-25"),
		f.mcp("gate, MCP 2025-11-25, JWT", f.gate, f.w.jwt, "2025-11-25"),
	}
}

// rounds attacks each target in turn, over and over. The first round warms up
// and is not counted.
func (f *field) rounds(ctx context.Context, targets []*target) ([][]sample, error) {
	samples := make([][]sample, len(targets))
	for i, t := range targets {
		if err := t.write(f.w, i); err != nil {
			return nil, err
		}
	}
	order := make([]int, len(targets))
	for i := range order {
		order[i] = i
	}
	line := progress.New(os.Stderr, "rounds")
	defer line.Done()
	for round := range f.o.rounds + 1 {
		line.At(round, f.o.rounds)
		for _, i := range order {
			s, err := targets[i].attack(ctx, f.o, f.w)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
		slices.Reverse(order)
	}
	return samples, nil
}
