package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/tool"
)

// keyPoll is how often a change of the state store is looked for.
const keyPoll = 250 * time.Millisecond

// watch starts what notices changes: of the configuration, of the certificate
// files it names, of the keys in the store.
func (s *Server) watch(ctx context.Context, wg *sync.WaitGroup) {
	options := pki.WatchOptions{Logger: s.log}
	configForce, certForce := make(chan struct{}), make(chan struct{})
	configs := pki.NewWatcher(func() []string { return []string{s.opts.ConfigFile} }, s.reloadConfig, options)
	certs := pki.NewWatcher(s.certificatePaths, s.filesChanged, options)
	wg.Go(func() { configs.Run(ctx, configForce) })
	wg.Go(func() { certs.Run(ctx, certForce) })
	wg.Go(func() { s.store.Watch(ctx, keyPoll, func() error { return s.reloadKeys(ctx) }) })
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.reload:
			}
			for _, force := range []chan struct{}{configForce, certForce} {
				select {
				case force <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}
	})
}

func (s *Server) certificatePaths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.TLS.Paths()
}

// swap puts a changed copy of the snapshot in force. Callers hold mu.
func (s *Server) swap(change func(next *auth.Snapshot)) {
	next := *s.gate.Snapshot()
	next.Generation++
	change(&next)
	s.gate.Swap(&next)
	s.live.wake()
}

func (s *Server) handshakeConfig(c *config.Config) *tls.Config {
	version, _ := c.TLS.Version() // was checked when c was loaded
	return s.source.Snapshot().ServerConfig(pki.TLSOptions{
		MinVersion: version, SessionTickets: c.TLS.SessionTickets, Curves: c.TLS.CurveIDs(), Now: s.opts.Now})
}

// filesChanged is called when a certificate, a CA, a revocation list or the
// denylist may have changed.
func (s *Server) filesChanged() error {
	s.mu.Lock()
	lists := s.revoking.source
	s.mu.Unlock()
	if lists != nil {
		lists.Reload()
	}
	return s.reloadCertificates()
}

// warn logs what will trouble somebody soon. Callers hold mu, or are New.
func (s *Server) warn() {
	for _, w := range s.config.TLS.Files().Warnings(s.source.Snapshot(), s.opts.Now()) {
		s.log.Warn(w)
	}
}

func (s *Server) reloadCertificates() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.source.Reload()
	if err != nil || changed {
		s.metrics.CertificateReload(err)
	}
	if err != nil {
		s.log.Error("certificates not reloaded, those in force stay", "err", err)
		return err
	}
	if changed {
		s.swap(func(next *auth.Snapshot) {
			next.PKI, next.TLS = s.source.Snapshot(), s.handshakeConfig(s.config)
		})
		leaf := s.source.Snapshot().Certificate.Leaf
		s.log.Info("certificates reloaded", "generation", s.gate.Snapshot().Generation,
			"serial", leaf.SerialNumber.Text(16), "notAfter", leaf.NotAfter, "clientCAs", len(s.source.Snapshot().Bundle.Certificates()))
		s.warn()
	}
	return nil
}

func (s *Server) reloadConfig() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.applyConfig()
	if changed || err != nil {
		s.metrics.ConfigReload(err)
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			s.log.Error("configuration not reloaded, the old one stays", "at", fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col), "problem", p.Message)
		}
	} else if err != nil {
		s.log.Error("configuration not reloaded, the old one stays", "err", err)
	}
	return err
}

// applyConfig reads the file and all it names, and puts everything in force at
// once or nothing; what says the same as before changes nothing. Callers hold
// mu.
func (s *Server) applyConfig() (changed bool, err error) {
	next, err := config.Load(s.opts.ConfigFile, s.opts.Overrides)
	if err != nil {
		return false, err
	}
	old := s.config
	if next.Equal(old) {
		return false, nil
	}
	ring, err := s.readKeys(context.Background(), next)
	if err != nil {
		return false, err
	}
	undo := s.keep()
	remade, err := s.remake(next)
	if err == nil {
		s.config = next // the source reads what it names
		_, err = s.source.Reload()
	}
	if err != nil {
		undo()
		return false, err
	}
	if remade {
		select {
		case s.remade <- struct{}{}:
		default: // a change is due already
		}
	}
	s.swap(func(snap *auth.Snapshot) {
		snap.PKI, snap.TLS = s.source.Snapshot(), s.handshakeConfig(next)
		snap.Tenants, snap.Keys, snap.Tools = next.Table, ring, snap.Tools.Renew()
	})
	s.log.Info("configuration reloaded", "generation", s.gate.Snapshot().Generation, "tenants", len(next.Tenants))
	if next.Listen != old.Listen || next.Admin != old.Admin || next.State != old.State {
		s.log.Warn("listen, admin and state take effect at the next start")
	}
	if next.Limits != old.Limits || next.Log != old.Log {
		s.log.Warn("limits and log take effect at the next start")
	}
	return true, nil
}

// keep returns what puts back the configuration, the manager and the lists that
// are in force. Callers hold mu.
func (s *Server) keep() (undo func()) {
	c, m, r := s.config, s.manager, s.revoking
	return func() { s.config, s.manager, s.revoking = c, m, r }
}

// remake makes the manager and the lists anew where the configuration wants
// others, and reports whether it did. Callers hold mu.
func (s *Server) remake(next *config.Config) (remade bool, err error) {
	if !reflect.DeepEqual(next.TLS.StepCA, s.config.TLS.StepCA) {
		remade = true
		if s.manager, err = s.newManager(next); err != nil {
			return false, err
		}
	}
	if reflect.DeepEqual(next.TLS.Revocation, s.config.TLS.Revocation) {
		return remade, nil
	}
	if s.revoking.source, err = s.newLists(next); err != nil {
		return false, err
	}
	return true, s.loadLists(context.Background(), s.revoking.source)
}

func (s *Server) reloadKeys(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, err := s.readKeys(ctx, s.config)
	if err != nil {
		s.log.Error("keys not reloaded, those in force stay", "err", err)
		return err
	}
	s.swap(func(next *auth.Snapshot) { next.Keys = ring })
	s.log.Info("keys reloaded", "generation", s.gate.Snapshot().Generation, "keys", ring.Len())
	return nil
}

// readKeys joins the keys of the configuration with those of the store. Callers
// hold mu, or are New.
func (s *Server) readKeys(ctx context.Context, c *config.Config) (*apikey.Ring, error) {
	records, err := s.store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading keys from the state store: %w", err)
	}
	entries := append([]apikey.Entry(nil), c.Keys...)
	for _, r := range records {
		entries = append(entries, r.Entry)
	}
	return apikey.NewRing(entries)
}

// certificates is what the tool gate_certificates tells.
func (s *Server) certificates() []tool.GateCertificate {
	var out []tool.GateCertificate
	for role, c := range admin.Roles(s.gate.Snapshot().PKI) {
		g := tool.GateCertificate{Role: role, Names: []string{c.Subject.String()}, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
		if role == "server" {
			id, err := pki.ParseIdentity(c)
			for _, san := range id.SANs {
				if err == nil {
					g.Names = append(g.Names, san.Value)
				}
			}
			g.NextRenewal = s.nextRenewal()
		}
		out = append(out, g)
	}
	return out
}

// nextRenewal is when the server certificate is planned to be renewed; zero
// where that is others' doing.
func (s *Server) nextRenewal() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.manager != nil:
		return s.manager.Next().UTC()
	case s.opts.NextRenewal != nil:
		return s.opts.NextRenewal().UTC()
	}
	return time.Time{}
}

func (s *Server) checkCertificate(context.Context) error {
	leaf, now := s.gate.Snapshot().PKI.Certificate.Leaf, s.opts.Now()
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the server certificate expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the server certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

func (s *Server) checkStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.store.Ping(ctx)
}
