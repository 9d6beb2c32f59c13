package httptool

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tool"
)

// A Program is a definition that was compiled. Safe for concurrent use.
type Program struct {
	def      Definition
	args     *expr.Type
	url      *template
	headers  map[string]*expr.Program // by canonical name
	query    map[string]*expr.Program
	names    []string // of query, sorted
	body     *expr.Program
	response *expr.Program
	errors   map[string]*expr.Program
	byHand   bool // an expression reads secret: it is put nowhere else
}

// Tenant is what expressions know of the tenant.
var tenantType = expr.Struct("tenant", map[string]*expr.Type{"id": expr.String, "vars": expr.Texts})

var responseType = expr.Struct("response", map[string]*expr.Type{"status": expr.Int, "headers": expr.Texts, "body": expr.Any, "text": expr.String})

var noArguments = json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)

// idempotent are the methods that may be sent twice (RFC 9110, 9.2.2).
var idempotent = []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}

var methods = append(slices.Clone(idempotent), http.MethodPost, http.MethodPatch)

var statusPattern = regexp.MustCompile(`^([1-5][0-9][0-9]|[1-5]xx|default)$`)

// Compile checks a definition and compiles its expressions; what is wrong is a
// list of [*FieldError].
func Compile(def Definition) (*Program, []*FieldError) {
	c := &compiler{p: &Program{def: def, headers: make(map[string]*expr.Program), query: make(map[string]*expr.Program), errors: make(map[string]*expr.Program)}}
	c.p.def.Input = slices.Clone(def.Input)
	if len(def.Input) == 0 {
		c.p.def.Input = noArguments
	}
	c.p.def.Request.Method = cmp.Or(def.Request.Method, http.MethodGet)
	c.p.def.Timeout = cmp.Or(def.Timeout, defaultTimeout)
	c.p.def.MaxBytes = cmp.Or(def.MaxBytes, defaultMaxBytes)
	c.shape()
	if len(c.errs) == 0 {
		c.expressions()
	}
	return c.p, c.errs
}

type compiler struct {
	p    *Program
	errs []*FieldError
}

func (c *compiler) bad(path, format string, args ...any) {
	c.errs = append(c.errs, &FieldError{path, fmt.Errorf(format, args...)})
}

// shape checks what is no expression.
func (c *compiler) shape() {
	d := &c.p.def
	probe := tool.Tool{Name: d.Name, InputSchema: d.Input, OutputSchema: d.Output, Handler: c.p.handler(Options{})}
	if len(d.Output) == 0 {
		probe.OutputSchema = nil
	}
	if err := probe.Compile(); err != nil {
		path := "name"
		switch {
		case strings.Contains(err.Error(), "input schema"):
			path = "input"
		case strings.Contains(err.Error(), "output schema"):
			path = "output"
		}
		c.bad(path, "%w", err)
	}
	if d.Description == "" {
		c.bad("description", "say what the tool does: it is all that a model goes by")
	}
	if !slices.Contains(methods, d.Request.Method) {
		c.bad("request.method", "%q: use %s", d.Request.Method, strings.Join(methods, ", "))
	}
	if d.Timeout < 0 || d.Timeout > maxTimeout {
		c.bad("timeout", "%s: at most %s", d.Timeout, maxTimeout)
	}
	if d.MaxBytes < 0 || d.MaxBytes > maxMaxBytes {
		c.bad("maxResponseBytes", "%d: at most %d", d.MaxBytes, maxMaxBytes)
	}
	if d.Credential != "" && d.CredentialID != 0 {
		c.bad("credential", "stands beside credentialId: leave one of them out")
	}
	switch {
	case d.Request.Body == "" && d.Request.BodyType != "":
		c.bad("request.bodyType", "there is no body")
	case d.Request.Body != "" && (d.Request.Method == http.MethodGet || d.Request.Method == http.MethodHead):
		c.bad("request.body", "a body does not go with %s", d.Request.Method)
	}
	if t := cmp.Or(d.Request.BodyType, "json"); t != "json" && t != "form" && t != "text" {
		c.bad("request.bodyType", "%q: use json, form or text", t)
	}
	for name := range d.Request.Headers {
		if !httpguts.ValidHeaderFieldName(name) || forbidden(name) {
			c.bad("request.headers."+name, "this header is not set here")
		}
	}
	for status := range d.Errors {
		if !statusPattern.MatchString(status) {
			c.bad("errors."+status, "%q: write a status such as 404, 4xx, or default", status)
		}
	}
}

// forbidden are headers that change what the request is, or whose it is.
func forbidden(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Connection", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Proxy-Authorization", "Proxy-Connection", "Keep-Alive":
		return true
	}
	return false
}

func (c *compiler) expressions() {
	p, d := c.p, &c.p.def
	var err error
	if p.args, err = expr.FromSchema("args", d.Input); err != nil {
		c.bad("input", "%w", err)
		return
	}
	vars := []expr.Variable{{Name: "args", Type: p.args}, {Name: "tenant", Type: tenantType}, {Name: "secret", Type: expr.String}}
	before, err1 := expr.New(vars...)
	after, err2 := expr.New(append(vars, expr.Variable{Name: "response", Type: responseType})...)
	host, err3 := expr.New(vars[1])
	if err := errors.Join(err1, err2, err3); err != nil {
		c.bad("input", "%w", err)
		return
	}
	if p.url, err = parseTemplate(d.Request.URL, host, before); err != nil {
		c.bad("request.url", "%w", err)
	} else {
		for _, part := range p.url.parts {
			p.byHand = p.byHand || (part.expr != nil && part.expr.Uses("secret"))
		}
	}
	compile := func(path, text string, l *expr.Language, want ...*expr.Type) *expr.Program {
		e, err := l.Compile(text, want...)
		if err != nil {
			c.bad(path, "%w", err)
			return nil
		}
		p.byHand = p.byHand || e.Uses("secret")
		return e
	}
	for name, text := range d.Request.Headers {
		p.headers[http.CanonicalHeaderKey(name)] = compile("request.headers."+name, text, before, expr.String)
	}
	for name, text := range d.Request.Query {
		p.query[name] = compile("request.query."+name, text, before)
	}
	p.names = slices.Sorted(maps.Keys(p.query))
	if d.Request.Body != "" {
		want := []*expr.Type{}
		if d.Request.BodyType == "text" {
			want = append(want, expr.String)
		}
		if d.Request.BodyType == "form" {
			want = append(want, expr.Object, expr.Texts)
		}
		p.body = compile("request.body", d.Request.Body, before, want...)
	}
	p.response = compile("response", cmp.Or(d.Response, "response.body"), after)
	for status, text := range d.Errors {
		p.errors[status] = compile("errors."+status, text, after, expr.String)
	}
	if p.byHand && d.Credential == "" && d.CredentialID == 0 {
		c.bad("credential", "an expression reads secret: say which one, credential or credentialId")
	}
	for status, e := range p.errors {
		if e != nil && e.Uses("secret") {
			c.bad("errors."+status, "a secret is not told to callers")
		}
	}
	if p.response != nil && p.response.Uses("secret") {
		c.bad("response", "a secret is not told to callers")
	}
}

// Tools makes tools of definitions that were checked.
func Tools(defs []Definition, opts Options) ([]*tool.Tool, error) {
	out := make([]*tool.Tool, 0, len(defs))
	for _, def := range defs {
		program, errs := Compile(def)
		if len(errs) > 0 {
			return nil, fmt.Errorf("tool %s: %w", def.Name, errs[0])
		}
		t, err := program.Tool(opts)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Name returns the tool's name.
func (p *Program) Name() string { return p.def.Name }

// Definition returns what the program was made of, defaults filled in. Not to be
// changed.
func (p *Program) Definition() Definition { return p.def }

// Tool makes the tool.
func (p *Program) Tool(opts Options) (*tool.Tool, error) {
	t := &tool.Tool{Name: p.def.Name, Title: p.def.Title, Description: p.def.Description, InputSchema: p.def.Input, OutputSchema: p.def.Output,
		ReadOnly: p.def.Request.Method == http.MethodGet || p.def.Request.Method == http.MethodHead, Handler: p.handler(opts)}
	if len(p.def.Output) == 0 {
		t.OutputSchema = nil
	}
	return t, t.Compile()
}
