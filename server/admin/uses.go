package admin

import (
	"sync"
	"time"
)

// Names that stand for others in the labels of calls and uses.
const (
	unknownTool = "_unknown" // what is not there: its name is the peer's choice
	otherName   = "_other"   // what is beyond maxNames
)

// Bounds on the names of one kind that have series: an upstream may rename what it
// offers for ever. Those of one upstream leave room for those of others.
const (
	maxNames    = 2000 // of one upstream, and of what is no upstream's
	maxAllNames = 5 * maxNames
)

// A folder lets the first names of each upstream pass and puts one in the place of all
// others.
type folder struct {
	mu   sync.Mutex
	seen map[string]bool
	of   map[string]int // how many are first seen from each upstream
}

func (f *folder) fold(upstream, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.seen[name]:
		return name
	case f.of[upstream] >= maxNames, len(f.seen) >= maxAllNames:
		return otherName
	case f.seen == nil:
		f.seen, f.of = make(map[string]bool), make(map[string]int)
	}
	f.seen[name] = true
	f.of[upstream]++
	return name
}

// ToolCall counts a call of a tool that is there, of an upstream or "", by a request;
// result is from a closed set.
func (m *Metrics) ToolCall(upstream, tool, tenant, result string, took time.Duration, request string) {
	s, ok := m.called.find(callLabels{tool, tenant, result})
	if !ok {
		s = m.called.of(callLabels{m.tools.fold(upstream, tool), tenant, result})
	}
	s.calls.Inc()
	s.took.observe(took, request)
}

// UnknownTool counts a call of a tool that is not there.
func (m *Metrics) UnknownTool(tenant string) {
	m.toolCalls.WithLabelValues(unknownTool, tenant, "not_found").Inc()
}

// Used counts the use of a resource or prompt that is there, of an upstream or "", by a
// request; kind and result are from closed sets.
func (m *Metrics) Used(upstream, kind, name, tenant, result string, took time.Duration, request string) {
	s, ok := m.used.find(useLabels{kind, name, tenant, result})
	if !ok {
		s = m.used.of(useLabels{kind, m.others.fold(upstream, name), tenant, result})
	}
	s.calls.Inc()
	s.took.observe(took, request)
}

// Unused counts a message that asked for a use and led to none: what it names is not
// there, or it was not understood.
func (m *Metrics) Unused(kind, tenant string) {
	m.uses.WithLabelValues(kind, unknownTool, tenant, "not_found").Inc()
}
