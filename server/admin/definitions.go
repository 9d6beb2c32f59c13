package admin

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A Definition says what a metric is: its name, its type in Prometheus' words
// (counter, gauge, histogram), its labels and what it tells.
type Definition struct {
	Name, Type, Help string
	Labels           []string
}

// definitions makes metrics and remembers what they are.
type definitions struct {
	factory promauto.Factory
	all     []Definition
}

// Definitions returns what the gate tells, by name, but for what the collectors of
// the Go runtime and of the process tell.
func (m *Metrics) Definitions() []Definition {
	return slices.SortedFunc(slices.Values(m.defined.all), func(a, b Definition) int {
		return cmp.Compare(a.Name, b.Name)
	})
}

func (d *definitions) note(kind, name, help string, labels []string) {
	d.all = append(d.all, Definition{Name: name, Type: kind, Help: help, Labels: labels})
}

func (d *definitions) counter(name, help string, labels ...string) *prometheus.CounterVec {
	d.note("counter", name, help, labels)
	return d.factory.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func (d *definitions) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	d.note("gauge", name, help, labels)
	return d.factory.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// function is a gauge that asks for its value.
func (d *definitions) function(name, help string, value func() float64) {
	d.note("gauge", name, help, nil)
	d.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

// histogram is one with buckets for those who scrape text, and a native one.
func (d *definitions) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	d.note("histogram", name, help, labels)
	return d.factory.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		NativeHistogramMinResetDuration: time.Hour}, labels)
}
