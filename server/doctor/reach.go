package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
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
	case err != nil, u.Host == "" || u.Hostname() == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		return fmt.Errorf("%q: write https://host:port", e.URL)
	}
	e.url, e.host, e.port = u, u.Hostname(), u.Port()
	if e.port == "" {
		e.port = "443"
	}
	return nil
}

func (e *examination) address(ctx context.Context) string {
	if e.url.Scheme != "https" {
		e.tell("the URL begins with http://")
		return Scheme
	}
	if addr, err := netip.ParseAddr(e.host); err == nil {
		e.addrs = []netip.Addr{addr}
		e.tell("%s, no name to look up", addr)
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", e.host)
	if err != nil {
		e.tell("%v", err)
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

// connection finds the first address that answers.
func (e *examination) connection(ctx context.Context) string {
	finding := Unreachable
	for _, addr := range e.addrs {
		remote := net.JoinHostPort(addr.String(), e.port)
		conn, err := dial(ctx, remote)
		if err == nil {
			_ = conn.Close()
			e.remote = remote
			e.tell("%s takes connections", remote)
			return ""
		}
		e.tell("%v", err)
		if errors.Is(err, syscall.ECONNREFUSED) {
			finding = PortClosed
		}
	}
	return finding
}

func dial(ctx context.Context, remote string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", remote)
}

// tls meets the server, whoever it is.
func (e *examination) tls(ctx context.Context) string {
	e.met = e.meet(ctx, e.MaxVersion)
	if alertOf(e.met.handshake) == alertUnknownOrBad { // one alert for all, to those it has let in of late: the second time it is told
		e.met = e.meet(ctx, e.MaxVersion)
	}
	err := e.met.handshake
	if err != nil && !e.met.asked {
		return e.noTLS(err)
	}
	if state := e.met.state; state.Version != 0 {
		e.tell("%s, %s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID)
	}
	if !e.met.asked {
		e.tell("the server does not ask for a client certificate")
		return NotAsked
	}
	if e.MaxVersion == 0 && e.met.state.Version == tls.VersionTLS13 {
		if old := e.meet(ctx, tls.VersionTLS12); old.handshake != nil && !old.asked {
			e.tell("a client that speaks TLS 1.2 at most is refused (%s)", reasonOf(old.handshake))
		}
	}
	return ""
}

// noTLS tells why there is no TLS at all.
func (e *examination) noTLS(err error) string {
	e.tell("%s", reasonOf(err))
	record, garbled := errors.AsType[tls.RecordHeaderError](err)
	ne, isNet := errors.AsType[net.Error](err)
	switch {
	case garbled && string(record.RecordHeader[:4]) == "HTTP":
		return PlainHTTP
	case garbled:
		e.tell("the first bytes are %q", record.RecordHeader[:])
		return NotTLS
	case isNet && ne.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return NoAnswer
	case strings.Contains(err.Error(), "unrecognized name"):
		return ServerName
	}
	return string(protocol)
}
