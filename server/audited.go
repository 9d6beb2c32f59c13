package server

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/audit"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/mcp"
)

// journal is the audit log in force, if there is one.
type journal struct {
	mu        sync.RWMutex // held for reading by writers: the log is not closed under them
	log       *audit.Log
	toolCalls bool
}

// openAudit opens what the configuration names; nil where it names nothing.
func (s *Server) openAudit(c *config.Config) (*audit.Log, error) {
	if c.Audit == nil {
		return nil, nil
	}
	return audit.Open(audit.Options{File: string(c.Audit.File), MaxSize: c.Audit.MaxBytes, Backups: c.Audit.Backups,
		Logger: s.log, OnError: func(error) { s.metrics.AuditErrors.Inc() }, Now: s.opts.Now})
}

// use puts another log in force and closes the one before.
func (j *journal) use(log *audit.Log, c *config.Config) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.log
	j.log, j.toolCalls = log, c.Audit != nil && c.Audit.ToolCalls
	return old.Close()
}

// reopen is for SIGHUP: whoever moved the file away gets a new one.
func (j *journal) reopen() error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.log.Reopen()
}

func (j *journal) write(r *audit.Record) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	j.log.Write(r)
}

// writeOften is write for what a peer can cause at will.
func (j *journal) writeOften(r *audit.Record) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	j.log.WriteOften(r)
}

// on reports whether anything of that kind is written.
func (j *journal) on(kind audit.Kind) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.log != nil && (!kind.Use() || j.toolCalls)
}

// who is what a record of any kind tells of a request and its decision. The path
// is the route's, never the peer's.
func who(kind audit.Kind, r *http.Request, d *auth.Decision) *audit.Record {
	id := d.Principal.Identity
	out := &audit.Record{Kind: kind, RequestID: answer.RequestID(r.Context()), Remote: r.RemoteAddr, Method: r.Method, Path: r.Pattern,
		Tenant: d.Principal.TenantID, Identity: d.Principal.Name(), Serial: id.Serial, Fingerprint: hex.EncodeToString(id.Fingerprint[:]),
		Rule: d.Rule, Factors: d.Factors(), KeyID: d.Principal.KeyID, Tool: d.Tool, Name: d.Used}
	if t := d.Principal.Token; t != nil {
		out.Issuer, out.Subject = t.Issuer.Name, t.Subject
	}
	return out
}

// auditRefusal writes a refused request down.
func (s *Server) auditRefusal(q *request, d *auth.Decision, took time.Duration) {
	if !s.journal.on(audit.Refused) {
		return
	}
	out := who(audit.Refused, q.http, d)
	out.Stage, out.Reason, out.Duration = string(d.Stage), string(d.Reason), took
	s.journal.writeOften(out)
}

// auditChange writes down what an admin has changed.
func (s *Server) auditChange(r *http.Request, action, object string) {
	requestOf(r.Context()).audited.Store(true)
	out := who(audit.Change, r, auth.DecisionFrom(r.Context()))
	out.Action, out.Object, out.Outcome = action, object, "ok"
	s.journal.write(out)
}

// auditReload writes down that another configuration is in force, or why not.
func (s *Server) auditReload(err error) {
	out := &audit.Record{Kind: audit.Change, Action: "config.reload", Object: s.opts.ConfigFile, Outcome: "ok"}
	if err != nil {
		out.Outcome = "error"
	} else {
		out.Object = fmt.Sprintf("%s, generation %d", s.opts.ConfigFile, s.gate.Snapshot().Generation)
	}
	s.journal.write(out)
}

// auditCall writes a tool call down: who, what, how it ended; not what with.
func (s *Server) auditCall(q *request, d *auth.Decision, tool, outcome string, took time.Duration) {
	if !s.journal.on(audit.ToolCall) {
		return
	}
	q.audited.Store(true)
	out := who(audit.ToolCall, q.http, d)
	out.Tool, out.Outcome, out.Duration = tool, outcome, took
	s.journal.write(out)
}

// kindsOfUse are what the uses of resources and prompts are called in the audit log.
var kindsOfUse = map[mcp.Kind]audit.Kind{mcp.Read: audit.ResourceRead, mcp.Get: audit.PromptGet, mcp.Completion: audit.Completion}

// auditUse writes the use of a resource or prompt down as auditCall does a call.
func (s *Server) auditUse(q *request, d *auth.Decision, u mcp.Use, outcome string, took time.Duration) {
	kind := kindsOfUse[u.Kind]
	if !s.journal.on(kind) {
		return
	}
	q.audited.Store(true)
	out := who(kind, q.http, d)
	out.Name, out.Outcome, out.Duration = u.Name, outcome, took
	s.journal.write(out)
}
