package admin

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sangate/sangate/pki"
)

// certificates is a collector of the dates of the certificates in force, read
// at each scrape, so that it can never tell of another snapshot.
type certificates struct {
	snapshot            func() *pki.Snapshot
	notBefore, notAfter *prometheus.Desc
}

// Certificates registers the dates of the snapshot in force.
func (m *Metrics) Certificates(snapshot func() *pki.Snapshot) {
	labels := []string{"role", "name"}
	m.Registry.MustRegister(&certificates{
		snapshot:  snapshot,
		notBefore: prometheus.NewDesc("sangate_certificate_not_before_timestamp_seconds", "Start of validity.", labels, nil),
		notAfter:  prometheus.NewDesc("sangate_certificate_not_after_timestamp_seconds", "End of validity.", labels, nil),
	})
}

func (c *certificates) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.notBefore
	ch <- c.notAfter
}

func (c *certificates) Collect(ch chan<- prometheus.Metric) {
	for role, cert := range Roles(c.snapshot()) {
		for desc, t := range map[*prometheus.Desc]int64{c.notBefore: cert.NotBefore.Unix(), c.notAfter: cert.NotAfter.Unix()} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(t), role, CertificateName(role, cert))
		}
	}
}

// Roles calls yield for each of the gate's certificates with its role: server
// or client_ca.
func Roles(s *pki.Snapshot) func(yield func(string, *x509.Certificate) bool) {
	return func(yield func(string, *x509.Certificate) bool) {
		if !yield("server", s.Certificate.Leaf) {
			return
		}
		for _, ca := range s.Bundle.Certificates() {
			if !yield("client_ca", ca) {
				return
			}
		}
	}
}

// CertificateName is a name an operator knows the certificate by. That of the
// server is fixed, so that its series goes on through renewals; two CAs of one
// subject are told apart by the start of their SHA-256.
func CertificateName(role string, c *x509.Certificate) string {
	if role == "server" {
		return "server"
	}
	sum := sha256.Sum256(c.Raw)
	return fmt.Sprintf("%s %x", c.Subject, sum[:4])
}
