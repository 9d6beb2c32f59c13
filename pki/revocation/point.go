package revocation

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxPointNames bounds the names of a list's distribution point.
const maxPointNames = 32

// Tags of a GeneralName (RFC 5280, 4.2.1.6).
var (
	uriTag       = asn1.Tag(6).ContextSpecific()
	directoryTag = asn1.Tag(4).ContextSpecific().Constructed()
)

// readPoint reads an issuingDistributionPoint (RFC 5280, 5.2.5).
func (c *CRL) readPoint(der []byte) error {
	errMalformed := errors.New("crl: malformed issuingDistributionPoint")
	in := cryptobyte.String(der)
	var idp, point, reasons cryptobyte.String
	var named bool
	if !in.ReadASN1(&idp, asn1.SEQUENCE) || !in.Empty() ||
		!idp.ReadOptionalASN1(&point, &named, asn1.Tag(0).ContextSpecific().Constructed()) {
		return errMalformed
	}
	var someReasons bool
	var indirect, attributes bool
	if !readFlag(&idp, 1, &c.scope.userOnly) || !readFlag(&idp, 2, &c.scope.authOnly) ||
		!idp.ReadOptionalASN1(&reasons, &someReasons, asn1.Tag(3).ContextSpecific()) ||
		!readFlag(&idp, 4, &indirect) || !readFlag(&idp, 5, &attributes) || !idp.Empty() {
		return errMalformed
	}
	switch {
	case indirect:
		return fmt.Errorf("crl: %w: an indirect list speaks of other issuers' certificates", ErrUnsupported)
	case someReasons:
		return fmt.Errorf("crl: %w: it holds revocations for some reasons only", ErrUnsupported)
	case attributes:
		return fmt.Errorf("crl: %w: it is about attribute certificates only", ErrUnsupported)
	case c.scope.userOnly && c.scope.authOnly:
		return errors.New("crl: both for user certificates only and for CA certificates only")
	case !named:
		return nil
	}
	c.scope.point = string(point)
	var ok bool
	if c.names, ok = pointNames(point, c.Issuer.RawSubject); !ok {
		return errors.New("crl: malformed distribution point")
	}
	if len(c.names) > maxPointNames {
		return fmt.Errorf("crl: %w: a distribution point with more than %d names", ErrUnsupported, maxPointNames)
	}
	for _, name := range c.names {
		if name.shown != "" {
			c.Points = append(c.Points, name.shown)
		}
	}
	return nil
}

// A pointName is one name of a distribution point.
type pointName struct {
	form  string // to be compared
	shown string // of a URI: as it was written
}

// pointNames returns the names of a DistributionPointName (RFC 5280, 4.2.1.13), of which
// there is at least one. A name relative to the CRL issuer, whose subject is given, is
// returned in full.
func pointNames(point cryptobyte.String, issuer []byte) (names []pointName, ok bool) {
	var list, rdn cryptobyte.String
	var full, relative bool
	if !point.ReadOptionalASN1(&list, &full, asn1.Tag(0).ContextSpecific().Constructed()) ||
		!point.ReadOptionalASN1(&rdn, &relative, asn1.Tag(1).ContextSpecific().Constructed()) ||
		!point.Empty() || full == relative {
		return nil, false
	}
	if relative {
		form, ok := relativeTo(issuer, rdn)
		return []pointName{{form: form}}, ok
	}
	for !list.Empty() {
		var name, value cryptobyte.String
		var tag asn1.Tag
		element := list
		if !list.ReadAnyASN1Element(&name, &tag) || !element.ReadAnyASN1(&value, &tag) {
			return nil, false
		}
		if tag == uriTag {
			names = append(names, pointName{form: uriForm(string(value)), shown: string(value)})
		} else {
			names = append(names, pointName{form: string(name)})
		}
	}
	return names, len(names) > 0
}

// relativeTo returns the GeneralName of the issuer's name with one RDN added.
func relativeTo(issuer []byte, rdn cryptobyte.String) (form string, ok bool) {
	in := cryptobyte.String(issuer)
	var rdns cryptobyte.String
	if !in.ReadASN1(&rdns, asn1.SEQUENCE) || rdn.Empty() {
		return "", false
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(rdns)
		b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(rdn) })
	})
	name, err := b.Bytes()
	return directoryForm(name), err == nil
}

// directoryForm returns the GeneralName of a distinguished name in DER.
func directoryForm(name []byte) string {
	var b cryptobyte.Builder
	b.AddASN1(directoryTag, func(b *cryptobyte.Builder) { b.AddBytes(name) })
	return string(b.BytesOrPanic()) // lengths only: it cannot fail
}

// defaultPorts are left out when addresses are compared.
var defaultPorts = map[string]string{"http": ":80", "https": ":443", "ldap": ":389", "ldaps": ":636"}

// uriForm returns a URI for comparison (RFC 5280, 7.4): scheme and host in lower case,
// without the scheme's own port and with a path; the rest as it is.
func uriForm(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		return address
	}
	scheme = strings.ToLower(scheme)
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, host := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, host = authority[:i+1], authority[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), defaultPorts[scheme]), ":")
	if tail == "" || tail[0] != '/' {
		tail = "/" + tail
	}
	return scheme + "://" + user + host + tail
}

// readFlag reads an optional, implicitly tagged BOOLEAN.
func readFlag(s *cryptobyte.String, tag uint8, flag *bool) bool {
	var value cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&value, &present, asn1.Tag(tag).ContextSpecific()) {
		return false
	}
	if !present {
		return true
	}
	*flag = len(value) == 1 && value[0] == 0xff
	return *flag || len(value) == 1 && value[0] == 0
}
