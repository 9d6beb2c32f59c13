package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/boundlog"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/console"
)

// openAdmin opens the admin listener with the door that the configuration wants.
func (s *Server) openAdmin() (err error) {
	l := s.opts.AdminListener
	if l == nil {
		if l, err = net.Listen("tcp", s.config.Load().Admin); err != nil {
			return fmt.Errorf("admin: %w", err)
		}
	}
	s.admin = admin.NewListener(l, s.opts.Now, admin.Bounds{Bytes: s.limits.MaxHandshakeBytes, Hello: s.limits.HelloTimeout})
	s.admin.OnDrop = s.metrics.ConnectionDropped
	door, err := s.doorOf(s.config.Load())
	if err != nil {
		return errors.Join(err, s.closeAdmin())
	}
	s.admin.Use(door)
	s.warnOpen()
	return nil
}

// closeAdmin closes the admin listener, unless it is the caller's of New.
func (s *Server) closeAdmin() error {
	if s.opts.AdminListener != nil {
		return nil
	}
	return s.admin.Close()
}

func (s *Server) warnOpen() {
	if a, ok := s.admin.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && s.admin.Door() == nil {
		s.log.Warn("the admin listener is open beyond loopback, without TLS; see adminTLS", "admin", a.String())
	}
}

// doorOf makes what the admin listener shows and whom it lets in; nil where the
// configuration wants plain HTTP.
func (s *Server) doorOf(c *config.Config) (*admin.Door, error) {
	t := c.AdminTLS
	if t == nil {
		return nil, nil
	}
	d := &admin.Door{Certificate: s.shownCertificate, Revocation: s.revocation}
	d.MinVersion, _ = c.TLS.Version() // was checked when c was loaded
	if t.Cert != "" {
		cert, err := t.Files().LoadCertificate()
		if err != nil {
			return nil, fmt.Errorf("adminTLS: %w", err)
		}
		d.Own = cert.Leaf
		d.Certificate = func() (*tls.Certificate, error) { return cert, nil }
	}
	if len(t.ClientCA) > 0 {
		var err error
		if d.Clients, err = pki.LoadBundle(config.Strings(t.ClientCA)); err != nil {
			return nil, fmt.Errorf("adminTLS: %w", err)
		}
	}
	return d, nil
}

// shownCertificate is the gate's own, for the admin listener. Until there is one it
// is another that nobody trusts: whoever verifies it is refused, while probes, which
// do not, find the gate alive.
func (s *Server) shownCertificate() (*tls.Certificate, error) {
	if !s.built.Load() {
		return throwaway()
	}
	return s.ownCertificate()
}

var throwaway = sync.OnceValues(func() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sangate is starting"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
})

// revocation is what is known of it to the gate by now.
func (s *Server) revocation() pki.Revocation {
	if !s.built.Load() {
		return nil
	}
	return s.gate.Snapshot().PKI.Revocation
}

// reloadDoor takes up other files of adminTLS; what does not load leaves the door
// as it is. Callers hold mu.
func (s *Server) reloadDoor() (changed bool, err error) {
	next, err := s.doorOf(s.config.Load())
	if err != nil || next.Equal(s.admin.Door()) {
		return false, err
	}
	s.admin.Use(next)
	s.log.Info("certificates of the admin listener reloaded")
	return true, nil
}

// adminServer is what answers on the admin listener; while the gate is not built
// yet, of that alone.
func (s *Server) adminServer() *http.Server {
	views := console.New(s.shown())
	return &http.Server{
		Handler: admin.Handler(admin.Options{Metrics: s.metrics, Checks: s.checks(), Alive: s.Alive, Log: s.log, Listener: s.admin, Turns: admin.NewTurns(),
			Hosts: func() []string { return s.config.Load().AdminHosts },
			Pprof: func() bool { return s.config.Load().AdminPprof },
			Console: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !s.built.Load() {
					w.Header().Set("Retry-After", "5")
					http.Error(w, "The gate is starting: "+s.whyWaiting().Error()+"\nReload this page in a while; /readyz and /metrics tell more.", http.StatusServiceUnavailable)
					return
				}
				views.ServeHTTP(w, r)
			})}),
		ConnContext:       admin.ConnContext,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(boundlog.NewRepeated(s.log.Handler()), slog.LevelDebug),
	}
}
