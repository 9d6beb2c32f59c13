package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/pemutil"
)

// A Snapshot is everything X.509 that one decision reads. It is immutable: a
// change is a new Snapshot.
type Snapshot struct {
	Certificate *tls.Certificate // the gate's own; Leaf is set
	Bundle      *Bundle          // the clients' trust anchors
	Revocation  Revocation       // nil: none is looked at
	WeakKeys    []WeakKey        // kinds that are taken all the same
	Generation  uint64           // counts the snapshots of one Source, from 1
}

// Files names the PEM files a Snapshot is loaded from.
type Files struct {
	Cert            string   // leaf first, then its intermediates
	Key             string   // PKCS #8, PKCS #1 or SEC 1, may be encrypted
	KeyPasswordFile string   // password of an encrypted Key
	ClientCA        []string // files or folders of trust anchors

	Signer crypto.Signer // in the place of Key: a key that is held elsewhere; see package kms
}

// Paths returns every path to watch.
func (f Files) Paths() []string {
	paths := append([]string{f.Cert}, f.ClientCA...)
	if f.Key != "" {
		paths = append(paths, f.Key)
	}
	if f.KeyPasswordFile != "" {
		paths = append(paths, f.KeyPasswordFile)
	}
	return paths
}

// Load reads and checks all files. Key and certificate must belong together.
func (f Files) Load() (*Snapshot, error) {
	cert, err := f.LoadCertificate()
	if err != nil {
		return nil, err
	}
	bundle, err := LoadBundle(f.ClientCA)
	if err != nil {
		return nil, err
	}
	return &Snapshot{Certificate: cert, Bundle: bundle}, nil
}

// LoadCertificate reads the gate's own part.
func (f Files) LoadCertificate() (*tls.Certificate, error) {
	chain, err := f.LoadChain()
	if err != nil {
		return nil, err
	}
	signer := f.Signer
	if signer == nil {
		if signer, err = f.loadKey(); err != nil {
			return nil, err
		}
	}
	return NewCertificate(chain, signer)
}

// LoadChain reads the certificate without its key.
func (f Files) LoadChain() ([]*x509.Certificate, error) {
	chain, err := readCertificates(f.Cert)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.Cert, err)
	}
	return chain, nil
}

func (f Files) loadKey() (crypto.Signer, error) {
	var opts []pemutil.Options
	if f.KeyPasswordFile != "" {
		password, err := readFile(f.KeyPasswordFile)
		if err != nil {
			return nil, fmt.Errorf("key password: %w", err)
		}
		opts = append(opts, pemutil.WithPassword([]byte(strings.TrimRight(string(password), "\r\n"))))
	} else {
		opts = append(opts, pemutil.WithPasswordPrompt("", func(string) ([]byte, error) {
			return nil, fmt.Errorf("the key is encrypted: name a keyPasswordFile")
		}))
	}
	data, err := readFile(f.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	key, err := pemutil.Parse(data, opts...)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", f.Key, mixed(data, err))
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key %s: holds a %T, not a private key", f.Key, key)
	}
	return signer, nil
}

// ErrKeyMismatch reports a key and a certificate that are no pair.
var ErrKeyMismatch = errors.New("the key does not belong to the certificate")

// NewCertificate joins a chain (leaf first) and its key, and checks that they
// belong together.
func NewCertificate(chain []*x509.Certificate, key crypto.Signer) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("no certificate")
	}
	if err := keyutil.VerifyPair(chain[0].PublicKey, key); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrKeyMismatch, NameText(chain[0].Subject), err)
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}
