package server

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/tracing"
)

// trace makes what traces are made by; without a configuration there is nothing,
// and nobody asks for it.
func (s *Server) trace(ctx context.Context, c *config.Config) (err error) {
	if c.Tracing == nil {
		return nil
	}
	scrub := credential.NewScrubber(slices.Concat(slices.Collect(maps.Values(c.Tracing.Headers)), c.Secrets, c.Egress.Guard().Secrets())...)
	for _, value := range c.Tracing.Headers {
		if _, credentials, ok := strings.Cut(value, " "); ok {
			scrub.Use(credentials)
		}
	}
	s.tracer, err = tracing.New(ctx, tracing.Options{Endpoint: c.Tracing.Endpoint, Headers: c.Tracing.Headers, Scrub: scrub.String, Client: c.Tracing.Client(&c.Egress),
		Sample: c.Tracing.Share(), Callers: tracing.Callers(c.Tracing.Callers), Version: s.opts.Version, Logger: s.log, Tell: s.metrics.Spans})
	return err
}

// traced has an admitted request be answered within its span. That of an MCP message
// begins when the message is read.
func (s *Server) traced(q *request, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answered := false
		defer func() {
			if q.span == nil {
				return
			}
			if !answered { // it panicked
				tracing.Failed(q, answer.Internal.Code)
			}
			q.span.End()
		}()
		if r.URL.Path == "/mcp" && r.Method == http.MethodPost {
			next(w, r)
		} else {
			noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
			s.begin(q, routed(r))
			next(noted, r)
			tracing.Status(q, noted.status)
		}
		answered = true
	}
}

// routed is the span of a request that is no MCP message. Of methods, those that peers
// make up have one name.
func routed(r *http.Request) tracing.Request {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return tracing.Request{Name: r.Method + " " + r.Pattern, HTTP: r.Method, Route: r.Pattern}
	}
	return tracing.Request{Name: "HTTP " + r.Pattern, HTTP: "_OTHER", Route: r.Pattern}
}

// A statusWriter knows which status was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

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

func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
