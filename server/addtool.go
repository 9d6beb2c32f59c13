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
func (s *Server) Add(t *tool.Tool) error {
	if err := t.Compile(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tools := append(slices.Clip(s.tools), t)
	catalog, err := s.catalog(s.config, tools, s.backend.Declared())
	if err != nil {
		return fmt.Errorf("adding a tool: %w", err)
	}
	s.tools = tools
	s.swap(func(next *auth.Snapshot) { next.Tools = catalog })
	return nil
}
