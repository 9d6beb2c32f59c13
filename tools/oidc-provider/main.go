// Command oidc-provider is an OpenID Provider for tests, made with zitadel/oidc:
// it gives JWTs for client credentials, and rolls its keys when told to.
//
// It reads its clients as JSON from standard input and ends when that is closed
// or on SIGTERM. A second listener without TLS takes orders: POST /roll, /forget,
// /break and /mend; GET /fetches.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oidc-provider:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("oidc-provider", flag.ContinueOnError)
	cert, key := flags.String("cert", "", "certificate file"), flags.String("key", "", "its key")
	lifetime := flags.Duration("lifetime", 5*time.Minute, "of tokens")
	if err := flags.Parse(args); err != nil {
		return err
	}
	input := json.NewDecoder(in)
	var clients []client
	if err := input.Decode(&clients); err != nil {
		return fmt.Errorf("clients on standard input: %w", err)
	}
	main, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, main.Close())
	}
	issuer := "https://" + main.Addr().String()
	s := newStorage(clients, *lifetime)
	if err := s.roll(); err != nil {
		return err
	}
	provider, err := op.NewProvider(&op.Config{AuthMethodPost: true, SupportedScopes: []string{"openid"}}, s, op.StaticIssuer(issuer),
		op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	c := &controls{storage: s}
	server := &http.Server{Handler: withClientCert(c.counting(provider))}
	orders := &http.Server{Handler: c.handler()}
	server.TLSConfig = tlsConfig()
	failed := make(chan error, 3)
	go func() { failed <- server.ServeTLS(main, *cert, *key) }()
	go func() { failed <- orders.Serve(control) }()
	go func() { _, err := io.Copy(io.Discard, in); failed <- err }()
	fmt.Fprintf(out, "%s http://%s\n", issuer, control.Addr())
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, server.Close(), orders.Close())
}

// controls are what a test tells the provider to do.
type controls struct {
	storage *storage
	broken  atomic.Bool
	fetches atomic.Int64
}

// counting counts who asks for the keys, and fails them where told to.
func (c *controls) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			c.fetches.Add(1)
			if c.broken.Load() {
				http.Error(w, "broken", http.StatusInternalServerError)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (c *controls) handler() http.Handler {
	mux := http.NewServeMux()
	order := func(path string, do func() error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, _ *http.Request) {
			if err := do(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	order("/roll", c.storage.roll)
	order("/forget", c.storage.forget)
	order("/break", func() error { c.broken.Store(true); return nil })
	order("/mend", func() error { c.broken.Store(false); return nil })
	mux.HandleFunc("GET /fetches", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.fetches.Load()) })
	return mux
}
