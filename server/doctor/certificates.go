package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/pki"
)

// Findings on certificates, beside the gate's own reasons.
const (
	Clock               = "clock"
	ServerUntrusted     = "server_untrusted"
	ServerChain         = "server_chain"
	ServerExpired       = "server_expired"
	ServerNotYetValid   = "server_not_yet_valid"
	ServerName          = "server_name"
	ServerUsage         = "server_usage"
	ClientFiles         = "client_files"
	KeyMismatch         = "key_mismatch"
	MissingIntermediate = "missing_intermediate"

	protocol = pki.Protocol
)

// clock compares ours with the server's, who has not proven anything yet: a clock
// that is off makes good certificates look bad.
func (e *examination) clock(context.Context) string {
	switch m := e.met; {
	case !m.dated:
		e.tell("the server told no time")
	case m.skew.Abs() > maxSkew:
		side := "behind"
		if m.skew > 0 {
			side = "ahead of"
		}
		e.tell("the server's clock is %s %s this machine's", m.skew.Abs().Round(time.Second), side)
		return Clock
	default:
		e.tell("the server's and this machine's differ by less than %s", maxSkew)
	}
	return ""
}

func (e *examination) serverCertificate(context.Context) string {
	sent := e.met.state.PeerCertificates
	if len(sent) == 0 {
		return ServerUntrusted
	}
	leaf := sent[0]
	e.tell("%s", described(leaf))
	err := e.verify(sent[1:])
	if err == nil {
		return ""
	}
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	_, named := errors.AsType[x509.HostnameError](err)
	switch {
	case named:
		e.tell("it is for %s, not for %s", strings.Join(names(leaf), ", "), e.host)
		return ServerName
	case invalid.Cert != nil && invalid.Reason == x509.Expired && e.Now().Before(invalid.Cert.NotBefore):
		e.tell("%s begins at %s", pki.NameText(invalid.Cert.Subject), date(invalid.Cert.NotBefore))
		return ServerNotYetValid
	case invalid.Cert != nil && invalid.Reason == x509.Expired && slices.ContainsFunc(e.anchors, invalid.Cert.Equal):
		e.tell("your --ca file holds an expired root, %s, which ended at %s: fetch it anew", pki.NameText(invalid.Cert.Subject), date(invalid.Cert.NotAfter))
		return ServerUntrusted
	case invalid.Cert != nil && invalid.Reason == x509.Expired:
		e.tell("%s ended at %s", pki.NameText(invalid.Cert.Subject), date(invalid.Cert.NotAfter))
		return ServerExpired
	case invalid.Reason == x509.IncompatibleUsage:
		return ServerUsage
	}
	if len(e.chain) > 1 && e.verify(append(slices.Clone(sent[1:]), e.chain[1:]...)) == nil {
		e.tell("the server sends %d certificates; with the intermediates of %s the chain is whole", len(sent), e.Files.Cert)
		return ServerChain
	}
	e.tell("the CA file has %s", subjects(e.anchors))
	for _, ca := range e.anchors {
		if last := sent[len(sent)-1]; bytes.Equal(ca.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(ca) != nil {
			e.tell("%s in it has another key than the one that signed %s", pki.NameText(ca.Subject), pki.NameText(last.Subject))
		}
	}
	return ServerUntrusted
}

// verify looks at the server's leaf; an invalid date or usage is told before a name.
func (e *examination) verify(intermediates []*x509.Certificate) error {
	opts := x509.VerifyOptions{Roots: e.roots, Intermediates: pool(intermediates), CurrentTime: e.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leaf := e.met.state.PeerCertificates[0]
	if _, err := leaf.Verify(opts); err != nil {
		return err
	}
	return leaf.VerifyHostname(e.host)
}

func described(c *x509.Certificate) string {
	subject := "no subject"
	if len(c.Subject.Names) > 0 {
		subject = pki.NameText(c.Subject)
	}
	return fmt.Sprintf("%s, issued by %s, %s to %s", subject, pki.NameText(c.Issuer), date(c.NotBefore), date(c.NotAfter))
}

func subjects(certs []*x509.Certificate) string {
	var out []string
	for _, c := range certs {
		out = append(out, pki.NameText(c.Subject))
	}
	return strings.Join(out, "; ")
}

// distinguished writes a name of a CA that was asked for.
func distinguished(der []byte) string {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &name); err != nil {
		return "an unreadable name"
	}
	return name.String()
}

func names(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	if len(out) == 0 {
		return []string{"no name"}
	}
	return out
}
