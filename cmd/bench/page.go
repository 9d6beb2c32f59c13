package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A page is what is written.
type page struct {
	o options
	b strings.Builder
}

// intro says what was measured, where and how.
func (p *page) intro(version string) {
	p.printf(`# Performance

Written by "make bench", which measures everything below in one run, on loopback: each server in a process of its own, vegeta
as the load (%d clients at once, HTTP/1.1, each with a client certificate of an intermediate, ECDSA P-256), %d rounds of %v
in turns. Figures are medians; a ratio is the median of the ratios within each round. Load and servers share the machine, so
**compare rows and not machines**: what is measured is what is left beside the load generator.

%s, %s, %d cores, %s.

"Bare" is net/http with mTLS and a handler that reads the body and gives the same bytes, header and body, that the gate
answers: it checks the certificate's chain and nothing else. The gate decides each call anew (certificate, revocation, tenant,
token, header, policy), checks the arguments against the schema, counts, and keeps the call where it can be cut off.
`, p.o.workers, p.o.rounds, p.o.length, strings.TrimSpace(version), time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuModel())
}

// cpuModel is what the processor says it is.
func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(data), "model name")
	name, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(name, "\t :")
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

func (p *page) write() error {
	fmt.Print(p.b.String())
	if p.o.page == "" {
		return nil
	}
	return os.WriteFile(p.o.page, []byte(p.b.String()), 0o644)
}

// median of what of returns for each sample.
func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return middle(values)
}

func middle(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// ratio is the median over the rounds of what one has to the other.
func ratio(a, b []sample, of func(sample) float64) float64 {
	values := make([]float64, len(a))
	for i := range a {
		values[i] = of(a[i]) / of(b[i])
	}
	return middle(values)
}

func perSecond(s sample) float64 { return s.perSecond }
func cpu(s sample) float64       { return s.cpu }
func p50(s sample) float64       { return float64(s.p50) }
func p99(s sample) float64       { return float64(s.p99) }
func mallocs(s sample) float64   { return s.mallocs }
func bytesOf(s sample) float64   { return s.bytes }

func resident(s sample) float64 { return s.rss }

// told is a figure, or nothing where nobody tells.
func told(format string, v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

func duration(v float64) string { return time.Duration(v).Round(time.Microsecond).String() }

// calls writes the table of calls. The first two targets are the bare handler's,
// with the answers of either dialect.
func (p *page) calls(targets []*target, samples [][]sample) {
	p.printf("\n## Calls, on connections that are kept\n\n\"echo\" with a text of 44 bytes. CPU is the server's own, user and system; memory is what it allocates for a call.\n\n")
	p.printf("| | calls/s | of bare | p50 | p99 | of bare | server CPU/call | of bare | KiB/call | allocs/call | resident |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i, t := range targets {
		s, base := samples[i], samples[0]
		if t.path == mcpPath {
			base = samples[1]
		}
		p.printf("| %s | %.0f | %.2f | %s | %s | %.2f | %.1f µs | %.2f | %s | %s | %.0f MiB |\n", t.name, median(s, perSecond), ratio(s, base, perSecond),
			duration(median(s, p50)), duration(median(s, p99)), ratio(s, base, p99), median(s, cpu), ratio(s, base, cpu),
			told("%.1f", median(s, bytesOf)/1024), told("%.0f", median(s, mallocs)), median(s, resident)/(1<<20))
	}
	n := len(targets)
	p.printf("\nThe gate's MCP call of 2026-07-28 with an API key: %.1f × the calls of the plain SDK beside the same load generator, %.1f × by the server's own CPU.\n",
		ratio(samples[4], samples[n-2], perSecond), ratio(samples[n-2], samples[4], cpu))
}

// connections writes the table of new connections; the first target is what the
// others are compared with, the fourth is bare with tickets.
func (p *page) connections(targets []*target, samples [][]sample) {
	p.printf("\n## New connections\n\nA call on a connection of its own each: TCP, handshake, call, end. The gate knows chains that it has verified under the trust bundle in force, and looks at dates and revocation again. With `sessionTickets` every check runs on resumption, too; the post-quantum key exchange, which is the default, is a third of a handshake, resumed or not.\n\n")
	p.printf("| | connections/s | of bare | p50 | p99 | server CPU | of bare |\n|---|---|---|---|---|---|---|\n")
	for i, t := range targets {
		s := samples[i]
		p.printf("| %s | %.0f | %.2f | %s | %s | %.0f µs | %.2f |\n", t.name, median(s, perSecond), ratio(s, samples[0], perSecond),
			duration(median(s, p50)), duration(median(s, p99)), median(s, cpu), ratio(s, samples[0], cpu))
	}
}

func (p *page) reload(targets []*target, samples [][]sample, reloads float64) {
	p.printf("\n## Reload under load\n\nAnother configuration every 100 ms, and everything it names is read again; %.0f reloads, no request failed.\n\n", reloads)
	p.printf("| | calls/s | of left alone | p99 | server CPU/call |\n|---|---|---|---|---|\n")
	for i, t := range targets {
		s := samples[i]
		p.printf("| %s | %.0f | %.2f | %s | %.1f µs |\n", t.name, median(s, perSecond), ratio(s, samples[0], perSecond), duration(median(s, p99)), median(s, cpu))
	}
}

// storm writes the table of calls beside a storm: for each server calm and stormy.
func (p *page) storm(targets []*target, samples [][]sample) {
	p.printf("\n## Calls in a storm of handshakes\n\nThe same calls on kept connections, while 64 more clients open a new connection for each of theirs.\n\n")
	p.printf("| | calls/s | of calm | p50 | p99 |\n|---|---|---|---|---|\n")
	for i, t := range targets {
		s := samples[i]
		p.printf("| %s | %.0f | %.2f | %s | %s |\n", t.name, median(s, perSecond), ratio(s, samples[i/2*2], perSecond), duration(median(s, p50)), duration(median(s, p99)))
	}
}

func (p *page) collector(targets []*target, samples [][]sample) {
	p.printf("\n## Garbage collector\n\nAs it comes, the gate keeps a ballast of 20 MiB, never touched, so that the collector runs less often: what that costs is the garbage that lies about longer. `GOGC` or `GOMEMLIMIT` in its environment leave it out. Where memory is scarce, set `GOMEMLIMIT` to nine tenths of what the gate may have; else leave it as it comes.\n\n")
	p.printf("| | calls/s | of as it comes | p99 | server CPU/call | resident |\n|---|---|---|---|---|---|\n")
	for i, t := range targets {
		s := samples[i]
		p.printf("| %s | %.0f | %.2f | %s | %.1f µs | %.0f MiB |\n", t.name, median(s, perSecond), ratio(s, samples[0], perSecond), duration(median(s, p99)), median(s, cpu), median(s, resident)/(1<<20))
	}
}

// scale writes what grows, as a table and as a plot beside the page.
func (p *page) scale(tenants, rules, revoked []step) error {
	p.printf("\n## Growth\n\nGates with so many tenants, each with a rule of its own, with so many rules of one tenant, and with so many revoked serial numbers\non a denylist; calls in turns.\n\n")
	p.printf("| | start | heap | each | calls/s of the smallest | server CPU/call of the smallest |\n|---|---|---|---|---|---|\n")
	var lines []line
	for _, kind := range []struct {
		name, colour string
		steps        []step
	}{{"tenants", "#3b82c4", tenants}, {"rules", "#4a9d5b", rules}, {"revoked", "#c4683b", revoked}} {
		l := line{name: kind.name, colour: kind.colour}
		first := kind.steps[0]
		for i, s := range kind.steps {
			each := "–"
			if i > 0 {
				each = fmt.Sprintf("%.0f B", (s.heap-first.heap)/float64(s.n-first.n))
			}
			p.printf("| %d %s | %v | %.1f MiB | %s | %.2f | %.2f |\n", s.n, kind.name, s.started.Round(10*time.Millisecond), s.heap/(1<<20), each,
				ratio(s.samples, first.samples, perSecond), ratio(s.samples, first.samples, cpu))
			l.points = append(l.points, [2]float64{float64(s.n), s.heap / (1 << 20)})
		}
		lines = append(lines, l)
	}
	if p.o.page == "" {
		return nil
	}
	p.printf("\n![Heap over the number of tenants, of rules and of revoked serial numbers](performance.svg)\n")
	return os.WriteFile(strings.TrimSuffix(p.o.page, ".md")+".svg", []byte(plot("Heap of a gate", "how many there are", "MiB", lines)), 0o644)
}

func (p *page) memory(rows []holding) {
	p.printf("\n## Memory\n\nOf a connection that has made a call and waits, and of one with a stream open; what each of them adds.\n\n")
	p.printf("| | how many | heap | stack | resident |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		p.printf("| %s | %d | %.1f KiB | %.1f KiB | %.1f KiB |\n", r.name, r.n, r.heap/1024, r.stack/1024, r.rss/1024)
	}
	bare, gate := rows[0], rows[1]
	p.printf("\nHeap and stack of an idle connection together: %.2f of bare.\n", (gate.heap+gate.stack)/(bare.heap+bare.stack))
}
