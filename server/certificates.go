package server

import (
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/tool"
)

// inForce returns the certificates that somebody has to look after.
func (s *Server) inForce() []admin.Certificate {
	out := admin.InForce(s.gate.Snapshot().PKI)
	if d := s.admin.Door(); d != nil && d.Own != nil {
		out = append(out, admin.Certificate{Role: "admin", Name: "admin", Certificate: d.Own})
	}
	for name, leaf := range s.backend.Certificates() {
		out = append(out, admin.Certificate{Role: "upstream", Name: name, Certificate: leaf})
	}
	return out
}

// certificates is what the tool gate_certificates tells.
func (s *Server) certificates() []tool.GateCertificate {
	var out []tool.GateCertificate
	for _, c := range admin.InForce(s.gate.Snapshot().PKI) {
		g := tool.GateCertificate{Role: c.Role, Names: []string{pki.NameText(c.Subject)}, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
		if c.Role == "server" {
			id, err := pki.ParseIdentity(c.Certificate)
			for _, san := range id.SANs {
				if err == nil {
					g.Names = append(g.Names, san.Value)
				}
			}
			g.NextRenewal = s.nextRenewal()
		}
		out = append(out, g)
	}
	return out
}

// nextRenewal is when the server certificate is planned to be renewed; zero
// where that is others' doing.
func (s *Server) nextRenewal() time.Time {
	if next := s.pki.Next(); !next.IsZero() || s.opts.NextRenewal == nil {
		return next
	}
	return s.opts.NextRenewal().UTC()
}
