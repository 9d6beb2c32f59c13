package mcp_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/servertest"
)

var update = flag.Bool("update", false, "record the traffic of real clients anew")

// TestTraffic replays what real clients have sent.
func TestTraffic(t *testing.T) {
	file := filepath.Join("testdata", "traffic.json")
	b := newBench(t)
	if *update {
		recordTraffic(t, b, file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var traffic map[string][]sent
	if err := json.Unmarshal(data, &traffic); err != nil {
		t.Fatal(err)
	}
	for client, requests := range traffic {
		direct := 0
		for _, s := range requests {
			if b.hold(t, s) {
				direct++
			}
		}
		t.Logf("%s: %d of %d requests answered directly", client, direct, len(requests))
		if direct < len(requests)*3/4 {
			t.Errorf("%s: %d of %d requests answered directly: the load is not what the direct path takes", client, direct, len(requests))
		}
	}
}

// recordTraffic has the official clients talk to the handler.
func recordTraffic(t *testing.T, b *bench, file string) {
	t.Helper()
	traffic := map[string][]sent{}
	var mu sync.Mutex
	who := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		body, _ := io.ReadAll(r.Body)
		s := sent{map[string]string{}, string(body)}
		for name := range r.Header {
			switch name {
			case "Accept", "Content-Type", "Last-Event-Id", "Cache-Control":
				s.Header[name] = r.Header.Get(name)
			default:
				if strings.HasPrefix(name, "Mcp-") && name != "Mcp-Session-Id" {
					s.Header[name] = r.Header.Get(name)
				}
			}
		}
		mu.Lock()
		traffic[who] = append(traffic[who], s)
		mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		decision := b.decision
		b.handler.Post(w, r.WithContext(auth.WithDecision(r.Context(), &decision)))
	}))
	defer server.Close()
	names := []string{"typed", "text", "image", "both", "no", "fails"}
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		who = "go-sdk 1.8.0 " + revision
		client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil)
		s, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: server.URL, DisableStandaloneSSE: true, MaxRetries: -1}, &sdk.ClientSessionOptions{ProtocolVersion: revision})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ListTools(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: map[string]any{"message": "hello"}}); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.Close()

		who = "typescript 2.4.0 " + revision
		dir := t.TempDir()
		none := filepath.Join(dir, "none")
		if err := os.WriteFile(none, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var calls []string
		for _, name := range names {
			calls = append(calls, `{"name":"`+name+`","arguments":{"message":"hello"}}`)
		}
		cmd := exec.Command("node", "../../tools/node/mtls-client.mjs", server.URL, none, none, none, none, revision)
		cmd.Env = append(os.Environ(), "NODE_TOOLS="+servertest.Node(t))
		cmd.Stdin = strings.NewReader(`{"calls":[` + strings.Join(calls, ",") + `]}`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	data, err := json.MarshalIndent(traffic, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
