package server

import (
	"context"
	"fmt"
	"slices"

	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// AddTool adds a tool made of a Go function, before Run or while it serves.
// Schemas come from In and Out, which must be structs: field names by `json` tags,
// descriptions by `jsonschema` tags, and what may be left out by omitempty or
// omitzero. Arguments are checked before fn sees them, its answer before anybody
// else does. In fn, tool.CallerFrom(ctx) is who calls and tool.Progress tells how
// far it is; ctx ends when the caller has gone, may go on no longer, or its time
// is over. An error made by tool.Errorf is told to the caller, any other to the
// log.
//
// Tenants see the tool where their `tools` allow it.
func AddTool[In, Out any](s *Server, name, description string, fn func(ctx context.Context, in In) (Out, error)) error {
	t, err := tool.New(name, description, fn)
	if err != nil {
		return err
	}
	return s.Add(t)
}

// Add adds a tool, before Run or while it serves. Two of one name are an error.
func (s *Server) Add(t *tool.Tool) error { return s.Offer(tool.Offer{Tools: []*tool.Tool{t}}) }

// Offer adds tools, resources and prompts, before Run or while it serves. Clients
// that listen are told. Two tools of one name are an error; of two resources with
// one URI, or prompts with one name, the first is kept.
func (s *Server) Offer(o tool.Offer) error {
	if err := o.Compile(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range o.Tools {
		if s.backend.OfDocument(t.Name) {
			return fmt.Errorf("adding a tool: an OpenAPI document has a tool called %s, too", t.Name)
		}
	}
	own := tool.Offer{Tools: slices.Concat(s.own.Tools, o.Tools), Resources: slices.Concat(s.own.Resources, o.Resources),
		Prompts: slices.Concat(s.own.Prompts, o.Prompts)}
	joined, err := s.join(s.config.Load(), &own, s.backend.Declared())
	if err != nil {
		return fmt.Errorf("adding a tool: %w", err)
	}
	s.own = own
	catalog := s.adopt(joined)
	s.swap(func(next *auth.Snapshot) { next.Tools = catalog })
	return nil
}

// Updated tells clients that watch the resource, by its URI, that it is another.
func (s *Server) Updated(uri string) { s.mcp.Updated(uri) }

// viewOf returns what a tenant has now, nil where there is no such tenant.
func (s *Server) viewOf(id string) *tool.View {
	snap := s.gate.Snapshot()
	if t := snap.Tenants.ByID(id); t != nil {
		return snap.Tools.View(t)
	}
	return nil
}
