package pki

import (
	"crypto/x509"
	"slices"
)

// vouched returns those of the certificates behind the leaf that the anchors vouch for by
// their signatures: directly, or by others of them. crypto/x509 looks for a chain from the
// leaf upward, and so checks signatures by keys of which nobody knows whose they are. A
// stranger has it check slow ones at little cost. Downward, no key is used before
// an anchor has vouched for it.
//
// What is not between the leaf and the anchors by its names is not looked at. So nothing
// is checked that [Snapshot.CheckSent] has not counted.
func (is *issuers) vouched(sent []*x509.Certificate) (out []*x509.Certificate) {
	between := is.between(sent)
	left := slices.DeleteFunc(slices.Clone(between), func(c *x509.Certificate) bool {
		if is.bundle.Holds(c) || signedByAny(c, is.named(c.RawIssuer)) {
			out = append(out, c)
			return true
		}
		return false
	})
	for i := 0; i < len(out) && len(left) > 0; i++ {
		left = slices.DeleteFunc(left, func(c *x509.Certificate) bool {
			if signedByAny(c, out[i:i+1]) {
				out = append(out, c)
				return true
			}
			return false
		})
	}
	return out
}

// between returns the certificates behind the leaf that may be above it by their names.
func (is *issuers) between(sent []*x509.Certificate) (out []*x509.Certificate) {
	left := slices.Clone(sent[1:])
	for above := sent[:1]; len(above) > 0; {
		next := len(out)
		left = slices.DeleteFunc(left, func(c *x509.Certificate) bool {
			if is.leavesOut(c) {
				return true
			}
			if slices.ContainsFunc(above, func(below *x509.Certificate) bool {
				return string(below.RawIssuer) == string(c.RawSubject)
			}) {
				out = append(out, c)
				return true
			}
			return false
		})
		above = out[next:]
	}
	return out
}

func signedByAny(c *x509.Certificate, issuers []*x509.Certificate) bool {
	return slices.ContainsFunc(issuers, func(issuer *x509.Certificate) bool {
		return string(issuer.RawSubject) == string(c.RawIssuer) && c.CheckSignatureFrom(issuer) == nil
	})
}
