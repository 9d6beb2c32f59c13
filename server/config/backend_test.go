package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/credential"
)

// Each mistake with what stands behind the gate is told where it stands.
func TestBackend(t *testing.T) {
	dir := t.TempDir()
	ca := pkitest.NewCA(t, "CA")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"gate"}}).Write(t, dir, "client")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"gate"}}).Write(t, dir, "other")
	for name, text := range map[string]string{"ca.crt": string(ca.PEM()), "bad.crt": "no PEM", "token": "x", "files/55": "x",
		"pets.yaml": `{"openapi":"3.0.0","info":{"title":"x","version":"1"},"servers":[{"url":"https://pets.example"}],"paths":{"/p":{"get":{"operationId":"pets","responses":{}}}}}`} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const kek = "credentials: {kek: \"file:kek\"}\n"
	server := func(more string) string {
		return kek + `mcpServers: [{name: a, baseUrl: "https://a.example"` + more + "}]\n"
	}
	tool := func(more string) string {
		return kek + `tools: {http: [{name: a, description: d, request: {url: "https://a.example/x"}` + more + "}]}\n"
	}
	document := func(more string) string {
		return kek + `tools: {openapi: [{name: a, document: pets.yaml` + more + "}]}\n"
	}
	for name, tt := range map[string]struct{ text, want string }{
		"good":                  {server(`, credentialId: 5, toolFilter: ["x_*"], prefix: p_, caFile: ca.crt, clientCertificate: {cert: client.crt, key: client.key}, refresh: 1m`), ""},
		"command":               {`mcpServers: [{name: a, command: [npx, x], env: {A: b}}]`, ""},
		"nothing to reach":      {`mcpServers: [{name: a}]`, "baseUrl: "},
		"plain http":            {`mcpServers: [{name: a, baseUrl: "http://a.example"}]`, "write https"},
		"loopback":              {`mcpServers: [{name: a, baseUrl: "http://127.0.0.1:1"}]`, ""},
		"user in URL":           {`mcpServers: [{name: a, baseUrl: "https://u:p@a.example"}]`, "without user, password"},
		"query in URL":          {`mcpServers: [{name: a, baseUrl: "https://a.example?key=x"}]`, "a query"},
		"both":                  {server(`, command: [x]`), "goes without baseUrl"},
		"env over http":         {server(`, env: {A: b}`), "go with protocol stdio"},
		"bad env":               {`mcpServers: [{name: a, command: [x], env: {"A B": b}}]`, "no name of a variable"},
		"secret of a command":   {kek + `mcpServers: [{name: a, command: [x], credentialId: 5}]`, "go together"},
		"name":                  {`mcpServers: [{name: "a b", baseUrl: "https://a.example"}]`, "name: "},
		"twice":                 {`mcpServers: [{name: a, baseUrl: "https://a.example"}, {name: a, baseUrl: "https://a.example"}]`, "stands here twice"},
		"timeout":               {server(`, timeoutMs: 700000`), "timeoutMs: "},
		"refresh":               {server(`, refresh: 1ms`), "refresh: "},
		"filter":                {server(`, toolFilter: ["a["]`), "toolFilter"},
		"prefix":                {server(`, prefix: "a b"`), "prefix: "},
		"protocol":              {server(`, protocol: grpc`), "use mcp, octopus or stdio"},
		"CA":                    {server(`, caFile: bad.crt`), "no certificate"},
		"key of another":        {server(`, clientCertificate: {cert: client.crt, key: other.key}`), "clientCertificate: "},
		"no key":                {server(`, clientCertificate: {cert: client.crt}`), "name cert and key"},
		"both certificates":     {server(`, clientCertificate: {gate: true, cert: client.crt}`), "goes without"},
		"a credential nowhere":  {`mcpServers: [{name: a, baseUrl: "https://a.example", credentialId: 5}]`, "say where credentials are"},
		"no store of any kind":  {`credentials: {}`, "say where they are"},
		"kek":                   {`credentials: {kek: /etc/kek}`, "write file:PATH"},
		"files":                 {`credentials: {files: files}`, ""},
		"no folder":             {`credentials: {files: token}`, "no folder"},
		"remote":                {`credentials: {remote: {url: "https://o.example/api/credentials", tokenFile: token, caFile: ca.crt, hold: 10s}}`, ""},
		"remote in clear":       {`credentials: {remote: {url: "http://o.example"}}`, "url: "},
		"remote without token":  {`credentials: {remote: {url: "https://o.example", tokenFile: none}}`, "tokenFile: "},
		"remote held too long":  {`credentials: {remote: {url: "https://o.example", hold: 2h}}`, "hold: "},
		"tool":                  {tool(`, credential: c`), ""},
		"expression":            {tool(`, response: response.bdy`), "undefined field 'bdy'"},
		"URL of a tool":         {`tools: {http: [{name: a, description: d, request: {url: "https://{args.h}.example"}}]}`, "the tenant alone"},
		"schema":                {tool(`, input: {type: object, properties: {a: {type: strin}}}`), "input: "},
		"header of a schema":    {tool(`, input: {type: object, properties: {a: {type: string, x-mcp-header: "a b"}}}`), "input: tool a: input schema: invalid parameter header annotations"},
		"schema key twice":      {tool(`, input: {type: object, type: object}`), "already defined"},
		"name of a built-in":    {`tools: {http: [{name: echo, description: d, request: {url: "https://a.example/x"}}]}`, "two tools"},
		"built-in left out":     {`tools: {builtin: [whoami], http: [{name: echo, description: d, request: {url: "https://a.example/x"}}]}`, ""},
		"no such built-in":      {`tools: {builtin: [exec]}`, "no built-in tool"},
		"tool's secret nowhere": {`tools: {http: [{name: a, description: d, credential: c, request: {url: "https://a.example/x"}}]}`, "say where credentials are"},
		"document":              {document(`, operations: [pets]`), ""},
		"nothing chosen":        {document(``), "choose some"},
		"nothing there":         {document(`, operations: [cats]`), "none of its operations"},
		"bad pattern":           {document(`, operations: ["a["]`), "pattern such as"},
		"no document":           {`tools: {openapi: [{name: a, document: none.yaml, tags: [x]}]}`, "no such file"},
		"remote document":       {`tools: {openapi: [{name: a, document: "https://a.example/x.json", tags: [x]}]}`, ""},
		"document in clear":     {`tools: {openapi: [{name: a, document: "http://a.example/x.json", tags: [x]}]}`, "document: "},
		"same tool twice":       {`tools: {http: [{name: pets, description: d, request: {url: "https://a.example/x"}}], openapi: [{name: a, document: pets.yaml, operations: [pets]}]}`, "set a prefix"},
		"proxy":                 {`egress: {proxy: "http://p.example:3128", noProxy: [a.example], caFile: ca.crt}`, ""},
		"no proxy":              {`egress: {proxy: none}`, ""},
		"bad proxy":             {`egress: {proxy: "p.example:hunter2"}`, "URL of a proxy"},
		"past no proxy":         {`egress: {noProxy: [a.example]}`, "goes with"},
	} {
		d := newDecoder("file", dir)
		d.documents = true
		c := defaults()
		d.document([]byte("tenants:\n  - {id: acme, sans: [\"dns:acme.example\"]}\n"+tt.text+"\n"), c)
		d.checkTenants(c)
		d.checkEgress(&c.Egress)
		d.checkCredentials(c.Credentials)
		d.checkMCPServers(c)
		d.checkTools(c)
		switch {
		case tt.want == "" && len(d.problems) > 0:
			t.Errorf("%s: %v", name, d.problems)
		case tt.want != "" && (len(d.problems) == 0 || !strings.Contains(d.problems[0].Message, tt.want) || d.problems[0].Line < 3):
			t.Errorf("%s: %v, want %q on its line", name, d.problems, tt.want)
		case strings.Contains(fmt.Sprint(d.problems), "hunter2"):
			t.Errorf("%s: repeats what may be a secret: %v", name, d.problems)
		}
	}
}

// An agent's definition, with what is not said in it filled in.
func TestAgentDefinition(t *testing.T) {
	d := newDecoder("file", "/etc/sangate")
	c := defaults()
	d.document([]byte(`{"credentials":{"kek":"file:kek"},"mcpServers":[{"name":"zendesk","baseUrl":"https://mcp-zendesk.internal","credentialId":55,"toolFilter":["search_*"]},{"name":"old","baseUrl":"https://old.internal","enabled":false}]}`), c)
	d.checkCredentials(c.Credentials)
	d.checkMCPServers(c)
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	m := c.MCPServers[0]
	if m.Timeout() != 30*time.Second || !m.Enabled || m.Refresh != 5*time.Minute || m.CredentialID != 55 || !m.Takes("search_x") || m.Takes("delete_x") || c.MCPServers[1].Enabled {
		t.Errorf("%+v", c.MCPServers)
	}
	if c.Credentials.KEK != "file:/etc/sangate/kek" {
		t.Errorf("kek %s", c.Credentials.KEK)
	}
	if uses := c.Uses(credential.Info{ID: 55}); len(uses) != 1 || uses[0] != "mcpServers zendesk" {
		t.Errorf("uses: %v", uses)
	}
}

// The configurations that docs/tools.md shows have no key that is not known.
func TestToolsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/tools.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("%d blocks; has the page moved?", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		d := newDecoder("docs/tools.md", "/")
		c := defaults()
		d.document([]byte(text), c)
		if c.Tenants == nil {
			c.Tenants = []Tenant{{ID: "acme", SANs: []string{"dns:acme.example"}}}
		}
		d.checkTenants(c)
		d.checkMCPServers(c)
		d.checkTools(c)
		if len(d.problems) > 0 {
			t.Errorf("%v in\n%s", d.problems, text)
		}
	}
}

// What is wrong with a URL is told without what somebody may have hidden in it: the
// errors stand in the log and in the console.
func TestURLsAreToldWithoutSecrets(t *testing.T) {
	const plain = "credentials: {kek: \"file:kek\"}\n"
	for _, url := range []string{"https://user:S3cret@a.example", "https://S3cret@a.example/x", "https://a.example/?key=S3cret", "http://user:S3cret@a.example",
		"http://a.example/?key=S3cret", "https://a.example/#S3cret", "user:S3cret@a.example", "https://user:S3cret@a example", "https://user:S3cret@", "ftp://user:S3cret@a.example?S3cret"} {
		for _, text := range []string{
			`mcpServers: [{name: a, baseUrl: "` + url + `"}]`,
			`tools: {openapi: [{name: a, document: x, operations: ["*"], baseUrl: "` + url + `"}]}`,
			`tools: {openapi: [{name: a, document: "` + url + `", operations: ["*"]}]}`,
			`issuers: [{name: a, audiences: [x], issuer: "` + url + `"}]`,
			`issuers: [{name: a, audiences: [x], issuer: "https://a.example", jwksURL: "` + url + `"}]`,
			`tracing: {endpoint: "` + url + `"}`,
		} {
			if strings.Contains(text, "document: \"") && !strings.HasPrefix(url, "http") {
				continue // it is a file
			}
			_, problems := load(t, folder(t), whole+plain+text+"\n")
			if told := strings.Join(problems, "\n"); strings.Contains(told, "S3cret") {
				t.Errorf("%s:\n%s", text, told)
			}
		}
	}
}
