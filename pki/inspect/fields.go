package inspect

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxSANs bounds the names a report lists of one certificate.
const maxSANs = 256

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// readSANs walks the extension itself: x509.Certificate has URIs decoded and
// written anew, so the bytes that make a name invalid would not show.
func readSANs(cert *x509.Certificate) (sans SANs) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSAN) {
			continue
		}
		der := cryptobyte.String(ext.Value)
		var seq, value cryptobyte.String
		var tag cbasn1.Tag
		if !der.ReadASN1(&seq, cbasn1.SEQUENCE) {
			return sans
		}
		for n := 0; !seq.Empty() && seq.ReadAnyASN1(&value, &tag); n++ {
			if n >= maxSANs {
				sans.Omitted++
				continue
			}
			sans.add(tag, value)
		}
	}
	return sans
}

// add takes one GeneralName by its context tag (RFC 5280, 4.2.1.6).
func (s *SANs) add(tag cbasn1.Tag, value []byte) {
	text := printable(string(value))
	switch tag {
	case cbasn1.Tag(1).ContextSpecific():
		s.Email = append(s.Email, text)
	case cbasn1.Tag(2).ContextSpecific():
		s.DNS = append(s.DNS, text)
	case cbasn1.Tag(6).ContextSpecific():
		s.URI = append(s.URI, text)
	case cbasn1.Tag(7).ContextSpecific():
		if addr, ok := netip.AddrFromSlice(value); ok {
			text = addr.Unmap().String()
		}
		s.IP = append(s.IP, text)
	default:
		s.Other++
	}
}

func readKey(cert *x509.Certificate) Key {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return Key{Algorithm: "RSA", Size: key.N.BitLen()}
	case *ecdsa.PublicKey:
		params := key.Params()
		return Key{Algorithm: "ECDSA", Size: params.BitSize, Curve: params.Name}
	case ed25519.PublicKey:
		return Key{Algorithm: "Ed25519", Size: 256}
	}
	return Key{Algorithm: cert.PublicKeyAlgorithm.String()}
}

// keyUsageNames are in the order of the bits (RFC 5280, 4.2.1.3), from the
// lowest of x509.KeyUsage.
var keyUsageNames = [...]string{"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment",
	"keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"}

func keyUsages(usage x509.KeyUsage) []string {
	names := []string{}
	for i, name := range keyUsageNames {
		if usage&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// extKeyUsages names the usages (RFC 5280, 4.2.1.12), an unknown one by its OID.
func extKeyUsages(cert *x509.Certificate) []string {
	names := []string{}
	for _, usage := range cert.ExtKeyUsage[:min(len(cert.ExtKeyUsage), maxSANs)] {
		names = append(names, usage.String())
	}
	for _, oid := range cert.UnknownExtKeyUsage[:min(len(cert.UnknownExtKeyUsage), maxSANs)] {
		if len(names) >= maxSANs {
			break
		}
		names = append(names, printable(oid.String()))
	}
	return names
}
