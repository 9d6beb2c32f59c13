package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/tracing"
)

// trace makes what traces are made by; without a configuration there is nothing,
// and nobody asks for it.
func (s *Server) trace(ctx context.Context, c *config.Config) (err error) {
	if c.Tracing == nil {
		return nil
	}
	s.tracer, err = tracing.New(ctx, tracing.Options{Endpoint: c.Tracing.Endpoint, Headers: c.Tracing.Headers, Client: c.Tracing.Client(&c.Egress),
		Sample: c.Tracing.Share(), Version: s.opts.Version, Logger: s.log})
	return err
}

// traced begins the span of an admitted request that is no MCP message.
func (s *Server) traced(q *request) {
	if q.http.URL.Path == "/mcp" && q.http.Method == http.MethodPost {
		return // by message
	}
	s.begin(q, tracing.Request{Name: q.http.Method + " " + q.http.Pattern, HTTP: q.http.Method, Route: q.http.Pattern})
}

// tracedMessage begins the span of an MCP message.
func (s *Server) tracedMessage(r *http.Request, m mcp.Message) {
	q := requestOf(r.Context())
	t := tracing.Request{Name: m.Method, Method: m.Method, MessageID: m.ID, Revision: m.Revision, Meta: m.Context}
	// Names that peers make up would be many, and of any length.
	switch view := q.decision.Tools; m.Method {
	case "tools/call":
		if found := view.Lookup(m.Name); found != nil {
			t.Tool, t.Name = found.Name, m.Method+" "+found.Name
		}
	case "prompts/get":
		if found := view.Prompt(m.Name); found != nil {
			t.Prompt, t.Name = found.Name, m.Method+" "+found.Name
		}
	}
	s.begin(q, t)
}

func (s *Server) begin(q *request, t tracing.Request) {
	t.Began, t.Header, t.ID, t.Tenant, t.Remote = q.began, q.http.Header, q.id, q.decision.Principal.TenantID, addressOf(q.conn).String()
	t.Proto = strconv.Itoa(q.http.ProtoMajor)
	if q.http.ProtoMajor == 1 {
		t.Proto = "1." + strconv.Itoa(q.http.ProtoMinor)
	}
	ctx, span := s.tracer.Begin(q.Parent(), t)
	q.Within(ctx)
	q.span = span
}
