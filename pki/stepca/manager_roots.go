package stepca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.step.sm/crypto/pemutil"

	"github.com/sangate/sangate/pki/ownfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// rootsFile names what is kept of the roots by the configured root they follow
// from: whoever configures another starts afresh.
func (m *Manager) rootsFile(kind string) string {
	return rootsFile(m.opts.Dir, kind, m.ca.pin())
}

func rootsFile(dir, kind string, pin [sha256.Size]byte) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%x.pem", kind, pin[:8]))
}

// loadRoots takes up the roots kept by an earlier run, so that one that rotated
// meanwhile is still recognised.
func (m *Manager) loadRoots() error {
	roots, err := readRoots(m.rootsFile("roots"))
	if err != nil {
		return err
	}
	m.ca.Trust(roots)
	var federation []*x509.Certificate
	if m.opts.Federation {
		if federation, err = readRoots(m.rootsFile("federation")); err != nil {
			return err
		}
	}
	m.change(func(h *held) { h.roots, h.federation = m.ca.known(), federation })
	return nil
}

// StoredRoots returns the roots that a [Manager] of this client has kept in dir,
// and those of the federation where wanted, without asking anybody. It is an
// error that there are none.
func (c *Client) StoredRoots(dir string, federation bool) ([]*x509.Certificate, error) {
	roots, err := readRoots(rootsFile(dir, "roots", c.pin()))
	if err == nil && federation {
		var more []*x509.Certificate
		if more, err = readRoots(rootsFile(dir, "federation", c.pin())); err == nil {
			roots = union(roots, more)
		}
	}
	if err == nil && len(roots) == 0 {
		err = fmt.Errorf("none in %s", dir)
	}
	return roots, err
}

// readRoots returns nothing where nothing was kept yet.
func readRoots(name string) ([]*x509.Certificate, error) {
	var data []byte
	err := ownfile.CheckNamed(name)
	if err == nil {
		data, err = readFile(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var roots []*x509.Certificate
	if err == nil {
		roots, err = pemutil.ParseCertificateBundle(data)
	}
	if err != nil {
		return nil, fmt.Errorf("stepca: roots kept in %s: %w; remove the file to fetch them again", name, err)
	}
	return roots, nil
}

// refreshRoots asks for the roots, puts them in force and keeps them. What goes
// wrong is told, and stops nothing.
func (m *Manager) refreshRoots(ctx context.Context) error {
	err := m.fetchRoots(ctx)
	if err != nil && ctx.Err() == nil {
		m.opts.Logger.WarnContext(ctx, "the authority's roots are not up to date", "err", err)
		m.tell(m.rootsEvent(err))
	}
	return err
}

func (m *Manager) rootsEvent(err error) Event {
	e := Event{Op: OpRoots, Err: err, Next: m.Next()}
	if crt := m.held.Load().cert; crt != nil {
		e.NotAfter = crt.Leaf.NotAfter
	}
	return e
}

func (m *Manager) fetchRoots(ctx context.Context) error {
	// A third: what is left of an attempt belongs to the renewal.
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout/3)
	defer cancel()
	roots, err := m.ca.Roots(ctx)
	if err != nil {
		return err
	}
	var federation []*x509.Certificate
	if m.opts.Federation {
		if federation, err = m.ca.Federation(ctx); err != nil {
			federation = m.held.Load().federation
		}
	}
	m.rootsMu.Lock()
	defer m.rootsMu.Unlock()
	m.ca.Trust(roots)
	roots = m.ca.known()
	if was := m.held.Load(); !same(was.roots, roots) || !same(was.federation, federation) {
		m.opts.Logger.InfoContext(ctx, "roots changed", "roots", len(roots), "federated", len(federation))
		m.change(func(h *held) { h.roots, h.federation = roots, federation })
	}
	return errors.Join(err, m.keepRoots("roots", roots), m.keepRoots("federation", federation))
}

// keepRoots writes a file where its content would change.
func (m *Manager) keepRoots(kind string, roots []*x509.Certificate) error {
	name := m.rootsFile(kind)
	var b bytes.Buffer
	for _, crt := range roots {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: crt.Raw}) // a Buffer does not fail
	}
	if was, err := readFile(name); b.Len() == 0 || err == nil && bytes.Equal(was, b.Bytes()) {
		return nil
	}
	if err := os.MkdirAll(m.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("stepca: keep roots: %w", err)
	}
	if err := atomicfile.Write(name, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("stepca: keep roots: %w", err)
	}
	return nil
}

func same(a, b []*x509.Certificate) bool {
	return slices.EqualFunc(a, b, (*x509.Certificate).Equal)
}
