package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"github.com/sangate/sangate/pki"
	"time"
)

// Seen is what was seen, for programs: the steps tell it to people. What was not
// come to is left out.
type Seen struct {
	Addresses   []string      `json:"addresses,omitempty"`
	Remote      string        `json:"remote,omitempty"` // the address that answered
	TLS         *TLS          `json:"tls,omitempty"`
	ClockSkew   *float64      `json:"clockSkewSeconds,omitempty"` // how far the server's is ahead
	ServerChain []Certificate `json:"serverChain,omitempty"`      // as it was sent
	ClientChain []Certificate `json:"clientChain,omitempty"`      // as it is in the file
}

// TLS is what came of the first handshake.
type TLS struct {
	Version     string   `json:"version,omitempty"`
	CipherSuite string   `json:"cipherSuite,omitempty"`
	Group       string   `json:"group,omitempty"`   // of the key exchange
	AsksFor     []string `json:"asksFor,omitempty"` // the CAs of clients
}

// A Certificate is one of a chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Names     []string  `json:"names,omitempty"`
}

func (e *examination) seen() Seen {
	s := Seen{Remote: e.remote, ClientChain: certificates(e.chain)}
	for _, a := range e.addrs {
		s.Addresses = append(s.Addresses, a.String())
	}
	m := e.met
	if m == nil {
		return s
	}
	s.TLS = &TLS{AsksFor: m.wanted()}
	if state := m.state; state.Version != 0 {
		s.TLS.Version, s.TLS.CipherSuite, s.TLS.Group = tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), group(state)
	}
	if m.dated {
		s.ClockSkew = new(m.skew.Seconds())
	}
	s.ServerChain = certificates(m.state.PeerCertificates)
	return s
}

// group is "" where there is none: TLS 1.2 can do without.
func group(state tls.ConnectionState) string {
	if state.CurveID == 0 {
		return ""
	}
	return state.CurveID.String()
}

func certificates(chain []*x509.Certificate) (out []Certificate) {
	for _, c := range chain {
		seen := Certificate{Subject: pki.NameText(c.Subject), Issuer: pki.NameText(c.Issuer), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
		add := func(kind, name string) { seen.Names = append(seen.Names, kind+":"+name) }
		for _, name := range c.DNSNames {
			add("dns", name)
		}
		for _, ip := range c.IPAddresses {
			add("ip", ip.String())
		}
		for _, uri := range c.URIs {
			add("uri", uri.String())
		}
		for _, address := range c.EmailAddresses {
			add("email", address)
		}
		out = append(out, seen)
	}
	return out
}
