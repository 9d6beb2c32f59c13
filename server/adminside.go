package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/console"
)

// openAdmin opens the admin listener with the door that the configuration wants.
func (s *Server) openAdmin() (err error) {
	l := s.opts.AdminListener
	if l == nil {
		if l, err = net.Listen("tcp", s.config.Admin); err != nil {
			return fmt.Errorf("admin: %w", err)
		}
	}
	s.admin = admin.NewListener(l, s.opts.Now)
	door, err := s.doorOf(s.config)
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
	d := &admin.Door{Certificate: s.shownCertificate}
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

// shownCertificate is the gate's own, for the admin listener, which is there
// before it.
func (s *Server) shownCertificate() (*tls.Certificate, error) {
	if !s.built.Load() {
		return nil, errors.New("the gate has no certificate yet")
	}
	return s.ownCertificate()
}

// reloadDoor takes up other files of adminTLS; what does not load leaves the door
// as it is. Callers hold mu.
func (s *Server) reloadDoor() (changed bool, err error) {
	next, err := s.doorOf(s.config)
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
		Handler: admin.Handler(admin.Options{Metrics: s.metrics, Checks: s.checks(), Alive: s.Alive, Listener: s.admin,
			Hosts: func() []string { return s.inForceConfig().AdminHosts },
			Pprof: func() bool { return s.inForceConfig().AdminPprof },
			Console: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !s.built.Load() {
					w.Header().Set("Retry-After", "5")
					http.Error(w, "The gate is starting: "+s.whyWaiting().Error()+"\nReload this page in a while; /readyz and /metrics tell more.", http.StatusServiceUnavailable)
					return
				}
				views.ServeHTTP(w, r)
			})}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) inForceConfig() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}
