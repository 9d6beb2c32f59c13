package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/config"
)

// newManager makes what gets the gate's certificate from step-ca and keeps it
// alive, or nil where the configuration names files instead. What it holds lies
// below the state folder.
func (s *Server) newManager(c *config.Config) (*stepca.Manager, error) {
	t := c.TLS.StepCA
	if t == nil {
		return nil, nil
	}
	client, err := stepca.New(t.URL, stepca.Options{Fingerprint: t.Fingerprint, Now: s.opts.Now})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(string(c.State), "stepca")
	kind, err := stepca.ParseKeyKind(keyType(t))
	if err != nil {
		return nil, err
	}
	m, err := stepca.NewManager(client, stepca.ManagerOptions{
		Dir:        dir,
		Request:    stepca.Request{Subject: t.SANs[0], SANs: t.SANs, Key: kind},
		Enroller:   enroller(t, client, filepath.Join(dir, "acme.key")),
		KeepKey:    t.RenewMode == "renew",
		RenewAt:    t.RenewAt,
		Federation: t.Federation,
		OnEvent:    s.metrics.Renewal,
		Logger:     s.log,
		Now:        s.opts.Now,
	})
	if err != nil {
		return nil, err
	}
	m.Notify(s.certificatesChanged)
	return m, nil
}

func keyType(t *config.StepCA) string {
	if t.KeyType == "" {
		return stepca.ECP256.String()
	}
	return t.KeyType
}

// enroller is the one way to a first certificate that the configuration names.
func enroller(t *config.StepCA, c *stepca.Client, accountFile string) stepca.Enroller {
	switch {
	case t.TokenFile != "":
		return stepca.NewOneTimeToken(c, string(t.TokenFile))
	case t.PasswordFile != "":
		return stepca.Password{Client: c, Provisioner: t.Provisioner, File: string(t.PasswordFile)}
	case t.X5C != nil:
		return stepca.X5C{Client: c, Provisioner: t.Provisioner, Cert: string(t.X5C.Cert), Key: string(t.X5C.Key)}
	}
	return stepca.ACME{Client: c, Provisioner: t.Provisioner, AccountFile: accountFile,
		Contact: t.ACME.Contact, HTTP: t.ACME.HTTP, TLS: t.ACME.TLS}
}

// loadPKI reads what the configuration in force names: certificate and trust
// bundle, and what is known of revocation. Callers hold mu, or are New.
func (s *Server) loadPKI() (*pki.Snapshot, error) {
	snap, err := s.loadMaterial()
	if err != nil {
		return nil, err
	}
	s.noteIssuers(snap)
	snap.Revocation, err = s.revocation()
	return snap, err
}

// loadMaterial reads files, or what the manager holds.
func (s *Server) loadMaterial() (*pki.Snapshot, error) {
	t := &s.config.TLS
	if t.StepCA == nil {
		return t.Files().Load()
	}
	cert := s.manager.Certificate()
	if cert == nil {
		return nil, errors.New("step-ca has given no certificate yet, or the last one has ended")
	}
	roots := s.manager.Roots()
	if len(t.ClientCA) > 0 && !t.StepCA.ClientRoots {
		roots = nil
	}
	if len(t.ClientCA) > 0 {
		files, err := pki.LoadBundle(config.Strings(t.ClientCA))
		if err != nil {
			return nil, err
		}
		roots = append(roots[:len(roots):len(roots)], files.Certificates()...)
	}
	bundle, err := pki.NewBundle(roots)
	if err != nil {
		return nil, fmt.Errorf("client CAs from step-ca: %w", err)
	}
	return &pki.Snapshot{Certificate: cert, Bundle: bundle}, nil
}

// firstCertificate returns once there is one. What is stored and still good is
// there at once, CA or no CA.
func (s *Server) firstCertificate(ctx context.Context) error {
	if s.manager == nil || s.manager.Certificate() != nil {
		return nil
	}
	s.log.Info("waiting for the first certificate from step-ca", "url", s.config.TLS.StepCA.URL)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ended := make(chan error, 1)
	wg.Go(func() { ended <- s.manager.Run(ctx) })
	select {
	case <-s.manager.Ready():
		return nil
	case err := <-ended:
		return errors.Join(err, ctx.Err())
	}
}

// certificatesChanged is called by the manager and by the lists' source, and
// must not block.
func (s *Server) certificatesChanged() {
	select {
	case s.renewed <- struct{}{}:
	default: // a look is due already
	}
}

// keepFresh runs what the configuration in force wants to be kept fresh, the
// certificate and the revocation lists, and takes up what comes of it, until
// ctx ends.
func (s *Server) keepFresh(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		m, lists := s.manager, s.revoking.source
		s.mu.Unlock()
		running, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		if m != nil {
			wg.Go(func() {
				if err := m.Run(running); err != nil {
					s.log.Error("the certificate is not kept alive", "err", err)
				}
			})
		}
		if lists != nil {
			wg.Go(func() {
				if err := lists.Run(running); err != nil {
					s.log.Error("the revocation lists are not kept fresh", "err", err)
				}
			})
		}
		s.follow(running)
		stop()
		wg.Wait()
	}
}

// follow reloads after each change, until ctx ends or the configuration wants
// other things kept fresh.
func (s *Server) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.remade:
			return
		case <-s.renewed:
			_ = s.reloadCertificates() // logged and counted
		}
	}
}
