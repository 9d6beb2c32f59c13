package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

type prioritized struct {
	Priority string `json:"priority,omitempty"`
}

// A condition looks at what a call says and who makes it. What it never lets the
// caller have is not listed; a call it does not let through is of an unknown tool,
// in both dialects.
func TestConditions(t *testing.T) {
	t.Parallel()
	var tools []*tool.Tool
	for _, name := range []string{"ticket_create", "ticket_read"} {
		made, err := tool.New(name, "t", func(_ context.Context, in prioritized) (prioritized, error) { return in, nil })
		if err != nil {
			t.Fatal(err)
		}
		tools = append(tools, made)
	}
	const agent, other = "spiffe://example.org/tenant/acme/agent", "spiffe://example.org/tenant/acme/other"
	for condition, want := range map[string]struct {
		listed            string // of acme's agent
		urgent, low, none bool   // whether ticket_create passes with that priority
	}{
		`!(has(args.priority) && args.priority == "urgent")`:                {"ticket_create ticket_read", false, true, true},
		`args.priority != "urgent"`:                                         {"ticket_create ticket_read", false, true, false}, // what cannot be evaluated is denied
		`tool == "ticket_read"`:                                             {"ticket_read", false, false, false},
		`tool == "ticket_read" || args.priority == "low"`:                   {"ticket_create ticket_read", false, true, false},
		`identity.name == "` + other + `"`:                                  {"", false, false, false},
		`identity.sans.exists(s, s == "uri:` + agent + `")`:                 {"ticket_create ticket_read", true, true, true},
		`tenant.id == "acme" && tenant.vars.plan == "gold"`:                 {"ticket_create ticket_read", true, true, true},
		`tenant.vars.nothing == "x"`:                                        {"", false, false, false},
		`token.claims.department == "ops"`:                                  {"", false, false, false}, // an API key has no claims
		`has(token.claims.department) || tenant.vars.plan.startsWith("go")`: {"ticket_create ticket_read", true, true, true},
	} {
		t.Run(condition, func(t *testing.T) {
			t.Parallel()
			g := servertest.Start(t, servertest.Options{Tools: tools, Config: func(yaml string) string {
				return strings.Replace(yaml, "    keys:", fmt.Sprintf("    vars: {plan: gold}\n    tools: {allow: [\"ticket_*\"], condition: %q}\n    keys:", condition), 1)
			}})
			c, key := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
			var list []struct{ Name string }
			if err := json.Unmarshal([]byte(bodyOf(ask(t, c, http.MethodGet, g.URL+"/tools", "", key))), &list); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, l := range list {
				names = append(names, l.Name)
			}
			session := mcpClient(t, g, "acme", "2026-07-28")
			var seen []string
			for tl, err := range session.Tools(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, tl.Name)
			}
			slices.Sort(seen)
			if strings.Join(names, " ") != want.listed || strings.Join(seen, " ") != want.listed {
				t.Errorf("listed %v and %v, want %s", names, seen, want.listed)
			}
			_, unknown := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "ticket_xxxxxx"})
			for args, passes := range map[string]bool{`{"priority":"urgent"}`: want.urgent, `{"priority":"low"}`: want.low, `{}`: want.none} {
				before := g.By("sangate_auth_decisions_total", "reason")["tool_denied"]
				status := ask(t, c, http.MethodPost, g.URL+"/tool/ticket_create/call", args, key).StatusCode
				if passes != (status == http.StatusOK) || (!passes && status != http.StatusNotFound) {
					t.Errorf("%s: %d, want it to pass: %t", args, status, passes)
				}
				if denied := g.By("sangate_auth_decisions_total", "reason")["tool_denied"] - before; (denied == 1) == passes {
					t.Errorf("%s: denied %v times", args, denied)
				}
				res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "ticket_create", Arguments: json.RawMessage(args)})
				if passes != (err == nil && !res.IsError) {
					t.Errorf("%s over MCP: %v, %v", args, res, err)
				}
				if !passes && (err == nil || strings.ReplaceAll(err.Error(), "ticket_create", "ticket_xxxxxx") != unknown.Error()) {
					t.Errorf("%s over MCP: %v; of a tool that is not there: %v", args, err, unknown)
				}
			}
		})
	}
}

// The claims of a token, as they were signed.
func TestConditionOnClaims(t *testing.T) {
	t.Parallel()
	i := servertest.NewIssuer(t)
	made, err := tool.New("report", "t", func(_ context.Context, in prioritized) (prioritized, error) { return in, nil })
	if err != nil {
		t.Fatal(err)
	}
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{made}, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [report], condition: 'token.claims.department == \"ops\" && token.issuer != \"\"'}\n    keys:", 1) + i.Config()
	}})
	for department, status := range map[string]int{"ops": http.StatusOK, "sales": http.StatusNotFound} {
		token := i.Token(i.Claims("acme").With(servertest.Claims{"department": department}))
		if got := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/report/call", "{}", "Authorization: Bearer "+token).StatusCode; got != status {
			t.Errorf("%s: %d, want %d", department, got, status)
		}
	}
}

// A condition that takes long over a large argument ends when its client has gone, and
// when a tool would have had its time; the call is then denied.
//
// Holds: client/condition-ends-with-request
func TestConditionEndsWithRequest(t *testing.T) {
	made, err := tool.New("ticket", "t", func(_ context.Context, in struct{}) (prioritized, error) { return prioritized{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	made.InputSchema = json.RawMessage(`{"type":"object"}`)
	// Some minutes of work, of which CEL counts little.
	config := func(limits string) func(string) string {
		return func(yaml string) string {
			return strings.Replace(yaml, "    keys:", "    tools: {allow: [ticket], condition: 'args.n.all(x, args.nested == args.nested)'}\n    keys:", 1) + limits
		}
	}
	numbers := strings.Repeat("7,", 150_000) + "7"
	body := `{"arguments":{"n":[` + numbers + `],"nested":[[` + numbers + `]]}}`
	post := func(ctx context.Context, g *servertest.Gate) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/tool/ticket/call", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+g.Key("acme"))
		req.Header.Set("Content-Type", "application/json")
		res, err := g.Client(g.Cert("acme")).Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return res, err
	}
	t.Run("the time of a tool", func(t *testing.T) {
		g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{made}, Config: config("limits: {toolTimeout: 300ms}\n")})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if res, err := post(ctx, g); err != nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("%v, %v, want a denied call", res, err)
		}
		if n := g.By(decisions, "reason")["tool_denied"]; n != 1 {
			t.Errorf("%v calls denied, want 1", n)
		}
	})
	t.Run("the client", func(t *testing.T) {
		g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{made}, Config: config("")})
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan struct{})
		go func() {
			defer close(end)
			_, _ = post(ctx, g)
		}()
		if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 1 }, 10*time.Second) {
			t.Fatal("no call in progress")
		}
		cancel()
		<-end
		if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 0 }, 20*time.Second) {
			t.Error("the condition is still evaluated after its client has gone")
		}
	})
}
