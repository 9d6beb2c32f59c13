package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/servertest"
)

// octopusUpstream serves a list of tools in the Octopus dialect.
func octopusUpstream(t *testing.T, tools *atomic.Pointer[string]) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, *tools.Load())
			return
		}
		_, _ = io.WriteString(w, `{"done":true}`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

const itemsRejected = "sangate_upstream_items_rejected"

// hostileTools are tools that must be left out alone, each with what the console says.
var hostileTools = map[string]struct{ schema, why string }{
	"header_no_name":   {`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":""}}}`, "x-mcp-header"},
	"header_bad_name":  {`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"a b"}}}`, "x-mcp-header"},
	"header_on_object": {`{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}`, "x-mcp-header"},
	"header_no_string": {`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":7}}}`, "x-mcp-header"},
	"header_twice":     {`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`, "x-mcp-header"},
	"header_nested":    {`{"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"number","x-mcp-header":"A"}}}}}`, "x-mcp-header"},
	"paths":            {doubledPaths(40), "paths"},
	"number":           {`{"type":"object","properties":{"a":{"minimum":1e999999}}}`, "number"},
	"number_default":   {`{"type":"object","properties":{"a":{"default":1e400}}}`, "marshal"},
}

// doubledPaths is a schema of 2^n paths.
func doubledPaths(n int) string {
	var defs []string
	for i := range n {
		defs = append(defs, fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	return fmt.Sprintf(`{"type":"object","$ref":"#/$defs/d0","$defs":{%s,"d%d":{}}}`, strings.Join(defs, ","), n)
}

// TestHostileToolLeftOutAlone checks that one tool of an upstream that cannot be served
// is left out and shown, and takes nothing else away, in either dialect.
//
// Holds: upstream/bad-tool-left-out-alone
func TestHostileToolLeftOutAlone(t *testing.T) {
	t.Parallel()
	list := []string{`{"name":"good","inputSchema":{"type":"object"}}`}
	for name, tool := range hostileTools {
		list = append(list, fmt.Sprintf(`{"name":%q,"inputSchema":%s}`, name, tool.schema))
	}
	var tools atomic.Pointer[string]
	all := "[" + strings.Join(list, ",") + "]"
	tools.Store(&all)
	g := behind(t, servertest.Options{}, `{allow: [good, "header_*", "number*", paths]}`, fmt.Sprintf(`{name: up, protocol: octopus, baseUrl: %q}`, octopusUpstream(t, &tools)))
	wantListed(t, g, "acme", "good")
	session := mcpClient(t, g, "acme", "2026-07-28")
	res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "good", Arguments: json.RawMessage("{}")})
	if err != nil || res.IsError {
		t.Errorf("calling the good tool over MCP: %v, %v", res, err)
	}
	page, err := http.Get(g.AdminURL + "/upstreams")
	if err != nil {
		t.Fatal(err)
	}
	body := bodyOf(page)
	if want := fmt.Sprintf("%d left out", len(hostileTools)); !strings.Contains(body, want) {
		t.Errorf("the console does not say %q", want)
	}
	if n := g.Metric(itemsRejected, "upstream", "up", "kind", "tool", "reason", "invalid"); n != float64(len(hostileTools)) {
		t.Errorf("%v invalid tools in the metric, want %d", n, len(hostileTools))
	}
	for name, tool := range hostileTools {
		if !strings.Contains(body, "<code>"+name+"</code>: ") || !strings.Contains(body, tool.why) {
			t.Errorf("the console does not say why %s is left out", name)
		}
	}
}

// TestOfferBounded checks that the sum of one upstream's offer is bounded, that the
// console says what is left out, and that another upstream is not affected.
//
// Holds: upstream/offer-bounded
func TestOfferBounded(t *testing.T) {
	values := make([]string, 29_000)
	for i := range values {
		values[i] = fmt.Sprint(i)
	}
	var list []string
	for i := range 12 {
		list = append(list, fmt.Sprintf(`{"name":"wide%d","inputSchema":{"type":"object","enum":[%s]}}`, i, strings.Join(values, ",")))
	}
	for i := range 2_100 {
		list = append(list, fmt.Sprintf(`{"name":"small%d","inputSchema":{"type":"object"}}`, i))
	}
	var large, other atomic.Pointer[string]
	all, one, both := "["+strings.Join(list, ",")+"]", `[{"name":"good","inputSchema":{"type":"object"}}]`,
		`[{"name":"good","inputSchema":{"type":"object"}},{"name":"small1","inputSchema":{"type":"object"}}]`
	large.Store(&all)
	other.Store(&one)
	g := behind(t, servertest.Options{}, `{allow: [good]}`,
		fmt.Sprintf(`{name: large, protocol: octopus, baseUrl: %q}`, octopusUpstream(t, &large)),
		fmt.Sprintf(`{name: other, protocol: octopus, refresh: 1s, baseUrl: %q}`, octopusUpstream(t, &other)))
	wantListed(t, g, "acme", "good")
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_upstream_up", "server", "large") == 1 }, 60*time.Second) {
		t.Fatal("the large offer is not taken")
	}
	other.Store(&both) // once the name is large's
	var body string
	if !servertest.WaitFor(func() bool {
		page, err := http.Get(g.AdminURL + "/upstreams")
		if err != nil {
			t.Fatal(err)
		}
		body = bodyOf(page)
		return strings.Contains(body, " left out") && strings.Contains(body, "upstream large has one of this name")
	}, 60*time.Second) {
		t.Fatal("the console does not say that anything is left out")
	}
	// Ten of the wide ones fit, and of the others those up to the bound on the count.
	for _, want := range []string{"together have more than 300000 values", "112 more", "at most 2000 are taken"} {
		if !strings.Contains(body, want) {
			t.Errorf("the console does not say %q", want)
		}
	}
	for _, want := range []struct {
		upstream, kind, reason string
		n                      float64
	}{{"large", "tool", "limit", 2 + 112}, {"large", "tool", "invalid", 0}, {"other", "tool", "conflict", 1}, {"other", "prompt", "limit", 0}} {
		if n := g.Metric(itemsRejected, "upstream", want.upstream, "kind", want.kind, "reason", want.reason); n != want.n {
			t.Errorf("%v of %s are left out as %s of kind %s, want %v", n, want.upstream, want.reason, want.kind, want.n)
		}
	}
}
