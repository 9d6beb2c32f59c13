package admin

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/revocation"
)

// A Certificate is one that operators have to look after: role is server, client_ca
// or upstream, and no two of a role have one name.
type Certificate struct {
	Role, Name string
	*x509.Certificate
}

// Holdings tell what a gate has in force, by names of its configuration.
type Holdings struct {
	Certificates func() []Certificate
	Lists        func() iter.Seq2[string, *revocation.CRL] // nil: none is held yet
	KeySets      func() iter.Seq2[string, time.Time]       // of issuers: when they were last seen; zero: never
	Documents    func() iter.Seq2[string, bool]            // OpenAPI documents: whether the last import succeeded
	Rejected     func() []Rejected                         // of all upstreams
}

// A Rejected is how many entries of an upstream's offer are left out. Kind and Reason are
// of closed sets.
type Rejected struct {
	Upstream, Kind, Reason string
	N                      int
}

// holdings is a collector of what is in force, read at each scrape, so that it can
// never tell of another snapshot, or of what is no longer configured.
type holdings struct {
	Holdings
	notBefore, notAfter, listEnd, listEntries, keysSeen, rejected, documents *prometheus.Desc
}

// Holdings registers what is in force.
func (m *Metrics) Holdings(h Holdings) {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		m.defined.note("gauge", name, help, labels)
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.Registry.MustRegister(&holdings{
		Holdings:    h,
		notBefore:   describe("sangate_certificate_not_before_timestamp_seconds", "Start of validity.", "role", "name"),
		notAfter:    describe("sangate_certificate_not_after_timestamp_seconds", "End of validity.", "role", "name"),
		listEnd:     describe("sangate_crl_next_update_timestamp_seconds", "When the list that is held ends; 0: none is held yet.", "name"),
		listEntries: describe("sangate_crl_entries", "Certificates on the list that is held.", "name"),
		documents:   describe("sangate_openapi_document_up", "Whether the last import of an OpenAPI document succeeded: 1, or 0.", "name"),
		keysSeen:    describe("sangate_jwks_last_success_timestamp_seconds", "When the keys of a token issuer were last seen; 0: never.", "issuer"),
		rejected:    describe("sangate_upstream_items_rejected", "Tools, resources and prompts of an upstream's offer that are left out, by kind and reason.", "upstream", "kind", "reason"),
	})
}

func (h *holdings) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{h.notBefore, h.notAfter, h.listEnd, h.listEntries, h.keysSeen, h.rejected, h.documents} {
		ch <- d
	}
}

func (h *holdings) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, c := range h.Certificates() {
		gauge(h.notBefore, c.NotBefore.Unix(), c.Role, c.Name)
		gauge(h.notAfter, c.NotAfter.Unix(), c.Role, c.Name)
	}
	for name, list := range h.Lists() {
		var end, entries int64
		if list != nil {
			end, entries = list.NextUpdate.Unix(), int64(list.Len())
		}
		gauge(h.listEnd, end, name)
		gauge(h.listEntries, entries, name)
	}
	for issuer, seen := range h.KeySets() {
		var at int64
		if !seen.IsZero() {
			at = seen.Unix()
		}
		gauge(h.keysSeen, at, issuer)
	}
	for _, r := range h.Rejected() {
		gauge(h.rejected, int64(r.N), r.Upstream, r.Kind, r.Reason)
	}
	for name, ok := range h.Documents() {
		var up int64
		if ok {
			up = 1
		}
		gauge(h.documents, up, name)
	}
}

// InForce returns the certificate and the client CAs of a snapshot. The name of the
// server's is fixed, so that its series goes on through renewals; two CAs of one
// subject are told apart by the start of their SHA-256.
func InForce(s *pki.Snapshot) []Certificate {
	out := []Certificate{{"server", "server", s.Certificate.Leaf}}
	for _, ca := range s.Bundle.Certificates() {
		sum := sha256.Sum256(ca.Raw)
		out = append(out, Certificate{"client_ca", fmt.Sprintf("%s %x", pki.NameText(ca.Subject), sum[:4]), ca})
	}
	return out
}
