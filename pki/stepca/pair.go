package stepca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/pemutil"
)

// maxChain bounds the certificates below the root, the leaf included.
const maxChain = 10

// ErrMismatch reports a certificate and a key that do not belong together.
var ErrMismatch = errors.New("the certificate is for another key")

// A Pair is a leaf with its intermediates, and the leaf's private key. It is
// immutable, and its key is that of its leaf.
type Pair struct {
	chain []*x509.Certificate // leaf first, no root
	key   crypto.Signer
}

// NewPair makes a pair of a chain, leaf first, and the leaf's key. It returns
// [ErrMismatch].
func NewPair(chain []*x509.Certificate, key crypto.Signer) (*Pair, error) {
	switch {
	case len(chain) == 0:
		return nil, errors.New("no certificate")
	case len(chain) > maxChain:
		return nil, fmt.Errorf("%d certificates in the chain, at most %d are allowed", len(chain), maxChain)
	case key == nil:
		return nil, errors.New("no private key")
	case !keyutil.Equal(chain[0].PublicKey, key.Public()):
		return nil, ErrMismatch
	}
	return &Pair{chain: chain, key: key}, nil
}

// Leaf returns the certificate. Not to be changed.
func (p *Pair) Leaf() *x509.Certificate { return p.chain[0] }

// Chain returns the leaf and the intermediates, leaf first, without the root.
// Not to be changed.
func (p *Pair) Chain() []*x509.Certificate { return p.chain }

// Key returns the leaf's private key.
func (p *Pair) Key() crypto.Signer { return p.key }

// TLS returns the pair as crypto/tls takes it.
func (p *Pair) TLS() tls.Certificate {
	crt := tls.Certificate{PrivateKey: p.key, Leaf: p.chain[0]}
	for _, c := range p.chain {
		crt.Certificate = append(crt.Certificate, c.Raw)
	}
	return crt
}

// CertPEM returns leaf and intermediates, as step-ca's clients write them.
func (p *Pair) CertPEM() []byte {
	var b bytes.Buffer
	for _, c := range p.chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer does not fail
	}
	return b.Bytes()
}

// ErrHeldKey reports a key that is in a KMS and cannot be written to a file.
var ErrHeldKey = errors.New("the private key is held by a key management system and cannot be exported")

// Exportable tells whether the key is in this process's memory, as opposed to
// one that only signs (an HSM's, or of [OpenKey]).
func (p *Pair) Exportable() bool {
	switch p.key.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
		return true
	}
	return false
}

// KeyPEM returns the private key as unencrypted PKCS #8 (RFC 5208), or
// [ErrHeldKey].
func (p *Pair) KeyPEM() ([]byte, error) {
	if !p.Exportable() {
		return nil, fmt.Errorf("stepca: %w", ErrHeldKey)
	}
	block, err := pemutil.Serialize(p.key, pemutil.WithPKCS8(true))
	if err != nil {
		return nil, fmt.Errorf("stepca: private key: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}
