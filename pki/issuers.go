package pki

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// Bounds on the CPU time of the signatures that crypto/x509 may check, in the unit
// of [timeOf]. maxAnchorTime is for one pass over the anchors of one name, of which
// there may be two in maxTime, with an intermediate on P-521.
const (
	maxAnchorTime = 48
	maxTime       = 2*maxAnchorTime + 16
)

// A cost is that of checking signatures: by [costOf], which counts them, and by [timeOf].
type cost struct{ checks, time int }

func (c *cost) add(other cost)  { c.checks += other.checks; c.time += other.time }
func (c *cost) take(other cost) { c.checks -= other.checks; c.time -= other.time }
func (c *cost) spent() bool     { return c.checks < 0 || c.time < 0 }

// issuerCost is what one check of a signature by the issuer costs.
func issuerCost(issuer *x509.Certificate) cost { return cost{costOf(issuer), timeOf(issuer)} }

// timeOf is the CPU time of checking a signature by the issuer, in units of about a
// tenth of a millisecond. A check on P-521 takes some 35 times as long as one on P-256.
func timeOf(issuer *x509.Certificate) int {
	switch key := issuer.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch bits := key.Params().BitSize; {
		case bits > 384:
			return 16
		case bits != 256: // P-224 is slow, too
			return 4
		}
	case *rsa.PublicKey:
		n := (key.N.BitLen() + 2047) / 2048
		return max(1, n*n/2)
	}
	return 1
}

// namesakes are the anchors of one name, the newest first.
type namesakes struct {
	certs []*x509.Certificate
	cost  cost
}

func (n *namesakes) add(c *x509.Certificate) {
	n.certs = append(n.certs, c)
	n.cost.add(issuerCost(c))
}

// namesakesOf groups anchors by their subject.
func namesakesOf(certs []*x509.Certificate) map[string]*namesakes {
	named := make(map[string]*namesakes)
	for _, c := range certs {
		n := named[string(c.RawSubject)]
		if n == nil {
			n = new(namesakes)
			named[string(c.RawSubject)] = n
		}
		n.add(c)
	}
	for _, n := range named {
		slices.SortStableFunc(n.certs, func(a, b *x509.Certificate) int {
			return cmp.Or(b.NotBefore.Compare(a.NotBefore), b.NotAfter.Compare(a.NotAfter))
		})
	}
	return named
}

// untried tells of names with more anchors than are tried for a chain, some of them
// without a key identifier, by which the right ones would be found.
func (b *Bundle) untried() (out []string) {
	for _, n := range b.named {
		unmarked := 0
		for _, c := range n.certs {
			if len(c.SubjectKeyId) == 0 {
				unmarked++
			}
		}
		if n.cost.time > maxAnchorTime && unmarked > 0 {
			out = append(out, fmt.Sprintf("%d client CAs named %q, %d of them without a subject key identifier: only the newest are tried "+
				"for a client; remove the old ones", len(n.certs), NameText(n.certs[0].Subject), unmarked))
		}
	}
	slices.Sort(out)
	return out
}

// issuers are the anchors that the signatures of one chain are checked by. Of many
// anchors with one name they are a part, so that the checks are bounded: crypto/x509
// itself tries every anchor of the issuer's name, whatever key identifiers say.
type issuers struct {
	bundle *Bundle
	chosen map[string]*namesakes // by name; nil: all there are
	leaf   *x509.Certificate
}

// issuersOf chooses among the anchors for what a client sent. All of a name are in
// if checking them costs at most maxAnchorTime. Else those are in whose key
// identifier a certificate names, which are one or two after any number of
// rotations. For a certificate that names none of them, the newest are in, as many
// as the bound allows.
func (b *Bundle) issuersOf(sent []*x509.Certificate) *issuers {
	is := &issuers{bundle: b, leaf: sent[0]}
	for _, c := range sent {
		if n := b.named[string(c.RawIssuer)]; n != nil && n.cost.time > maxAnchorTime {
			if is.chosen == nil {
				is.chosen = make(map[string]*namesakes)
			}
			is.chosen[string(c.RawIssuer)] = new(namesakes)
		}
	}
	if is.chosen == nil {
		return is
	}
	var unnamed []*x509.Certificate
	for _, c := range sent {
		all, chosen := b.named[string(c.RawIssuer)], is.chosen[string(c.RawIssuer)]
		if chosen == nil || b.Holds(c) { // an anchor needs no issuer
			continue
		}
		found := len(c.AuthorityKeyId) > 0 && chosen.takeFrom(all, func(anchor *x509.Certificate) bool {
			return bytes.Equal(anchor.SubjectKeyId, c.AuthorityKeyId)
		})
		selfSigned := bytes.Equal(c.RawSubject, c.RawIssuer) && len(c.AuthorityKeyId) == 0
		if !found && !selfSigned {
			unnamed = append(unnamed, c)
		}
	}
	for _, c := range unnamed {
		chosen := is.chosen[string(c.RawIssuer)]
		all := b.named[string(c.RawIssuer)]
		// As crypto/x509 orders them: where one of the two has no key identifier it may fit.
		chosen.takeFrom(all, func(anchor *x509.Certificate) bool {
			return len(anchor.SubjectKeyId) == 0 || len(c.AuthorityKeyId) == 0
		})
		chosen.takeFrom(all, func(*x509.Certificate) bool { return true })
	}
	return is
}

// takeFrom adds those of all that fit while the bound allows it, and reports whether
// any fits.
func (n *namesakes) takeFrom(all *namesakes, fits func(*x509.Certificate) bool) (found bool) {
	for _, c := range all.certs {
		if !fits(c) {
			continue
		}
		found = true
		if n.cost.time+timeOf(c) <= maxAnchorTime && !slices.Contains(n.certs, c) {
			n.add(c)
		}
	}
	return found
}

// of returns the anchors of the name that are tried; nil: there are none.
func (is *issuers) of(name []byte) *namesakes {
	if n, ok := is.chosen[string(name)]; ok {
		return n
	}
	return is.bundle.named[string(name)]
}

// named is of, the anchors alone.
func (is *issuers) named(name []byte) []*x509.Certificate {
	if n := is.of(name); n != nil {
		return n.certs
	}
	return nil
}

// cost returns what it costs to try each anchor of the name.
func (is *issuers) cost(name []byte) cost {
	if n := is.of(name); n != nil {
		return n.cost
	}
	return cost{}
}

// leavesOut reports whether c is not tried as an intermediate: it is an anchor, and
// not all of those are tried, so that the many roots that a client may send beside
// its chain cost nothing.
func (is *issuers) leavesOut(c *x509.Certificate) bool { return is.chosen != nil && is.bundle.Holds(c) }

// pool returns the roots for crypto/x509.
func (is *issuers) pool(sent []*x509.Certificate) *x509.CertPool {
	if is.chosen == nil {
		return is.bundle.pool
	}
	pool := x509.NewCertPool()
	if is.bundle.Holds(is.leaf) {
		pool.AddCert(is.leaf)
	}
	for _, c := range sent {
		for _, anchor := range is.named(c.RawIssuer) {
			pool.AddCert(anchor) // once each
		}
	}
	return pool
}
