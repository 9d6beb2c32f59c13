// Package egress is the way out of the gate for what a peer, or a document that
// was fetched, may have had a say in: the keys of issuers, tools, upstreams.
//
// A [Guard] looks at the address of every dial after the name was resolved, so a
// name that resolves to another address the second time gains nothing. What is
// not a public unicast address is refused unless the operator allowed it;
// redirects are not followed. Where a proxy stands in between, it is the proxy
// that resolves names, and its rules that count for them; addresses are looked at
// all the same.
package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Options of a Guard; the zero value lets public addresses through, and verifies
// servers by the system's CAs.
type Options struct {
	Allow []netip.Prefix    // beside public addresses
	Roots *x509.CertPool    // that servers are verified by; nil: the system's
	Proxy *httpproxy.Config // to go through; nil: none
}

// A Guard decides which addresses may be dialled. Safe for concurrent use.
type Guard struct {
	allow   []netip.Prefix
	roots   *x509.CertPool
	proxy   func(*url.URL) (*url.URL, error)
	proxies []string // host:port of the proxies, which may stand anywhere
	secrets []string // passwords for the proxies
}

// Secrets returns the passwords that the guard sends to proxies; none for a nil guard.
func (g *Guard) Secrets() []string {
	if g == nil {
		return nil
	}
	return slices.Clone(g.secrets)
}

// New makes a guard.
func New(opts Options) *Guard {
	g := &Guard{allow: slices.Clone(opts.Allow), roots: opts.Roots}
	if opts.Proxy == nil {
		return g
	}
	g.proxy = opts.Proxy.ProxyFunc()
	for _, text := range []string{opts.Proxy.HTTPProxy, opts.Proxy.HTTPSProxy} {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			if password, ok := u.User.Password(); ok {
				g.secrets = append(g.secrets, password)
			}
			g.proxies = append(g.proxies, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"https": "443", "socks5": "1080"}[u.Scheme], "80")))
		}
	}
	return g
}

// A RefusedError is a dial that the guard did not let through.
type RefusedError struct{ Addr netip.Addr }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is no public address; where it is meant to be dialled, add it to egress.allow", e.Addr)
}

// closed are ranges that lead back inside, or hold addresses that do: RFC 6890
// and what has been registered since. Loopback, private, link-local and multicast
// are netip's to tell.
var closed = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared, RFC 6598
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),        // IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64: an IPv4 address inside
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo and the like
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4: an IPv4 address inside
	netip.MustParsePrefix("fec0::/10"),
}

// Check returns a [*RefusedError] for an address that must not be dialled. An
// IPv4 address in an IPv6 one is looked at as what it is.
func (g *Guard) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	contains := func(p netip.Prefix) bool { return p.Contains(addr) }
	switch {
	case slices.ContainsFunc(g.allow, contains):
		return nil
	case !addr.IsGlobalUnicast(), addr.IsPrivate(), slices.ContainsFunc(closed, contains):
		return &RefusedError{addr}
	}
	return nil
}

// control is net.Dialer.Control: it sees each address that is about to be
// dialled.
func (g *Guard) control(network, address string, _ syscall.RawConn) error {
	switch network {
	case "tcp4", "tcp6":
	default:
		return fmt.Errorf("dialling %s is not done here", network)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return g.Check(at.Addr())
}

// DialContext dials one address that the guard lets through, or the proxy.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, Control: g.control}
	if slices.Contains(g.proxies, address) {
		d.Control = nil
	}
	return d.DialContext(ctx, network, address)
}

// proxyFor is http.Transport.Proxy. What is sent to the proxy is not dialled here,
// so an address that must not be is refused before.
func (g *Guard) proxyFor(r *http.Request) (*url.URL, error) {
	proxy, err := g.proxy(r.URL)
	if err != nil || proxy == nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(r.URL.Hostname()); err == nil {
		if err := g.Check(addr); err != nil {
			return nil, err
		}
	}
	return proxy, nil
}

// proxyAnswered fails for a proxy that refuses, without the words it does so in: they
// may repeat its password.
func proxyAnswered(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("proxy answered %d", res.StatusCode)
	}
	return nil
}

// ErrRedirect refuses to be led elsewhere.
var ErrRedirect = errors.New("answered with a redirect, which is not followed; write the address it leads to")

// A Target is what a client is for; the zero value is a good one.
type Target struct {
	Roots   *x509.CertPool // that the server is verified by, in the place of the guard's
	Timeout time.Duration  // of a whole exchange; 0: what the context says
	// Certificate is asked for ours, at each handshake that wants one; nil: none.
	Certificate func() (*tls.Certificate, error)
	// HTTP2 is for servers that are asked often: connections are kept, speak HTTP/2 if the
	// server does, and are paced. Others speak HTTP/1.1, in which a server sends nothing
	// that was not asked for.
	HTTP2 bool
	// Dial wraps the guard's DialContext; nil: it is used as it is.
	Dial func(DialFunc) DialFunc
}

// A DialFunc opens a connection.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Client returns an HTTP client behind the guard. The caller closes its idle
// connections.
func (g *Guard) Client(t Target) *http.Client {
	dial := g.DialContext
	if t.Dial != nil {
		dial = t.Dial(dial)
	}
	transport := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: cmp.Or(t.Roots, g.roots), MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		Protocols:              new(http.Protocols),
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // a bomb is no way to a small body
	}
	transport.Protocols.SetHTTP1(true)
	if g.proxy != nil {
		transport.Proxy = g.proxyFor
		transport.OnProxyConnectResponse = proxyAnswered
	}
	if t.Certificate != nil {
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return t.Certificate()
		}
	}
	client := &http.Client{
		Timeout:       t.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return ErrRedirect },
		Transport:     transport,
	}
	if t.HTTP2 {
		transport.Protocols.SetHTTP2(true)
		transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: window}
		transport.IdleConnTimeout = 90 * time.Second
		transport.DialContext = pace(dial)
		client.Transport = pacing{transport}
	}
	return client
}

// CheckURL reports why a URL is none to go out to: that is https, or plain http
// to this machine.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err == nil && (u.User != nil || u.Fragment != ""):
		return fmt.Errorf("%s goes without user, password and fragment", Named(text))
	case err != nil || u.Hostname() == "":
		return fmt.Errorf("%s is no URL to go out to", Named(text))
	case u.Scheme == "https":
		return nil
	}
	if u.Scheme == "http" && Local(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s: write https; plain http is for this machine only", Named(text))
}

// Named is what an error may say of what should be a URL: without user info, query and
// fragment, where secrets stand that somebody has written there by mistake.
func Named(text string) string {
	if strings.ContainsAny(text, "@?#") {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return "this"
		}
		text = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	}
	return fmt.Sprintf("%.200q", text)
}

// Local reports whether a host of a URL is this machine by its name.
func Local(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Roots reads the CAs, as PEM, that servers are verified by.
func Roots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
