package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A page is what is written.
type page struct {
	o options
	b strings.Builder
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

func duration(v float64) string { return time.Duration(v).Round(time.Microsecond).String() }

// calls writes the table of calls. The first two targets are the bare handler's,
// with the answers of either dialect.
func (p *page) calls(targets []*target, samples [][]sample) {
	p.printf("| | calls/s | of bare | p50 | p99 | of bare | server CPU/call | of bare | KiB/call | allocs/call |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for i, t := range targets {
		s, base := samples[i], samples[0]
		if t.path == mcpPath {
			base = samples[1]
		}
		p.printf("| %s | %.0f | %.2f | %s | %s | %.2f | %.1f µs | %.2f | %.1f | %.0f |\n", t.name, median(s, perSecond), ratio(s, base, perSecond),
			duration(median(s, p50)), duration(median(s, p99)), ratio(s, base, p99), median(s, cpu), ratio(s, base, cpu),
			median(s, bytesOf)/1024, median(s, mallocs))
	}
}

// connections writes the table of new connections; the first target is what the
// others are compared with, the fourth is bare with tickets.
func (p *page) connections(targets []*target, samples [][]sample) {
	p.printf("\n| | connections/s | of bare | p50 | p99 | server CPU | of bare |\n|---|---|---|---|---|---|---|\n")
	for i, t := range targets {
		s := samples[i]
		p.printf("| %s | %.0f | %.2f | %s | %s | %.0f µs | %.2f |\n", t.name, median(s, perSecond), ratio(s, samples[0], perSecond),
			duration(median(s, p50)), duration(median(s, p99)), median(s, cpu), ratio(s, samples[0], cpu))
	}
}

func (p *page) reload(targets []*target, samples [][]sample) {
	p.printf("\n| | calls/s | of left alone | p99 | server CPU/call |\n|---|---|---|---|---|\n")
	for i, t := range targets {
		s := samples[i]
		p.printf("| %s | %.0f | %.2f | %s | %.1f µs |\n", t.name, median(s, perSecond), ratio(s, samples[0], perSecond), duration(median(s, p99)), median(s, cpu))
	}
}

func (p *page) memory(bare, gate usage) {
	p.printf("\n| an idle connection | heap | stack | resident |\n|---|---|---|---|\n")
	for name, u := range map[string]usage{"bare net/http": bare, "gate": gate} {
		p.printf("| %s | %.1f KiB | %.1f KiB | %.1f KiB |\n", name, u.heap/1024, u.stack/1024, u.rss/1024)
	}
}
