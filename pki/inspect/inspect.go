// Package inspect describes certificates to a person or an agent: what is in
// them, and what would keep the gate from letting them in.
//
// It looks at the certificates alone: no network, no trust bundle, no
// revocation. Input is bounded, every string in a [Report] is printable on one
// line, and nothing of a private key in the input is in it: that one was there
// is all it says.
package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"github.com/sangate/sangate/pki"
	"math/big"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of the input.
const (
	MaxBytes        = 1 << 20
	MaxCertificates = 32
)

// Errors of input that cannot be described.
var (
	ErrTooLarge      = fmt.Errorf("more than %d bytes of input", MaxBytes)
	ErrTooMany       = fmt.Errorf("more than %d certificates in the input", MaxCertificates)
	ErrNoCertificate = errors.New("no certificate in the input; it should hold a block that begins with -----BEGIN CERTIFICATE-----")
)

// A Report describes every certificate of an input, in its order.
type Report struct {
	Certificates []Certificate `json:"certificates"`
	Problems     []Problem     `json:"problems"` // of the input as a whole
}

// A Certificate is one certificate, described. Serial and fingerprints are
// hexadecimal, lower case; times are UTC.
type Certificate struct {
	Subject            string       `json:"subject"`
	Issuer             string       `json:"issuer"`
	Serial             string       `json:"serial"`
	SANs               SANs         `json:"sans"`
	NotBefore          time.Time    `json:"notBefore"`
	NotAfter           time.Time    `json:"notAfter"`
	Key                Key          `json:"key"`
	KeyUsages          []string     `json:"keyUsages"`
	ExtKeyUsages       []string     `json:"extKeyUsages"`
	IsCA               bool         `json:"isCA"`
	SignatureAlgorithm string       `json:"signatureAlgorithm"`
	Fingerprints       Fingerprints `json:"fingerprints"`
	Problems           []Problem    `json:"problems"`
}

// SANs are the Subject Alternative Names by type, byte for byte as they stand
// in the certificate but for bytes that do not print.
type SANs struct {
	URI     []string `json:"uri,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	Email   []string `json:"email,omitempty"`
	IP      []string `json:"ip,omitempty"`
	Other   int      `json:"other,omitempty"`   // names of kinds the gate does not read
	Omitted int      `json:"omitted,omitempty"` // names past the first 256
}

// A Key is a public key. Size is in bits.
type Key struct {
	Algorithm string `json:"algorithm"` // RSA, ECDSA, Ed25519, or as crypto/x509 names it
	Size      int    `json:"size,omitempty"`
	Curve     string `json:"curve,omitempty"` // of ECDSA: P-256, …
}

// Fingerprints are SHA-256 sums of the certificate and of its public key
// (SubjectPublicKeyInfo), as the denylist takes them.
type Fingerprints struct {
	SHA256     string `json:"sha256"`
	SPKISHA256 string `json:"spkiSha256"`
}

// PEM describes the certificates in data, PEM with anything between the blocks
// or one certificate in DER, as of now. An error is for input that holds none,
// is over a bound or cannot be read, and names the certificate by its place.
func PEM(ctx context.Context, data []byte, now time.Time) (Report, error) {
	report := Report{Certificates: []Certificate{}, Problems: []Problem{}}
	if len(data) > MaxBytes {
		return report, ErrTooLarge
	}
	certs, hasKey, err := read(ctx, data)
	if err != nil {
		return report, err
	}
	if hasKey {
		report.Problems = append(report.Problems, problem(PrivateKeyInInput))
	}
	for i, cert := range certs {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		var next *x509.Certificate
		if i+1 < len(certs) {
			next = certs[i+1]
		}
		c := describe(cert)
		c.Problems = problems(cert, next, i == 0, now)
		report.Certificates = append(report.Certificates, c)
	}
	return report, nil
}

// read returns the certificates and whether a private key is there too, whole
// or cut off.
func read(ctx context.Context, data []byte) (certs []*x509.Certificate, hasKey bool, err error) {
	hasKey = bytes.Contains(data, []byte("PRIVATE KEY-----"))
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		cert, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, hasKey, ErrNoCertificate
		}
		return []*x509.Certificate{cert}, hasKey, nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(certs) == MaxCertificates {
			return nil, hasKey, ErrTooMany
		}
		if err := ctx.Err(); err != nil {
			return nil, hasKey, err
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, hasKey, fmt.Errorf("certificate %d of the input is unreadable: %s", len(certs)+1, printable(err.Error()))
		}
		certs = append(certs, cert)
	}
	if begun := bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")); begun != len(certs) {
		return nil, hasKey, fmt.Errorf("certificate %d of the input is cut off or not base64: paste it whole, with its END line", len(certs)+1)
	}
	if len(certs) == 0 && !hasKey {
		return nil, false, ErrNoCertificate
	}
	return certs, hasKey, nil
}

func describe(cert *x509.Certificate) Certificate {
	whole, spki := sha256.Sum256(cert.Raw), sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return Certificate{
		Subject:            printable(pki.NameText(cert.Subject)),
		Issuer:             printable(pki.NameText(cert.Issuer)),
		Serial:             serial(cert.SerialNumber),
		SANs:               readSANs(cert),
		NotBefore:          cert.NotBefore.UTC(),
		NotAfter:           cert.NotAfter.UTC(),
		Key:                readKey(cert),
		KeyUsages:          keyUsages(cert.KeyUsage),
		ExtKeyUsages:       extKeyUsages(cert),
		IsCA:               cert.IsCA,
		SignatureAlgorithm: cert.SignatureAlgorithm.String(),
		Fingerprints:       Fingerprints{SHA256: hex.EncodeToString(whole[:]), SPKISHA256: hex.EncodeToString(spki[:])},
	}
}

// serial is written as [github.com/sangate/sangate/pki.Identity] has it.
func serial(n *big.Int) string { return hex.EncodeToString(n.Bytes()) }

// maxText bounds one string of a report, in bytes of its source.
const maxText = 2048

// printable returns s on one line: what does not print, and what turns the
// direction of writing, is written as an escape.
func printable(s string) string {
	cut := ""
	if len(s) > maxText {
		s, cut = s[:maxText], "…"
	}
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			fmt.Fprintf(&b, `\u{%x}`, c)
		}
	}
	return b.String() + cut
}
