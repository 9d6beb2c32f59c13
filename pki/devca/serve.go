package devca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smallstep/certificates/authority"
)

// Serve answers on ln until ctx ends, and returns when all it started has
// stopped, ln and the database are closed and the folder is free. It returns
// nil when ctx ended it. A CA is served once.
//
// Connections made before Serve runs wait in ln's queue, so [CA.Token] and a
// client may be used at once.
func (ca *CA) Serve(ctx context.Context, ln net.Listener) (err error) {
	defer ln.Close()
	ca.mu.Lock()
	usable := ca.lock != nil && !ca.served
	ca.served = true
	ca.mu.Unlock()
	if !usable {
		return errors.New("devca: the CA was closed or served before; open it again")
	}
	defer func() { err = errors.Join(err, ca.Close()) }()

	auth, err := ca.newAuthority()
	if err != nil {
		return fmt.Errorf("devca: %w", err)
	}
	defer func() { err = errors.Join(err, auth.Shutdown()) }()
	if err := ca.serve(ctx, ln, auth); err != nil {
		return fmt.Errorf("devca: %w", err)
	}
	return nil
}

func (ca *CA) serve(ctx context.Context, ln net.Listener, auth *authority.Authority) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // runs first

	own := &ownCertificate{issue: auth.GetTLSCertificate, log: ca.opts.Logger}
	if err := own.renew(); err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	handler, base, err := ca.handler(context.WithoutCancel(ctx), auth)
	if err != nil {
		return err
	}
	wg.Go(func() { own.run(ctx) })

	var conns sync.WaitGroup
	srv := ca.server(handler, base, own, &conns)
	wg.Go(func() {
		<-ctx.Done()
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	ca.opts.Logger.Info("ca is up", "url", ca.URL(), "fingerprint", ca.Fingerprint(), "dir", ca.dir)
	err = srv.ServeTLS(ln, "", "")
	cancel()
	wg.Wait()
	conns.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// server has HTTP/1.1 only: there, the end of a connection is the end of its
// handler, which must be waited for before the database is closed.
func (ca *CA) server(h http.Handler, base context.Context, own *ownCertificate, conns *sync.WaitGroup) *http.Server {
	clients := x509.NewCertPool()
	clients.AddCert(ca.pki.root)
	clients.AddCert(ca.pki.intermediate) // for clients that send only a leaf
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(ca.opts.Logger.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS13,
			ClientAuth:     tls.VerifyClientCertIfGiven, // as step-ca: enrolment has none yet
			ClientCAs:      clients,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.cur.Load(), nil },
		},
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
}

// ownCertificate keeps the CA's server certificate fresh.
type ownCertificate struct {
	issue func() (*tls.Certificate, error)
	log   *slog.Logger
	cur   atomic.Pointer[tls.Certificate]
}

func (o *ownCertificate) renew() error {
	crt, err := o.issue()
	if err != nil {
		return err
	}
	o.cur.Store(crt)
	return nil
}

// run looks every minute, because timers stand still while a laptop sleeps.
func (o *ownCertificate) run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		leaf := o.cur.Load().Leaf
		if time.Until(leaf.NotAfter) > leaf.NotAfter.Sub(leaf.NotBefore)/3 {
			continue
		}
		if err := o.renew(); err != nil {
			o.log.Error("ca keeps its old server certificate", "notAfter", leaf.NotAfter, "err", err)
		}
	}
}
