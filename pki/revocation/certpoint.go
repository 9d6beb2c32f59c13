package revocation

import (
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// reasons are the reasons for which a certificate can be revoked, one bit each
// (RFC 5280, 4.2.1.13).
type reasons uint16

const allReasons reasons = 0x1fe // bits 1 to 8; bit 0 is unused

// maxCertNames bounds the names of the points of one certificate; more are left out.
const maxCertNames = 16

// oidPoints identifies cRLDistributionPoints.
var oidPoints = encoding.ObjectIdentifier{2, 5, 29, 31}

// A certPoint is a distribution point that a certificate names.
type certPoint struct {
	names   []pointName // nil: no list that is taken can be of this point
	reasons reasons
	other   bool // lists there are signed by another CA
}

// certPoints returns the distribution points of a certificate. What cannot be read is a
// point that no list is of.
func certPoints(cert *x509.Certificate) []certPoint {
	at := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidPoints) })
	if at < 0 {
		return nil
	}
	in := cryptobyte.String(cert.Extensions[at].Value)
	var list cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) || list.Empty() {
		return []certPoint{{}}
	}
	var points []certPoint
	for names := 0; !list.Empty() && names < maxCertNames && len(points) < maxCertNames; {
		var point cryptobyte.String
		if !list.ReadASN1(&point, asn1.SEQUENCE) {
			return append(points, certPoint{})
		}
		p := readCertPoint(point, cert.RawIssuer)
		p.names = p.names[:min(len(p.names), maxCertNames-names)]
		names += len(p.names)
		points = append(points, p)
	}
	return points
}

// readCertPoint reads one DistributionPoint (RFC 5280, 4.2.1.13).
func readCertPoint(in cryptobyte.String, issuer []byte) certPoint {
	var name, some, signer cryptobyte.String
	var named, limited, signed bool
	if !in.ReadOptionalASN1(&name, &named, asn1.Tag(0).ContextSpecific().Constructed()) ||
		!in.ReadOptionalASN1(&some, &limited, asn1.Tag(1).ContextSpecific()) ||
		!in.ReadOptionalASN1(&signer, &signed, asn1.Tag(2).ContextSpecific().Constructed()) || !in.Empty() {
		return certPoint{}
	}
	p := certPoint{reasons: allReasons}
	if limited {
		p.reasons = readReasons(some)
	}
	if signed && string(signer) != directoryForm(issuer) {
		p.other = true
		return p
	}
	switch {
	case named:
		p.names, _ = pointNames(name, issuer)
	case signed:
		p.names = []pointName{{form: string(signer)}}
	}
	return p
}

// readReasons reads the content of a BIT STRING of ReasonFlags.
func readReasons(bits cryptobyte.String) (r reasons) {
	if len(bits) < 2 {
		return 0
	}
	for i := 1; i <= 8 && i/8+1 < len(bits); i++ {
		if bits[i/8+1]&(0x80>>(i%8)) != 0 {
			r |= 1 << i
		}
	}
	return r
}

// shownPoints bounds what a refusal says of a certificate's points.
const (
	shownPoints    = 3
	maxShownLength = 200
)

// describe writes the points for the log, quoted.
func describe(b *strings.Builder, points []certPoint) {
	b.WriteString("; its points:")
	for i := range points[:min(len(points), shownPoints)] {
		p := &points[i]
		text := "one without an address"
		if at := slices.IndexFunc(p.names, func(n pointName) bool { return n.shown != "" }); at >= 0 {
			text = fmt.Sprintf("%.*q", maxShownLength, p.names[at].shown)
		}
		if p.other {
			text = "one of another CRL issuer"
		} else if p.reasons != allReasons && p.names != nil {
			text += " for some reasons"
		}
		b.WriteString(" " + text)
	}
	if more := len(points) - shownPoints; more > 0 {
		fmt.Fprintf(b, " and %d more", more)
	}
}
