package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

// MaxChain bounds what a client sends, and a verified chain, leaf and root included.
const MaxChain = 6

// TLSOptions shape the server side of a handshake.
type TLSOptions struct {
	MinVersion     uint16           // tls.VersionTLS13 where zero
	SessionTickets bool             // every check runs on resumption all the same
	Curves         []tls.CurveID    // key exchanges to take; Go's choice, X25519MLKEM768 first, where empty
	Now            func() time.Time // time.Now where nil
}

func (o *TLSOptions) clock() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

// ServerConfig returns the TLS configuration for handshakes under this snapshot. It
// requires a client certificate and verifies it by the bundle and [CheckLeaf] in
// VerifyConnection, which crypto/tls calls on resumption too. crypto/tls does not
// verify the chain by itself: it may check a hundred signatures by keys of the
// client's choice, while [Snapshot.CheckSent] bounds ours. So it leaves
// ConnectionState.VerifiedChains empty and sends one alert, bad_certificate,
// whatever the reason; pki/tlsalert sends exact ones.
//
// A client's key is proved after VerifyConnection only, which may wait for an
// [Awaiter]. A server that strangers reach sets that of a [Handshake] for each
// connection instead.
func (s *Snapshot) ServerConfig(opts TLSOptions) *tls.Config {
	if opts.MinVersion == 0 {
		opts.MinVersion = tls.VersionTLS13
	}
	now := opts.clock()
	return &tls.Config{
		Certificates:           []tls.Certificate{*s.Certificate},
		ClientCAs:              s.Bundle.pool, // whose names the client is told
		ClientAuth:             tls.RequireAnyClientCert,
		MinVersion:             opts.MinVersion,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: !opts.SessionTickets,
		CurvePreferences:       opts.Curves,
		Time:                   opts.Now,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := s.verifyKnown(cs.PeerCertificates, now)
			return err
		},
	}
}

// vet looks at a chain whose signatures and dates were verified, but not at revocation.
func (s *Snapshot) vet(sent []*x509.Certificate, verified [][]*x509.Certificate) ([]*chain, error) {
	if err := CheckChain(sent, verified); err != nil {
		return nil, err
	}
	verified, err := s.strong(verified)
	if err != nil {
		return nil, err
	}
	id, _ := ParseIdentity(sent[0]) // names that are unusable are refused at the request
	chains := s.Bundle.usable(verified, id)
	if len(chains) == 0 {
		return nil, refuse(Untrusted, "the SPIFFE ID is of another trust domain than the root")
	}
	return chains, nil
}

// strong returns the chains without a weak key or signature, and refuses where
// there is none.
func (s *Snapshot) strong(verified [][]*x509.Certificate) (strong [][]*x509.Certificate, err error) {
	for _, chain := range verified {
		if bad := checkKeys(chain, s.WeakKeys); bad != nil {
			err = bad
			continue
		}
		strong = append(strong, chain)
	}
	if len(strong) > 0 {
		return strong, nil
	}
	return nil, err
}

// Verify verifies a chain, leaf first, that was not presented in a handshake of
// ours, as a handshake would, and returns who it stands for. That its key is
// theirs it does not say. The error is a [*RefusedError] with a reason of
// [HandshakeReasons].
func (s *Snapshot) Verify(sent []*x509.Certificate, now func() time.Time) (*Peer, error) {
	p, chains, err := s.verifyChain(sent, now)
	if err != nil {
		return nil, err
	}
	if err := s.checkRevoked(context.Background(), chains, p.Identity.SANs, now); err != nil {
		return nil, err
	}
	return p, nil
}

// verifyChain is Verify without revocation. It returns the chains that may count, too.
func (s *Snapshot) verifyChain(sent []*x509.Certificate, now func() time.Time) (*Peer, []*chain, error) {
	if len(sent) == 0 {
		return nil, nil, refuse(NoCertificate, "no certificate")
	}
	if err := s.CheckSent(sent); err != nil {
		return nil, nil, err
	}
	anchors, intermediates := s.Bundle.issuersOf(sent), x509.NewCertPool()
	for _, c := range anchors.vouched(sent) {
		intermediates.AddCert(c)
	}
	at := now()
	verified, err := sent[0].Verify(x509.VerifyOptions{Roots: anchors.pool(sent), Intermediates: intermediates, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, nil, refuse(verifyReason(err, at), Cut(err.Error(), maxNameText))
	}
	chains, err := s.vet(sent, verified)
	if err != nil {
		return nil, nil, err
	}
	return NewPeer(sent, s.Bundle, verified), chains, nil
}

// CheckChain bounds what the client sent and looks at the leaf. It returns a
// [*RefusedError].
func CheckChain(sent []*x509.Certificate, verified [][]*x509.Certificate) error {
	if len(sent) == 0 || len(verified) == 0 {
		return refuse(NoCertificate, "no verified client certificate")
	}
	if len(sent) > MaxChain || !slices.ContainsFunc(verified, func(c []*x509.Certificate) bool { return len(c) <= MaxChain }) {
		return refuse(BadCertificate, fmt.Sprintf("chain of more than %d certificates", MaxChain))
	}
	return CheckLeaf(sent[0])
}

// CheckLeaf refuses leaves that crypto/x509 would let pass: a CA certificate,
// one that may sign certificates, one without an explicit clientAuth usage, an
// X.509 v1 certificate, and one with more than [MaxSANs] names.
func CheckLeaf(leaf *x509.Certificate) error {
	switch {
	case leaf.Version != 3:
		return refuse(BadCertificate, fmt.Sprintf("X.509 v%d; v3 is required", leaf.Version))
	case leaf.IsCA:
		return refuse(WrongUsage, "a CA certificate cannot be a client's leaf")
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return refuse(WrongUsage, "the leaf may sign certificates or CRLs")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return refuse(WrongUsage, "the leaf has no extended key usage clientAuth")
	}
	if n := len(leaf.URIs) + len(leaf.DNSNames) + len(leaf.EmailAddresses) + len(leaf.IPAddresses); n > MaxSANs {
		return refuse(BadCertificate, fmt.Sprintf("%d names in the leaf, at most %d are read", n, MaxSANs))
	}
	return nil
}

// HandshakeReason says why a server-side handshake failed, from the error
// crypto/tls returned, at time now. crypto/tls has no typed error for a missing
// or unreadable client certificate: those are told by their text, and a test
// holds it.
func HandshakeReason(err error, now time.Time) Reason {
	if err == nil {
		return ""
	}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Reason
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return verifyReason(bad.Err, now)
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return Timeout
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "client didn't provide a certificate"):
		return NoCertificate
	case strings.Contains(text, "client certificate"), strings.Contains(text, "client sent certificate"):
		return BadCertificate // unreadable, unsupported key, or key not proven
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return Aborted // an alert: the client did not like what we showed
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, context.Canceled) {
		return Aborted
	}
	return Protocol
}

// verifyReason translates an error of x509.Certificate.Verify.
func verifyReason(err error, now time.Time) Reason {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok {
		return Untrusted
	}
	switch invalid.Reason {
	case x509.Expired:
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return NotYetValid
		}
		return Expired
	case x509.IncompatibleUsage:
		return WrongUsage
	case x509.NotAuthorizedToSign, x509.CANotAuthorizedForThisName, x509.TooManyIntermediates,
		x509.NameConstraintsWithoutSANs, x509.UnconstrainedName:
		return Untrusted
	}
	return BadCertificate
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
