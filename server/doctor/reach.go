package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Findings on the way to the gate.
const (
	Scheme      = "scheme"
	DNS         = "dns"
	PortClosed  = "port_closed"
	Unreachable = "unreachable"
	NoAnswer    = "no_answer"
	PlainHTTP   = "plain_http"
	NotTLS      = "not_tls"
	NotAsked    = "no_certificate_request"
)

func (e *examination) parseURL() error {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil, u.Host == "" || u.Hostname() == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"), !isPort(u.Port()):
		return fmt.Errorf("%q: write https://host:port", e.URL)
	}
	e.url, e.port = u, cmp.Or(u.Port(), "443")
	var zone string
	if e.host, zone, _ = strings.Cut(u.Hostname(), "%"); zone != "" { // which is this machine's business
		e.zone, u.Host = zone, strings.Replace(u.Host, "%"+zone, "", 1)
	}
	return nil
}

// isPort takes none for one.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

func (e *examination) address(ctx context.Context) string {
	if e.url.Scheme != "https" {
		e.tell("the URL begins with http://")
		return Scheme
	}
	if addr, err := netip.ParseAddr(e.host); err == nil {
		e.addrs = []netip.Addr{addr.WithZone(e.zone)}
		e.tell("%s, no name to look up", e.addrs[0])
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	addrs, err := e.Lookup(ctx, "ip", e.host)
	if err != nil {
		e.tell("%v", err)
		e.tellProxy()
		return DNS
	}
	for _, a := range addrs {
		if a = a.Unmap(); !slices.Contains(e.addrs, a) {
			e.addrs = append(e.addrs, a)
		}
	}
	e.tell("%s is %s", e.host, join(e.addrs))
	return ""
}

func join[T fmt.Stringer](list []T) string {
	var out []string
	for _, v := range list {
		out = append(out, v.String())
	}
	return strings.Join(out, ", ")
}

// tellProxy tells of a proxy that other clients would go through.
func (e *examination) tellProxy() {
	if proxy, err := httpproxy.FromEnvironment().ProxyFunc()(e.url); err == nil && proxy != nil {
		e.tell("HTTPS_PROXY=%s is set: other clients go through it; this looked past it", proxy.Host)
	}
}

// connection dials all addresses, and stays with the first of them that answers.
func (e *examination) connection(ctx context.Context) string {
	addrs := e.addrs[:min(len(e.addrs), maxAddresses)]
	conns, errs := e.dialAll(ctx, addrs)
	finding := Unreachable
	var silent []string
	for i, conn := range conns {
		switch {
		case conn == nil:
			silent = append(silent, reasonOf(errs[i]))
			if errors.Is(errs[i], syscall.ECONNREFUSED) {
				finding = PortClosed
			}
		case e.conn == nil:
			e.conn, e.remote = conn, e.at(addrs[i])
			e.tell("%s takes connections", e.remote)
		default:
			_ = conn.Close()
		}
	}
	if n := len(silent); n > 0 && len(addrs) > 1 {
		e.tell("%d of %d addresses %s: %s", n, len(addrs), plural(n, "does not answer", "do not answer"), strings.Join(silent, "; "))
	} else if n > 0 {
		e.tell("%s", silent[0])
	}
	if n := len(e.addrs) - len(addrs); n > 0 {
		e.tell("%d more %s not looked at", n, plural(n, "is", "are"))
	}
	e.tellProxy()
	if e.conn == nil {
		return finding
	}
	return ""
}

// dialAll dials at once; once one has answered the others have little time left.
func (e *examination) dialAll(ctx context.Context, addrs []netip.Addr) ([]net.Conn, []error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conns, errs := make([]net.Conn, len(addrs)), make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			if conns[i], errs[i] = dial(ctx, e.at(addr)); errs[i] == nil {
				time.AfterFunc(dialGrace, cancel)
			} else if ctx.Err() == context.Canceled {
				errs[i] = fmt.Errorf("%s: no answer", e.at(addr))
			}
		})
	}
	wg.Wait()
	return conns, errs
}

func (e *examination) at(addr netip.Addr) string { return net.JoinHostPort(addr.String(), e.port) }

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func dial(ctx context.Context, remote string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", remote)
}

// tls meets the server, whoever it is.
func (e *examination) tls(ctx context.Context) string {
	e.met = e.meet(ctx, e.MaxVersion)
	err := e.met.handshake
	if err != nil && !e.met.asked {
		return e.noTLS(err)
	}
	if state := e.met.state; state.Version != 0 {
		parts := []string{tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), group(state)}
		e.tell("%s", strings.TrimSuffix(strings.Join(parts, ", "), ", "))
	}
	switch wanted := e.met.wanted(); {
	case !e.met.asked:
		e.tell("the server does not ask for a client certificate")
		return NotAsked
	case len(wanted) == 0:
		e.tell("it asks for certificates, and does not say of which CAs")
	case len(wanted) > maxTold:
		e.tell("it asks for certificates of %s, and of %d others", strings.Join(wanted[:maxTold], "; "), len(wanted)-maxTold)
	default:
		e.tell("it asks for certificates of %s", strings.Join(wanted, "; "))
	}
	return ""
}

// noTLS tells why there is no TLS at all.
func (e *examination) noTLS(err error) string {
	e.tell("%s", reasonOf(err))
	record, garbled := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case garbled && string(record.RecordHeader[:4]) == "HTTP":
		return PlainHTTP
	case garbled:
		e.tell("the first bytes are %q", record.RecordHeader[:])
		return NotTLS
	case silent(err):
		return NoAnswer
	case strings.Contains(err.Error(), "unrecognized name"):
		return ServerName
	}
	return string(protocol)
}

// silent reports that nothing came, or no more, and the connection may be closed.
func silent(err error) bool {
	return timedOut(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

func timedOut(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
