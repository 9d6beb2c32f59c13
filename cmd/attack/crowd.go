package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
)

// crowdCases are strangers who connect and then say nothing, or not enough.
func crowdCases() []kase {
	crowd := func(name string, n int, from func(i int) net.IP, send func() []byte) kase {
		return kase{name: "stranger/" + name, unit: "connection", units: min(n, 2000), bounds: crowdBounds, long: n > 2000,
			attack: func(ctx context.Context, a *arena) error {
				data := send()
				return a.hold(ctx, n, func(ctx context.Context, i int) (io.ReadCloser, error) {
					conn, err := a.dial(ctx, from(i))
					if err == nil && len(data) > 0 {
						_, err = conn.Write(data)
					}
					return conn, err
				})
			}}
	}
	one := func(int) net.IP { return net.IPv4(127, 0, 0, 2) }
	each := func(i int) net.IP { return net.IPv4(127, 9, byte(i/250), byte(1+i%250)) }
	silent := func() []byte { return nil }
	half := func() []byte { h := hello(&tls.Config{ServerName: "localhost"}); return h[:len(h)/2] }
	whole := func() []byte { return hello(&tls.Config{ServerName: "localhost"}) }
	fresh := crowd("136-silent-a-second", 4000, one, silent)
	fresh.long, fresh.rate, fresh.units = false, 200, 200
	return []kase{
		crowd("10000-silent-one-address", 10_000, one, silent),
		crowd("10000-half-hello-one-address", 10_000, one, half),
		crowd("2000-silent-many-addresses", 2_000, each, silent),
		crowd("2000-half-hello-many-addresses", 2_000, each, half),
		crowd("2000-one-byte-many-addresses", 2_000, each, func() []byte { return []byte{22} }),
		crowd("2000-hello-then-silent", 2_000, each, whole),
		fresh,
	}
}

// localCases are users of the same machine, who reach the admin listener.
func localCases() []kase {
	admin := func(name string, n int, rate float64, send string) kase {
		return kase{name: "local/" + name, unit: "connection", units: min(n, 256), rate: rate, health: true,
			bounds: bounds{cpu: 20_000_000, log: 4 * kb, growth: 64 * mb, p99: 3},
			attack: func(ctx context.Context, a *arena) error {
				return a.hold(ctx, n, func(ctx context.Context, _ int) (io.ReadCloser, error) {
					conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.Admin)
					if err == nil && send != "" {
						_, err = io.WriteString(conn, send)
					}
					return conn, err
				})
			}}
	}
	head := "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
	return []kase{
		admin("admin-256-connections", 256, 0, ""),
		admin("admin-2000-connections", 2000, 0, ""),
		admin("admin-51-a-second", 4000, 51, ""),
		admin("admin-slow-headers", 512, 0, head),
		admin("admin-slow-body", 512, 0, strings.Replace(head, "GET", "POST", 1)+"Content-Length: 1000\r\n\r\nx"),
		admin("admin-idle-after-answer", 512, 0, head+"\r\n"),
		{name: "local/admin-pages-pipelined", unit: "connection", units: 40, bounds: bounds{log: 4 * kb, growth: 64 * mb, p99: 3},
			attack: func(ctx context.Context, a *arena) error {
				pages := strings.Repeat(strings.Replace(head, "/healthz", "/reasons", 1)+"\r\n", 100)
				return a.hold(ctx, 250, func(ctx context.Context, _ int) (io.ReadCloser, error) {
					conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.Admin)
					if err == nil {
						_, err = io.WriteString(conn, pages)
					}
					return conn, err
				})
			}},
		{name: "local/admin-metrics-unread", unit: "request", units: 100, rate: 50, health: true,
			bounds: bounds{log: 4 * kb, growth: 128 * mb, p99: 3},
			attack: func(ctx context.Context, a *arena) error {
				return a.each(ctx, func(ctx context.Context) {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Admin+"/metrics", nil)
					if err != nil {
						return
					}
					tr := &http.Transport{DisableKeepAlives: true}
					if resp, err := tr.RoundTrip(req); err == nil {
						_ = resp.Body.Close() // unread
					}
				})
			}},
	}
}
