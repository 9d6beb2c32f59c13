package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/boundlog"
	"github.com/sangate/sangate/server/http1"
)

// Bounds of a shutdown. Together with drainTimeout they are what [Server.Run] takes at
// most after its context has ended, whatever tools, upstreams and their commands do.
const (
	cutOffGrace   = 300 * time.Millisecond  // for requests that were cut off to return
	shutdownGrace = 1500 * time.Millisecond // after drainTimeout
)

// ErrStillRunning reports a shutdown that left work behind, such as a tool that ignores
// its context. The process should exit.
var ErrStillRunning = errors.New("shutdown left work behind that did not end in time")

// Run serves until ctx ends, then drains: no new connections, requests in
// progress get until drainTimeout. It closes the state store. It returns
// [ErrStillRunning] if that takes longer than drainTimeout and a grace.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(s.limits.DrainTimeout + shutdownGrace)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		s.log.Error("shutdown did not end in time", "requests", s.live.count())
		return ErrStillRunning
	}
}

func (s *Server) serve(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	main, err := s.listen()
	if err != nil {
		return errors.Join(err, s.closeAdmin())
	}
	// What keeps the gate honest goes on until the last request has ended.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 3) // room for each, or the last would wait for ever
	var background, serving sync.WaitGroup
	defer background.Wait()
	defer stop()

	gateListener := newListener(main, s, s.limits)
	httpServer, adminServer := s.httpServer(), s.adminServer()

	s.live.swept.Store(time.Now().UnixNano()) // however long ago New was
	s.watch(watching, &background)            // from here on the configuration may change
	loop := func(doing string, run func(context.Context)) {
		background.Go(func() { contain.Loop(watching, s.log, doing, run) })
	}
	loop("keep certificates current", func(ctx context.Context) { s.pki.Run(ctx, s.materialChanged) })
	loop("keep key sets current", s.issuers.Run)
	loop("keep upstreams current", s.backend.Run)
	loop("keep OpenAPI documents current", s.backend.RunDocuments)
	loop("note uses of keys", s.noteUse)
	loop("decide requests again", func(ctx context.Context) { s.live.sweep(ctx, s.still, s.cutOff, s.limits.StallTimeout) })
	loop("watch answers", func(ctx context.Context) { s.finishing.watch(ctx, s.limits.StallTimeout) })
	loop("decide connections again", func(ctx context.Context) {
		s.conns.sweep(ctx, s.gate, s.opts.Now, s.dropped, s.limits.StallTimeout, s.connectionStalled)
	})
	serving.Go(func() { failed <- gateListener.run() })
	serving.Go(func() { failed <- httpServer.Serve(gateListener) })
	serving.Go(func() { failed <- adminServer.Serve(s.admin) })
	s.log.Info("serving", "listen", main.Addr().String(), "admin", s.admin.Addr().String(),
		"tenants", len(s.gate.Snapshot().Tenants.Tenants()), "certificateNotAfter", s.gate.Snapshot().PKI.Certificate.Leaf.NotAfter)

	close(s.serving)
	select {
	case <-ctx.Done():
		s.draining.Store(true)
		s.log.Info("draining", "timeout", s.limits.DrainTimeout)
	case err = <-failed:
	}
	err = errors.Join(ignoreClosed(err), s.drain(gateListener.plain, httpServer, adminServer))
	// http.Server.Close does not wait: a call that was cut off may be tidying up.
	if !waitAtMost(cutOffGrace, func() { serving.Wait(); s.live.wait() }) {
		s.log.Warn("requests that were cut off still run", "requests", s.live.count())
	}
	return err
}

// waitAtMost reports whether wait returned in time. If not, it is left waiting.
func waitAtMost(limit time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// drain lets requests in progress end and closes what has not ended in time.
// The admin listener goes last, so that the draining can be watched.
func (s *Server) drain(plain *http1.Server, main, adminServer *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.DrainTimeout)
	defer cancel()
	s.mcp.Drain()
	drained := make(chan error, 1)
	go func() { drained <- plain.Shutdown(ctx) }()
	err := main.Shutdown(ctx)
	err = errors.Join(err, <-drained)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests cut off: they did not end within drainTimeout")
		plain.Close()
		err = main.Close()
	}
	return errors.Join(ignoreClosed(err), ignoreClosed(adminServer.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// tryListen tells of an address that is taken before a start waits for its
// certificate, and perhaps spends a token on it. Nothing listens meanwhile: who
// connects would wait, too.
func (s *Server) tryListen() error {
	if s.opts.Listener != nil {
		return nil
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	return l.Close()
}

func (s *Server) listen() (main net.Listener, err error) {
	if s.opts.Listener != nil {
		return s.opts.Listener, nil
	}
	if main, err = net.Listen("tcp", s.config.Load().Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return main, nil
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
		ErrorLog:                     slog.NewLogLogger(boundlog.NewRepeated(s.log.Handler()), slog.LevelDebug),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: int(l.MaxStreamsPerConn)},
		ConnState:                    idled,
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
		Log:         slog.NewLogLogger(boundlog.NewRepeated(s.log.Handler()), slog.LevelDebug),
	}
}
