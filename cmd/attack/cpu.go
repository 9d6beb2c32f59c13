package main

import (
	"context"
	"strings"
)

// crowded is how many requests of these cases are under way at once.
const crowded = 256

// cpuCases are clients of one tenant that keep the server's processors busy: by large
// requests, by many small ones, and by handshakes.
func cpuCases() []kase {
	busy := func(name, unit string, attack func(ctx context.Context, a *arena) error) kase {
		return kase{name: "client/" + name, unit: unit, units: 300, bounds: clientBounds,
			attack: func(ctx context.Context, a *arena) error {
				a.Workers = crowded
				return attack(ctx, a)
			}}
	}
	calls := func(name, path, body string) kase {
		return busy(name, "request", func(ctx context.Context, a *arena) error {
			return a.calls(ctx, "", func(int) (string, string) { return path, body })
		})
	}
	call := func(rest string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",` + rest + `}}`
	}
	large := `"arguments":{"message":"` + strings.Repeat("x", 1_000_000) + `"}`
	return []kase{
		calls("uploads-rest", "/tool/echo/call", "{"+large+"}"),
		calls("uploads-mcp", "/mcp", call(large)),
		calls("uploads-mcp-progress", "/mcp", call(large+`,"_meta":{"progressToken":1}`)), // which the MCP SDK answers
		calls("small-calls", "/tool/echo/call", `{"arguments":{"message":"x"}}`),
		busy("handshakes", "handshake", func(ctx context.Context, a *arena) error {
			config, err := clientTLS(a.Dir, "acme")
			if err != nil {
				return err
			}
			return a.each(ctx, func(ctx context.Context) {
				if conn, err := a.secure(ctx, config); err == nil {
					_ = conn.Close()
				}
			})
		}),
	}
}
