package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sangate/sangate/pki"
)

// took reports whether the gate was content with the certificate: then nothing that
// only looks wrong in the client's files is.
func (m *meeting) took() bool { return m.handshake == nil && m.status == http.StatusOK }

// clientCertificate looks at the client's files as the gate will, as far as that can
// be seen from here.
func (e *examination) clientCertificate(context.Context) string {
	switch {
	case e.Files.Cert == "":
		e.tell("none given")
		return string(pki.NoCertificate)
	case len(e.chain) == 0:
		e.tell("%v", e.ownErr)
		return ClientFiles
	}
	leaf := e.chain[0]
	e.tell("%s", described(leaf))
	if e.ownErr != nil {
		e.tell("%v", e.ownErr)
		if errors.Is(e.ownErr, pki.ErrKeyMismatch) {
			return KeyMismatch
		}
		return ClientFiles
	}
	if finding := e.dated(leaf); finding != "" {
		return finding
	}
	if err := pki.CheckLeaf(leaf); err != nil {
		e.tell("%v", err)
		return string(pki.ReasonOf(err, pki.BadCertificate))
	}
	if err := e.weak(); err != nil {
		e.tell("%v", err)
		if !e.met.took() {
			return string(pki.ReasonOf(err, pki.BadCertificate))
		}
		e.tell("and yet the gate takes it")
	}
	identity, err := pki.ParseIdentity(leaf)
	if err != nil {
		e.tell("%v", err)
		return string(pki.ReasonOf(err, pki.SANInvalid))
	}
	for _, san := range identity.SANs {
		e.tell("%s", san)
	}
	return e.issued()
}

// weak reports a weak key, signature or oversized part of what the client sends. The
// signature of a root is not looked at, as it proves nothing.
func (e *examination) weak() error {
	for i, c := range e.chain {
		err := pki.Admissible(c, nil)
		if i > 0 && bytes.Equal(c.RawIssuer, c.RawSubject) {
			err = pki.CheckKey(c, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dated tells that a certificate is over or not valid yet.
func (e *examination) dated(c *x509.Certificate) string {
	switch now := e.Now(); {
	case now.After(c.NotAfter):
		e.tell("%s ended at %s", pki.NameText(c.Subject), date(c.NotAfter))
		return string(pki.Expired)
	case now.Before(c.NotBefore):
		e.tell("%s begins at %s", pki.NameText(c.Subject), date(c.NotBefore))
		return string(pki.NotYetValid)
	}
	return ""
}

// issued looks at what stands behind the leaf. A file may hold more than one chain,
// as while a CA is replaced, and the gate takes the one that is good: what is wrong
// with others is told, and is a finding only where none is.
func (e *examination) issued() string {
	var valid []*x509.Certificate
	for _, c := range e.chain[1:] {
		if finding := e.dated(c); finding == "" {
			valid = append(valid, c)
		} else if e.late == "" {
			e.late = finding
		}
	}
	asked := len(e.met.acceptable) > 0
	reached, tops := e.climb(e.chain[:1], valid)
	e.tops = tops
	finding := ""
	switch all, stale := e.climb(e.chain[:1], e.chain[1:]); {
	case e.met.took() && (len(tops) > 0 || !asked):
	case len(e.chain) > pki.MaxChain:
		e.tell("%s holds %d certificates, and the gate reads %d at most", e.Files.Cert, len(e.chain), pki.MaxChain)
		finding = string(pki.BadCertificate)
	case len(tops) > 0:
		finding = e.constrained(reached, tops)
	case len(stale) > 0, !asked:
		finding = e.late
	default:
		finding = e.anchored(all)
	}
	if e.met.took() && finding != "" {
		e.tell("and yet the gate takes it")
		return ""
	}
	return finding
}

// constrained verifies the leaf below the highest of its issuers that the file has:
// what one of them forbids, the gate refuses.
func (e *examination) constrained(reached, tops []*x509.Certificate) string {
	if slices.Contains(tops, e.chain[0]) {
		return "" // what its issuer forbids is not seen from here
	}
	opts := x509.VerifyOptions{Roots: pool(tops), Intermediates: pool(reached), CurrentTime: e.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	_, err := e.chain[0].Verify(opts)
	if err == nil {
		return ""
	}
	e.tell("%v", err)
	return string(pki.HandshakeReason(&tls.CertificateVerificationError{Err: err}, e.Now()))
}

// anchored compares who issued the client's certificate with whom the gate asks
// for. Issuers that the client does not send are looked for where they might be
// seen: in what the server sends and in the CA file.
func (e *examination) anchored(reached []*x509.Certificate) string {
	seen := append(slices.Clone(e.met.state.PeerCertificates), e.anchors...)
	for _, top := range reached {
		if _, tops := e.climb([]*x509.Certificate{top}, seen); len(tops) > 0 {
			e.tell("%s has no certificate of %s, which issued %s", e.Files.Cert, pki.NameText(top.Issuer), pki.NameText(top.Subject))
			return MissingIntermediate
		}
	}
	top := reached[len(reached)-1]
	e.tell("the gate takes certificates of %s; %s is by %s", strings.Join(e.met.wanted(), "; "), pki.NameText(top.Subject), pki.NameText(top.Issuer))
	return string(pki.Untrusted)
}

// climb follows the issuers of certificates up through others, by each that fits,
// and returns those it came by; tops are the ones whose issuer the gate asks for.
func (e *examination) climb(from, through []*x509.Certificate) (reached, tops []*x509.Certificate) {
	reached = slices.Clone(from)
	for i := 0; i < len(reached); i++ {
		c := reached[i]
		if slices.ContainsFunc(e.met.acceptable, func(name []byte) bool { return bytes.Equal(name, c.RawIssuer) }) {
			tops = append(tops, c)
		}
		for _, ca := range through {
			if bytes.Equal(ca.RawSubject, c.RawIssuer) && !slices.Contains(reached, ca) && c.CheckSignatureFrom(ca) == nil {
				reached = append(reached, ca)
			}
		}
	}
	return reached, tops
}

// handshake tells what the gate said to the certificate.
func (e *examination) handshake(context.Context) string {
	err := e.met.handshake
	switch {
	case err == nil && e.met.status == 0:
		e.tell("nothing was said against the certificate")
		return ""
	case err == nil:
		e.tell("the gate took the certificate")
		return ""
	}
	e.tell("%s", reasonOf(err))
	switch alertOf(err) {
	case alertExpired:
		if e.late != "" {
			return e.late
		}
		e.tell("by this machine's clock nothing in %s is past its end", e.Files.Cert)
		return Clock
	case alertUnknownCA:
		for _, top := range e.tops {
			e.tell("the gate knows a CA of the name %s, with another key or with a constraint that the certificate breaks", pki.NameText(top.Issuer))
		}
		return string(pki.Untrusted)
	case alertRevoked:
		e.tell("nothing in %s is wrong by itself: it is revoked", e.Files.Cert)
		return string(pki.Revoked)
	case alertBad:
		e.tell("nothing in %s is wrong by itself, and the gate does not say more: it may not know whether the certificate is revoked (%s)",
			e.Files.Cert, pki.RevocationUnknown)
		return string(pki.BadCertificate)
	case alertRequired:
		return string(pki.NoCertificate)
	}
	return string(pki.BadCertificate)
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}
