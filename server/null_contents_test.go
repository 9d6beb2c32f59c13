package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// TestNullContentsAreLeftOut: an upstream answers a read with null among the contents, on which the MCP SDK panics.
//
// Holds: upstream/hostile-offer
func TestNullContentsAreLeftOut(t *testing.T) {
	odd := &tool.Resource{Name: "odd", URI: "odd://{id}", Template: true,
		Described: json.RawMessage(`{"name":"odd","uriTemplate":"odd://{id}","mimeType":"text/x-odd"}`),
		Read: func(context.Context, string, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: json.RawMessage(`{"contents":[null,{"text":"hello"},null]}`)}, nil
		}}
	var log safeLog
	g := servertest.Start(t, servertest.Options{Log: &log, Resources: []*tool.Resource{odd},
		Config: func(yaml string) string { return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") }})
	header := []string{"Authorization: Bearer " + g.Key("acme"), "Accept: application/json, text/event-stream",
		"Content-Type: application/json"}
	res := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/mcp",
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"odd://a"}}`, header...)
	body := bodyOf(res)
	if want := `"contents":[{"uri":"odd://a","mimeType":"text/x-odd","text":"hello"}]`; res.StatusCode != http.StatusOK ||
		!strings.Contains(body, want) {
		t.Errorf("%d %s, want %s", res.StatusCode, body, want)
	}
	if strings.Contains(log.String(), "panic") {
		t.Error("the SDK has panicked")
	}
}
