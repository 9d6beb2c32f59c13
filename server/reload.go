package server

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/audit"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
)

// keyPoll is how often a change of the state store is looked for.
const keyPoll = 250 * time.Millisecond

// documentWait is how long a reload waits for OpenAPI documents that it adds or changes
// the options of, so that their tools change together with the rest.
const documentWait = 3 * time.Second

// watch starts what notices changes: of the configuration, of the certificate
// files it names, of the keys in the store.
func (s *Server) watch(ctx context.Context, wg *sync.WaitGroup) {
	options := pki.WatchOptions{Logger: s.log}
	configForce, certForce, documentForce := make(chan struct{}), make(chan struct{}), make(chan struct{})
	configs := pki.NewWatcher(func() []string { return []string{s.opts.ConfigFile} }, func() error {
		return contain.Do(s.log, "reload the configuration", func() error { return s.reloadConfig(ctx) })
	}, options)
	certs := pki.NewWatcher(func() []string { return s.paths() }, func() error {
		return contain.Do(s.log, "reload files", s.filesChanged)
	}, options)
	documents := pki.NewWatcher(s.backend.DocumentPaths, func() error { s.backend.WakeDocuments(); return nil }, options)
	wg.Go(func() { documents.Run(ctx, documentForce) })
	wg.Go(func() { s.keepMark(ctx) })
	wg.Go(func() { configs.Run(ctx, configForce) })
	wg.Go(func() { certs.Run(ctx, certForce) })
	wg.Go(func() {
		s.store.Watch(ctx, keyPoll, func() error {
			return contain.Do(s.log, "reload from the store", func() error {
				err := errors.Join(s.reloadKeys(ctx), s.reloadDenied(ctx), s.reloadCredentials(ctx))
				s.standing.Raise(ctx)
				return err
			})
		})
	})
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.reload:
			}
			s.failed.forget() // who asks is told again
			s.pki.Refresh()
			s.issuers.Refresh()
			s.backend.Refresh(0)
			if err := s.journal.reopen(); err != nil {
				s.log.Error("audit log not opened anew", "err", err)
			}
			for _, force := range []chan struct{}{configForce, certForce, documentForce} {
				select {
				case force <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}
	})
}

// paths are the files and folders whose content is taken up while it serves.
func (s *Server) paths() []string {
	return slices.Concat(s.pki.Paths(), s.issuers.Paths(), s.config.Load().AdminTLS.Paths())
}

// swap puts a changed copy of the snapshot in force. Callers hold mu.
func (s *Server) swap(change func(next *auth.Snapshot)) {
	before := s.gate.Snapshot()
	next := *before
	next.Generation++
	change(&next)
	s.gate.Swap(&next)
	s.live.wake()
	if next.Tools != before.Tools || next.Tenants != before.Tenants {
		s.mcp.Changed(s.viewOf)
	}
	if next.PKI.Bundle != before.PKI.Bundle {
		s.warnDropped(before.PKI, next.PKI)
	}
}

// warnDropped tells and counts that another trust bundle no longer has the CA of
// a certificate in use: of our own, which peers of the same bundle will refuse,
// or, by the sweep, of clients that are connected.
func (s *Server) warnDropped(before, after *pki.Snapshot) {
	now := s.opts.Now()
	if before.Bundle.Anchors(before.Certificate, now) && !after.Bundle.Anchors(after.Certificate, now) {
		s.log.Warn("clientCA no longer has the CA of the gate's own certificate; peers that trust the same files will refuse it",
			"issuer", pki.NameText(after.Certificate.Leaf.Issuer))
		s.metrics.AnchorDropped("server", 1)
	}
	s.conns.recheck()
}

// dropped hears how many connected clients have lost their CA.
func (s *Server) dropped(n int) {
	s.log.Warn("clientCA no longer has the CA of clients that are connected; they are refused from now on. If that was not meant, put it back until they have renewed",
		"connections", n)
	s.metrics.AnchorDropped("client", n)
}

// takePKI has a snapshot decide and do its handshakes by what the keeper holds.
func (s *Server) takePKI(next *auth.Snapshot, c *config.Config) {
	held := *s.pki.Snapshot()
	held.WeakKeys = c.TLS.WeakKeys()
	next.PKI = &held
	version, _ := c.TLS.Version() // was checked when c was loaded
	options := pki.TLSOptions{MinVersion: version, SessionTickets: c.TLS.SessionTickets, Curves: c.TLS.CurveIDs(), Now: s.opts.Now}
	next.TLS = next.PKI.ServerConfig(options)
}

// filesChanged is called when a certificate, a CA, a revocation list, the
// denylist or a file of issuers' keys may have changed.
func (s *Server) filesChanged() error {
	s.pki.ReadLists()
	return errors.Join(s.issuers.ReadFiles(), s.reloadCertificates())
}

// tokenKeysChanged puts other keys of issuers in force, and with them forgets
// which tokens were verified.
func (s *Server) tokenKeysChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swap(func(next *auth.Snapshot) { next.Tokens = s.issuers.Verifier() })
}

// materialChanged is called when certificate, roots or lists that the gate keeps
// alive itself have changed.
func (s *Server) materialChanged() { _ = s.reloadCertificates() } // logged and counted

// warn logs what will trouble somebody soon. Callers hold mu, or are New.
func (s *Server) warn() {
	for _, w := range s.pki.Warnings() {
		s.log.Warn(w)
	}
}

// reloadCertificates takes up what changed. Certificate, trust bundle and
// revocation are taken each by itself: what does not load stays as it is.
func (s *Server) reloadCertificates() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.pki.Reload()
	door, doorErr := s.reloadDoor()
	err = s.redact(errors.Join(err, doorErr))
	if err != nil || changed || door {
		s.metrics.CertificateReload(err)
	}
	if s.failed.certificates.news(err) {
		s.log.Error("certificates not reloaded, those in force stay", "err", err)
	}
	if changed {
		s.takeUp()
		leaf := s.pki.Snapshot().Certificate.Leaf
		s.log.Info("certificates reloaded", "generation", s.gate.Snapshot().Generation,
			"serial", leaf.SerialNumber.Text(16), "notAfter", leaf.NotAfter, "clientCAs", len(s.pki.Snapshot().Bundle.Certificates()))
		s.warn()
	}
	return err
}

// takeUp puts the keeper's snapshot in force. Callers hold mu.
func (s *Server) takeUp() {
	s.swap(func(next *auth.Snapshot) { s.takePKI(next, s.config.Load()) })
}

// applyConfig reads the file and all it names, and puts everything in force at
// once or nothing; what says the same as before changes nothing.
func (s *Server) applyConfig(ctx context.Context) (changed bool, err error) {
	next, err := config.Load(s.opts.ConfigFile, s.opts.Overrides)
	if err != nil {
		return false, err
	}
	defer func() { err = next.Redact(err) }()
	if next.Equal(s.config.Load()) { // which only this goroutine changes
		return false, nil
	}
	plan, err := s.pki.Prepare(ctx, next)
	if err != nil {
		return false, err
	}
	defer plan.Discard()
	tokens, err := s.issuers.Prepare(next)
	if err != nil {
		return false, err
	}
	door, err := s.doorOf(next)
	if err != nil {
		return false, err
	}
	behind, err := s.backend.Prepare(ctx, next, documentWait)
	if err != nil {
		return false, err
	}
	reopen := !reflect.DeepEqual(next.Audit, s.config.Load().Audit)
	var log *audit.Log
	if reopen {
		if log, err = s.openAudit(next); err != nil {
			return false, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, stored, err := s.readKeys(ctx, next)
	if err == nil {
		_, err = s.join(next, &s.own, behind.Declared())
	}
	if err == nil {
		err = plan.Commit()
	}
	if err != nil {
		return false, errors.Join(err, log.Close())
	}
	if reopen {
		if err := s.journal.use(log, next); err != nil {
			s.log.Error("the audit log before is not closed", "err", err)
		}
	}
	old := s.config.Load()
	s.config.Store(next)
	s.unread.SetBounds(unreadBounds(&next.Limits))
	s.intake.SetTotal(next.Limits.RequestBytes)
	s.stored, s.loaded = stored, s.opts.Now()
	behind.Commit()
	joined, _ := s.join(next, &s.own, behind.Declared()) // was tried, and offers never keep one from being made
	catalog := s.adopt(joined)
	s.swap(func(snap *auth.Snapshot) {
		s.takePKI(snap, next)
		snap.Tenants, snap.Admins, snap.Keys, snap.Tools = next.Table, next.AdminTable, ring, catalog
		snap.Tokens, snap.Proxies = tokens.Commit(), next.ProxySet
	})
	s.admin.Use(door)
	s.warnOpen()
	s.series()
	s.followLog(next.Log)
	s.log.Info("configuration reloaded", "generation", s.gate.Snapshot().Generation, "tenants", len(next.Tenants))
	if next.Listen != old.Listen || next.Admin != old.Admin || next.State != old.State || next.HighWater != old.HighWater {
		s.log.Warn("listen, admin, state and highWaterMark take effect at the next start")
	}
	limits := next.Limits
	limits.PerTenant, limits.PerIdentity = old.Limits.PerTenant, old.Limits.PerIdentity // in force now, as are these
	limits.UnreadBytes, limits.RequestBytes = old.Limits.UnreadBytes, old.Limits.RequestBytes
	if limits != old.Limits || !reflect.DeepEqual(next.Tracing, old.Tracing) {
		s.log.Warn("limits and tracing take effect at the next start")
	}
	return true, nil
}
