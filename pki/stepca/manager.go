package stepca

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/contain"
)

// ManagerOptions shape a [Manager]. Dir is required.
type ManagerOptions struct {
	Dir      string   // holds all that is kept: 0700
	Request  Request  // what to ask for; Signer is not used
	Enroller Enroller // nil: what is in Dir is renewed, and nothing else done

	KeyURI  string  // of a key in a KMS, which is then kept; see [OpenKey]
	KeepKey bool    // renew with the same key, else with a new one each time
	RenewAt float64 // share of the lifetime; 2/3 when zero

	Federation bool          // [Manager.Roots] holds federated roots, too
	RootsEvery time.Duration // how often the roots are asked for; an hour when zero

	OnEvent func(Event)     // one call at a time; must not block
	OnPlan  func(time.Time) // when the next attempt or renewal is planned; must not block
	Logger  *slog.Logger
	Now     func() time.Time
}

// A Manager owns one certificate from its enrolment on, and the authority's
// roots: what it has is on disk before it relies on it, in force at once, and
// replaced in time. A folder belongs to one Manager.
type Manager struct {
	ca      authority
	opts    ManagerOptions
	store   Folder
	renewer *Renewer

	held  atomic.Pointer[held]
	ready chan struct{} // closed once there is a certificate that holds
	again chan struct{} // by RefreshRoots

	mu     sync.Mutex // one change, one event at a time; guards the fields below
	notify []func()

	rootsMu sync.Mutex // one refresh at a time writes files

	keyMu sync.Mutex
	key   crypto.Signer // opened by KeyURI
}

// held is immutable.
type held struct {
	cert       *tls.Certificate // nil: none yet
	roots      []*x509.Certificate
	federation []*x509.Certificate
}

// An authority is what a Manager needs of a [*Client].
type authority interface {
	Issuer
	RekeyTo(ctx context.Context, old *Pair, key crypto.Signer) (*Pair, error)
	Roots(context.Context) ([]*x509.Certificate, error)
	Federation(context.Context) ([]*x509.Certificate, error)
	Trust([]*x509.Certificate)
	known() []*x509.Certificate
	pin() [32]byte
}

// NewManager reads what the folder holds; a certificate there that is still
// good is in force from now on. It does no network I/O, save for a KMS.
func NewManager(c *Client, opts ManagerOptions) (*Manager, error) {
	if opts.Now == nil {
		opts.Now = c.now
	}
	return newManager(c, opts)
}

func newManager(ca authority, opts ManagerOptions) (*Manager, error) {
	opts.RootsEvery = cmp.Or(opts.RootsEvery, time.Hour)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Dir == "" || opts.RootsEvery < 0 {
		return nil, errors.New("stepca: a manager needs a folder, and an interval above zero")
	}
	m := &Manager{ca: ca, opts: opts, ready: make(chan struct{}), again: make(chan struct{}, 1)}
	m.store = Folder{Dir: opts.Dir}
	if opts.KeyURI != "" {
		m.store.Key = m.openKey
	}
	m.held.Store(new(held))
	if err := m.loadRoots(); err != nil {
		return nil, err
	}
	pair, err := m.store.Load()
	switch {
	case err == nil:
		m.take(pair)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case opts.Enroller == nil:
		return nil, fmt.Errorf("%w; and there is no way to enrol: give a token, a provisioner's password, a certificate or ACME", err)
	}
	ro := RenewerOptions{
		KeepKey: opts.KeepKey, RenewAt: opts.RenewAt, Logger: opts.Logger, Now: opts.Now,
		OnEvent: m.tell, OnPlan: opts.OnPlan, OnPair: m.take, Stale: m.stale,
	}
	if opts.Enroller != nil {
		ro.Enrol = m.enrol
	}
	m.renewer, err = NewRenewer(m.store, managed{m}, ro)
	return m, err
}

// Run keeps certificate and roots alive until ctx ends, and then returns nil.
// While the authority cannot be reached it keeps trying, and says so by log and
// event.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { contain.Loop(ctx, m.opts.Logger, "follow the roots of step-ca", m.followRoots) })
	return m.renewer.Run(ctx)
}

// Certificate returns what to show now: nil while there is none, and when the
// last has ended. Not to be changed.
func (m *Manager) Certificate() *tls.Certificate {
	crt := m.held.Load().cert
	if crt == nil || m.opts.Now().After(crt.Leaf.NotAfter) {
		return nil
	}
	return crt
}

// Ready is closed once [Manager.Certificate] has had something to return.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Roots returns the authority's roots, and those it is federated with where
// Options say so; the last known ones while it cannot be asked. Not to be
// changed.
func (m *Manager) Roots() []*x509.Certificate {
	h := m.held.Load()
	return union(h.roots, h.federation)
}

// RefreshRoots has Run ask for the roots now. It does not wait.
func (m *Manager) RefreshRoots() {
	select {
	case m.again <- struct{}{}:
	default: // told already
	}
}

// Next returns when the next attempt or renewal is planned; zero before Run.
func (m *Manager) Next() time.Time { return m.renewer.Next() }

// Notify has f called after each change of certificate or roots, one call at a
// time. f must not block, nor call Notify.
func (m *Manager) Notify(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notify = append(m.notify, f)
}

// change swaps what is held and tells those who asked.
func (m *Manager) change(edit func(*held)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := *m.held.Load()
	edit(&next)
	m.held.Store(&next)
	for _, f := range m.notify {
		f()
	}
}

// take puts a pair in force, even one that could not be saved yet.
func (m *Manager) take(p *Pair) {
	crt := p.TLS()
	if was := m.held.Load().cert; was != nil && was.Leaf.Equal(crt.Leaf) {
		return
	}
	m.change(func(h *held) { h.cert = &crt })
	if m.Certificate() == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.ready:
	default:
		close(m.ready)
	}
}

func (m *Manager) tell(e Event) {
	if m.opts.OnEvent == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opts.OnEvent(e)
}
