package stepca

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/sangate/sangate/pki/contain"
)

// answers are the challenges of one order, and the listeners that answer them.
type answers struct {
	http, alpn bool // which kinds can be answered

	mu    sync.Mutex
	paths map[string]string           // of http-01: path to body
	names map[string]*tls.Certificate // of tls-alpn-01: server name to certificate
}

// listen opens what the options name. stop ends all of it.
func (a ACME) listen(ctx context.Context) (ans *answers, stop func(), err error) {
	if a.HTTP == "" && a.TLS == "" {
		return nil, nil, errors.New("no address to answer challenges on; give one for http-01 or tls-alpn-01")
	}
	log := cmp.Or(a.Logger, slog.New(slog.DiscardHandler))
	ans = &answers{http: a.HTTP != "", alpn: a.TLS != "", paths: map[string]string{}, names: map[string]*tls.Certificate{}}
	var wg sync.WaitGroup
	var closers []func() error
	stop = func() {
		for _, c := range closers {
			c()
		}
		wg.Wait()
	}
	var lc net.ListenConfig
	if ans.http {
		ln, err := lc.Listen(ctx, "tcp", a.HTTP)
		if err != nil {
			return nil, nil, fmt.Errorf("http-01: %w", err)
		}
		srv := &http.Server{Handler: ans, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		closers = append(closers, srv.Close, ln.Close)
		wg.Go(func() { defer contain.Panic(log, "answer http-01"); srv.Serve(ln) })
	}
	if ans.alpn {
		ln, err := lc.Listen(ctx, "tcp", a.TLS)
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("tls-alpn-01: %w", err)
		}
		closers = append(closers, ln.Close)
		wg.Go(func() { defer contain.Panic(log, "answer tls-alpn-01"); ans.handshakes(ln, log) })
	}
	return ans, stop, nil
}

// add prepares the answer to one of an authorization's challenges.
func (ans *answers) add(account *acme.Client, authz *acme.Authorization) (*acme.Challenge, error) {
	var offered []string
	for _, c := range authz.Challenges {
		offered = append(offered, oneLine(c.Type))
		switch {
		case c.Type == "http-01" && ans.http:
			body, err := account.HTTP01ChallengeResponse(c.Token)
			if err != nil {
				return nil, err
			}
			ans.mu.Lock()
			defer ans.mu.Unlock()
			ans.paths[account.HTTP01ChallengePath(c.Token)] = body
			return c, nil
		case c.Type == "tls-alpn-01" && ans.alpn:
			crt, err := account.TLSALPN01ChallengeCert(c.Token, authz.Identifier.Value)
			if err != nil {
				return nil, err
			}
			ans.mu.Lock()
			defer ans.mu.Unlock()
			ans.names[serverName(authz.Identifier.Value)] = &crt
			return c, nil
		}
	}
	return nil, fmt.Errorf("none of the challenges offered can be answered (%s)", strings.Join(offered, ", "))
}

// ServeHTTP answers http-01 (RFC 8555, 8.3) and nothing else.
func (ans *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ans.mu.Lock()
	body, ok := ans.paths[r.URL.Path]
	ans.mu.Unlock()
	if !ok || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write([]byte(body))
}

// handshakes answers tls-alpn-01 (RFC 8737): the handshake is all there is. A panic
// ends its connection only.
func (ans *answers) handshakes(ln net.Listener, log *slog.Logger) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{acme.ALPNProto},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			ans.mu.Lock()
			defer ans.mu.Unlock()
			if crt, ok := ans.names[strings.ToLower(hello.ServerName)]; ok {
				return crt, nil
			}
			return nil, errors.New("no challenge for that name")
		},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, 16)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // closed: the order is done
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { conn.Close(); <-slots }()
			defer contain.Panic(log, "answer tls-alpn-01")
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			tls.Server(conn, config).Handshake()
		})
	}
}

// serverName is what the authority asks for: of an address, its name in the
// reverse tree (RFC 8738, 6).
func serverName(identifier string) string {
	ip, err := netip.ParseAddr(identifier)
	if err != nil {
		return strings.ToLower(identifier)
	}
	var b strings.Builder
	raw := ip.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if ip.Is4() {
			fmt.Fprintf(&b, "%d.", raw[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", raw[i]&15, raw[i]>>4)
		}
	}
	if ip.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
