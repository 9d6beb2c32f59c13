package pki

import (
	"bytes"
	"crypto/x509"
	"errors"

	"go.step.sm/crypto/pemutil"

	"github.com/sangate/sangate/pki/regularfile"
)

// maxFileBytes bounds one file that is read; [maxBundle] certificates fit.
const maxFileBytes = 16 << 20

// errTorn reports a file that is not whole PEM, as while it is being written.
var errTorn = errors.New("not whole certificates only: cut off, or with something else than certificates in it")

// readFile reads a regular file of bounded size, without a byte order mark.
func readFile(name string) ([]byte, error) {
	data, err := regularfile.Read(name, maxFileBytes)
	if err != nil {
		return nil, err
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil
}

// mixed says of a file that does not load that it holds key and certificate, or is
// of a kind that holds both; otherwise it returns err.
func mixed(data []byte, err error) error {
	switch {
	case bytes.Contains(data, []byte("PRIVATE KEY-----")) && bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-----")):
		return errors.New("it holds a private key and a certificate, too many for one of two files: `openssl x509 -in FILE` writes the certificate, `openssl pkey -in FILE` the key")
	case isPKCS12(data):
		return errors.New("it is PKCS #12, and two files of PEM are needed: `openssl pkcs12 -in FILE -nokeys` writes the certificates, `openssl pkcs12 -in FILE -nocerts` the key")
	}
	return err
}

// isPKCS12 looks for a SEQUENCE, of whatever length, that begins with version 3 (RFC
// 7292, 4).
func isPKCS12(data []byte) bool {
	if len(data) < 2 || data[0] != 0x30 {
		return false
	}
	head := 2
	if data[1] > 0x80 {
		head += int(data[1] & 0x7f)
	}
	return len(data) > head && bytes.HasPrefix(data[head:], []byte{2, 1, 3})
}

// readCertificates reads a file of PEM certificates, with comments between them
// or none, or of one DER certificate.
func readCertificates(name string) ([]*x509.Certificate, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, mixed(data, err)
	}
	return certs, nil
}

// parseCertificates takes all of data or nothing. Decoders of PEM skip over
// what they do not understand, so a file cut off while it was being written
// would read as a shorter chain or a smaller bundle.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	certs, err := pemutil.ParseCertificateBundle(data)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		return certs, nil // DER, which cannot be cut off and parse
	}
	begun, ended, whole := 0, 0, true
	for line := range bytes.Lines(data) {
		switch line = bytes.TrimSpace(line); {
		case string(line) == "-----BEGIN CERTIFICATE-----":
			begun++
		case string(line) == "-----END CERTIFICATE-----":
			ended++
		case bytes.HasPrefix(line, []byte("-----")):
			whole = false
		}
	}
	last := bytes.TrimSpace(data[bytes.LastIndexByte(bytes.TrimSpace(data), '\n')+1:])
	if bytes.HasPrefix(last, []byte("-")) && string(last) != "-----END CERTIFICATE-----" {
		whole = false
	}
	if !whole || begun != len(certs) || ended != len(certs) {
		return nil, errTorn
	}
	return certs, nil
}
