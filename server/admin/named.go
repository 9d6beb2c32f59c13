package admin

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sangate/sangate/pki/revocation"
)

// names of the configuration that series exist for: the values of one label.
type names []string

// become takes from the vectors the series of names that are not among the next.
func (n *names) become(next []string, label string, vectors ...interface {
	DeletePartialMatch(prometheus.Labels) int
}) {
	for _, gone := range *n {
		if slices.Contains(next, gone) {
			continue
		}
		for _, v := range vectors {
			v.DeletePartialMatch(prometheus.Labels{label: gone})
		}
	}
	*n = next
}

// A Configured is what the configuration names and is counted by its name.
type Configured struct {
	Lists, Denylists, Issuers, Upstreams []string
}

// Configured has the series exist of what is named, and of nothing else, before
// anything is heard of it. One at a time.
func (m *Metrics) Configured(c Configured) {
	m.lists.become(c.Lists, "name", m.listUpdates)
	m.revokers.become(slices.Concat(c.Lists, c.Denylists), "name", m.revocations)
	m.issuers.become(c.Issuers, "issuer", m.keySets)
	m.upstreams.become(c.Upstreams, "server", m.upstreamUp, m.upstreamTime)
	m.exchanged.forget()
	for _, name := range m.lists {
		for _, o := range revocation.Outcomes() {
			m.listUpdates.WithLabelValues(name, string(o))
		}
	}
	for _, name := range m.revokers {
		m.revocations.WithLabelValues(name)
	}
	for _, name := range m.issuers {
		m.keySets.WithLabelValues(name, "ok")
		m.keySets.WithLabelValues(name, "error")
	}
	for _, name := range m.upstreams {
		m.upstreamUp.WithLabelValues(name)
		m.upstreamTime.WithLabelValues(name)
	}
}
