package server_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A gate that does all that is measured tells what docs/metrics.md has, and nothing
// else; Prometheus has no objection; and an exemplar leads to the request it is of.
func TestMetrics(t *testing.T) {
	t.Parallel()
	issuer, up := servertest.NewIssuer(t), newMCPUpstream(t, true)
	dir := t.TempDir()
	shown := pkitest.NewCA(t, "another").Issue(t, pkitest.Leaf{DNS: []string{"gate.example"}})
	shown.Write(t, dir, "up")
	_, offered := counted(t)
	g := servertest.Start(t, servertest.Options{Prompts: offered.Prompts, Files: map[string]string{"jwks.json": string(issuer.JWKS()), "denylist": "# nobody\n", "doc.json": documentOf("a")}, Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "    keys:", "    tools: {allow: [exact, echo, draft]}\n    keys:", 1)
		return yaml + fmt.Sprintf(`issuers: [{name: filed, issuer: %q, audiences: [gate], jwksFile: jwks.json, tenantClaim: tenant}]
egress: {allow: [127.0.0.0/8]}
tools: {openapi: [{name: doc, document: doc.json, operations: [a]}]}
mcpServers: [{name: up, baseUrl: %q, clientCertificate: {cert: %s/up.crt, key: %[3]s/up.key}}]
`, issuer.URL, up.URL, dir)
	}})
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, g.CA.Cert, g.CA.Key())
	if err != nil {
		t.Fatal(err)
	}
	g.Write("list.crl", list)
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl], denylist: denylist}, clientCA:", 1)
	})
	wantListed(t, g, "acme", "echo exact")
	call := func(tool string) string {
		res := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/"+tool+"/call", `{"message":"m"}`, jwtOf(g.Key("acme")))
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", tool, res.Status)
		}
		return res.Header.Get("X-Request-Id")
	}
	call("exact")
	id := call("echo")
	ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"draft"}}`,
		jwtOf(g.Key("acme")), asJSON, accept, "MCP-Protocol-Version: 2025-11-25")

	text := scrape(t, g, "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range g.Server.Metrics().Definitions() {
		f := families[d.Name]
		if d.Name == "sangate_certificate_next_renewal_timestamp_seconds" && f == nil {
			continue // of a certificate that the gate renews itself: TestEnrolsAndRenews
		}
		if f == nil {
			t.Errorf("%s is not told", d.Name)
			continue
		}
		delete(families, d.Name)
		if got := strings.ToLower(f.GetType().String()); got != d.Type || f.GetHelp() != d.Help {
			t.Errorf("%s is a %s that tells %q", d.Name, got, f.GetHelp())
		}
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
			if !slices.Equal(slices.Sorted(slices.Values(d.Labels)), labels) { // told in order
				t.Errorf("%s has the labels %v, want %v", d.Name, labels, d.Labels)
			}
		}
	}
	for name := range families {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is not defined", name)
		}
	}
	if got := g.Metric("sangate_certificate_not_after_timestamp_seconds", "role", "upstream", "name", "up"); got != float64(shown.Leaf.NotAfter.Unix()) {
		t.Errorf("what is shown to the upstream ends at %v", got)
	}
	if open := scrape(t, g, "application/openmetrics-text"); !bytes.Contains(open, []byte(`{request_id="`+id+`"}`)) {
		t.Errorf("no exemplar of %s", id)
	}
	native := scrape(t, g, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	for _, name := range []string{"sangate_auth_duration_seconds", "sangate_tool_call_duration_seconds", "sangate_mcp_use_duration_seconds", "sangate_upstream_request_duration_seconds"} {
		var seen, exemplar bool
		for _, h := range histograms(t, native, name) {
			seen = seen || (h.GetSampleCount() > 0 && len(h.PositiveDelta) > 0 && h.GetSchema() > 0 && len(h.Bucket) > 0)
			for _, b := range h.Bucket {
				exemplar = exemplar || (b.GetExemplar() != nil && b.Exemplar.Label[0].GetName() == "request_id")
			}
		}
		if !seen || !exemplar {
			t.Errorf("%s: native %v, exemplar %v", name, seen, exemplar)
		}
	}
	check := exec.CommandContext(t.Context(), servertest.Debian(t, "promtool", "prometheus"), "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// A tool that is not there is counted under a name of the gate's, never the caller's;
// one that is denied is a decision, and no call.
func TestUnknownTools(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {deny: [whoami]}\n    keys:", 1)
	}})
	const calls = "sangate_tool_calls_total"
	if n := g.Metric(calls, "tool", "_unknown", "tenant", "", "result", "not_found"); n != 0 {
		t.Errorf("%v at the start", n)
	}
	client, token := g.Client(g.Cert("acme")), jwtOf(g.Key("acme"))
	for _, tool := range []string{"nowhere", "echo", "whoami", `a"b`, "_unknown"} {
		ask(t, client, http.MethodPost, g.URL+"/tool/"+tool+"/call", `{"message":"m"}`, token, asJSON)
		ask(t, client, http.MethodPost, g.URL+"/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"message":"m"}}}`, tool),
			token, asJSON, "Accept: application/json, text/event-stream", "Mcp-Protocol-Version: 2025-11-25")
	}
	if n := g.Metric(calls, "tool", "_unknown", "tenant", "acme", "result", "not_found"); n < 4 {
		t.Errorf("%v calls of unknown tools", n)
	}
	for tool := range g.By(calls, "tool") {
		if tool != "echo" && tool != "_unknown" {
			t.Errorf("counted as %q", tool)
		}
	}
}

// histograms reads those of a name from a scrape in Protocol Buffers.
func histograms(t *testing.T, scraped []byte, name string) (out []*dto.Histogram) {
	t.Helper()
	decoder := expfmt.NewDecoder(bytes.NewReader(scraped), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		for _, m := range f.Metric {
			if f.GetName() == name {
				out = append(out, m.Histogram)
			}
		}
	}
}

func scrape(t *testing.T, g *servertest.Gate, accept string) []byte {
	t.Helper()
	return []byte(bodyOf(ask(t, http.DefaultClient, http.MethodGet, g.AdminURL+"/metrics", "", "Accept: "+accept)))
}
