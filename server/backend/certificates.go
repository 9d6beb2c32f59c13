package backend

import (
	"crypto/x509"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/config"
)

// Certificates returns the leaves that are shown to servers behind the gate and come
// from files of their own, by the name of the upstream, or "credentials.remote". The
// files are read; one that cannot be is left out, and its handshakes tell.
func (b *Backend) Certificates() map[string]*x509.Certificate {
	out := make(map[string]*x509.Certificate)
	add := func(name string, c *config.ClientCertificate) {
		if c == nil || c.Gate {
			return
		}
		if chain, err := (pki.Files{Cert: string(c.Cert)}).LoadChain(); err == nil {
			out[name] = chain[0]
		}
	}
	conf := b.cur.Load().conf
	for i := range conf.MCPServers {
		if m := &conf.MCPServers[i]; m.Enabled {
			add(m.Name, m.ClientCertificate)
		}
	}
	if conf.Credentials != nil && conf.Credentials.Remote != nil {
		add("credentials.remote", conf.Credentials.Remote.ClientCertificate)
	}
	return out
}
