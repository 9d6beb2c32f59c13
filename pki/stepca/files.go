package stepca

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"go.step.sm/crypto/pemutil"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

const maxFile = 1 << 20 // bytes of a certificate or key file

// WriteFiles replaces both files, the key with mode 0600 from the first byte.
// A reader sees the old pair, the new one, or for a moment the new key beside
// the old certificate; never half a file. [ReadFiles] knows that moment.
func (p *Pair) WriteFiles(certFile, keyFile string) error {
	key, err := p.KeyPEM()
	if err != nil {
		return err
	}
	err = atomicfile.Replace(
		atomicfile.File{Name: keyFile, Data: key, Perm: 0o600},
		atomicfile.File{Name: certFile, Data: p.CertPEM(), Perm: 0o644},
	)
	if err != nil {
		return fmt.Errorf("stepca: write certificate and key: %w", err)
	}
	return nil
}

// ReadFiles reads a pair written by [Pair.WriteFiles] or by step. Where a crash
// left the new key beside the old certificate, it takes the new certificate
// from where it was staged. It returns [ErrMismatch], and [fs.ErrNotExist] when
// a file is missing.
func ReadFiles(certFile, keyFile string) (*Pair, error) {
	pair, _, err := readFiles(certFile, keyFile)
	return pair, err
}

// readFiles also tells whether the files are mended by writing the pair again.
func readFiles(certFile, keyFile string) (pair *Pair, torn bool, err error) {
	key, err := readKey(keyFile)
	if err != nil {
		return nil, false, fmt.Errorf("stepca: key %s: %w", keyFile, err)
	}
	pair, err = readPair(certFile, key)
	if err == nil {
		return pair, false, nil
	}
	if errors.Is(err, ErrMismatch) || errors.Is(err, fs.ErrNotExist) {
		if staged, serr := readPair(atomicfile.Staged(certFile), key); serr == nil {
			return staged, true, nil
		}
	}
	return nil, false, fmt.Errorf("stepca: certificate %s: %w", certFile, err)
}

func readPair(certFile string, key crypto.Signer) (*Pair, error) {
	data, err := readFile(certFile)
	if err != nil {
		return nil, err
	}
	return parsePair(data, key)
}

func parsePair(certPEM []byte, key crypto.Signer) (*Pair, error) {
	chain, err := pemutil.ParseCertificateBundle(certPEM)
	if err != nil {
		return nil, err
	}
	return NewPair(chain, key)
}

func readKey(keyFile string) (crypto.Signer, error) {
	data, err := readFile(keyFile)
	if err != nil {
		return nil, err
	}
	return parseKey(data)
}

func parseKey(data []byte) (crypto.Signer, error) {
	// Without a password option pemutil would ask at the terminal.
	key, err := pemutil.ParseKey(data, pemutil.WithPassword(nil))
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

func readFile(name string) ([]byte, error) { return regularfile.Read(name, maxFile) }
