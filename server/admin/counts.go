package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sangate/sangate/server/auth"
)

// Refused adds up, by reason, the handshakes and requests that were refused since the
// start, for a person.
func (m *Metrics) Refused() map[string]float64 {
	out := map[string]float64{}
	add := func(reason string, c prometheus.Metric) {
		if n := valueOf(c); n > 0 {
			out[reason] += n
		}
	}
	ch := make(chan prometheus.Metric, 64)
	go func() {
		m.handshakes.Collect(ch)
		close(ch)
	}()
	for c := range ch {
		if reason := labelOf(c, "result"); reason != "ok" {
			add(reason, c)
		}
	}
	m.decided.each(func(l decisionLabels, c prometheus.Counter) {
		if l.stage != string(auth.Passed) {
			add(l.reason, c)
		}
	})
	return out
}

// OfTenant adds up the requests of a tenant, as [TenantLabel] has it, since the start.
func (m *Metrics) OfTenant(label string) (passed, refused float64) {
	for stage, reason := range auth.Reasons {
		c, ok := m.decided.find(decisionLabels{string(stage), string(reason), label})
		switch {
		case !ok:
		case stage == auth.Passed:
			passed += valueOf(c)
		default:
			refused += valueOf(c)
		}
	}
	return passed, refused
}

func valueOf(c prometheus.Metric) float64 {
	var d dto.Metric
	if c.Write(&d) != nil {
		return 0
	}
	return d.Counter.GetValue()
}

func labelOf(c prometheus.Metric, name string) string {
	var d dto.Metric
	if c.Write(&d) != nil {
		return ""
	}
	for _, l := range d.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
