package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A gate behind a gate: mutual TLS goes on inside, by the front one's own
// certificate, and by one of files that is renewed.
func TestUpstreamGate(t *testing.T) {
	t.Parallel()
	inner := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "  - {id: front, secondFactor: none, sans: [\"dns:front.example\"]}\n  - {id: agent, secondFactor: none, sans: [\"dns:agent.example\"]}\n"
	}})
	listed(t, inner, "acme") // it has started all it will: what the front one leaves behind can be told
	issue := func(name string) *pkitest.Cert {
		return inner.CA.Issue(t, pkitest.Leaf{DNS: []string{name, "localhost"}})
	}
	files := map[string]string{"inner.crt": string(inner.CA.PEM())}
	dir := t.TempDir()
	issue("agent.example").Write(t, dir, "agent")
	issue("front.example").Write(t, dir, "front")
	url := strings.Replace(inner.URL, "127.0.0.1", "localhost", 1)
	front := servertest.Start(t, servertest.Options{Files: files, Config: func(yaml string) string {
		yaml = strings.NewReplacer("cert: server.crt, key: server.key, clientCA: [ca.crt]", fmt.Sprintf("cert: %[1]s/front.crt, key: %[1]s/front.key, clientCA: [ca.crt]", dir)).Replace(yaml)
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"*_whoami\"]}\n    keys:", 1) + fmt.Sprintf(`
egress: {allow: [127.0.0.0/8]}
mcpServers:
  - {name: own, prefix: o_, baseUrl: %q, caFile: inner.crt, clientCertificate: {gate: true}}
  - {name: files, prefix: f_, protocol: mcp, baseUrl: %q, caFile: inner.crt, clientCertificate: {cert: %s/agent.crt, key: %[3]s/agent.key}, refresh: 1s}
  - {name: none, prefix: n_, baseUrl: %[1]q, caFile: inner.crt}
`, url, url+"/mcp", dir)
	}})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: front.TLS(front.Cert("acme")), DisableKeepAlives: true}, Timeout: 20 * time.Second}
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = inner.CA.Pool()
	serial := func(tool string) string {
		res := ask(t, client, http.MethodPost, front.URL+"/tool/"+tool+"/call", `{}`, jwtOf(front.Key("acme")))
		var who struct{ Tenant, Serial string }
		if body := bodyOf(res); res.StatusCode != 200 || json.Unmarshal([]byte(body), &who) != nil {
			return ""
		}
		return who.Tenant + " " + who.Serial
	}
	if !servertest.WaitFor(func() bool {
		return strings.HasPrefix(serial("o_whoami"), "front ") && strings.HasPrefix(serial("f_whoami"), "agent ")
	}, 15*time.Second) {
		t.Fatalf("own: %q, files: %q", serial("o_whoami"), serial("f_whoami"))
	}
	if got := serial("n_whoami"); got != "" {
		t.Errorf("without a certificate: %q", got)
	}
	before := serial("f_whoami")
	issue("agent.example").Write(t, dir, "agent")
	if !servertest.WaitFor(func() bool { return serial("f_whoami") != before && serial("f_whoami") != "" }, 15*time.Second) {
		t.Error("a renewed certificate is not shown")
	}
}
