package admin

// A span is counted when it is known what became of it.
func (m *Metrics) defineTraces(results []string) {
	m.spans = m.defined.counter("sangate_trace_spans_total", "Spans of traces, by what became of them.", "result")
	for _, result := range results {
		m.spans.WithLabelValues(result)
	}
}

// Spans counts what became of spans; result is from a closed set.
func (m *Metrics) Spans(result string, n int) { m.spans.WithLabelValues(result).Add(float64(n)) }
