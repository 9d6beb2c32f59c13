package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrNoRoots reports a trust bundle without a single certificate. An empty
// bundle would trust nobody, or, given to crypto/tls, the system's roots.
var ErrNoRoots = errors.New("no certificate in the trust bundle")

// maxBundle bounds the certificates of a trust bundle.
const maxBundle = 10_000

// A Bundle is an immutable set of trust anchors for clients.
type Bundle struct {
	certs  []*x509.Certificate
	pool   *x509.CertPool
	bound  map[[32]byte][]Domain // by SHA-256 of the anchor; anchors that are not here vouch for any name
	digest [32]byte
	held   map[[32]byte]bool     // SHA-256 of each anchor
	named  map[string]*namesakes // by subject
	known  known                 // clients it was seen to vouch for
}

// A Domain is a SPIFFE trust domain with its authorities. They vouch for SPIFFE
// IDs of this domain and for nobody else (X.509-SVID, section 5.2).
type Domain struct {
	Name        string // such as example.org
	Authorities []*x509.Certificate
	// Foreign authorities are a partner's: they cannot vouch for DNS names,
	// e-mail addresses and other URIs either, so a certificate that carries
	// one beside its SPIFFE ID is not trusted.
	Foreign bool
}

// NewBundle makes a bundle of the given anchors, which vouch for any name, and
// of trust domains; each anchor once, in a stable order.
func NewBundle(certs []*x509.Certificate, domains ...Domain) (*Bundle, error) {
	b := &Bundle{pool: x509.NewCertPool(), bound: make(map[[32]byte][]Domain), held: make(map[[32]byte]bool)}
	certs = slices.Clone(certs)
	for _, d := range domains {
		for _, c := range d.Authorities {
			if !slices.ContainsFunc(certs, c.Equal) || len(b.bound[sha256.Sum256(c.Raw)]) > 0 {
				sum := sha256.Sum256(c.Raw)
				b.bound[sum] = append(b.bound[sum], Domain{Name: d.Name, Foreign: d.Foreign})
				certs = append(certs, c)
			}
		}
	}
	slices.SortFunc(certs, func(a, b *x509.Certificate) int { return slices.Compare(a.Raw, b.Raw) })
	b.certs = slices.CompactFunc(certs, (*x509.Certificate).Equal)
	if len(b.certs) == 0 {
		return nil, ErrNoRoots
	}
	if len(b.certs) > maxBundle {
		return nil, fmt.Errorf("%d certificates in the trust bundle, at most %d are allowed", len(b.certs), maxBundle)
	}
	b.named = namesakesOf(b.certs)
	h := sha256.New()
	for _, c := range b.certs {
		b.pool.AddCert(c)
		b.held[sha256.Sum256(c.Raw)] = true
		h.Write(c.Raw)
		for _, d := range b.bound[sha256.Sum256(c.Raw)] {
			fmt.Fprintf(h, "%q %t", d.Name, d.Foreign)
		}
	}
	h.Sum(b.digest[:0])
	return b, nil
}

// vouches reports whether a chain of the leaf with these names may end in the
// anchor.
func (b *Bundle) vouches(anchor *x509.Certificate, id *Identity) bool {
	if len(b.bound) == 0 {
		return true
	}
	domains, bound := b.bound[sha256.Sum256(anchor.Raw)]
	return !bound || slices.ContainsFunc(domains, func(d Domain) bool {
		domain, _, _ := strings.Cut(strings.TrimPrefix(id.SPIFFEID, spiffeScheme), "/")
		return id.SPIFFEID != "" && domain == d.Name && (!d.Foreign || len(id.SANs) == 1)
	})
}

// Holds reports whether the certificate is one of the anchors.
func (b *Bundle) Holds(c *x509.Certificate) bool { return b.held[sha256.Sum256(c.Raw)] }

// Certificates returns the anchors, sorted by their DER. Not to be changed.
func (b *Bundle) Certificates() []*x509.Certificate { return b.certs }

// Equal reports whether two bundles hold the same anchors; nil is equal to nil.
func (b *Bundle) Equal(other *Bundle) bool {
	return b == other || b != nil && other != nil && b.digest == other.digest
}

// Anchors reports whether a certificate of ours, with its intermediates, chains
// to the bundle at time now, whatever it is for.
func (b *Bundle) Anchors(cert *tls.Certificate, now time.Time) bool {
	intermediates := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(c)
		}
	}
	_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: b.pool, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// LoadBundle reads anchors from PEM files and from the *.pem, *.crt and *.cer
// files of folders. A file that holds something else than certificates is an
// error, as is one certificate that is not a CA's.
func LoadBundle(paths []string) (*Bundle, error) {
	var certs []*x509.Certificate
	var errs []error
	for _, path := range paths {
		files, err := bundleFiles(path)
		if err != nil {
			errs = append(errs, err)
		}
		for _, file := range files {
			more, err := readCertificates(file)
			if err != nil {
				errs = append(errs, fmt.Errorf("trust bundle %s: %w", file, err))
				continue
			}
			for _, c := range more {
				if !c.IsCA && c.Version >= 3 {
					errs = append(errs, fmt.Errorf("trust bundle %s: %q is not a CA certificate; put the CA's root (or intermediate) here, not a leaf", file, NameText(c.Subject)))
				}
			}
			certs = append(certs, more...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b, err := NewBundle(certs)
	if err != nil {
		return nil, fmt.Errorf("trust bundle %s: %w", strings.Join(paths, ", "), err)
	}
	return b, nil
}

// bundleFiles returns path itself, or the PEM files directly in the folder.
func bundleFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		switch filepath.Ext(name) {
		case ".pem", ".crt", ".cer":
		default:
			continue
		}
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // replaced while we looked; the watcher comes back
		case err != nil:
			return nil, fmt.Errorf("trust bundle: %w", err)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("trust bundle %s: not a regular file; move it out of the folder", name)
		}
		files = append(files, name)
	}
	return files, nil
}
