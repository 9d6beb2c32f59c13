package revocation

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sangate/sangate/pki/ownfile"
	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// Names of the files in Dir: list-<issuer>-<scope>.crl is a list as it came,
// issuer-<issuer>.pem the certificate of the key that signed it with those above, and
// place-<name>.txt the lists that a file or URL served, in the order in which they were
// first seen anywhere.
const (
	listPrefix, listSuffix     = "list-", ".crl"
	issuerPrefix, issuerSuffix = "issuer-", ".pem"
	placePrefix, placeSuffix   = "place-", ".txt"
)

// Bounds of the small ones.
const (
	maxIssuerFile = 1 << 20
	maxPlaceFile  = 1 << 20
)

func (k listKey) String() string { return fmt.Sprintf("%x-%x", k.issuer, k.scope) }

// parseKey reads what String returns.
func parseKey(text string) (k listKey, ok bool) {
	issuer, scope, _ := strings.Cut(text, "-")
	return k, parseHash(k.issuer[:], issuer) && parseHash(k.scope[:], scope)
}

func parseHash(to []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(to)) {
		return false
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}

func (s *Source) listFile(key listKey) string {
	return filepath.Join(s.opts.Dir, listPrefix+key.String()+listSuffix)
}

func (s *Source) issuerFile(issuer issuerKey) string {
	return filepath.Join(s.opts.Dir, issuerPrefix+hex.EncodeToString(issuer[:])+issuerSuffix)
}

func (s *Source) placeFile(it *item) string {
	return filepath.Join(s.opts.Dir, fmt.Sprintf("%s%x%s", placePrefix, sha256.Sum256([]byte(it.name)), placeSuffix))
}

func (s *Source) keeps() bool { return s.opts.Dir != "" && !s.opts.ReadOnly }

// keep writes a list that is in force to disk, with its issuer's certificate before it. It
// reports whether that is done. What goes wrong is logged, and stops nothing.
func (s *Source) keep(list *CRL, data []byte) (done bool) {
	if !s.keeps() {
		return true
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	held, chain := s.inForce[list.id], s.chains[list.id.issuer]
	s.mu.Unlock()
	if held == nil || held.sum != list.sum {
		return true // a newer one came
	}
	var issuer bytes.Buffer
	for _, c := range chain {
		_ = pem.Encode(&issuer, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // into memory
	}
	err := os.MkdirAll(s.opts.Dir, 0o700)
	if err == nil {
		err = atomicfile.Replace(
			atomicfile.File{Name: s.issuerFile(list.id.issuer), Data: issuer.Bytes(), Perm: 0o600},
			atomicfile.File{Name: s.listFile(list.id), Data: data, Perm: 0o600})
	}
	if err != nil {
		s.opts.Logger.Warn("failed to keep a CRL; a start while its origin is away would be without it",
			"name", list.Name, "err", err)
	} else if !held.outdated {
		s.opts.Kept(list.mark())
	}
	return err == nil
}

// keepPlace writes to disk which lists a file or URL served, if that changed.
func (s *Source) keepPlace(it *item) {
	if !s.keeps() {
		return
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	unsaved := it.unsaved
	var text strings.Builder
	for key, at := range it.served {
		fmt.Fprintf(&text, "%d %s\n", at, key)
	}
	it.unsaved = false
	s.mu.Unlock()
	if !unsaved {
		return
	}
	err := os.MkdirAll(s.opts.Dir, 0o700)
	if err == nil {
		err = atomicfile.Write(s.placeFile(it), []byte(text.String()), 0o600)
	}
	if err != nil {
		s.mu.Lock()
		it.unsaved = true
		s.mu.Unlock()
		s.opts.Logger.Warn("failed to keep which CRLs a file or URL serves", "name", it.name, "err", err)
	}
}

// readPlace reads what keepPlace wrote. The caller holds s.mu.
func (s *Source) readPlace(it *item) error {
	data, err := readOwn(s.placeFile(it), maxPlaceFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		at, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.Atoi(at)
		key, ok := parseKey(name)
		if err != nil || n <= 0 || !ok {
			return fmt.Errorf("%s: malformed", s.placeFile(it))
		}
		it.served[key] = n
	}
	return nil
}

// readChain reads what keep wrote of an issuer.
func (s *Source) readChain(issuer issuerKey) ([]*x509.Certificate, error) {
	file := s.issuerFile(issuer)
	rest, err := readOwn(file, maxIssuerFile)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for len(chain) < maxChain {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 || issuerKeyOf(chain[0]) != issuer {
		return nil, fmt.Errorf("%s: not the certificate of that issuer", file)
	}
	return chain, nil
}

// remove deletes a kept list, and its issuer's certificate with the last list of it. The
// caller holds s.keeping.
func (s *Source) remove(key listKey) {
	if !s.keeps() {
		return
	}
	err := os.Remove(s.listFile(key))
	others, _ := filepath.Glob(filepath.Join(s.opts.Dir, fmt.Sprintf("%s%x-*%s", listPrefix, key.issuer, listSuffix)))
	if len(others) == 0 {
		err = errors.Join(err, os.Remove(s.issuerFile(key.issuer)))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opts.Logger.Warn("failed to remove a kept CRL", "err", err)
	}
}

// readOwn reads a file that nobody else could have written.
func readOwn(file string, limit int64) ([]byte, error) {
	if err := ownfile.CheckNamed(file); err != nil {
		return nil, err
	}
	return regularfile.Read(file, limit)
}
