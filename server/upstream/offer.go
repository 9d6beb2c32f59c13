package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/sangate/sangate/server/tool"
)

// Bounds on what is taken of one upstream.
const (
	maxOffered     = 2000     // of each kind
	maxDescription = 32 << 10 // bytes, of one entry as JSON without schemas
	maxSchema      = 1 << 20  // bytes
	maxURI         = 2 << 10  // bytes, of a resource or template
	maxVariables   = 1000     // of all templates: each read is compared with them
	maxTotal       = 32 << 20 // bytes of all entries
	maxValues      = 300_000  // JSON values in all schemas; all of Stripe's API has 80,000
)

// A listing is what an upstream says that it has, as MCP's JSON.
type listing struct {
	tools, resources, templates, prompts []json.RawMessage
	bytes                                int
	cut                                  bool // there is more, beyond maxTotal
}

func (l *listing) equal(other *listing) bool {
	same := func(a, b []json.RawMessage) bool {
		return slices.EqualFunc(a, b, func(x, y json.RawMessage) bool { return bytes.Equal(x, y) })
	}
	return l.cut == other.cut && same(l.tools, other.tools) && same(l.resources, other.resources) && same(l.templates, other.templates) && same(l.prompts, other.prompts)
}

// An offer is a listing that was vetted.
type offer struct {
	tool.Offer
	listing *listing
	owner   string
	left    []LeftOut // the first of those left out
	missing int       // how many were left out
	groups  map[Group]int
}

// A described is one entry of a listing, as far as the gate reads it.
type described struct {
	Name         string          `json:"name"`
	Title        string          `json:"title"`
	Description  string          `json:"description"`
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema"`
	Annotations  json.RawMessage `json:"annotations"`
	URI          string          `json:"uri"`
	URITemplate  string          `json:"uriTemplate"`
}

// callTool makes the handler of a tool.
func (s *Server) callTool(name string) tool.Handler {
	return func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
		if report := call.Progress; report != nil {
			scrubbed := *call
			scrubbed.Progress = func(done, total float64, message string) { report(done, total, s.scrub.String(message)) }
			call = &scrubbed
		}
		return s.exchange(ctx, "tools/call", name, func(ctx context.Context, l link) (*tool.Result, error) { return l.call(ctx, name, call) })
	}
}

// marked is the offer with everything marked as available, or not.
func (o *offer) marked(available bool) *offer {
	next := *o
	next.Tools = make([]*tool.Tool, len(o.Tools))
	for i, t := range o.Tools {
		copied := *t
		copied.Unavailable = !available
		next.Tools[i] = &copied
	}
	return &next
}
