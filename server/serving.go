package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/console"
	"github.com/sangate/sangate/server/http1"
)

func (s *Server) listen() (main, adminListener net.Listener, err error) {
	main, adminListener = s.opts.Listener, s.opts.AdminListener
	if main == nil {
		if main, err = net.Listen("tcp", s.config.Listen); err != nil {
			return nil, nil, fmt.Errorf("listen: %w", err)
		}
	}
	if adminListener == nil {
		if adminListener, err = net.Listen("tcp", s.config.Admin); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("admin: %w", err), main.Close())
		}
	}
	if a, ok := adminListener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		s.log.Warn("the admin listener is open beyond loopback, without TLS", "admin", a.String())
	}
	return main, adminListener, nil
}

func (s *Server) httpServer() *http.Server {
	l := s.limits
	return &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true, // else OPTIONS * is answered past the handler, whoever asks
		ConnContext:                  withConnection,
		ReadHeaderTimeout:            l.HandshakeTimeout,
		ReadTimeout:                  bodyDeadline,
		IdleTimeout:                  l.IdleTimeout,
		MaxHeaderBytes:               l.MaxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: int(l.MaxStreamsPerConn)},
	}
}

// plainServer serves HTTP/1.1 for as long as requests are plain.
func (s *Server) plainServer() *http1.Server {
	l := s.limits
	return &http1.Server{
		Handler:     s,
		Context:     func(parent context.Context) context.Context { return newRequest(parent) },
		HeadTimeout: l.HandshakeTimeout,
		BodyTimeout: bodyDeadline,
		IdleTimeout: l.IdleTimeout,
		MaxHead:     l.MaxHeaderBytes,
		Log:         slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) adminServer() *http.Server {
	return &http.Server{
		Handler:           admin.Handler(admin.Options{Metrics: s.metrics, Checks: s.checks(), Alive: s.Alive, Hosts: s.config.AdminHosts, Pprof: s.config.AdminPprof, Console: console.New(s.shown())}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}
