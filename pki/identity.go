package pki

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSANs bounds the Subject Alternative Names of a client leaf.
const MaxSANs = 64

// maxSANBytes bounds one name; RFC 1035 and SPIFFE ID (2048 bytes) both fit.
const maxSANBytes = 2048

// A SANType is the kind of a Subject Alternative Name (RFC 5280, 4.2.1.6).
// Kinds not listed (otherName, directoryName, …) are not names to sangate.
type SANType uint8

// The kinds of names that can be mapped to a tenant.
const (
	URI SANType = iota + 1
	DNS
	Email
	IP
)

var sanTypeNames = [...]string{URI: "uri", DNS: "dns", Email: "email", IP: "ip"}

// String returns the prefix the type has in a SAN rule: uri, dns, email, ip.
func (t SANType) String() string {
	if t < URI || t > IP {
		return "unknown"
	}
	return sanTypeNames[t]
}

// A SAN is one name, in the form it is compared in: a URI byte for byte as it
// stands in the certificate, a DNS name and the domain of an e-mail address in
// lower case, an IP address in [netip.Addr] form.
type SAN struct {
	Type  SANType
	Value string
	Addr  netip.Addr // of an IP name
}

// String returns the name as it would stand in a rule, "uri:spiffe://…".
func (s SAN) String() string { return s.Type.String() + ":" + s.Value }

// An Identity is what a client leaf says of its holder.
type Identity struct {
	SANs        []SAN
	SPIFFEID    string   // the one URI of scheme spiffe, if any
	Serial      string   // hexadecimal, lower case, without a leading zero byte
	Fingerprint [32]byte // SHA-256 of the certificate's DER

	keys []string // SANs as text, so that requests need not format them
}

// Name returns a name for display if it is not known which SAN maps the certificate:
// the SPIFFE ID, else the first SAN in the order of the certificate. Certificates of
// different holders can share it, so nothing may be keyed by it.
func (id *Identity) Name() string {
	if id.SPIFFEID != "" {
		return id.SPIFFEID
	}
	if len(id.SANs) == 0 {
		return ""
	}
	return id.SANs[0].Value
}

// Key returns SANs[i] with its type, as [SAN.String] does. It does not allocate for
// identities made by [ParseIdentity].
func (id *Identity) Key(i int) string {
	if id.keys == nil {
		return id.SANs[i].String()
	}
	return id.keys[i]
}

// Before reports whether SANs[i] is preferred to SANs[j] as the name of the holder:
// the SPIFFE ID first, then by type and by value. The order of the names in the
// certificate does not matter, so a renewed certificate has the same name.
func (id *Identity) Before(i, j int) bool {
	a, b := &id.SANs[i], &id.SANs[j]
	if spiffe := a.Type == URI && a.Value == id.SPIFFEID; spiffe != (b.Type == URI && b.Value == id.SPIFFEID) {
		return spiffe
	}
	return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Value, b.Value)) < 0
}

// ParseIdentity reads the names of a leaf under strict rules. It returns a
// [*RefusedError] with [SANMissing] or [SANInvalid]. The Identity is never nil:
// serial and fingerprint are there for the log even where the names are not.
func ParseIdentity(leaf *x509.Certificate) (*Identity, error) {
	id := &Identity{
		Serial:      hex.EncodeToString(leaf.SerialNumber.Bytes()),
		Fingerprint: sha256.Sum256(leaf.Raw),
	}
	sans, err := parseSANs(leaf)
	if err != nil {
		return id, err
	}
	if len(sans) == 0 {
		return id, refuse(SANMissing, "the certificate has no URI, DNS, e-mail or IP name")
	}
	spiffeID := ""
	for _, san := range sans {
		if san.Type != URI || !strings.HasPrefix(san.Value, spiffeScheme) {
			continue
		}
		if spiffeID != "" {
			return id, refuse(SANInvalid, "more than one SPIFFE ID")
		}
		spiffeID = san.Value
	}
	id.SANs, id.SPIFFEID, id.keys = sans, spiffeID, make([]string, len(sans))
	for i := range sans {
		id.keys[i] = sans[i].String()
	}
	return id, nil
}

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// parseSANs walks the extension itself, because x509.Certificate keeps URIs
// parsed and decoded, and rules are compared with the bytes as they stand.
func parseSANs(leaf *x509.Certificate) ([]SAN, error) {
	var sans []SAN
	for _, ext := range leaf.Extensions {
		if !ext.Id.Equal(oidSAN) {
			continue
		}
		der := cryptobyte.String(ext.Value)
		var seq cryptobyte.String
		if !der.ReadASN1(&seq, cbasn1.SEQUENCE) || !der.Empty() {
			return nil, refuse(SANInvalid, "subjectAltName is not a sequence")
		}
		for n := 0; !seq.Empty(); n++ {
			var value cryptobyte.String
			var tag cbasn1.Tag
			if n == MaxSANs {
				return nil, refuse(SANInvalid, fmt.Sprintf("more than %d names", MaxSANs))
			}
			if !seq.ReadAnyASN1(&value, &tag) {
				return nil, refuse(SANInvalid, "subjectAltName is cut off")
			}
			san, err := parseSAN(tag, value)
			if err != nil {
				return nil, err
			}
			if san.Type != 0 {
				sans = append(sans, san)
			}
		}
	}
	return sans, nil
}

// parseSAN reads one GeneralName by its context tag (RFC 5280, 4.2.1.6).
func parseSAN(tag cbasn1.Tag, value []byte) (SAN, error) {
	if len(value) > maxSANBytes {
		return SAN{}, refuse(SANInvalid, fmt.Sprintf("a name of %d bytes", len(value)))
	}
	var err error
	san := SAN{Value: string(value)}
	switch tag {
	case cbasn1.Tag(1).ContextSpecific():
		san.Type = Email
		san.Value, err = strictEmail(san.Value)
	case cbasn1.Tag(2).ContextSpecific():
		san.Type = DNS
		san.Value, err = strictDNS(san.Value)
	case cbasn1.Tag(6).ContextSpecific():
		san.Type = URI
		err = strictURI(san.Value)
	case cbasn1.Tag(7).ContextSpecific():
		addr, ok := netip.AddrFromSlice(value)
		if !ok {
			return SAN{}, refuse(SANInvalid, fmt.Sprintf("an IP address of %d bytes", len(value)))
		}
		san = SAN{Type: IP, Addr: addr.Unmap()}
		san.Value = san.Addr.String()
	default:
		return SAN{}, nil
	}
	if err != nil {
		return SAN{}, err
	}
	return san, nil
}
