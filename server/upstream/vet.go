package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/accepted"
	"github.com/sangate/sangate/server/tool"
)

// maxLeft bounds how many of those left out are shown and logged one by one.
const maxLeft = 100

// A LeftOut is an entry of an upstream's offer that is not passed on.
type LeftOut struct {
	Kind, Name string
	Why        string
}

// A Reason is why entries are left out, of a closed set.
type Reason string

// The reasons there are.
const (
	Invalid  Reason = "invalid"  // malformed, or rejected by the schema compiler or the MCP SDK
	Limit    Reason = "limit"    // beyond a bound of this package
	Conflict Reason = "conflict" // its name or URI is given to two
)

// Kinds and Reasons return all there are.
func Kinds() []string   { return []string{"tool", "resource", "resource template", "prompt", "offer"} }
func Reasons() []Reason { return []Reason{Invalid, Limit, Conflict} }

// A Group is what entries that are left out are counted by.
type Group struct {
	Kind   string
	Reason Reason
}

// An exceeded error reports an entry beyond a bound.
type exceeded struct{ text string }

func (e *exceeded) Error() string { return e.text }

func beyond(format string, args ...any) error { return &exceeded{fmt.Sprintf(format, args...)} }

// errTwice reports an entry whose name is that of another of the same upstream.
var errTwice = errors.New("the upstream has two of this name")

func reasonOf(err error) Reason {
	if _, ok := errors.AsType[*exceeded](err); ok {
		return Limit
	}
	if errors.Is(err, errTwice) {
		return Conflict
	}
	return Invalid
}

// A vetting checks one listing.
type vetting struct {
	s         *Server
	out       *offer
	names     map[string]bool
	values    int // JSON values in the schemas taken so far
	variables int // of the templates taken so far
}

// vet makes tools, resources and prompts of a listing. Invalid entries, and those
// beyond the bounds, are left out, logged and shown. It ends early with ctx.
func (s *Server) vet(ctx context.Context, list *listing, owner string) *offer {
	v := &vetting{s: s, out: &offer{Offer: tool.Offer{Source: s.conf.Name}, listing: list, owner: owner}, names: make(map[string]bool)}
	for _, part := range []struct {
		kind string
		list []json.RawMessage
		take func(entry) error
	}{
		{"tool", list.tools, v.tool},
		{"resource", list.resources, func(e entry) error { return v.resource(e, e.URI, false) }},
		{"resource template", list.templates, func(e entry) error { return v.resource(e, e.URITemplate, true) }},
		{"prompt", list.prompts, v.prompt},
	} {
		for i, raw := range part.list {
			if ctx.Err() != nil {
				return v.out
			}
			if i == maxOffered {
				v.leave(part.kind, fmt.Sprintf("%d more", len(part.list)-i), beyond("at most %d are taken", maxOffered), len(part.list)-i)
				break
			}
			v.entry(part.kind, raw, part.take)
		}
	}
	if list.cut {
		v.leave("offer", "the rest", beyond("at most %d bytes are read", maxTotal), 1)
	}
	if v.out.missing > 0 {
		s.told.Warn("parts of the upstream's offer left out", "count", v.out.missing)
	}
	return v.out
}

// An entry is one that was decoded, with what it was decoded from.
type entry struct {
	described
	raw json.RawMessage
}

// entry takes one, or leaves it out. A panic of the SDK or the schema compiler leaves
// out that entry alone.
func (v *vetting) entry(kind string, raw json.RawMessage, take func(entry) error) {
	e := entry{raw: raw}
	err := v.measure(&e)
	if err == nil && kind == "tool" && !v.s.conf.Takes(e.Name) {
		return
	}
	if err == nil {
		err = rejected(func() error { return take(e) })
	}
	if err != nil {
		v.leave(kind, e.Name, err, 1)
		return
	}
}

// measure decodes an entry within bounds.
func (v *vetting) measure(e *entry) error {
	if len(e.raw) > maxDescription+2*maxSchema {
		return beyond("%d bytes; at most %d are taken", len(e.raw), maxDescription+2*maxSchema)
	}
	if err := json.Unmarshal(e.raw, &e.described); err != nil {
		return err
	}
	switch {
	case len(e.raw)-len(e.InputSchema)-len(e.OutputSchema) > maxDescription:
		return beyond("a description of more than %d bytes", maxDescription)
	case len(e.InputSchema) > maxSchema || len(e.OutputSchema) > maxSchema:
		return beyond("a schema of more than %d bytes", maxSchema)
	case len(e.URI) > maxURI || len(e.URITemplate) > maxURI:
		return beyond("a URI of more than %d bytes", maxURI)
	}
	return nil
}

// rejected returns a panic of the SDK as an error: that is how it rejects an entry.
func rejected(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return do()
}

// leave notes an entry that is left out, or n of them for the same reason.
func (v *vetting) leave(kind, name string, err error, n int) {
	v.out.missing++
	if v.out.groups == nil {
		v.out.groups = make(map[Group]int)
	}
	v.out.groups[Group{kind, reasonOf(err)}] += n
	if len(v.out.left) == maxLeft {
		return
	}
	left := LeftOut{kind, cut(name, 128), cut(err.Error(), 512)}
	v.out.left = append(v.out.left, left)
	args := []any{"kind", kind, "name", left.Name, "err", left.Why}
	if kind == "tool" {
		args = append(args, "tool", left.Name)
	}
	v.s.told.Warn("part of the upstream's offer left out", args...)
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func (v *vetting) tool(e entry) error {
	s := v.s
	t := &tool.Tool{Name: s.conf.Prefix + e.Name, Title: e.Title, Description: e.Description,
		InputSchema: e.InputSchema, OutputSchema: e.OutputSchema, Annotations: e.Annotations,
		Owner: v.out.owner, Upstream: s.conf.Name, Handler: s.callTool(e.Name)}
	if err := t.Compile(); err != nil {
		return err
	}
	if v.names[t.Name] {
		return errTwice
	}
	if v.values+t.SchemaValues() > maxValues {
		return beyond("the schemas of all tools together have more than %d values", maxValues)
	}
	v.names[t.Name] = true
	v.values += t.SchemaValues()
	v.out.Tools = append(v.out.Tools, t)
	return nil
}

func (v *vetting) resource(e entry, uri string, template bool) error {
	s := v.s
	if uri == "" {
		return errors.New("no URI")
	}
	if err := accepted.Resource(e.raw, template); err != nil {
		return err
	}
	read := func(ctx context.Context, uri string, _ *tool.Call) (*tool.Result, error) {
		return s.exchange(ctx, "resources/read", "", func(ctx context.Context, l link) (*tool.Result, error) { return l.read(ctx, uri) })
	}
	r := &tool.Resource{Name: s.conf.Prefix + plainName(e.Name), URI: uri, Template: template, Described: e.raw,
		Owner: v.out.owner, Upstream: s.conf.Name, Read: read}
	if err := r.Compile(); err != nil {
		return err
	}
	if v.variables+r.Variables() > maxVariables {
		return beyond("all templates together have more than %d variables", maxVariables)
	}
	v.variables += r.Variables()
	v.out.Resources = append(v.out.Resources, r)
	return nil
}

func (v *vetting) prompt(e entry) error {
	s := v.s
	if e.Name == "" {
		return errors.New("no name")
	}
	if err := accepted.Prompt(e.raw); err != nil {
		return err
	}
	get := func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
		var args map[string]string
		if err := json.Unmarshal(call.Arguments, &args); err != nil {
			return nil, err
		}
		return s.exchange(ctx, "prompts/get", e.Name, func(ctx context.Context, l link) (*tool.Result, error) { return l.prompt(ctx, e.Name, args) })
	}
	v.out.Prompts = append(v.out.Prompts, &tool.Prompt{Name: s.conf.Prefix + plainName(e.Name), Described: e.raw,
		Owner: v.out.owner, Upstream: s.conf.Name, Get: get})
	return nil
}

// plainName replaces what patterns on tool names do not match.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && tool.ValidName.MatchString(string(r)) {
			return r
		}
		return '_'
	}, name)
}

// contained runs what reads an upstream's bytes, and returns a panic as an error.
func (s *Server) contained(doing string, do func() error) error { return contain.Do(s.log, doing, do) }
