// Package dev makes a working gate in one folder: an embedded step-ca, a server
// certificate and two tenants' client certificates enrolled from it and renewed
// while it runs, an API key for each tenant, and a configuration to start one's
// own from.
//
// What is there is used again. It is for development: the CA's key lies beside
// its database, protected by file modes only.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sangate/sangate/pki/devca"
	"github.com/sangate/sangate/pki/ownfile"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server"
)

// Tenants are those of the folder; each has one client.
var Tenants = []string{"acme", "globex"}

// Options of [Run]; Dir is required.
type Options struct {
	Dir               string
	Listen, Admin, CA string // host:port; 127.0.0.1:8443, :9090 and :9443 where empty
	Once              bool   // provision, do not serve
	Lifetime          time.Duration
	Logger            *slog.Logger
	Version, Commit   string
	Ready             func(Gate)                                        // called once all is there, and served unless Once
	Serve             func(ctx context.Context, s *server.Server) error // s.Run where nil
}

// A Gate tells where everything is.
type Gate struct {
	Dir                  string
	URL, AdminURL, CAURL string
	Fingerprint          string // of the CA's root
}

// Run provisions the folder and, unless Once, serves the gate until ctx ends.
func Run(ctx context.Context, opts Options) (err error) {
	opts.setDefaults()
	if err := checkFolder(opts.Dir); err != nil {
		return err
	}
	for _, dir := range []string{opts.Dir, opts.path("clients"), opts.path("state")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	ln, err := net.Listen("tcp", opts.CA)
	if err != nil {
		return fmt.Errorf("CA: %w; choose another address with --ca", err)
	}
	ca, err := devca.Open(opts.path("ca"), "https://"+reachable(opts.CA, ln), devca.Options{Default: opts.Lifetime, Logger: opts.Logger})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// The CA outlives everything that may ask it for something.
	caCtx, stopCA := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	var caErr error
	wg.Go(func() { caErr = ca.Serve(caCtx, ln) })
	defer func() {
		stopCA()
		wg.Wait()
		err = errors.Join(err, caErr)
	}()
	p := &provisioner{opts: &opts, ca: ca}
	if err := p.provision(ctx); err != nil {
		return err
	}
	if opts.Once {
		opts.Ready(Gate{Dir: opts.Dir, CAURL: ca.URL(), Fingerprint: ca.Fingerprint()})
		return nil
	}
	return p.serve(ctx)
}

// checkFolder refuses a folder in which somebody else has put, or can put, a
// configuration: it names commands to run.
func checkFolder(dir string) error {
	if err := ownfile.CheckDir(dir); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return ownfile.CheckTree(dir)
}

func (o *Options) setDefaults() {
	for field, value := range map[*string]string{&o.Listen: "127.0.0.1:8443", &o.Admin: "127.0.0.1:9090", &o.CA: "127.0.0.1:9443"} {
		if *field == "" {
			*field = value
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = func(Gate) {}
	}
	if o.Serve == nil {
		o.Serve = func(ctx context.Context, s *server.Server) error { return s.Run(ctx) }
	}
}

func (o *Options) path(names ...string) string {
	return filepath.Join(append([]string{o.Dir}, names...)...)
}

// serve runs the gate and a renewer for each certificate.
func (p *provisioner) serve(ctx context.Context) (err error) {
	main, err := net.Listen("tcp", p.opts.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	adminListener, err := net.Listen("tcp", p.opts.Admin)
	if err != nil {
		return errors.Join(fmt.Errorf("%w; choose another address with --admin", err), main.Close())
	}
	renewers, err := p.renewers()
	if err != nil {
		return errors.Join(err, main.Close(), adminListener.Close())
	}
	s, err := server.New(ctx, server.Options{
		ConfigFile: p.opts.path("sangate.yaml"),
		Overrides:  []string{"listen=" + quote(p.opts.Listen), "admin=" + quote(p.opts.Admin)},
		Version:    p.opts.Version, Commit: p.opts.Commit, Logger: p.opts.Logger,
		Listener: main, AdminListener: adminListener, NextRenewal: renewers[0].Next,
	})
	if err != nil {
		return errors.Join(err, main.Close(), adminListener.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for _, r := range renewers {
		wg.Go(func() {
			if err := r.Run(ctx); err != nil {
				p.opts.Logger.Error("renewing", "err", err)
			}
		})
	}
	p.opts.Ready(Gate{Dir: p.opts.Dir, URL: "https://" + reachable(p.opts.Listen, main), AdminURL: "http://" + reachable(p.opts.Admin, adminListener),
		CAURL: p.ca.URL(), Fingerprint: p.ca.Fingerprint()})
	return p.opts.Serve(ctx, s)
}

// renewers returns one for each certificate, the server's first.
func (p *provisioner) renewers() ([]*stepca.Renewer, error) {
	var out []*stepca.Renewer
	for _, h := range p.holders() {
		r, err := stepca.NewRenewer(h.files, p.client, stepca.RenewerOptions{
			Logger: p.opts.Logger.With("certificate", h.name),
			Enrol:  func(ctx context.Context) (*stepca.Pair, error) { return p.enrol(ctx, h) },
		})
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// reachable is where a client on this machine finds what listens on address:
// under the name that was given, which is in the certificate, and at the port
// that was got; a name for every address is no address to connect to.
func reachable(address string, ln net.Listener) string {
	host, _, _ := net.SplitHostPort(address) // was listened on
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
