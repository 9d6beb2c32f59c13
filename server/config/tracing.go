package config

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/server/egress"
)

// Tracing says where traces go.
type Tracing struct {
	Endpoint string            `yaml:"endpoint"` // of an OpenTelemetry collector: OTLP over HTTP
	Sample   *float64          `yaml:"sample"`   // share of traces; 1 where absent
	Callers  string            `yaml:"callers"`  // what their traceparent decides: sample, trust or link
	Headers  map[string]string `yaml:"headers"`  // sent to it
	CAFile   Path              `yaml:"caFile"`

	CA string `yaml:"-"` // what stands in CAFile
}

// callers are the values of Callers; the first where it is absent.
var callers = []string{"sample", "trust", "link"}

// Share returns what share of traces is traced.
func (t *Tracing) Share() float64 {
	if t.Sample == nil {
		return 1
	}
	return *t.Sample
}

// Client returns what reaches the collector; the configuration was checked. One that
// stands on this machine by its name need not be allowed to all that goes out.
func (t *Tracing) Client(e *Egress) *http.Client {
	target := egress.Target{Timeout: 10 * time.Second}
	if t.CA != "" {
		target.Roots, _ = egress.Roots([]byte(t.CA))
	}
	own := *e
	if u, err := url.Parse(t.Endpoint); err == nil && egress.Local(u.Hostname()) {
		own.Allow = append(slices.Clone(e.Allow), "127.0.0.0/8", "::1")
	}
	return own.Guard().Client(target)
}

func (d *decoder) checkTracing(t *Tracing) {
	if t == nil {
		return
	}
	if err := egress.CheckURL(t.Endpoint); err != nil {
		d.failAt("tracing.endpoint", "endpoint: %s", err)
	} else if strings.Contains(t.Endpoint, "?") {
		d.failAt("tracing.endpoint", "endpoint %s: no query, /v1/traces comes after it; what the collector wants to know goes into headers", egress.Named(t.Endpoint))
	}
	if s := t.Share(); !(s >= 0 && s <= 1) {
		d.failAt("tracing.sample", "sample: %v: a share between 0 and 1", s)
	}
	if t.Callers != "" && !slices.Contains(callers, t.Callers) {
		d.failAt("tracing.callers", "callers %q: use %s", t.Callers, strings.Join(callers, ", "))
	}
	t.CA = d.readCA("tracing.caFile", t.CAFile)
}
