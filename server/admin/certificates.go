package admin

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sangate/sangate/pki"
)

// A Certificate is one that operators have to look after: role is server, client_ca
// or upstream, and no two of a role have one name.
type Certificate struct {
	Role, Name string
	*x509.Certificate
}

// certificates is a collector of the dates of the certificates in force, read
// at each scrape, so that it can never tell of another snapshot.
type certificates struct {
	inForce             func() []Certificate
	notBefore, notAfter *prometheus.Desc
}

// Certificates registers the dates of the certificates in force.
func (m *Metrics) Certificates(inForce func() []Certificate) {
	describe := func(name, help string) *prometheus.Desc {
		labels := []string{"role", "name"}
		m.defined.note("gauge", name, help, labels)
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.Registry.MustRegister(&certificates{
		inForce:   inForce,
		notBefore: describe("sangate_certificate_not_before_timestamp_seconds", "Start of validity."),
		notAfter:  describe("sangate_certificate_not_after_timestamp_seconds", "End of validity."),
	})
}

func (c *certificates) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.notBefore
	ch <- c.notAfter
}

func (c *certificates) Collect(ch chan<- prometheus.Metric) {
	for _, cert := range c.inForce() {
		for desc, t := range map[*prometheus.Desc]int64{c.notBefore: cert.NotBefore.Unix(), c.notAfter: cert.NotAfter.Unix()} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(t), cert.Role, cert.Name)
		}
	}
}

// InForce returns the certificate and the client CAs of a snapshot. The name of the
// server's is fixed, so that its series goes on through renewals; two CAs of one
// subject are told apart by the start of their SHA-256.
func InForce(s *pki.Snapshot) []Certificate {
	out := []Certificate{{"server", "server", s.Certificate.Leaf}}
	for _, ca := range s.Bundle.Certificates() {
		sum := sha256.Sum256(ca.Raw)
		out = append(out, Certificate{"client_ca", fmt.Sprintf("%s %x", ca.Subject, sum[:4]), ca})
	}
	return out
}
