package revocation

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
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
	}
	c.scope.point = string(point)
	return c.readPointNames(point)
}

// readPointNames takes the URIs out of a DistributionPointName.
func (c *CRL) readPointNames(point cryptobyte.String) error {
	var names cryptobyte.String
	var full bool
	if !point.ReadOptionalASN1(&names, &full, asn1.Tag(0).ContextSpecific().Constructed()) {
		return errors.New("crl: malformed distribution point")
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag asn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return errors.New("crl: malformed distribution point")
		}
		if tag == asn1.Tag(6).ContextSpecific() {
			c.Points = append(c.Points, string(name))
		}
	}
	return nil
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
