// Package material keeps the gate's X.509 material: its own certificate, the
// trust bundle of its clients, and what is known of revocation.
//
// A [Keeper] has it from where the configuration says, files or step-ca, keeps
// it fresh and joins it to one immutable pki.Snapshot. What does not load
// leaves the last good one in force. It knows no tenants, and swaps nothing by
// itself: it tells that there is something new, and its owner takes it up.
package material

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/ocsp"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/config"
)

// Options of a Keeper. All but Denied are required.
type Options struct {
	Logger *slog.Logger
	Now    func() time.Time
	// OnRenewal hears of each attempt on the certificate, OnList of each look
	// at a revocation list, OnOCSP of each question to a responder.
	OnRenewal func(stepca.Event)
	OnPlan    func(time.Time) // when the next attempt is planned
	OnUpdate  func(error)     // the SPIFFE agent sent a certificate, or could not be had
	OnList    func(revocation.Update)
	OnOCSP    func(ocsp.Outcome, error)
	// AdmitList, if not nil, returns an error for a list that is older than one which
	// was in force before; ListKept, if not nil, is called with those that are kept.
	AdmitList func(revocation.Mark) error
	ListKept  func(revocation.Mark)
	// TakeUp has the owner Reload, and returns when what is new is in force. It
	// is called from handshakes.
	TakeUp func()
	// Denied are the entries of the state store at the start; nil: none.
	Denied *revocation.Denylist
}

// A Keeper holds the material in force. Reload, Deny and Commit are one
// caller's at a time; the rest is safe for concurrent use.
type Keeper struct {
	opts    Options
	source  *pki.Source
	lenient atomic.Bool                         // a load may be of parts
	still   bool                                // for a look: nothing is fetched
	trouble error                               // what was wrong with the last one; under the source's lock
	cas     atomic.Pointer[[]*x509.Certificate] // those that were loaded last, for the lists
	anchors atomic.Pointer[[]*x509.Certificate] // those of them that clients are verified by
	seen    atomic.Pointer[[]seenIssuer]        // issuers in clients' chains whose list was missing

	mu     sync.Mutex
	cur    parts
	denied *revocation.Denylist // of the state store; nil: none
	joined joined               // what the snapshot's Revocation was made of

	news  chan struct{}      // something is new
	refit chan struct{}      // other parts are in force
	yield chan chan struct{} // let go of the origin until the channel is closed
}

// parts are what a configuration wants kept. Immutable.
type parts struct {
	config *config.Config
	origin origin
	lists  *revocation.Source // nil: no lists are configured
	ocsp   *ocsp.Cache        // nil: no responders are asked
}

// Open makes what the configuration wants and loads it, waiting for the first
// certificate where that is still to come. Run keeps it fresh.
func Open(ctx context.Context, c *config.Config, opts Options) (*Keeper, error) {
	k := &Keeper{opts: opts, denied: opts.Denied, news: make(chan struct{}, 1), refit: make(chan struct{}, 1), yield: make(chan chan struct{})}
	var err error
	if k.cur, err = k.make(c); err != nil {
		return nil, err
	}
	if err := k.wait(ctx, k.cur); err != nil {
		return nil, err
	}
	if err := k.loadLists(ctx, k.cur); err != nil {
		opts.Logger.Error("starting without all revocation lists", "crlMode", c.TLS.Revocation.CRLMode, "err", err)
	}
	if k.source, err = pki.NewSource(k.load); err != nil {
		return nil, err
	}
	k.lenient.Store(true)
	return k, nil
}

// Snapshot returns what is in force.
func (k *Keeper) Snapshot() *pki.Snapshot { return k.source.Snapshot() }

// Reload reads everything and reports whether anything changed. Certificate,
// trust bundle and revocation are taken each by itself: one that does not load
// stays as it is, is told by the error, and keeps no other back.
func (k *Keeper) Reload() (changed bool, err error) {
	changed, err = k.source.Reload()
	return changed, errors.Join(err, k.trouble)
}

// ReadLists has the revocation lists looked at again, behind.
func (k *Keeper) ReadLists() {
	if lists := k.parts().lists; lists != nil {
		lists.Reload()
	}
}

// Refresh asks for what is elsewhere, the CA's roots and the revocation lists,
// behind.
func (k *Keeper) Refresh() {
	k.parts().origin.refresh()
	k.ReadLists()
}

// Next returns when the certificate is planned to be renewed; zero where that is
// others' doing.
func (k *Keeper) Next() time.Time { return k.parts().origin.next() }

// Paths returns the files and folders to watch.
func (k *Keeper) Paths() []string { return k.parts().config.TLS.Paths() }

// latestRenewal is the share of its lifetime after which a certificate that was not
// renewed is told of: SangateCertificateNotRenewed.
const latestRenewal = 0.8

// Warnings tells what will trouble somebody soon.
func (k *Keeper) Warnings() []string {
	cur := k.parts()
	files := cur.config.TLS.Files()
	files.Cert = cur.origin.String()
	snap := *k.Snapshot()
	snap.WeakKeys = cur.config.TLS.WeakKeys()
	out := files.Warnings(&snap, k.opts.Now())
	if t := cur.config.TLS.StepCA; t != nil && t.RenewAt > latestRenewal {
		out = append(out, fmt.Sprintf("renewAt %v is late: what looks after certificates takes one with less than a fifth of its lifetime left for not renewed", t.RenewAt))
	}
	return out
}

func (k *Keeper) parts() parts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cur
}

// load reads what the configuration in force names. It is called by the source.
func (k *Keeper) load() (*pki.Snapshot, error) {
	cur, lenient := k.parts(), k.lenient.Load()
	snap, certErr, bundleErr := cur.read()
	if _, own := cur.origin.(*files); own && lenient && certErr == nil {
		certErr = cutOff(k.Snapshot().Certificate, snap.Certificate)
	}
	if lenient && certErr != nil {
		snap.Certificate = k.Snapshot().Certificate
	}
	if lenient && bundleErr != nil {
		snap.Bundle = k.Snapshot().Bundle
	}
	if snap.Certificate != nil && snap.Bundle != nil {
		k.noteIssuers(&snap)
	}
	var revErr error
	snap.Revocation, revErr = k.revocation(cur)
	err := errors.Join(certErr, bundleErr, revErr)
	if lenient {
		k.trouble = err
		return &snap, nil
	}
	return &snap, err
}

// read reads certificate and trust bundle.
func (p *parts) read() (snap pki.Snapshot, certErr, bundleErr error) {
	snap.Certificate, certErr = p.origin.certificate()
	snap.Bundle, bundleErr = p.bundle()
	return snap, certErr, bundleErr
}

func (p *parts) bundle() (*pki.Bundle, error) {
	roots, domains := p.origin.anchors(&p.config.TLS)
	if len(p.config.TLS.ClientCA) > 0 {
		files, err := pki.LoadBundle(config.Strings(p.config.TLS.ClientCA))
		if err != nil {
			return nil, err
		}
		roots = append(roots[:len(roots):len(roots)], files.Certificates()...)
	}
	return pki.NewBundle(roots, domains...)
}

// tell has the owner look. It does not block.
func (k *Keeper) tell() {
	select {
	case k.news <- struct{}{}:
	default: // a look is due already
	}
}
