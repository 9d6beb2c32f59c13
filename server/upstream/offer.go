package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sangate/sangate/server/tool"
)

// Bounds on what is taken of one upstream.
const (
	maxOffered     = 2000     // of each kind
	maxDescription = 32 << 10 // bytes, of one entry as JSON without schemas
	maxSchema      = 1 << 20  // bytes
)

// A listing is what an upstream says that it has, as MCP's JSON.
type listing struct {
	tools, resources, templates, prompts []json.RawMessage
}

func (l *listing) equal(other *listing) bool {
	same := func(a, b []json.RawMessage) bool {
		return slices.EqualFunc(a, b, func(x, y json.RawMessage) bool { return bytes.Equal(x, y) })
	}
	return same(l.tools, other.tools) && same(l.resources, other.resources) && same(l.templates, other.templates) && same(l.prompts, other.prompts)
}

// An offer is a listing that was vetted.
type offer struct {
	tool.Offer
	listing *listing
	owner   string
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

// vet makes tools of a listing. What cannot be one is left out, and named.
func (s *Server) vet(list *listing, owner string) *offer {
	out := &offer{listing: list, owner: owner}
	names := make(map[string]bool)
	for d := range s.entries("tool", list.tools) {
		if !s.conf.Takes(d.Name) {
			continue
		}
		t := &tool.Tool{Name: s.conf.Prefix + d.Name, Title: d.Title, Description: d.Description, InputSchema: d.InputSchema, OutputSchema: d.OutputSchema,
			Annotations: d.Annotations, Owner: owner, Upstream: s.conf.Name, Handler: s.callTool(d.Name)}
		err := t.Compile()
		switch {
		case err != nil:
			s.log.Warn("tool of upstream left out", "tool", d.Name, "err", err)
		case names[t.Name]:
			s.log.Warn("tool of upstream left out: it has two of this name", "tool", d.Name)
		default:
			names[t.Name] = true
			out.Tools = append(out.Tools, t)
		}
	}
	resource := func(d entry, uri string, template bool) {
		out.Resources = append(out.Resources, &tool.Resource{Name: s.conf.Prefix + plainName(d.Name), URI: uri, Template: template, Described: d.raw, Owner: owner, Upstream: s.conf.Name,
			Read: func(ctx context.Context, uri string, _ *tool.Call) (*tool.Result, error) {
				return s.exchange(ctx, "resources/read", "", func(ctx context.Context, l link) (*tool.Result, error) { return l.read(ctx, uri) })
			}})
	}
	for d := range s.entries("resource", list.resources) {
		resource(d, d.URI, false)
	}
	for d := range s.entries("resource template", list.templates) {
		resource(d, d.URITemplate, true)
	}
	for d := range s.entries("prompt", list.prompts) {
		out.Prompts = append(out.Prompts, &tool.Prompt{Name: s.conf.Prefix + plainName(d.Name), Described: d.raw, Owner: owner, Upstream: s.conf.Name,
			Get: func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
				var args map[string]string
				if err := json.Unmarshal(call.Arguments, &args); err != nil {
					return nil, err
				}
				return s.exchange(ctx, "prompts/get", d.Name, func(ctx context.Context, l link) (*tool.Result, error) { return l.prompt(ctx, d.Name, args) })
			}})
	}
	return out
}

// plainName has a name that may hold anything be one that patterns on tools fit.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && tool.ValidName.MatchString(string(r)) {
			return r
		}
		return '_'
	}, name)
}

// An entry is one that was decoded, with what it was decoded from.
type entry struct {
	described
	raw json.RawMessage
}

// entries yields what is well-formed and within bounds.
func (s *Server) entries(kind string, list []json.RawMessage) func(yield func(entry) bool) {
	return func(yield func(entry) bool) {
		if len(list) > maxOffered {
			s.log.Warn("upstream offers more than is taken", "kind", kind, "offered", len(list), "taken", maxOffered)
			list = list[:maxOffered]
		}
		for _, raw := range list {
			e := entry{raw: raw}
			switch err := json.Unmarshal(raw, &e.described); {
			case err != nil:
				s.log.Warn("upstream offers what cannot be read", "kind", kind, "err", err)
			case len(raw)-len(e.InputSchema)-len(e.OutputSchema) > maxDescription || len(e.InputSchema) > maxSchema || len(e.OutputSchema) > maxSchema:
				s.log.Warn("upstream offers what is too large", "kind", kind, "name", e.Name)
			case !yield(e):
				return
			}
		}
	}
}

// callTool makes the handler of a tool.
func (s *Server) callTool(name string) tool.Handler {
	return func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
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
