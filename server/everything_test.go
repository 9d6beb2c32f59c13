package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// everything is what the tool gets of server-everything; tools of it that are not
// here have no arguments.
var everything = map[string]string{
	"echo":                           `{"message":"through the gate"}`,
	"get-sum":                        `{"a":20,"b":22}`,
	"get-annotated-message":          `{"messageType":"error","includeImage":true}`,
	"get-structured-content":         `{"location":"Chicago"}`,
	"get-resource-links":             `{"count":2}`,
	"get-resource-reference":         `{"resourceType":"Text","resourceId":1}`,
	"gzip-file-as-resource":          `{"name":"a.gz","data":"data:text/plain,hello","outputType":"resource"}`,
	"trigger-long-running-operation": `{"duration":0.2,"steps":2}`,
	"simulate-research-query":        `{"topic":"gates"}`,
	"trigger-url-elicitation":        `{"url":"https://example.com"}`,
	"trigger-sampling-request":       `{"prompt":"x"}`,
	"trigger-sampling-request-async": `{"prompt":"x"}`,
	"trigger-elicitation-request":    `{}`,
}

// The official server that has everything, behind the gate over both of its
// transports: each tool is listed and can be called by the TypeScript client over
// mTLS, in both kinds of revision.
func TestServerEverything(t *testing.T) {
	t.Parallel()
	node := servertest.Node(t)
	bin := filepath.Join(node, "node_modules", ".bin", "mcp-server-everything")
	port := freePort(t)
	server := exec.Command(bin, "streamableHttp")
	server.Env = append(os.Environ(), "PORT="+port)
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	if !servertest.WaitFor(func() bool { _, err := net.Dial("tcp", "127.0.0.1:"+port); return err == nil }, 30*time.Second) {
		t.Fatalf("the server did not start: %s", said.String())
	}

	var log safeLog
	g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"*\"]}\n    keys:", 1) + fmt.Sprintf(`
egress: {allow: [127.0.0.0/8]}
mcpServers:
  - {name: by-command, prefix: c_, command: [npx, --no-install, --prefix, %q, mcp-server-everything, stdio]}
  - {name: by-http, prefix: h_, baseUrl: "http://127.0.0.1:%s/mcp"}
`, node, port)
	}})
	up := func() bool {
		return g.Metric("sangate_upstream_up", "server", "by-command") == 1 && g.Metric("sangate_upstream_up", "server", "by-http") == 1
	}
	if !servertest.WaitFor(up, 60*time.Second) {
		t.Fatalf("not both upstreams came up:\n%s", log.String())
	}
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) {
			listed := typescript(t, g, revision, `{}`)
			type call struct {
				Name      string          `json:"name"`
				Arguments json.RawMessage `json:"arguments"`
			}
			var wanted struct {
				Calls   []call           `json:"calls"`
				Read    []string         `json:"read"`
				Prompts []map[string]any `json:"prompts"`
			}
			var names []string
			for _, tl := range listed.Tools {
				bare := strings.TrimPrefix(strings.TrimPrefix(tl.Name, "c_"), "h_")
				if bare == tl.Name {
					continue // a built-in
				}
				names = append(names, tl.Name)
				args := everything[bare]
				if args == "" {
					args = "{}"
				}
				wanted.Calls = append(wanted.Calls, call{tl.Name, json.RawMessage(args)})
			}
			for _, prefix := range []string{"c_", "h_"} {
				for _, must := range []string{"echo", "get-sum", "get-structured-content", "get-tiny-image", "get-resource-links", "trigger-long-running-operation"} {
					if !slices.Contains(names, prefix+must) {
						t.Errorf("%s is not listed", prefix+must)
					}
				}
			}
			for _, r := range listed.Resources {
				wanted.Read = append(wanted.Read, r.URI)
			}
			wanted.Read = append(wanted.Read, "demo://resource/dynamic/text/1")
			for _, p := range listed.Prompts {
				args := map[string]string{}
				for _, a := range p.Arguments {
					args[a.Name] = map[string]string{"resourceType": "Text", "resourceId": "1", "department": "Sales", "name": "Alice"}[a.Name]
					if args[a.Name] == "" {
						args[a.Name] = "x"
					}
				}
				wanted.Prompts = append(wanted.Prompts, map[string]any{"name": p.Name, "arguments": args})
			}
			if len(listed.Resources) == 0 || len(listed.Templates) == 0 || len(listed.Prompts) == 0 {
				t.Errorf("%d resources, %d templates, %d prompts", len(listed.Resources), len(listed.Templates), len(listed.Prompts))
			}
			stdin, err := json.Marshal(wanted)
			if err != nil {
				t.Fatal(err)
			}
			got := typescript(t, g, revision, string(stdin))
			for _, c := range wanted.Calls {
				res := got.Calls[c.Name]
				if res.Error != "" || res.IsError || (len(res.Content) == 0 && res.StructuredContent == nil) {
					t.Errorf("%s %s: %+v", c.Name, c.Arguments, res)
				}
			}
			for _, prefix := range []string{"c_", "h_"} {
				if text := string(got.Calls[prefix+"get-sum"].Content); !strings.Contains(text, "42") {
					t.Errorf("%sget-sum: %s", prefix, text)
				}
				if s := got.Calls[prefix+"get-structured-content"].StructuredContent; s["temperature"] == nil {
					t.Errorf("%sget-structured-content: %v", prefix, s)
				}
			}
			for kind, answers := range map[string]map[string]answered{"resource": got.Read, "prompt": got.Got} {
				for name, a := range answers {
					if a.Error != "" {
						t.Errorf("%s %s: %s", kind, name, a.Error)
					}
				}
			}
			t.Logf("%d tools called, %d resources read, %d prompts got", len(wanted.Calls), len(wanted.Read), len(wanted.Prompts))
		})
	}
	// The other tenant has no policy that would let it see any of them.
	res := ask(t, g.Client(g.Cert("globex")), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex"))
	if body := bodyOf(res); res.StatusCode != http.StatusOK || strings.Contains(body, `"c_`) || strings.Contains(body, `"h_`) {
		t.Errorf("the other tenant's list: %d %s", res.StatusCode, body)
	}
}

type answered struct {
	Error             string
	IsError           bool
	Content           json.RawMessage
	StructuredContent map[string]any
}

type seen struct {
	Tools     []struct{ Name string }
	Resources []struct{ URI string }
	Templates []struct{ URITemplate string }
	Prompts   []struct {
		Name      string
		Arguments []struct{ Name string }
	}
	Calls, Read, Got map[string]answered
}

// typescript runs tools/node/mtls-client.mjs as tenant acme.
func typescript(t *testing.T, g *servertest.Gate, revision, stdin string) (out seen) {
	t.Helper()
	g.Cert("acme").Write(t, g.Dir, "client")
	g.Write("client.token", []byte(g.Key("acme")))
	file := func(name string) string { return filepath.Join(g.Dir, name) }
	cmd := exec.CommandContext(t.Context(), "node", "../tools/node/mtls-client.mjs", g.URL+"/mcp", file("ca.crt"), file("client.crt"), file("client.key"), file("client.token"), revision)
	cmd.Env = append(os.Environ(), "NODE_TOOLS="+servertest.Node(t))
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatalf("the TypeScript client: %v\n%s", err, errs.String())
	}
	return out
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// bodyOf returns the body of an answer of ask.
func bodyOf(res *http.Response) string {
	body, _ := io.ReadAll(res.Body) // it is in memory
	return string(body)
}
