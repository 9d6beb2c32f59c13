package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// clientCases are holders of a certificate of the tenant acme; the
// well-behaved client is of the tenant globex.
func clientCases() []kase {
	idle := func(name string, n int, units int, limits, send string) kase {
		return kase{name: "client/" + name, unit: "connection", units: units, limits: limits,
			bounds: clientBounds.withGrowth(512 * mb), attack: func(ctx context.Context, a *arena) error {
				config, err := clientTLS(a.Dir, "acme")
				if err != nil {
					return err
				}
				return a.hold(ctx, n, func(ctx context.Context, _ int) (io.ReadCloser, error) {
					conn, err := a.secure(ctx, config)
					if err == nil && send != "" {
						_, err = io.WriteString(conn, strings.ReplaceAll(send, "TOKEN", a.Token))
					}
					return conn, err
				})
			}}
	}
	call := func(name string, units int, rate float64, token string, body func(i int) (path, body string)) kase {
		return kase{name: "client/" + name, unit: "request", units: units, rate: rate, bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error { return a.calls(ctx, token, body) }}
	}
	fixed := func(path, text string) func(int) (string, string) {
		return func(int) (string, string) { return path, text }
	}
	head := "POST /tool/echo/call HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer TOKEN\r\n"
	initialize := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},` +
		`"clientInfo":{"name":"a","version":"1"}}}`
	return []kase{
		idle("idle-to-maximum", 600, 400, "  maxConnections: 500", ""),
		idle("idle-6000-no-token", 6000, 300, "", ""),
		idle("slow-headers", 600, 300, "  maxConnections: 500", head),
		idle("slow-body", 600, 300, "  maxConnections: 500", head+"Content-Length: 100000\r\n\r\n{"),
		idle("slow-body-no-token", 600, 300, "  maxConnections: 500",
			strings.Replace(head, "TOKEN", "x", 1)+"Content-Length: 100000\r\n\r\n{"),
		call("wrong-token-flood", 500, 300, "sgk_wrong", fixed("/tool/echo/call", `{"arguments":{"message":"x"}}`)),
		call("no-token-flood", 500, 300, "-", fixed("/tool/echo/call", `{"arguments":{"message":"x"}}`)),
		call("token-of-30000-bytes", 300, 200, strings.Repeat("x", 30_000), fixed("/tool/echo/call", `{}`)),
		call("good-calls-flood", 1000, 500, "", fixed("/tool/echo/call", `{"arguments":{"message":"x"}}`)),
		call("unknown-tools", 500, 300, "", func(i int) (string, string) {
			return fmt.Sprintf("/tool/none-%d/call", i), `{"arguments":{}}`
		}),
		call("inspect-1mb-of-pem", 10, 3, "", fixed("/tool/certificate_inspect/call", pemBody(attributesCertificate(), 1_000_000))),
		call("inspect-garbage-blocks", 10, 3, "", fixed("/tool/certificate_inspect/call",
			`{"arguments":{"pem":"`+strings.Repeat(`-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n`, 18_000)+`"}}`)),
		call("inspect-begin-lines", 10, 3, "", fixed("/tool/certificate_inspect/call",
			`{"arguments":{"pem":"`+strings.Repeat(`-----BEGIN CERTIFICATE-----\n`, 34_000)+`"}}`)),
		call("deep-json", 50, 10, "", fixed("/tool/echo/call", strings.Repeat("[", 1_000_000))),
		call("deep-json-objects", 50, 10, "", fixed("/tool/echo/call", strings.Repeat(`{"a":`, 200_000))),
		call("deep-json-arguments", 50, 10, "", fixed("/tool/echo/call",
			`{"arguments":{"message":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+`}}`)),
		call("100000-members", 20, 5, "", fixed("/tool/echo/call", members(70_000))),
		call("numbers-1e999999", 50, 20, "", fixed("/tool/echo/call", `{"arguments":{"message":1e999999999}}`)),
		call("number-of-900000-digits", 20, 5, "", fixed("/tool/echo/call", `{"arguments":{"message":`+strings.Repeat("9", 900_000)+`}}`)),
		call("mcp-deep", 50, 10, "", fixed("/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+strings.Repeat("[", 500_000))),
		call("mcp-batch", 20, 5, "", fixed("/mcp", "["+strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"ping"},`, 20_000)+"1]")),
		call("10000-sessions", 2000, 800, "", fixed("/mcp", initialize)),
		{name: "client/2000-event-streams", unit: "stream", units: 300, bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error { return a.streams(ctx, 2000) }},
	}
}

// secure connects with TLS.
func (a *arena) secure(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	raw, err := a.dial(ctx, nil)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// calls sends requests on a few kept connections. The token is the good one if
// empty, and none if "-".
func (a *arena) calls(ctx context.Context, token string, body func(i int) (path, body string)) error {
	config, err := clientTLS(a.Dir, "acme")
	if err != nil {
		return err
	}
	tr := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: max(8, a.Workers), DisableCompression: true}
	defer tr.CloseIdleConnections()
	if token == "" {
		token = a.Token
	}
	return a.each(ctx, func(ctx context.Context) {
		path, text := body(int(a.units.Load()))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.Addr+path, strings.NewReader(text))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if token != "-" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<20))
		_ = resp.Body.Close()
	})
}

// streams holds subscriptions open, each on a connection of its own.
func (a *arena) streams(ctx context.Context, n int) error {
	config, err := clientTLS(a.Dir, "acme")
	if err != nil {
		return err
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},` +
		`"io.modelcontextprotocol/clientInfo":{"name":"attack","version":"1"}}}}`
	text := fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"+
		"Authorization: Bearer %s\r\nMcp-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\nContent-Length: %d\r\n\r\n%s",
		a.Token, len(body), body)
	return a.hold(ctx, n, func(ctx context.Context, _ int) (io.ReadCloser, error) {
		conn, err := a.secure(ctx, config)
		if err != nil {
			return nil, err
		}
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, text); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	})
}

func members(n int) string {
	var b strings.Builder
	b.WriteString(`{"arguments":{"message":"x"`)
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	b.WriteString("}}")
	return b.String()
}
