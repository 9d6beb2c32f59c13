// Package egress is the way out of the gate for what a peer, or a document that
// was fetched, may have had a say in: the keys of issuers, tools, upstreams.
//
// A [Guard] looks at the address of every dial after the name was resolved, so a
// name that resolves to another address the second time gains nothing. What is
// not a public unicast address is refused unless the operator allowed it;
// redirects are not followed.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// A Guard decides which addresses may be dialled. Safe for concurrent use.
type Guard struct{ allow []netip.Prefix }

// New makes a guard that lets through public addresses and those in allow.
func New(allow []netip.Prefix) *Guard { return &Guard{allow: slices.Clone(allow)} }

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

// DialContext dials one address that the guard lets through.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, Control: g.control}
	return d.DialContext(ctx, network, address)
}

// ErrRedirect refuses to be led elsewhere.
var ErrRedirect = errors.New("answered with a redirect, which is not followed; write the address it leads to")

// Client returns an HTTP client behind the guard. Servers are verified by roots,
// or the system's where roots is nil. The caller closes its idle connections.
func (g *Guard) Client(roots *x509.CertPool, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return ErrRedirect },
		Transport: &http.Transport{
			DialContext:            g.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // a bomb is no way to a small body
		},
	}
}
