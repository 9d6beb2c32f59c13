package admin

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sangate/sangate/pki/revocation"
)

// names of the configuration that series exist for: the values of one label. Safe for
// concurrent use.
type names struct {
	mu   sync.RWMutex
	list []string
	gone map[string]bool // were configured, and are not
}

// note runs count unless the name is one that the configuration no longer has: what
// began before that is heard of after it, and would bring its series back.
func (n *names) note(name string, count func()) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !n.gone[name] {
		count()
	}
}

// become takes from the vectors the series of names that are not among the next.
func (n *names) become(next []string, label string, vectors ...interface {
	DeletePartialMatch(prometheus.Labels) int
}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone == nil {
		n.gone = make(map[string]bool)
	}
	for _, name := range next {
		delete(n.gone, name)
	}
	for _, gone := range n.list {
		if slices.Contains(next, gone) {
			continue
		}
		n.gone[gone] = true
		for _, v := range vectors {
			v.DeletePartialMatch(prometheus.Labels{label: gone})
		}
	}
	n.list = next
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
	for _, name := range m.lists.list {
		for _, o := range revocation.Outcomes() {
			m.listUpdates.WithLabelValues(name, string(o))
		}
	}
	for _, name := range m.revokers.list {
		m.revocations.WithLabelValues(name)
	}
	for _, name := range m.issuers.list {
		m.keySets.WithLabelValues(name, "ok")
		m.keySets.WithLabelValues(name, "error")
	}
	for _, name := range m.upstreams.list {
		m.upstreamUp.WithLabelValues(name)
		m.upstreamTime.WithLabelValues(name)
	}
}
