package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// backdated is how far before its issue step-ca dates a certificate, for clocks
// that are behind. It is no part of the life in which to renew.
const backdated = time.Minute

// Warnings tells what is not wrong enough to refuse the snapshot that was loaded
// from f, of which parts may be missing, and will trouble somebody soon. autocert, for one, leaves keys
// readable for all, so that is told and not refused.
func (f Files) Warnings(s *Snapshot, now time.Time) []string {
	var out []string
	if info, err := os.Stat(f.Key); err == nil && info.Mode().Perm()&0o077 != 0 {
		out = append(out, fmt.Sprintf("%s can be read by others (mode %#o); use 0600", f.Key, info.Mode().Perm()))
	}
	if s.Certificate != nil {
		out = append(out, f.ownWarnings(s.Certificate.Leaf, now)...)
	}
	if s.Bundle == nil {
		return out
	}
	for _, ca := range s.Bundle.Certificates() {
		if now.After(ca.NotAfter) {
			out = append(out, fmt.Sprintf("client CA %q expired at %s: nobody it signed gets in", NameText(ca.Subject), ca.NotAfter.UTC().Format(time.RFC3339)))
		}
		if refused, ok := errors.AsType[*RefusedError](CheckKey(ca, s.WeakKeys)); ok {
			out = append(out, fmt.Sprintf("client CA: %s: nobody it signed gets in; replace the CA, or see tls.weakClientKeys", refused.Detail))
		}
	}
	return append(out, s.Bundle.untried()...)
}

// ownWarnings are those of the gate's own certificate.
func (f Files) ownWarnings(leaf *x509.Certificate, now time.Time) (out []string) {
	switch life, left := leaf.NotAfter.Sub(leaf.NotBefore), leaf.NotAfter.Sub(now); {
	case left <= 0:
		out = append(out, fmt.Sprintf("%s expired at %s; clients will refuse it", f.Cert, leaf.NotAfter.UTC().Format(time.RFC3339)))
	case now.Before(leaf.NotBefore):
		out = append(out, fmt.Sprintf("%s is not valid before %s; clients will refuse it", f.Cert, leaf.NotBefore.UTC().Format(time.RFC3339)))
	case left < (life-backdated)/4:
		out = append(out, fmt.Sprintf("%s has %s left; it should have been renewed by now", f.Cert, left.Round(time.Second)))
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		out = append(out, fmt.Sprintf("%s has no extended key usage serverAuth; clients will refuse it", f.Cert))
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs) == 0 {
		out = append(out, fmt.Sprintf("%s has no name (SAN); clients will refuse it", f.Cert))
	}
	return out
}
