package auth_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// conditioned returns a gate with a tenant that may call as many tools as its condition
// says, and the request of a client of it.
func conditioned(t *testing.T, tools int, condition string) (*auth.Gate, *auth.Request) {
	t.Helper()
	ca := pkitest.NewCA(t, "CA")
	cert := ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}})
	bundle, err := pki.NewBundle([]*x509.Certificate{ca.Cert})
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{cert.Leaf, ca.Cert}
	gate := auth.NewGate(&auth.Snapshot{PKI: &pki.Snapshot{Certificate: &cert.TLS, Bundle: bundle}, Tools: catalogOf(t, tools)}, time.Now)
	constrain(t, gate, condition)
	return gate, &auth.Request{Peer: pki.NewPeer(chain[:1], bundle, [][]*x509.Certificate{chain})}
}

func catalogOf(t *testing.T, tools int) *tool.Catalog {
	t.Helper()
	list := make([]*tool.Tool, tools)
	for i := range list {
		list[i] = &tool.Tool{Name: fmt.Sprintf("get_%d", i), InputSchema: json.RawMessage(`{"type":"object"}`)}
	}
	c, err := tool.NewCatalog(list)
	if err != nil {
		t.Fatal(err)
	}
	if tools == 1 {
		return c
	}
	c, _, _ = c.Join([]*tool.Offer{{Resources: []*tool.Resource{{Name: "get_notes", URI: "test://notes"}}, Prompts: []*tool.Prompt{{Name: "get_draft"}}}}, nil, tool.Claims{})
	return c
}

// constrain puts in force that the tenant has another condition.
func constrain(t *testing.T, gate *auth.Gate, condition string) {
	t.Helper()
	c, err := tenant.NewCondition(condition)
	if err != nil {
		t.Fatal(err)
	}
	table, err := tenant.NewTable([]*tenant.Tenant{{ID: "acme", SANs: []string{"uri:spiffe://example.org/tenant/acme/*"}, Enabled: true,
		SecondFactor: tenant.None, Tools: &tenant.Tools{Allow: []string{"*"}, Condition: c}}})
	if err != nil {
		t.Fatal(err)
	}
	next := *gate.Snapshot()
	next.Tenants = table
	gate.Swap(&next)
}

const forTools = `tool.startsWith("get_") || args.?a.orValue("") != ""`

// One tenant's streams and calls were decided again at the cost of its condition for
// each of its tools: with 5,000 streams and 300 tools that took 10 s, in which nobody's
// revocation was noticed.
//
// Holds: tenant/sweep-cost
func TestAgainDoesNotLookAtAllTools(t *testing.T) {
	const tools = 1000
	gate, r := conditioned(t, tools, forTools)
	for _, use := range []auth.Use{{}, {Tool: "get_7"}, {Other: "get_notes"}} {
		var allowed auth.Allowance
		if d := gate.Again(r, use, &allowed); !d.OK() {
			t.Fatalf("%v: %s", use, d.Reason)
		}
		if n := testing.AllocsPerRun(10, func() { gate.Again(r, use, &allowed) }); n > 0 && !pkitest.Race {
			t.Errorf("%v: %v allocations for a decision that is no other, with %d tools", use, n, tools)
		}
	}
}

func TestAgainAsDecide(t *testing.T) {
	gate, r := conditioned(t, 3, forTools)
	var allowed auth.Allowance
	steps := []struct {
		name   string
		change func()
		want   auth.Reason
	}{
		{"at first", func() {}, auth.OK},
		{"again", func() {}, auth.OK},
		{"another tool is allowed", func() { constrain(t, gate, `tool != "get_2"`) }, auth.OK},
		{"it is denied", func() { constrain(t, gate, `tool != "get_1"`) }, auth.ToolDenied},
		{"it stays denied", func() {}, auth.ToolDenied},
		{"it is allowed", func() { constrain(t, gate, `true`) }, auth.OK},
		{"everything is denied", func() { constrain(t, gate, `false`) }, auth.ToolDenied},
		{"there is no such tool", func() {
			next := *gate.Snapshot()
			next.Tools = catalogOf(t, 1)
			gate.Swap(&next)
		}, auth.OK},
	}
	for _, step := range steps {
		step.change()
		if d := gate.Again(r, auth.Use{Tool: "get_1"}, &allowed); d.Reason != step.want {
			t.Errorf("%s: %s, want %s", step.name, d.Reason, step.want)
		}
		d := gate.Decide(*r)
		if d.Call(t.Context(), "get_1", nil); d.Reason != step.want {
			t.Errorf("%s: Decide: %s, want %s", step.name, d.Reason, step.want)
		}
	}
}

// Resources and prompts that are in use are looked at as tools are, and so is what a
// stream is told of.
//
// Holds: client/denied-while-in-use
func TestAgainOfResourcesAndPrompts(t *testing.T) {
	gate, r := conditioned(t, 3, forTools)
	notes, draft := new(auth.Allowance), new(auth.Allowance)
	for _, step := range []struct {
		condition           string
		notes, draft, watch auth.Reason
	}{
		{forTools, auth.OK, auth.OK, auth.OK},
		{`tool != "get_1"`, auth.OK, auth.OK, auth.OK},
		{`tool != "get_notes"`, auth.ToolDenied, auth.OK, auth.ToolDenied},
		{`tool != "get_draft"`, auth.OK, auth.ToolDenied, auth.OK},
		{`false`, auth.ToolDenied, auth.ToolDenied, auth.ToolDenied},
		{`true`, auth.OK, auth.OK, auth.OK},
	} {
		constrain(t, gate, step.condition)
		for range 2 {
			if d := gate.Again(r, auth.Use{Other: "get_notes"}, notes); d.Reason != step.notes {
				t.Errorf("%s: the resource: %s, want %s", step.condition, d.Reason, step.notes)
			}
			if d := gate.Again(r, auth.Use{Other: "get_draft"}, draft); d.Reason != step.draft {
				t.Errorf("%s: the prompt: %s, want %s", step.condition, d.Reason, step.draft)
			}
			if d := gate.Watch(r, "test://notes"); d.Reason != step.watch {
				t.Errorf("%s: what is watched: %s, want %s", step.condition, d.Reason, step.watch)
			}
		}
	}
	next := *gate.Snapshot()
	next.Tools = catalogOf(t, 1)
	gate.Swap(&next)
	if d := gate.Again(r, auth.Use{Other: "get_notes"}, notes); !d.OK() {
		t.Errorf("a resource that is there no longer: %s, want its use to go on", d.Reason)
	}
	if d := gate.Watch(r, "test://notes"); d.OK() {
		t.Error("told of a resource that is there no longer")
	}
}
