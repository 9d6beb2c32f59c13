package revocation

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var extensionsTag = asn1.Tag(0).ContextSpecific().Constructed()

// ParseCRL reads a list in DER, or in PEM alone in its file, and verifies it
// under the issuer of its name and key identifier. At now it must have begun
// (five minutes of skew are let pass). One that is past its next update is
// returned together with an error that is [ErrStale].
func ParseCRL(data []byte, issuers []*x509.Certificate, now time.Time) (*CRL, error) {
	c, err := parseKept(data, issuers, now)
	if c != nil && c.ThisUpdate.After(now.Add(clockSkew)) {
		return nil, fmt.Errorf("crl: begins at %s, which is in the future: look at the clocks", stamp(c.ThisUpdate))
	}
	return c, err
}

// parseKept is [ParseCRL] for a list that had begun when it was kept: a clock that is
// behind at a start must not have it forgotten.
func parseKept(data []byte, issuers []*x509.Certificate, now time.Time) (*CRL, error) {
	der, err := derOf(data)
	if err != nil {
		return nil, err
	}
	raw, err := split(der)
	if err != nil {
		return nil, err
	}
	head, err := x509.ParseRevocationList(raw.head)
	if err != nil {
		return nil, fmt.Errorf("crl: %w", err)
	}
	c := &CRL{ThisUpdate: head.ThisUpdate, NextUpdate: head.NextUpdate}
	if c.Issuer, err = verify(head, raw.tbs, issuers); err != nil {
		return nil, err
	}
	if err := c.readExtensions(head); err != nil {
		return nil, err
	}
	c.id = listKey{issuerKeyOf(c.Issuer), c.scope.hash()}
	// A list named after the CA is of a point that each of its certificates has (RFC 5280, 6.3.3, last paragraph).
	own := directoryForm(c.Issuer.RawSubject)
	c.wide = c.scope.point == "" || slices.ContainsFunc(c.names, func(n pointName) bool { return n.form == own })
	switch {
	case c.NextUpdate.IsZero():
		return nil, errors.New("crl: no nextUpdate: nobody can tell when the list ends")
	case c.NextUpdate.Before(c.ThisUpdate):
		return nil, fmt.Errorf("crl: ends at %s, before it begins at %s", stamp(c.NextUpdate), stamp(c.ThisUpdate))
	}
	if c.entries, err = readEntries(raw.revoked); err != nil {
		return nil, err
	}
	if now.After(c.NextUpdate) {
		return c, fmt.Errorf("crl of %q ended at %s: %w", c.Issuer.Subject, stamp(c.NextUpdate), ErrStale)
	}
	return c, nil
}

// derOf takes a whole file: one list, and nothing after it.
func derOf(data []byte) ([]byte, error) {
	if len(data) > MaxCRLBytes {
		return nil, fmt.Errorf("crl: larger than %d bytes", MaxCRLBytes)
	}
	if len(data) > 0 && data[0] == byte(asn1.SEQUENCE) {
		return data, nil
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("crl: neither DER nor whole PEM")
	case block.Type != "X509 CRL":
		return nil, fmt.Errorf("crl: PEM of type %q, not X509 CRL", block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("crl: something follows the list; give one list a file")
	}
	return block.Bytes, nil
}

// A rawCRL is a list taken apart: crypto/x509 would make several objects of each
// entry, so it gets to see the list without them.
type rawCRL struct {
	tbs     []byte            // what is signed
	revoked cryptobyte.String // the entries
	head    []byte            // the list without entries
}

func split(der []byte) (raw rawCRL, err error) {
	errMalformed := errors.New("crl: malformed or cut off")
	in := cryptobyte.String(der)
	var list, signed, tbs, begin cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) || !in.Empty() || !list.ReadASN1Element(&signed, asn1.SEQUENCE) {
		return raw, errMalformed
	}
	raw.tbs = signed
	ending := list // algorithm and signature
	if !ending.SkipASN1(asn1.SEQUENCE) || !ending.SkipASN1(asn1.BIT_STRING) || !ending.Empty() {
		return raw, errMalformed
	}
	if !signed.ReadASN1(&tbs, asn1.SEQUENCE) {
		return raw, errMalformed
	}
	whole := tbs
	// version, signature, issuer, thisUpdate, nextUpdate
	if !tbs.SkipASN1(asn1.INTEGER) || !tbs.SkipASN1(asn1.SEQUENCE) || !tbs.SkipASN1(asn1.SEQUENCE) ||
		!skipTime(&tbs) || (peekTime(tbs) && !skipTime(&tbs)) {
		return raw, errMalformed
	}
	begin = whole[:len(whole)-len(tbs)]
	if tbs.PeekASN1Tag(asn1.SEQUENCE) && !tbs.ReadASN1(&raw.revoked, asn1.SEQUENCE) {
		return raw, errMalformed
	}
	end := tbs
	if !tbs.SkipOptionalASN1(extensionsTag) || !tbs.Empty() {
		return raw, errMalformed
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(begin)
			b.AddBytes(end)
		})
		b.AddBytes(list)
	})
	raw.head, err = b.Bytes()
	return raw, err
}

func peekTime(s cryptobyte.String) bool {
	return s.PeekASN1Tag(asn1.UTCTime) || s.PeekASN1Tag(asn1.GeneralizedTime)
}

func skipTime(s *cryptobyte.String) bool {
	var value cryptobyte.String
	var tag asn1.Tag
	return peekTime(*s) && s.ReadAnyASN1(&value, &tag)
}

// verify returns the issuer that signed the list.
func verify(head *x509.RevocationList, tbs []byte, issuers []*x509.Certificate) (*x509.Certificate, error) {
	switch head.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		return nil, fmt.Errorf("crl of %q: signed with %s, which proves nothing", head.Issuer, head.SignatureAlgorithm)
	}
	head.RawTBSRevocationList = tbs
	named := 0
	var last error
	for _, ca := range issuers {
		if !bytes.Equal(ca.RawSubject, head.RawIssuer) {
			continue
		}
		named++
		if len(head.AuthorityKeyId) > 0 && len(ca.SubjectKeyId) > 0 && !bytes.Equal(head.AuthorityKeyId, ca.SubjectKeyId) {
			last = fmt.Errorf("signed by key %x, not %x", head.AuthorityKeyId, ca.SubjectKeyId)
			continue
		}
		if last = head.CheckSignatureFrom(ca); last == nil {
			return ca, nil
		}
	}
	if named == 0 {
		return nil, fmt.Errorf("crl of %q: %w: no CA certificate of that name; add it to the client CAs", head.Issuer, ErrIssuer)
	}
	return nil, fmt.Errorf("crl of %q: %w: %w", head.Issuer, ErrIssuer, last)
}

// maxNumber bounds a CRL number, in bits (RFC 5280, 5.2.3).
const maxNumber = 160

func (c *CRL) readExtensions(head *x509.RevocationList) error {
	seen := make(map[string]bool, len(head.Extensions))
	for _, ext := range head.Extensions {
		id := ext.Id.String()
		if seen[id] {
			return fmt.Errorf("crl: extension %s twice", id)
		}
		seen[id] = true
		switch id {
		case "2.5.29.35": // authorityKeyIdentifier, read by crypto/x509
		case "2.5.29.20": // cRLNumber, too
			if head.Number == nil || head.Number.Sign() < 0 || head.Number.BitLen() > maxNumber {
				return errors.New("crl: its number is negative or longer than 20 bytes")
			}
			c.Number = new(big.Int).Set(head.Number)
		case "2.5.29.27":
			return fmt.Errorf("crl: %w: a delta list holds only the changes; name the full list", ErrUnsupported)
		case "2.5.29.28":
			if err := c.readPoint(ext.Value); err != nil {
				return err
			}
		default:
			if ext.Critical {
				return fmt.Errorf("crl: %w: critical extension %s", ErrUnsupported, id)
			}
		}
	}
	return nil
}
