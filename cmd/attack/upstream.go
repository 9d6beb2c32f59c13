package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// upstreamCases are hostile upstreams that every tenant sees. The attack
// itself is an ordinary client that lists and calls what they offer.
func upstreamCases() []kase {
	offer := func(name, schema string, arguments string) kase {
		return upstreamCase(name, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `[{"name":"t","description":"d","inputSchema":%s}]`, schema)
		}, nil, arguments)
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	ordinary := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"name":"t","description":"d","inputSchema":{"type":"object"}}]`)
	}
	header := offer("invalid-x-mcp-header", `{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"bad header\r\n"}}}`, `{}`)
	header.mcp = true
	object := offer("x-mcp-header-on-object", `{"type":"object","properties":{"a":{"type":"object","x-mcp-header":7}}}`, `{}`)
	object.mcp = true
	return []kase{
		offer("schema-2^40-paths", doubling(40, "allOf"), `{"a":1}`),
		offer("schema-2^40-paths-any", doubling(40, "anyOf"), `{"a":1}`),
		offer("schema-2^40-paths-array", doubling(40, "oneOf"), `{"a":[[[[[1]]]]]}`),
		offer("schema-ref-circle", `{"type":"object","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`, `{}`),
		offer("schema-number-1e999999", `{"type":"object","properties":{"a":{"multipleOf":1e-9999999,"maximum":1e9999999,"type":"number"}}}`, `{"a":1e9}`),
		offer("schema-10000-patterns", patterns(10_000), `{"k5":"aaaaaaaaaaaaaaaaaaaaaaaa"}`),
		offer("schema-large-repeats", `{"type":"object","properties":{"a":{"pattern":"^(((a{1,30}){1,30}){1,30})$"},"b":{"minLength":99999999999}}}`, `{"a":"aaaa"}`),
		offer("schema-10000-levels", strings.Repeat(`{"properties":{"a":`, 10_000)+"{}"+strings.Repeat("}}", 10_000), `{"a":{"a":{}}}`),
		offer("schema-unique-items", `{"type":"object","properties":{"a":{"type":"array","uniqueItems":true}}}`,
			`{"a":[`+strings.TrimSuffix(strings.Repeat(`{"x":[1]},`, 8000), ",")+`]}`),
		offer("schema-remote-ref", `{"type":"object","$ref":"http://127.0.0.1:1/x"}`, `{}`),
		header,
		object,
		upstreamCase("2000-tools-of-2mb", bigOffer(2_000, 2_000_000), nil, `{}`),
		upstreamCase("100000-small-tools", bigOffer(100_000, 100), nil, `{}`),
		upstreamCase("endless-list", endless("[", `{"name":"x"},`), nil, `{}`),
		upstreamCase("endless-space", endless("", strings.Repeat(" ", 1000)), nil, `{}`),
		upstreamCase("list-never-ends", hang, nil, `{}`),
		upstreamCase("tools-hang", ordinary, hang, `{}`),
		upstreamCase("endless-answer", ordinary, endless(`{"a":"`, strings.Repeat("x", 1000)), `{}`),
		upstreamCase("deep-answer", ordinary, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("[", 1_000_000))
		}, `{}`),
		upstreamCase("slow-answer", ordinary, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		}, `{}`),
		eventStream("endless-event-stream", "data: "+strings.Repeat("x", 1000)),
		eventStream("endless-events", ": comment\n\n"),
		controlFrames(),
	}
}

// upstreamCase serves list for GET /tools and call for POST /tool/t/call, in
// the Octopus dialect.
func upstreamCase(name string, list, call http.HandlerFunc, arguments string) kase {
	if call == nil {
		call = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":true}`) }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tools", jsonOf(list))
	mux.HandleFunc("POST /tool/{name}/call", jsonOf(call))
	return kase{name: "upstream/" + name, unit: "call", units: 10, rate: 10, bounds: sourceBounds,
		setup: func(ctx context.Context, _ *stage) (string, error) {
			base, err := serve(ctx, mux)
			return fmt.Sprintf("mcpServers:\n  - {name: hostile, baseUrl: %q, protocol: octopus, timeoutMs: 20000, refresh: 1s}", base), err
		},
		attack: func(ctx context.Context, a *arena) error {
			return a.calls(ctx, "", func(i int) (string, string) {
				if i%4 == 3 {
					return "/mcp", listTools
				}
				return "/tool/t/call", `{"arguments":` + arguments + `}`
			})
		}}
}

const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// eventStream answers everything with an event stream that does not end.
func eventStream(name, line string) kase {
	k := upstreamCase(name, nil, nil, `{}`)
	k.setup = func(ctx context.Context, _ *stage) (string, error) {
		base, err := serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			endless("", line)(w, r)
		}))
		return fmt.Sprintf("mcpServers:\n  - {name: hostile, baseUrl: %q, protocol: mcp, timeoutMs: 20000, refresh: 1s}", base), err
	}
	return k
}

// serve serves h on loopback until ctx ends.
func serve(ctx context.Context, h http.Handler) (base string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, BaseContext: func(net.Listener) context.Context { return ctx }, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(ln) }() // until it is closed
	return "http://" + ln.Addr().String(), nil
}

func jsonOf(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if h != nil {
			h(w, r)
		}
	}
}

// endless writes for as long as somebody reads, at most 10 MB a second: the
// machine has others to serve.
func endless(head, piece string) http.HandlerFunc {
	block := strings.Repeat(piece, max(1, 100_000/len(piece)))
	return func(w http.ResponseWriter, r *http.Request) {
		_, err := io.WriteString(w, head)
		for err == nil && r.Context().Err() == nil {
			_, err = io.WriteString(w, block)
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// bigOffer lists n tools of so many bytes.
func bigOffer(n, size int) http.HandlerFunc {
	text := strings.Repeat("d", size)
	return func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, `[{"name":"t","inputSchema":{"type":"object"}}`)
		for i := range n {
			if err != nil {
				return
			}
			_, err = fmt.Fprintf(w, `,{"name":"t%d","description":%q,"inputSchema":{"type":"object"}}`, i, text)
		}
		_, _ = io.WriteString(w, "]")
	}
}

// doubling is a schema of n definitions, each of which refers twice to the
// next: 2^n paths.
func doubling(n int, keyword string) string {
	var b strings.Builder
	b.WriteString(`{"type":"object","properties":{"a":{"$ref":"#/$defs/d0"}},"$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{%q:[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%[3]d"}]},`, i, keyword, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{"type":["number","array"]}}}`, n)
	return b.String()
}

func patterns(n int) string {
	var b strings.Builder
	b.WriteString(`{"type":"object","patternProperties":{"^z$":{}`)
	for i := range n {
		fmt.Fprintf(&b, `,"(x+x+)+y%d{1,500}":{"type":"string"}`, i)
	}
	b.WriteString("}}")
	return b.String()
}
