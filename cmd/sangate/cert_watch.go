package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki/stepca"
)

func certWatch() *cobra.Command {
	var ca caFlags
	var pair pairFlags
	var keepKey bool
	var renewAt float64
	var metrics, program string
	cmd := &cobra.Command{
		Use:   "watch --ca-url URL --root FILE --cert CRT --key KEY [flags] [--exec PROGRAM] [-- ARG…]",
		Short: "Keep a certificate alive until stopped",
		Long: `Renews certificate and key files, at two thirds of each certificate's lifetime
with jitter, until it is stopped. After each renewal PROGRAM is run with the
arguments behind --, without a shell and as they stand, with SANGATE_CERT and
SANGATE_KEY in its environment. Without --exec, the first of them is the program.`,
		Example: "  sangate cert watch --ca-url https://ca.internal:9000 --root root_ca.crt --cert web.crt --key web.key --exec systemctl -- reload nginx",
		RunE: func(cmd *cobra.Command, command []string) error {
			files, client, err := filesAndClient(&pair, &ca)
			if err != nil {
				return err
			}
			if program != "" {
				command = append([]string{program}, command...)
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			w := newWatchedPair(files, command, log)
			r, err := stepca.NewRenewer(files, client, stepca.RenewerOptions{KeepKey: keepKey, RenewAt: renewAt, OnEvent: w.event, Logger: log})
			if err != nil {
				return usage(err)
			}
			stop, err := w.serve(metrics)
			if err != nil {
				return err
			}
			defer stop()
			w.run(cmd.Context())
			defer w.wait()
			return r.Run(cmd.Context())
		},
	}
	ca.add(cmd)
	pair.add(cmd)
	cmd.Flags().BoolVar(&keepKey, "keep-key", false, "renew with the same key instead of a new one")
	cmd.Flags().Float64Var(&renewAt, "renew-at", 0, "share of the lifetime after which to renew; 0: two thirds")
	cmd.Flags().StringVar(&program, "exec", "", "program to run after each renewal; its arguments go behind --")
	cmd.Flags().StringVar(&metrics, "metrics", "", "host:port to serve Prometheus metrics on")
	return cmd
}

// A watchedPair is what happens beside the renewing: the command and the metrics.
type watchedPair struct {
	files   stepca.Files
	command []string
	log     *slog.Logger
	renewed chan struct{}
	done    chan struct{}

	registry *prometheus.Registry
	attempts *prometheus.CounterVec
	notAfter prometheus.Gauge
	next     prometheus.Gauge
}

func newWatchedPair(files stepca.Files, command []string, log *slog.Logger) *watchedPair {
	w := &watchedPair{files: files, command: command, log: log, renewed: make(chan struct{}, 1), done: make(chan struct{}),
		registry: prometheus.NewRegistry()}
	f := promauto.With(w.registry)
	w.attempts = f.NewCounterVec(prometheus.CounterOpts{Name: "sangate_certificate_renewals_total", Help: "Attempts to renew, by result."}, []string{"result"})
	w.notAfter = f.NewGauge(prometheus.GaugeOpts{Name: "sangate_certificate_not_after_timestamp_seconds", Help: "End of validity.",
		ConstLabels: prometheus.Labels{"role": "watched", "name": files.Cert}})
	w.next = f.NewGauge(prometheus.GaugeOpts{Name: "sangate_certificate_next_renewal_timestamp_seconds", Help: "When the next attempt is planned.",
		ConstLabels: prometheus.Labels{"name": files.Cert}})
	for _, result := range []string{"ok", "error"} {
		w.attempts.WithLabelValues(result)
	}
	return w
}

// event is called by the renewer and must not block.
func (w *watchedPair) event(e stepca.Event) {
	w.attempts.WithLabelValues(e.Result()).Inc()
	w.next.Set(float64(e.Next.Unix()))
	if !e.NotAfter.IsZero() {
		w.notAfter.Set(float64(e.NotAfter.Unix()))
	}
	if e.Err == nil {
		select {
		case w.renewed <- struct{}{}:
		default: // a run is due already
		}
	}
}

// run starts what runs the command after each renewal, until ctx ends.
func (w *watchedPair) run(ctx context.Context) {
	go func() {
		defer close(w.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.renewed:
				w.execute(ctx)
			}
		}
	}()
}

func (w *watchedPair) wait() { <-w.done }

func (w *watchedPair) execute(ctx context.Context) {
	if len(w.command) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, w.command[0], w.command[1:]...)
	c.Env = append(c.Environ(), "SANGATE_CERT="+w.files.Cert, "SANGATE_KEY="+w.files.Key)
	if out, err := c.CombinedOutput(); err != nil {
		w.log.Error("the command after a renewal failed", "command", w.command[0], "err", err, "output", string(out[:min(len(out), 1000)]))
	}
}

// serve serves the metrics where an address was given.
func (w *watchedPair) serve(addr string) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			w.log.Error("serving metrics", "err", err)
		}
	}()
	return func() { _ = srv.Close(); <-done }, nil
}
