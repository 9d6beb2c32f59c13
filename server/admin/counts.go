package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Counts are the decisions and handshakes since the start, for a person.
type Counts struct {
	Refused map[string]float64 // by reason; those that there were
	Passed  map[string]float64 // by tenant, as TenantLabel has it
	No      map[string]float64 // refused requests, by tenant
}

// Counts adds up the counters.
func (m *Metrics) Counts() Counts {
	c := Counts{map[string]float64{}, map[string]float64{}, map[string]float64{}}
	each(m.handshakes, func(labels map[string]string, n float64) {
		if r := labels["result"]; r != "ok" {
			c.Refused[r] += n
		}
	})
	each(m.decisions, func(labels map[string]string, n float64) {
		switch reason, tenant := labels["reason"], labels["tenant"]; reason {
		case "ok":
			c.Passed[tenant] += n
		default:
			c.Refused[reason] += n
			c.No[tenant] += n
		}
	})
	return c
}

// each reads the counters of a vector that have counted anything.
func each(v *prometheus.CounterVec, f func(labels map[string]string, n float64)) {
	ch := make(chan prometheus.Metric, 64)
	go func() {
		v.Collect(ch)
		close(ch)
	}()
	for metric := range ch {
		var d dto.Metric
		if metric.Write(&d) != nil || d.Counter.GetValue() == 0 {
			continue
		}
		labels := make(map[string]string, len(d.Label))
		for _, l := range d.Label {
			labels[l.GetName()] = l.GetValue()
		}
		f(labels, d.Counter.GetValue())
	}
}
