package material

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/config"
)

// An origin is where the gate's certificate comes from.
type origin interface {
	fmt.Stringer // for the log
	// certificate returns the one to show now, or why there is none.
	certificate() (*tls.Certificate, error)
	// anchors returns what comes with it to verify clients by, under t.
	anchors(t *config.TLS) ([]*x509.Certificate, []pki.Domain)
	// ready reports whether there is all a snapshot cannot do without under t.
	ready(t *config.TLS) bool
	// run keeps it alive until ctx ends.
	run(ctx context.Context) error
	// refresh looks for what others may have changed; it does not wait.
	refresh()
	// next is when it will be renewed; zero where others do that.
	next() time.Time
}

func (k *Keeper) newOrigin(c *config.Config) (origin, error) {
	switch {
	case c.TLS.StepCA != nil:
		return k.newEnrolled(c)
	case c.TLS.SPIFFE != nil:
		return k.newWorkload(c.TLS.SPIFFE)
	}
	f := &files{c.TLS.Files()}
	if u := c.TLS.KeyURI(); u != "" {
		ctx, cancel := context.WithTimeout(context.Background(), openKey)
		defer cancel()
		key, err := kms.Open(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("tls.key: %w", err)
		}
		f.from.Signer = key
	}
	return f, nil
}

// openKey bounds the wait for a key that is held elsewhere.
const openKey = 30 * time.Second

// files are kept alive by others and watched by the owner.
type files struct{ from pki.Files }

func (f *files) String() string                         { return f.from.Cert }
func (f *files) certificate() (*tls.Certificate, error) { return f.from.LoadCertificate() }
func (f *files) ready(*config.TLS) bool                 { return true }
func (f *files) run(ctx context.Context) error          { <-ctx.Done(); return nil }
func (f *files) refresh()                               {}
func (f *files) next() time.Time                        { return time.Time{} }

func (f *files) anchors(*config.TLS) ([]*x509.Certificate, []pki.Domain) { return nil, nil }

// enrolled comes from step-ca and lies below the state folder.
type enrolled struct {
	*stepca.Manager
	url string
}

func (k *Keeper) newEnrolled(c *config.Config) (origin, error) {
	t := c.TLS.StepCA
	client, err := stepca.New(t.URL, stepca.Options{Fingerprint: t.Fingerprint, Now: k.opts.Now})
	if err != nil {
		return nil, err
	}
	kind := stepca.ECP256
	if t.KeyType != "" {
		if kind, err = stepca.ParseKeyKind(t.KeyType); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(string(c.State), "stepca")
	m, err := stepca.NewManager(client, stepca.ManagerOptions{
		Dir:        dir,
		Request:    stepca.Request{Subject: t.SANs[0], SANs: t.SANs, Key: kind},
		Enroller:   enroller(t, client, filepath.Join(dir, "acme.key"), k.opts.Logger),
		KeyURI:     t.KeyURI,
		KeepKey:    t.RenewMode == "renew",
		RenewAt:    t.RenewAt,
		Federation: t.Federation,
		OnEvent:    k.opts.OnRenewal,
		OnPlan:     k.opts.OnPlan,
		Logger:     k.opts.Logger,
		Now:        k.opts.Now,
	})
	if err != nil {
		return nil, err
	}
	m.Notify(k.tell)
	return &enrolled{m, t.URL}, nil
}

// enroller is the one way to a first certificate that the configuration names.
func enroller(t *config.StepCA, c *stepca.Client, accountFile string, log *slog.Logger) stepca.Enroller {
	switch {
	case t.TokenFile != "":
		return stepca.NewOneTimeToken(c, string(t.TokenFile))
	case t.PasswordFile != "":
		return stepca.Password{Client: c, Provisioner: t.Provisioner, File: string(t.PasswordFile)}
	case t.X5C != nil:
		return stepca.X5C{Client: c, Provisioner: t.Provisioner, Cert: string(t.X5C.Cert), Key: string(t.X5C.Key)}
	}
	return stepca.ACME{Client: c, Provisioner: t.Provisioner, AccountFile: accountFile,
		Contact: t.ACME.Contact, HTTP: t.ACME.HTTP, TLS: t.ACME.TLS, Logger: log}
}

func (e *enrolled) String() string                { return e.url }
func (e *enrolled) run(ctx context.Context) error { return e.Run(ctx) }
func (e *enrolled) refresh()                      { e.RefreshRoots() }
func (e *enrolled) next() time.Time               { return e.Next().UTC() }

// ready waits for the roots, too, where they are the clients'.
func (e *enrolled) ready(t *config.TLS) bool {
	return e.Certificate() != nil && (len(t.ClientCA) > 0 || len(e.Roots()) > 0)
}

func (e *enrolled) certificate() (*tls.Certificate, error) {
	if cert := e.Certificate(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("step-ca has given no certificate yet, or the last one has ended")
}

func (e *enrolled) anchors(t *config.TLS) ([]*x509.Certificate, []pki.Domain) {
	if len(t.ClientCA) == 0 || t.StepCA.ClientRoots {
		return e.Roots(), nil
	}
	return nil, nil
}
