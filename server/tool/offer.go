package tool

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/sangate/sangate/server/accepted"
)

// An Offer is what one upstream or OpenAPI document has, or the program the gate is
// part of.
type Offer struct {
	Source    string // whose it is, by its name in the configuration; "": the gate's own
	Tools     []*Tool
	Resources []*Resource
	Prompts   []*Prompt
}

// A Resource is one that clients of the Model Context Protocol can read, or a
// template of many. The policy on tools goes for its name.
type Resource struct {
	Name      string          // that the policy goes by
	URI       string          // or template (RFC 6570)
	Template  bool            // it is one
	Described json.RawMessage // as MCP's resources/list or resources/templates/list has it
	Owner     string          // the tenant that alone may see it; "": any
	Upstream  string
	Watched   bool // clients can subscribe to it
	// Read answers with the result of resources/read, as Structured, or with Asks.
	Read func(ctx context.Context, uri string, call *Call) (*Result, error)
	// Complete proposes values of a variable of the template; nil: none.
	Complete Completer

	pattern *regexp.Regexp // of a template, by Compile
	fixed   string         // that all URIs of the template begin with
}

// A Prompt is one that clients of the Model Context Protocol can get. The policy
// on tools goes for its name.
type Prompt struct {
	Name      string
	Described json.RawMessage // as MCP's prompts/list has it; the name in it is not looked at
	Owner     string          // the tenant that alone may see it; "": any
	Upstream  string
	// Get answers with the result of prompts/get, as Structured, or with Asks. The
	// arguments are texts.
	Get func(ctx context.Context, call *Call) (*Result, error)
	// Complete proposes values of an argument; nil: none.
	Complete Completer
}

// A Completer proposes values of an argument that begin as value does, best
// first. The arguments of call are those that are known already.
type Completer func(ctx context.Context, call *Call, argument, value string) ([]string, error)

// Call proposes values, as a JSON array.
func (c Completer) Call(ctx context.Context, name string, call *Call, argument, value string) (res *Result, err error) {
	defer caught(name, &res, &err)
	values, err := c(call.in(ctx), call, argument, value)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(values)
	return &Result{Structured: list}, err
}

// Call reads the resource, or the one of its template that has the URI.
func (r *Resource) Call(ctx context.Context, uri string, call *Call) (res *Result, err error) {
	defer caught(r.Name, &res, &err)
	res, err = r.Read(call.in(ctx), uri, call)
	return call.checkOther(r.Name, res, err)
}

// Call gets the prompt.
func (p *Prompt) Call(ctx context.Context, call *Call) (res *Result, err error) {
	defer caught(p.Name, &res, &err)
	res, err = p.Get(call.in(ctx), call)
	return call.checkOther(p.Name, res, err)
}

func (c *Call) checkOther(name string, res *Result, err error) (*Result, error) {
	switch {
	case err != nil:
		return nil, err
	case res.asks():
		return res, c.checkAsks(res)
	case res == nil || res.Structured == nil:
		return nil, fmt.Errorf("%s returned nothing", name)
	}
	return res, nil
}

// check says what is missing of a resource or prompt that a program has made.
func (o *Offer) check() error {
	for _, r := range o.Resources {
		if r.Name == "" || r.URI == "" || r.Read == nil || !json.Valid(r.Described) {
			return fmt.Errorf("resource %q: it needs a name, a URI, a description as MCP has it, and Read", r.Name)
		}
		if err := accepted.Resource(r.Described, r.Template); err != nil {
			return fmt.Errorf("resource %q: %w", r.Name, err)
		}
		if err := r.Compile(); err != nil {
			return fmt.Errorf("resource %q: %w", r.Name, err)
		}
	}
	for _, p := range o.Prompts {
		if !ValidName.MatchString(p.Name) || p.Get == nil || !json.Valid(p.Described) {
			return fmt.Errorf("prompt %q: it needs a name as tools have it, a description as MCP has it, and Get", p.Name)
		}
		if err := accepted.Prompt(p.Described); err != nil {
			return fmt.Errorf("prompt %q: %w", p.Name, err)
		}
	}
	return nil
}

// Compile checks what a program offers, and prepares the tools and resources in it.
func (o *Offer) Compile() error {
	for _, t := range o.Tools {
		if err := t.Compile(); err != nil {
			return err
		}
	}
	return o.check()
}
